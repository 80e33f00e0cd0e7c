"""The metrics in a queue's panel: throughput, failures and times, of the last hour to 30 days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from conveyor_nb.clocks.clock import REAL_TIME, checkpoint
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.errors import MetricsDisabledError
from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import EPOCH
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.notebook.pictures.charts import Charts, charts_picture
from conveyor_nb.notebook.pictures.columns_of_time import columns_of
from conveyor_nb.queue import Queue

__all__ = ["HOW_TO_SWITCH_ON", "SPANS", "MetricsView", "Span"]

HOW_TO_SWITCH_ON = (
    "This store collects no metrics. Create it so that it does: MemoryStore(metrics=True); for the"
    " store that is taken where none is given: set_default_store(MemoryStore(metrics=True))."
)

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_LENGTHS = {MetricsPeriod.MINUTE: _MINUTE, MetricsPeriod.HOUR: _HOUR}


@dataclass(frozen=True, slots=True)
class Span:
    """How much time is shown, and how.

    Args:
        words: how it is called.
        period: of which periods the store is asked.
        count: for how many.
        column: how long a column of the charts is.
    """

    words: str
    period: MetricsPeriod
    count: int
    column: timedelta

    @property
    def period_length(self) -> timedelta:
        """How long a period is."""
        return _LENGTHS[self.period]


SPANS: Mapping[str, Span] = {
    "hour": Span("hour", MetricsPeriod.MINUTE, 60, _MINUTE),
    "day": Span("24 hours", MetricsPeriod.MINUTE, 24 * 60, 30 * _MINUTE),
    "week": Span("7 days", MetricsPeriod.HOUR, 7 * 24, 3 * _HOUR),
    "month": Span("30 days", MetricsPeriod.HOUR, 30 * 24, 12 * _HOUR),
}
"""As far back as stores keep them: a day by minutes, 30 days by hours."""

_AT_ONCE = 60
"""So many periods are read between two looks at the time: each has thousands of times to sort."""

_REST = timedelta(seconds=0.25)
_EACH_MINUTE = 15.0


class MetricsView(View):
    """How many jobs settled in each span of time, and how long they waited and ran."""

    part: ClassVar[str] = "metrics"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._span = next(iter(SPANS))
        self._width = 920
        self._points: dict[datetime, MetricsPoint] = {}
        self._last: dict[str, Any] | None = None
        self._read_at: datetime = EPOCH
        self._is_late = False
        self._turns = 0
        """How often another span or width was asked for."""

    async def read(self, glance: Glance) -> dict[str, Any]:
        real_now = REAL_TIME.now()
        self._is_late = self._last is not None and real_now - self._read_at < _REST
        if self._last is None or not self._is_late:
            turns = -1
            while turns != self._turns:  # another span may be asked for meanwhile
                turns = self._turns
                told = await self._look()
            self._last, self._read_at = told, real_now
        return self._last

    async def _look(self) -> dict[str, Any]:
        span = SPANS[self._span]
        now = self.queue.store.clock.now()
        end = EPOCH + ((now - EPOCH) // span.column + 1) * span.column
        begin = end - span.count * span.period_length
        try:
            await self._read_on(span, begin, end)
        except MetricsDisabledError:
            return {"off": HOW_TO_SWITCH_ON}
        points = self._points.values()
        charts = Charts(columns_of(points, span.column), span.column, begin, end, self._width)
        completed = sum(point.completed for point in points)
        failed = sum(point.failed for point in points)
        return {
            "picture": charts_picture(charts),
            "told": f"{completed:,} completed, {failed:,} failed in the last {span.words}",
            "span": self._span,
        }

    async def _read_on(self, span: Span, begin: datetime, end: datetime) -> None:
        """Read what is not known yet: of the newest period that is known there may be more."""
        store, name, turns = self.queue.store, self.queue.name, self._turns
        known = {start: point for start, point in self._points.items() if start >= begin}
        newest = at = max(known, default=begin)
        while at < end:
            until = min(end, at + _AT_ONCE * span.period_length)
            found = await store.get_metrics(name, span.period, start=at, end=until)
            if known and at == newest and newest not in {point.start for point in found}:
                known, newest, at = {}, begin, begin  # the queue was obliterated, and began anew
                continue
            known |= {point.start: point for point in found}
            at = until
            if REAL_TIME.overdue():
                await checkpoint()
        if turns == self._turns:
            self._points = known

    @property
    def again(self) -> float | None:
        if self._is_late:
            return _REST.total_seconds()
        return None if isinstance(self.queue.store.clock, VirtualClock) else _EACH_MINUTE

    def asks(self) -> Mapping[str, Action]:
        return {"metrics": plainly(self._turn)}

    def renew(self) -> None:
        self._last = None

    def _turn(self, message: Message) -> None:
        """Show another span of time, or lay it out for a page that is wide or narrow."""
        if message.span and message.span not in SPANS:
            told = ", ".join(SPANS)
            raise ValueError(f"metrics are shown of the last {told}, not {shown(message.span)}")
        if message.span and message.span != self._span:
            self._span = message.span
            self._points = {}
        self._width = 380 if message.narrow else 920
        self._last = None
        self._turns += 1
