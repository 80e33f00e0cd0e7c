"""The picture of a tape in characters, for a terminal."""

from __future__ import annotations

from datetime import datetime

from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.text import one_line, shorten
from conveyor_nb.notebook.pictures.axis import ticks
from conveyor_nb.notebook.pictures.swimlane import MOST_ROWS, swimlane_text
from conveyor_nb.notebook.pictures.swimlane_state import WAIT_WORDS, SwimlaneState
from conveyor_nb.notebook.pictures.words import end_of

__all__ = ["swimlane_lines"]

_LEFT = 18
_WIDE = 60
_MOST_LANES = 20
_MARKS = {"failed": "x", "put back": "<", "running": ">", "completed": "|"}
_HEIGHTS = " ▁▂▃▄▅▆▇█"
_WAITS = {JobState.WAITING: ".", JobState.DELAYED: "~", JobState.WAITING_CHILDREN: ":"}


def swimlane_lines(state: SwimlaneState, subject: str, left_out: str = "") -> str:
    """Each slot as a line, and of few jobs each job as one: where it waited, and where it ran."""
    lines = [f"Tape of {subject}: {swimlane_text(state)}"]
    if left_out:
        lines.append(f"({left_out})")
    if not state.lives:
        return "\n".join(lines)
    drawing = _Characters(state)
    lines += drawing.lanes()
    if len(state.lives) <= MOST_ROWS:
        lines += ["", *drawing.jobs()]
    elif most := state.most_waiting:
        lines += ["", drawing.waiting(most)]
    return "\n".join([*lines, "", drawing.axis(), *_legend(state)])


def _legend(state: SwimlaneState) -> list[str]:
    """What the characters mean that are used."""
    ends = [f"{mark} {one}" for one, mark in _MARKS.items() if state.timeline.count(one)]
    told = ["= runs", *ends[::-1]]
    if len(state.lives) <= MOST_ROWS:
        told += [f"{mark} {WAIT_WORDS[one]}" for one, mark in _WAITS.items() if state.most(one)]
    elif len(state.timeline.bars) > _WIDE:
        told.append("of several in one place the gravest is shown")
    return [f"{'':{_LEFT}}{'  '.join(told)}"]


class _Characters:
    def __init__(self, state: SwimlaneState) -> None:
        self._state = state
        self._begin, self._span = state.timeline.begin, state.timeline.span

    def _at(self, instant: datetime) -> int:
        share = (instant - self._begin).total_seconds() / self._span
        return min(_WIDE - 1, max(0, int(share * _WIDE)))

    def lanes(self) -> list[str]:
        timeline = self._state.timeline
        rows = [[" "] * _WIDE for _ in timeline.lanes]
        for bar in timeline.bars:
            self._run(rows[bar.lane], bar.start, bar.end, _MARKS[bar.outcome])
        lines, before = [], ""
        for lane, row in list(zip(timeline.lanes, rows, strict=True))[:_MOST_LANES]:
            name = lane.worker if lane.worker_id != before else ""
            before = lane.worker_id
            lines.append(_labelled(f"{one_line(shorten(name, 13)):<13} {lane.slot:>3}", row))
        if len(rows) > _MOST_LANES:
            lines.append(f"({len(rows) - _MOST_LANES} more slots)")
        return lines

    def jobs(self) -> list[str]:
        lines = []
        for life in self._state.lives:
            row = [" "] * _WIDE
            for span in life.spans:
                wait = _WAITS.get(span.state or JobState.ACTIVE)
                if wait is not None:
                    for place in range(self._at(span.begin), self._at(span.end) + 1):
                        row[place] = wait
            for bar in self._state.timeline.bars:
                if (bar.job.queue_name, bar.job.id) == (life.job.queue_name, life.job.id):
                    self._run(row, bar.start, bar.end, _MARKS[bar.outcome])
            name = f"{end_of(life.job.id):>4} {one_line(shorten(life.job.name, 12))}"
            lines.append(_labelled(f"{name:<17}", row))
        return lines

    def waiting(self, most: int) -> str:
        """How many waited, as a line of heights."""
        heights = [0] * _WIDE
        depths = self._state.depths
        for depth, after in zip(depths, [*depths[1:], None], strict=True):
            count = depth.waiting
            last = self._at(after.at) if after is not None else _WIDE - 1
            for place in range(self._at(depth.at), last + 1):
                heights[place] = max(heights[place], count)
        top = len(_HEIGHTS) - 1
        row = [_HEIGHTS[-(-count * top // most)] for count in heights]
        return _labelled(f"{'waiting':<9}{f'≤ {most:,}':>8}", row)

    def _run(self, row: list[str], begin: datetime, end: datetime, mark: str) -> None:
        first, last = self._at(begin), self._at(end)
        for place in range(first, last):
            if row[place] not in "x<>|":  # an end is seen, whatever begins in its place
                row[place] = "="
        if row[last] not in "x<>":
            row[last] = mark

    def axis(self) -> str:
        timeline = self._state.timeline
        row = [" "] * (_WIDE + 10)
        free = 0
        for at, told in ticks(timeline.begin, timeline.end, 5):
            place = self._at(at)
            if place >= free:
                row[place : place + len(told)] = told
                free = place + len(told) + 1
        return " " * _LEFT + "".join(row).rstrip()


def _labelled(label: str, row: list[str]) -> str:
    return f"{label} {''.join(row)}".rstrip()
