"""The metrics in a queue's panel: throughput, failures and times, by minute and by hour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.errors import MetricsDisabledError
from conveyor_nb.core.metrics import MetricsPeriod
from conveyor_nb.core.model import EPOCH
from conveyor_nb.core.values.checks import check_choice
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.notebook.pictures.charts import LENGTHS, Charts, charts_picture
from conveyor_nb.queue import Queue

__all__ = ["HOW_TO_SWITCH_ON", "MetricsView"]

HOW_TO_SWITCH_ON = (
    "This store collects no metrics. Create it so that it does: MemoryStore(metrics=True); for the"
    " store that is taken where none is given: set_default_store(MemoryStore(metrics=True))."
)

_COUNTS = {MetricsPeriod.MINUTE: 60, MetricsPeriod.HOUR: 48}
"""How many periods are shown."""

_REST = timedelta(seconds=0.25)
_EACH_MINUTE = 15.0


class MetricsView(View):
    """How many jobs settled in each minute or hour, and how long they waited and ran."""

    part: ClassVar[str] = "metrics"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._period = MetricsPeriod.MINUTE
        self._width = 920
        self._last: dict[str, Any] | None = None
        self._read_at: datetime = EPOCH
        self._is_late = False

    async def read(self, glance: Glance) -> dict[str, Any]:
        real_now = REAL_TIME.now()
        self._is_late = self._last is not None and real_now - self._read_at < _REST
        if self._last is None or not self._is_late:
            self._last, self._read_at = await self._look(), real_now
        return self._last

    async def _look(self) -> dict[str, Any]:
        store, length = self.queue.store, LENGTHS[self._period]
        now = store.clock.now()
        end = EPOCH + ((now - EPOCH) // length + 1) * length
        begin = end - _COUNTS[self._period] * length
        try:
            points = await store.get_metrics(self.queue.name, self._period, start=begin, end=end)
        except MetricsDisabledError:
            return {"off": HOW_TO_SWITCH_ON}
        charts = Charts(points, self._period, begin, end, self._width)
        completed = sum(point.completed for point in points)
        failed = sum(point.failed for point in points)
        count = f"{_COUNTS[self._period]} {self._period}s"
        return {
            "picture": charts_picture(charts),
            "told": f"{completed:,} completed, {failed:,} failed in the last {count}",
            "span": str(self._period),
        }

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
        """Show minutes or hours, or lay it out for a page that is wide or narrow."""
        if message.span:
            self._period = check_choice(MetricsPeriod, message.span, what="period")
        self._width = 380 if message.narrow else 920
        self._last = None
