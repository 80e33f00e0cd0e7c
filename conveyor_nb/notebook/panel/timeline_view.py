"""The timeline in a queue's panel: who ran what in the last minute, or in all that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import EPOCH, JobState
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.sizes import size_of
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.notebook.pictures.svg import Element
from conveyor_nb.notebook.pictures.timeline import (
    PAGE,
    PAGE_NARROW,
    timeline_picture,
    timeline_text,
)
from conveyor_nb.notebook.pictures.timeline_state import TimelineState, read_timeline
from conveyor_nb.queue import Queue

__all__ = ["SPANS", "TimelineView"]

SPANS: Mapping[str, timedelta | None] = {"minute": timedelta(minutes=1), "all": None}
"""How much time may be shown."""

_ZOOMS: Mapping[str, tuple[float, float]] = {
    "in": (0.5, 0.0),
    "out": (2.0, 0.0),
    "earlier": (1.0, -0.5),
    "later": (1.0, 0.5),
}
"""Ways to another stretch of time: how many times as long it is, and by what share it is moved."""

_SHORTEST = timedelta(microseconds=10)

Window = tuple[datetime, datetime]

_ROOM = 26_000
_FEWEST_BARS = 12
_MOST_JOBS = 400
_REST = timedelta(seconds=0.2)
"""For so long a picture stays as it is: to look at hundreds of jobs takes a few milliseconds."""

_WHILE_IT_RUNS = 0.5


class TimelineView(View):
    """A row for each slot of a worker, a bar for each attempt."""

    part: ClassVar[str] = "timeline"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._is_virtual = isinstance(queue.store.clock, VirtualClock)
        self._plan = PAGE
        self._bars = PAGE.bars
        self._span = "all" if self._is_virtual else "minute"
        self._window: Window | None = None
        self._state: TimelineState | None = None
        self._last: dict[str, Any] | None = None
        self._read_at: datetime = EPOCH
        self._moves = False
        self._is_late = False

    async def read(self, glance: Glance) -> dict[str, Any]:
        real_now = REAL_TIME.now()
        self._is_late = self._last is not None and real_now - self._read_at < _REST
        if self._last is not None and self._is_late:
            return self._last
        self._state = state = await self._look()
        shown_minute = SPANS[self._span] is not None and bool(state.bars)
        self._moves = bool(glance.counts[JobState.ACTIVE]) or shown_minute
        self._read_at = real_now
        self._last = {
            "picture": self._draw(state),
            "told": timeline_text(state),
            "span": "" if self._window else self._span,
        }
        return self._last

    def _draw(self, state: TimelineState) -> Element:
        """The picture, with as many bars as there is room for on the way to the page."""
        plan = replace(self._plan, bars=self._bars)
        picture = timeline_picture(state, plan)
        while size_of(picture) > _ROOM and plan.bars > _FEWEST_BARS:
            plan = replace(plan, bars=plan.bars * 4 // 5)
            picture = timeline_picture(state, plan)
        self._bars = min(self._plan.bars, plan.bars + 2)  # where it was about right the last time
        return picture

    async def _look(self) -> TimelineState:
        """The attempts of the last span of time, or of the stretch that a person chose."""
        store, span = self.queue.store, SPANS[self._span]
        now = store.clock.now()
        since, until = self._window or (None if span is None else now - span, None)
        return await read_timeline(
            store, self.queue.name, now, most_jobs=_MOST_JOBS, since=since, until=until
        )

    @property
    def again(self) -> float | None:
        if self._is_late:
            return _REST.total_seconds()
        return _WHILE_IT_RUNS if self._moves and not self._is_virtual else None

    def asks(self) -> Mapping[str, Action]:
        return {"timeline": plainly(self._turn)}

    def renew(self) -> None:
        self._last = None

    def _turn(self, message: Message) -> None:
        """Show another stretch of time, or lay it out for a page that is wide or narrow."""
        if message.span in _ZOOMS:
            self._zoom(*_ZOOMS[message.span], message.id)
        elif message.span in SPANS:
            self._span, self._window = message.span, None
        elif message.span:
            ways = ", ".join((*SPANS, *_ZOOMS))
            raise ValueError(f"a timeline shows {ways}, not {shown(message.span)}")
        self._plan = PAGE_NARROW if message.narrow else PAGE
        self._bars = self._plan.bars
        self._last = None

    def _zoom(self, times: float, share: float, job_id: str) -> None:
        """Show more or less time, around the attempt of a job that is chosen, or other time."""
        state = self._state
        if state is None or not (state.bars or self._window):
            return  # there is nothing to look at
        chosen = next((bar for bar in state.bars if job_id and bar.job.id == job_id), None)
        middle = state.begin + (state.end - state.begin) / 2
        if chosen is not None:
            middle = max(state.begin, chosen.start) + (chosen.end - chosen.start) / 2
        length = max(_SHORTEST, (state.end - state.begin) * times)
        begin = middle - length / 2 + length * share
        self._window = (begin, begin + length)
