"""The picture of who ran what and when: a row for each slot, a bar for each attempt."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.durations import roughly
from conveyor_nb.core.values.text import one_line
from conveyor_nb.notebook.pictures.axis import ticks
from conveyor_nb.notebook.pictures.pieces import STATE_LOOKS
from conveyor_nb.notebook.pictures.runs import GRAVEST, Run, runs_of
from conveyor_nb.notebook.pictures.svg import Attributes, Element, el, picture, soft, text
from conveyor_nb.notebook.pictures.timeline_state import Bar, TimelineState
from conveyor_nb.notebook.pictures.words import brief, text_width

__all__ = [
    "COLOURS",
    "PAGE",
    "PAGE_NARROW",
    "REPORT",
    "Lanes",
    "TimelinePlan",
    "timeline_picture",
    "timeline_text",
]


@dataclass(frozen=True, slots=True)
class TimelinePlan:
    """How much room there is, in the picture's own units.

    Args:
        width: that of the picture.
        left: how much of it the names of the slots take.
        lanes: how many slots are seen.
        lanes_kept: for how many there is always room, so that nothing below jumps.
        bars: how many bars are drawn at most; beyond, neighbours are drawn as one.
        links: how many retries are linked at most.
        ticks: how many instants are written at the axis.
        told: how many characters of an error are told.
        has_head: whether it tells what it is of.
    """

    width: int = 920
    left: int = 132
    lanes: int = 40
    lanes_kept: int = 1
    bars: int = 1_500
    links: int = 300
    ticks: int = 9
    told: int = 100
    has_head: bool = True


REPORT = TimelinePlan()
PAGE = TimelinePlan(lanes=12, lanes_kept=4, bars=80, links=12, told=60, has_head=False)
PAGE_NARROW = TimelinePlan(
    width=380, left=84, lanes=12, lanes_kept=4, bars=90, links=10, ticks=4, told=60, has_head=False
)

_ROW = 24
_HIGH = 16
_LEAST = 2.5
"""How wide a bar is at least, so that it is seen."""

_WIDE_ENOUGH = 14
"""From this width on a bar of several that went alike is drawn as one of a single attempt is."""

_LABEL = 9.5
"""How large a bar's label is written."""

_OUT = 3
"""How far a failure stands out of its row."""

_RIGHT = 16

COLOURS: Mapping[str, str] = {
    "completed": STATE_LOOKS[JobState.COMPLETED].colour,
    "failed": STATE_LOOKS[JobState.FAILED].colour,
    "put back": STATE_LOOKS[JobState.DELAYED].colour,
    "running": STATE_LOOKS[JobState.ACTIVE].colour,
}
"""The colour of each outcome of an attempt."""
_MARKED = frozenset({"failed", "put back", "running"})
"""Outcomes whose bars end in a mark, where there is room."""

_RAN = {"running": "for", "put back": "after"}


def timeline_text(state: TimelineState) -> str:
    """The picture in words."""
    told = [f"{len(state.bars):,} {'attempt' if len(state.bars) == 1 else 'attempts'}"]
    counts = state.outcomes()
    told += [f"{counts[one]:,} {one}" for one in COLOURS if counts[one]]
    if again := sum(before.outcome == "failed" for before, _ in state.retries()):
        told.append(f"{again:,} {'retry' if again == 1 else 'retries'}")
    if state.bars:
        count = len({(lane.worker_id, lane.slot) for lane in state.lanes})
        told.append(f"{count} {'slot' if count == 1 else 'slots'}")
        told.append(f"over {roughly(state.span)}")
    if state.left_out:
        told.append(f"{state.left_out:,} older jobs left out")
    return ", ".join(told)


def timeline_picture(state: TimelineState, plan: TimelinePlan = REPORT) -> Element:
    """The picture; bars are in its last group, each with its job's id as ``data-key``."""
    return Lanes(state, plan).whole()


