"""The picture of a tape: slots with their attempts, and below them where the jobs were meanwhile.

Few jobs have a row each: when it waited, for its turn, its time or its children, and when it ran.
Of many the rows become a chart of how many waited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.durations import roughly
from conveyor_nb.core.values.text import one_line
from conveyor_nb.notebook.pictures.pieces import STATE_LOOKS, state_mark
from conveyor_nb.notebook.pictures.svg import Attributes, Element, el, picture, soft, text
from conveyor_nb.notebook.pictures.swimlane_state import (
    WAIT_WORDS,
    WAITS,
    Life,
    Span,
    SwimlaneState,
)
from conveyor_nb.notebook.pictures.timeline import COLOURS, Lanes, TimelinePlan, timeline_text
from conveyor_nb.notebook.pictures.timeline_state import Bar
from conveyor_nb.notebook.pictures.words import brief, end_of, text_width

__all__ = ["MOST_ROWS", "swimlane_picture", "swimlane_text"]

MOST_ROWS = 16
"""Up to so many jobs have a row each."""

_PLAN = TimelinePlan(left=150, lanes=32, bars=600, links=120)
_ROW = 20
_CHART = 84
_GAP = 30
_MARK = 16
_DASHES = {JobState.WAITING: None, JobState.DELAYED: "5 3", JobState.WAITING_CHILDREN: "1.5 3"}


def swimlane_text(state: SwimlaneState) -> str:
    """The picture in words."""
    jobs = len(state.lives)
    told = [f"{jobs:,} {'job' if jobs == 1 else 'jobs'}", timeline_text(state.timeline)]
    if most := state.most(JobState.WAITING):
        told.append(f"at most {most:,} waiting")
    return ", ".join(told)


def swimlane_picture(state: SwimlaneState, left_out: str = "") -> Element:
    """The picture; ``left_out`` says in words what the tape has not."""
    return _Swimlanes(state, left_out).whole()


class _Swimlanes(Lanes):
    """Slots as in a timeline, and what there is below them, on one axis."""

    def __init__(self, state: SwimlaneState, left_out: str) -> None:
        super().__init__(state.timeline, _PLAN)
        self.shown = state
        self.left_out = left_out
        self.has_rows = 0 < len(state.lives) <= MOST_ROWS
        if self.has_rows:  # the mark of a job's end has its place behind the last instant
            self.right -= _MARK
            self.scale = (self.right - self.plan.left) / self.state.span
        self.below = self.foot + _GAP
        if self.has_rows:
            self.foot = self.below + len(state.lives) * _ROW
        elif state.lives:
            self.foot = self.below + _CHART

    def whole(self) -> Element:
        width, height = self.plan.width, self.foot + 40
        title = f"Tape of {one_line(self.state.name, 60)}: {swimlane_text(self.shown)}"
        look: Attributes = {"class_": "cvp-ground", "fill": "#fff", "stroke": "#d5d9de"}
        ground = el("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=8, **look)
        below = self._lives() if self.has_rows else self._chart()
        lanes = [*self.rows(), *self._ground_below()]
        still = el("g", ground, *self.head(), *lanes, *self._pauses(), *self.axis(), *below)
        return picture(width, height, title, still, self.moving())

    def head(self) -> list[Element]:
        state = self.shown
        name = brief(self.state.name, 40)
        beside = 34 + text_width(name, 18)
        words = brief(swimlane_text(state), int((self.plan.width - 16 - beside) / 6.3))
        parts = [
            text(20, 28, name, 15, font_weight="600"),
            soft(beside, 28, words, 12),
        ]
        if self.left_out:
            right = self.plan.width - 16
            parts.append(text(right, 52, brief(self.left_out, 70), 11, text_anchor="end"))
        x = 20.0
        for outcome in COLOURS:
            if self.state.count(outcome):
                shape = el("g", *self.shape(outcome, 0, 0, 16), transform=f"translate({x},40)")
                parts += [shape, soft(x + 22, 52, outcome, 11)]
                x += 22 + text_width(outcome, 11) + 18
        for wait in WAITS:
            if state.most(wait):
                parts += [_line(x, x + 18, 48, wait), soft(x + 24, 52, WAIT_WORDS[wait], 11)]
                x += 24 + text_width(WAIT_WORDS[wait], 11) + 18
        if state.pauses:
            parts += [_pause(x, 42, 16, 12), soft(x + 22, 52, "queue paused", 11)]
        return parts

    def label_of(self, bar: Bar) -> str:
        again = f" ↺{bar.record.attempt}" if bar.record.attempt > 1 else ""
        return f"{end_of(bar.job.id)} {bar.job.name}{again}"

    def at(self, instant: datetime) -> float:
        """Where an instant is."""
        begin, end = self.state.begin, self.state.end
        inside = min(max(instant, begin), end)
        return self.plan.left + (inside - begin).total_seconds() * self.scale

    def axis(self) -> list[Element]:
        return super().axis() if self.state.bars or self.shown.lives else []

    def _pauses(self) -> Iterator[Element]:
        for pause in self.shown.pauses:
            x, right = self.at(pause.begin), self.at(pause.end)
            yield _pause(x, self.top, max(2.0, right - x), self.foot - self.top)

    # -- a row for each job -------------------------------------------------------------------

    def _lives(self) -> Iterator[Element]:
        for place, life in enumerate(self.shown.lives):
            y = self.below + place * _ROW + _ROW / 2
            whose = f"{brief(life.job.id, 40)} {brief(life.job.name, 24)}"
            label = text(16, y + 4, brief(f"{end_of(life.job.id)} {life.job.name}", 22), 11)
            spans = [part for span in life.spans for part in self._span(span, y)]
            attempts = [part for bar in self._bars_of(life) for part in self._attempt(bar, y)]
            told = el("title", f"{whose}: {_story(life)}")
            yield el("g", told, label, *spans, *attempts, *self._end(life, y))

    def _bars_of(self, life: Life) -> list[Bar]:
        job = life.job
        key = job.queue_name, job.id
        return [bar for bar in self.state.bars if (bar.job.queue_name, bar.job.id) == key]

    def _span(self, span: Span, y: float) -> Iterator[Element]:
        if span.state not in WAITS or span.seconds <= 0:
            return
        x, right = self.at(span.begin), self.at(span.end)
        yield _line(x, right, y, span.state)
        told = roughly(span.seconds)
        if span.state is JobState.DELAYED and right - x > text_width(told, 9) + 8:
            yield soft((x + right) / 2, y - 3, told, 9, text_anchor="middle")

    def _attempt(self, bar: Bar, y: float) -> Iterator[Element]:
        x = self.x(bar)
        wide = max(2.5, self.x(bar, at_end=True) - x)
        look: Attributes = {"fill": COLOURS[bar.outcome], "fill_opacity": 0.75}
        yield el("rect", x=x, y=y - 5, width=wide, height=10, rx=2, **look)
        if bar.outcome == "failed" and wide > 9:  # told by its shape as well
            path = f"M{x + wide - 7.5:.1f} {y - 2.5:.1f}l5 5m0 -5l-5 5"
            yield el("path", d=path, fill="none", stroke="#fff", stroke_width=1.4)

    def _end(self, life: Life, y: float) -> Iterator[Element]:
        if life.settled_at is not None:
            yield state_mark(life.job.state, self.at(life.settled_at) + 3, y - 6)
        elif life.is_removed and life.spans:
            x = self.at(life.spans[-1].end)
            has_room = x + 50 < self.right
            anchor = "start" if has_room else "end"
            yield soft(x + 4 if has_room else x - 4, y - 3, "removed", 9, text_anchor=anchor)

    # -- how many wait ------------------------------------------------------------------------

    def _chart(self) -> Iterator[Element]:
        state = self.shown
        if not state.lives:
            return
        most = state.most_waiting
        yield soft(self.plan.left - 10, self.below + 12, f"{most:,}", 10, text_anchor="end")
        yield soft(self.plan.left - 10, self.foot - 2, "0", 10, text_anchor="end")
        floor: dict[datetime, int] = {}
        for one in WAITS:
            tops = [(d.at, floor.get(d.at, 0) + d.counts.get(one, 0)) for d in state.depths]
            if state.most(one):
                yield self._area(tops, floor, max(1, most), one)
            floor = dict(tops)

    def _area(
        self,
        tops: Sequence[tuple[datetime, int]],
        floor: dict[datetime, int],
        most: int,
        of: JobState,
    ) -> Element:
        """How many there were, as steps, over those below."""
        high = (_CHART - 4) / most

        def steps(heights: Sequence[tuple[datetime, int]]) -> list[tuple[float, float]]:
            points: list[tuple[float, float]] = []
            for (at, count), (until, _) in pairwise([*heights, (self.state.end, 0)]):
                y = self.foot - count * high
                points += [(self.at(at), y), (self.at(until), y)]
            return points

        over = steps(tops)
        under = steps([(at, floor.get(at, 0)) for at, _ in tops])
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in _thin([*over, *under[::-1]]))
        colour = STATE_LOOKS[of].colour
        title = el("title", f"{WAIT_WORDS[of]}: at most {self.shown.most(of):,}")
        look: Attributes = {"fill": colour, "fill_opacity": 0.35, "stroke": colour}
        return el("polygon", title, points=path, stroke_width=0.8, **look)

    def _ground_below(self) -> Iterator[Element]:
        if not self.shown.lives:
            return
        what = "Jobs" if self.has_rows else "Waiting"
        yield text(16, self.below - 6, what, 11, font_weight="600")
        width = self.right - self.plan.left
        look: Attributes = {"class_": "cvp-box", "fill": "#f6f8fa", "rx": 3}
        yield el(
            "rect",
            x=self.plan.left,
            y=self.below,
            width=width,
            height=self.foot - self.below,
            **look,
        )


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points without those that no eye tells from the one before."""
    kept: list[tuple[float, float]] = []
    for x, y in points:
        if not kept or abs(x - kept[-1][0]) > 0.3 or abs(y - kept[-1][1]) > 0.3:
            kept.append((x, y))
    return kept


def _line(x: float, right: float, y: float, state: JobState) -> Element:
    """A wait: each kind by its colour and its dashes."""
    look: Attributes = {"stroke": STATE_LOOKS[state].colour, "stroke_width": 2.4}
    path = f"M{x:.1f} {y:.1f}H{right:.1f}"
    return el("path", d=path, fill="none", stroke_dasharray=_DASHES[state], **look)


def _pause(x: float, y: float, wide: float, high: float) -> Element:
    look: Attributes = {"fill": STATE_LOOKS[JobState.DELAYED].colour, "fill_opacity": 0.13}
    return el(
        "rect", el("title", "the queue was paused"), x=x, y=y, width=wide, height=high, **look
    )


def _story(life: Life) -> str:
    """Where a job was, in words."""
    told = [
        f"{WAIT_WORDS.get(span.state or JobState.ACTIVE, 'runs')} {roughly(span.seconds)}"
        for span in life.spans
        if span.seconds > 0
    ]
    told.append("removed" if life.is_removed else str(life.job.state))
    return " · ".join(told)