class Lanes:
    """Draws the slots of workers, each as a lane with a bar for each attempt."""

    def __init__(self, state: TimelineState, plan: TimelinePlan) -> None:
        self.state, self.plan = state, plan
        self.top = 62 if plan.has_head else 8
        self.lanes = state.lanes[: plan.lanes]
        self.hidden = len(state.lanes) - len(self.lanes)
        self.foot = self.top + max(len(self.lanes), plan.lanes_kept) * _ROW
        self.right = plan.width - _RIGHT
        self.scale = (self.right - plan.left) / state.span
        self.drawn_to: dict[int, float] = {}

    def whole(self) -> Element:
        """The whole picture."""
        state, plan = self.state, self.plan
        height = self.foot + 40
        title = f"Timeline of queue {one_line(state.name, 60)}: {timeline_text(state)}"
        ground = el(
            "rect",
            class_="cvp-ground",
            x=0.5,
            y=0.5,
            width=plan.width - 1,
            height=height - 1,
            rx=8,
            fill="#fff",
            stroke="#d5d9de",
        )
        head = self.head() if plan.has_head else []
        still = el("g", ground, *head, *self.rows(), *self.axis())
        return picture(plan.width, height, title, still, self.moving())

    def moving(self) -> Element:
        """The bars and the lines from try to try; what their labels look like is said once."""
        runs = self.runs()
        alone = {id(run.bars[0]) for run in runs if len(run.bars) == 1}
        look: Attributes = {"class_": "cvp-ink", "fill": "#23282e", "font_size": _LABEL}
        return el("g", *self.links(alone), *map(self.bar, runs), **look)

    def x(self, bar: Bar, *, at_end: bool = False) -> float:
        """Where an attempt begins, or ends."""
        state = self.state
        instant = min(bar.end, state.end) if at_end else max(bar.start, state.begin)
        return self.plan.left + (instant - self.state.begin).total_seconds() * self.scale

    def y(self, lane: int) -> float:
        """Where the bars of a lane begin."""
        return self.top + lane * _ROW + (_ROW - _HIGH) / 2

    # -- what stands ----------------------------------------------------------------------------

    def head(self) -> list[Element]:
        """The queue's name, how it went, and what the colours and shapes mean."""
        state = self.state
        name = brief(state.name, 40)
        parts = [
            text(20, 28, name, 15, font_weight="600"),
            soft(34 + text_width(name, 18), 28, timeline_text(state), 12),
        ]
        x = 20.0
        for outcome in COLOURS:
            if not state.count(outcome):
                continue
            parts.append(el("g", *self.shape(outcome, 0, 0, 16), transform=f"translate({x},40)"))
            parts.append(soft(x + 22, 52, outcome, 11))
            x += 22 + text_width(outcome, 11) + 18
        return parts

    def rows(self) -> list[Element]:
        """The lanes, with whose slots they are."""
        parts: list[Element] = []
        most = 8 if self.plan.left < 100 else 13
        before = None
        for place, lane in enumerate(self.lanes):
            y = self.top + place * _ROW
            if lane.worker_id != before:
                parts.append(text(16, y + 16, brief(lane.worker, most), 11))
                before = lane.worker_id
            parts.append(soft(self.plan.left - 10, y + 16, str(lane.slot), 11, text_anchor="end"))
            band: Attributes = {
                "x": self.plan.left,
                "width": self.right - self.plan.left,
                "height": _ROW - 2,
            }
            parts.append(el("rect", class_="cvp-box", fill="#f6f8fa", rx=3, y=y + 1, **band))
        if not self.state.bars:
            parts.append(soft(20, self.top + 30, "No attempt here yet."))
        return parts

    def axis(self) -> list[Element]:
        """The store's clock; of nothing there is no begin and no end."""
        state = self.state
        if not state.bars:
            return []
        parts: list[Element] = []
        for at, told in ticks(state.begin, state.end, self.plan.ticks):
            x = self.plan.left + (at - state.begin).total_seconds() * self.scale
            line = f"M{x:.1f} {self.top}V{self.foot + 4}"
            look: Attributes = {"stroke": "#9aa3ad", "stroke_opacity": 0.35, "class_": "cvp-line"}
            anchor = "end" if x > self.right - 24 else "middle"
            parts += [
                el("path", d=line, **look),
                soft(x, self.foot + 17, told, 10, text_anchor=anchor),
            ]
        zone = f"from {state.begin:%Y-%m-%d %H:%M:%S} UTC"
        if self.hidden:
            zone = f"{self.hidden:,} more slots · {zone}"
        parts.append(soft(self.right, self.foot + 32, zone, 10, text_anchor="end"))
        return parts

    # -- bars ---------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """The bars to draw: neighbours become one where there would be too many."""
        visible = [bar for bar in self.state.bars if bar.lane < len(self.lanes)]
        placed = [(bar, bar.outcome, self.x(bar), self.x(bar, at_end=True)) for bar in visible]
        return runs_of(placed, self.plan.bars, self.plan.width)

    def bar(self, run: Run) -> Element:
        """What is drawn of an attempt, or of neighbours."""
        bar = run.bars[0]
        # a bar that had to be widened is not covered by the next one, if that has room to spare
        left = run.left
        if run.right - run.left > 3 * _LEAST:
            left = max(left, self.drawn_to.get(bar.lane, 0.0))
        wide = max(_LEAST, run.right - left)
        x, y = min(left, self.right - wide), self.y(bar.lane)
        self.drawn_to[bar.lane] = x + wide
        if wide > 3:
            wide -= 0.8  # neighbours stay apart
        if len(run.bars) == 1:
            parts = [*self.shape(run.outcome, x, y, wide), *self._label(bar, x, y, wide)]
        elif run.is_alike and wide >= _WIDE_ENOUGH:
            parts = [*self.shape(run.outcome, x, y, wide), *_number(len(run.bars), x, y, wide)]
        else:
            parts = self._share(run, x, y, wide)
        shown = next(one for one in run.bars if one.outcome == run.outcome)
        return el(
            "g",
            el("title", _told(run, self.plan.told)),
            *parts,
            data_key=shown.job.id,
            class_="cvp-bar",
        )

    def _share(self, run: Run, x: float, y: float, wide: float) -> list[Element]:
        """Attempts that are drawn as one: the outcomes one above the other, by their shares."""
        parts: list[Element] = []
        foot = y + _HIGH + (_OUT if run.outcome == "failed" else 0)
        for outcome in GRAVEST:
            count = run.counts[outcome]
            if count:
                high = min(foot - y, max(3.0, _HIGH * count / len(run.bars)))
                foot -= high
                place: Attributes = {"x": x, "y": foot, "width": wide, "height": high}
                parts.append(el("rect", fill=COLOURS[outcome], **place))
        return parts

    def label_of(self, bar: Bar) -> str:
        """What stands on a bar."""
        return bar.job.name if bar.record.attempt == 1 else f"{bar.job.name} ↺{bar.record.attempt}"

    def _label(self, bar: Bar, x: float, y: float, wide: float) -> list[Element]:
        """What the attempt was of, where there is room."""
        ends = 16 if bar.outcome in _MARKED else 5
        fits = int((wide - 4 - ends) / 5.4)
        if fits < 3:
            return []
        told = self.label_of(bar)
        if len(told) > fits and fits < 5:
            return []
        return [el("text", brief(told, fits), x=x + 5, y=y + 11.8)]

    def shape(self, outcome: str, x: float, y: float, wide: float) -> list[Element]:
        """An outcome by its colour and its shape: a failure stands out of its row, with a cross.

        What runs has an arrow, for there will be more of it; what was put back is broken off, with
        an arrow back.
        """
        colour = COLOURS[outcome]
        out = _OUT if outcome == "failed" else 0
        solid = wide < 6
        box = el(
            "rect",
            x=x,
            y=y - out,
            width=wide,
            height=_HIGH + 2 * out,
            rx=min(3.0, wide / 3),
            fill=colour,
            fill_opacity=0.9 if solid else 0.5 if outcome == "failed" else 0.24,
            stroke=None if solid else colour,
            stroke_width=None if solid else 1.2,
            stroke_dasharray=None if solid or outcome != "put back" else "3 2",
        )
        line: Attributes = {
            "fill": "none",
            "stroke": colour,
            "stroke_width": 1.8,
            "stroke_linecap": "round",
        }
        right, middle = x + wide, y + _HIGH / 2
        if outcome == "failed" and wide >= 12:
            a, b, c, d = right - 9, right - 3, middle - 3, middle + 3
            cross = f"M{a:.1f} {c:.1f}L{b:.1f} {d:.1f}M{b:.1f} {c:.1f}L{a:.1f} {d:.1f}"
            return [box, el("path", d=cross, **line)]
        if outcome == "running" and wide >= 12:
            tip = f"M{right - 8:.1f} {middle - 4:.1f}L{right - 3:.1f} {middle:.1f}"
            return [box, el("path", d=f"{tip}L{right - 8:.1f} {middle + 4:.1f}", **line)]
        if outcome == "put back" and wide >= 12:
            hook = f"M{right - 7:.1f} {middle - 4.5:.1f}l-3 3l3 3m-3 -3h4a2.5 2.5 0 0 1 0 5h-2"
            return [box, el("path", d=hook, **(line | {"stroke_width": 1.4}))]
        return [box]

    def links(self, alone: Container[int]) -> list[Element]:
        """From the end of each attempt to the begin of the next one, if each has its bar."""
        parts = []
        pairs = [
            (before, after)
            for before, after in self.state.retries()
            if id(before) in alone and id(after) in alone
        ]
        for before, after in pairs[-self.plan.links :]:
            x, y = self.x(before, at_end=True), self.y(before.lane) + _HIGH / 2
            to_x, to_y = self.x(after), self.y(after.lane) + _HIGH / 2
            bend = max(10.0, min(40.0, (to_x - x) / 2))
            lift = _HIGH if before.lane == after.lane else 0
            path = (
                f"M{x:.1f} {y:.1f}C{x + bend:.1f} {y + lift:.1f} "
                f"{to_x - bend:.1f} {to_y + lift:.1f} {to_x:.1f} {to_y:.1f}"
            )
            colour = COLOURS["put back" if before.outcome == "put back" else "failed"]
            look: Attributes = {"fill": "none", "stroke": colour, "stroke_opacity": 0.6}
            parts.append(el("path", d=path, stroke_dasharray="4 2", class_="cvp-link", **look))
        return parts


def _number(count: int, x: float, y: float, wide: float) -> list[Element]:
    """How many attempts a bar stands for, where there is room."""
    told = f"{count:,}x"
    if text_width(told, 10) + 8 > wide:
        return []
    return [el("text", told, x=x + 5, y=y + 11.8)]


def _told(run: Run, most: int) -> str:
    """What is said of a bar when somebody points at it."""
    if len(run.bars) > 1:
        counts = [f"{run.counts[one]:,} {one}" for one in COLOURS if run.counts[one]]
        return f"{len(run.bars):,} attempts: {', '.join(counts)}"
    bar = run.bars[0]
    ran = _RAN.get(bar.outcome, "in")
    told = [
        f"{brief(bar.job.id, 40)} {brief(bar.job.name, 24)}",
        f"attempt {bar.record.attempt}" if bar.record.attempt > 1 else "",
        f"{bar.outcome} {ran} {roughly(bar.took)}",
        brief(bar.record.error, most) if bar.record.error else "",
    ]
    return " · ".join(part for part in told if part)
