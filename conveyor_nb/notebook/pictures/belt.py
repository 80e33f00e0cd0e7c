"""The picture of a queue or a flow: its jobs on a conveyor belt, the workers' slots at its end.

What is next to be served lies nearest to the slots. Delayed jobs lie on a shelf above the belt, a
failed attempt goes back there, and what has ended lies in trays. Of a flow, the parents that wait
for children stand on a siding below the belt.
"""

from __future__ import annotations

from itertools import chain

from conveyor_nb.core.locks import has_run_out
from conveyor_nb.core.model import ALL_NAMES, JobData, JobState
from conveyor_nb.core.values.text import one_line
from conveyor_nb.notebook.pictures.belt_plan import WIDE, Plan
from conveyor_nb.notebook.pictures.belt_state import BeltState, Station
from conveyor_nb.notebook.pictures.pieces import (
    LABELS,
    PIECE,
    STATE_LOOKS,
    looks_by,
    mark,
    piece,
    state_mark,
)
from conveyor_nb.notebook.pictures.state_bar import BAR_ORDER, REST, shares
from conveyor_nb.notebook.pictures.svg import Attributes, Element, el, group, picture, soft, text
from conveyor_nb.notebook.pictures.words import (
    about,
    brief,
    end_of,
    flow_words,
    job_words,
    state_word,
    text_width,
)

__all__ = ["belt_picture", "belt_text"]

_GAP = 5
_WIDE, _HIGH = PIECE

_ACTIVE = STATE_LOOKS[JobState.ACTIVE].colour
_DELAYED = STATE_LOOKS[JobState.DELAYED].colour


def belt_text(state: BeltState) -> str:
    """The picture in words, for those who can't see it."""
    counts = [f"{count:,} {state_word(one)}" for one, count in state.counts.items() if count]
    told = [", ".join(counts) or "no jobs", state.standing]
    if state.coming:
        told.append(f"next is {one_line(state.coming[0].id, 60)}")
    kind = "Flow" if state.is_flow else "Queue"
    return f"{kind} {one_line(state.name, 60)}: {'; '.join(part for part in told if part)}"


def belt_picture(state: BeltState, plan: Plan = WIDE, by: str = "name") -> Element:
    """The picture of a queue, or of a flow, whose jobs are told apart by one of ``LABELS``.

    The pieces of jobs are all in its last group, each with a ``data-key``: a page that shows one
    picture after the other moves them from place to place. It is the job's id; in a flow, whose
    jobs may be in several queues, ``data-queue`` and ``data-job`` tell whose it is.
    """
    return _Drawing(state, plan, by).whole()


class _Drawing:
    """One picture: where its lines are, and what is drawn there."""

    def __init__(self, state: BeltState, plan: Plan, by: str) -> None:
        self.state, self.plan = state, plan
        self.label = LABELS[by]
        self.coming = state.coming[: plan.pieces]
        self.delayed = state.delayed[: plan.delayed]
        active = [station.job for station in state.stations if station.job is not None]
        seen = chain(
            active, state.coming, state.delayed, state.failed, state.completed, state.parents
        )
        self.looks = looks_by(by, list(seen))
        self.pieces: dict[str, Element] = {}
        self.legend = legend = self._legend()
        self.bar = 10.0 if plan.is_live else 43.0 if plan.told else 58.0
        below = 20 if plan.is_live else 57 + 18 * (legend[-1][1] if legend else 0)
        self.top = self.bar + below
        self.shelf = self.top + 32
        self.siding = 32 if state.is_flow else 0
        shown = len(state.stations) + bool(state.more_stations)
        rows = -(-max(2, shown) // plan.columns)
        above = 112 if state.delayed or plan.is_live else 64
        if plan.beside:
            self.slots = self.top
            self.slots_end = self.top + rows * plan.row
            self.belt = max(self.top + above, (self.top + self.slots_end) / 2 + _HIGH / 2)
            middle = self.belt - _HIGH / 2
            self.first_slot = max(self.slots, middle - shown * plan.row / 2 + 2)
            self.trays = (middle - 8, middle + 48)
        else:
            self.belt = self.top + above
            self.slots = self.belt + 40 + self.siding
            self.slots_end = self.slots + rows * plan.row
            self.first_slot = self.slots
            self.trays = (self.slots_end + 36, self.slots_end + 36)

    def whole(self) -> Element:
        """All of it."""
        plan = self.plan
        parts = [
            *([] if plan.is_live else self._head()),
            *self._bar(),
            *self._shelf(),
            *self._belt(),
            *self._stations(),
            *self._trays(),
        ]
        end = max(self.belt + 34 + self.siding, self.slots_end + 4, self.trays[1] + 22)
        names, lines = self._names(end + 16)
        height = end + 8 + 18 * lines
        edge = {"width": plan.width - 1.0, "height": height - 1.0, "rx": 9.0}
        look = {"class_": "cvp-ground", "fill": "#ffffff", "stroke": "#d5d8dc"}
        ground = el("rect", x=0.5, y=0.5, **edge, **look)
        still = el("g", *parts, *names, class_="cvp-still")
        pieces = el("g", *self.pieces.values(), class_="cvp-pieces")
        return picture(plan.width, height, belt_text(self.state), ground, still, pieces)

    # -- above the belt -----------------------------------------------------------------------

    def _head(self) -> list[Element]:
        state, plan = self.state, self.plan
        name = text(plan.left, 30, brief(state.name, 40), 17, font_weight="600")
        place = {"x": plan.right, "y": 30} if plan.told else {"x": plan.left, "y": 48}
        anchor = "end" if plan.told else "start"
        return [name, soft(place["x"], place["y"], flow_words(state), 13, text_anchor=anchor)]

    def _legend(self) -> list[tuple[float, int, JobState, str]]:
        """Where the number of jobs of each state stands: place, line, state and words."""
        placed: list[tuple[float, int, JobState, str]] = []
        x, line = float(self.plan.left), 0
        for one in BAR_ORDER:
            if not self.state.counts[one]:
                continue
            label = f"{self.state.counts[one]:,} {state_word(one)}"
            needed = 17 + text_width(label)
            if x + needed > self.plan.right:
                x, line = float(self.plan.left), line + 1
            placed.append((x, line, one, label))
            x += needed + 20
        return placed

    def _bar(self) -> list[Element]:
        """How the jobs divide into states: as a bar, and in numbers."""
        counts, plan = self.state.counts, self.plan
        width = plan.right - plan.left
        if not self.legend:
            look: Attributes = {"height": 9, "rx": 2, "class_": "cvp-box", "fill": "#f6f8fa"}
            whole = el("rect", x=plan.left, y=self.bar, width=width, **look)
            said = [] if plan.is_live else [soft(plan.left, self.bar + 31, "no jobs yet")]
            return [whole, *said]
        parts = []
        bar = shares(counts, float(plan.left), width)
        for (_, x, wide), (word_x, line, one, label) in zip(bar, self.legend, strict=True):
            rest = one is JobState.WAITING
            fill = REST if rest else STATE_LOOKS[one].colour
            place = {"x": x, "y": self.bar, "width": wide, "height": 9.0, "rx": 2.0}
            parts.append(el("rect", class_="cvp-rest" if rest else None, fill=fill, **place))
            if plan.is_live:
                continue
            y = self.bar + 31 + 18 * line
            weight = "700" if one is JobState.FAILED else None
            parts += [
                state_mark(one, word_x, y - 10),
                text(word_x + 17, y, label, font_weight=weight),
            ]
        return parts

    def _shelf(self) -> list[Element]:
        """Delayed jobs, each with the time until it is due; retries come back to it."""
        state, plan, y = self.state, self.plan, self.shelf
        if not self.delayed:
            return self._bare_shelf() if plan.is_live else []
        parts, x = [], float(plan.left)
        for job in self.delayed:
            assert job.delay_until is not None, "it is delayed"
            left = (job.delay_until - state.now).total_seconds()
            until = ("↺ " if job.attempts_made else "") + (about(left) if left > 0 else "due")
            self._put(job, x, y - _HIGH, dashed=True)
            parts.append(soft(x + _WIDE + 3, y - 9, until, 10))
            x += _WIDE + 48
        more = state.counts[JobState.DELAYED] - len(self.delayed)
        if more > 0:
            parts.append(soft(x, y - 9, f"+{more:,}", 11))
            x += 12 + text_width(f"+{more:,}", 11)
        again = any(job.attempts_made for job in self.delayed)
        told = f"{state.counts[JobState.DELAYED]:,} delayed"
        told += ", ↺ to be tried again" if again else ""
        parts.append(soft(plan.left, y + 16, told, 11))
        line: Attributes = {"y1": y + 2, "y2": y + 2, "stroke": _DELAYED, "stroke_width": 2}
        parts.append(el("line", x1=plan.left - 4, x2=min(x, plan.right), **line))
        if plan.beside and again:
            parts.append(self._way_back(x))
        return parts

    def _bare_shelf(self) -> list[Element]:
        """The shelf, where there is always room for it, with what it is for."""
        left, y = self.plan.left, self.shelf + 2
        look: Attributes = {"class_": "cvp-line", "stroke": "#8a929c", "stroke_opacity": 0.45}
        line = el("line", x1=left, x2=left + 210, y1=y, y2=y, stroke_width=1.5, **look)
        return [soft(left, y + 14, "delayed jobs and retries lie here", 11), line]

    def _way_back(self, shelf_end: float) -> Element:
        """The way of a failed attempt, from the slots back to the shelf."""
        start, x, y = self.plan.slots + 24, shelf_end + 10, self.shelf - 13
        high = min(self.top - 6, self.first_slot - 24)
        curve = f"C{start - 16} {high:.0f} {x + 50:.0f} {y - 18} {x:.0f} {y}"
        way = f"M{start} {self.first_slot - 4:.0f}{curve}m3 -8l-3 8l8 1"
        drawn = {"fill": "none", "stroke": _DELAYED, "stroke_dasharray": "5 4"}
        return el("path", d=way, stroke_width=1.6, **drawn)

    # -- the belt -----------------------------------------------------------------------------

    def _belt(self) -> list[Element]:
        """The belt with what is to be served, the next one at its right end."""
        state, plan, y = self.state, self.plan, self.belt
        stands = bool(state.standing)
        place = {"x": plan.left, "y": y, "width": plan.belt_end - plan.left, "height": 10, "rx": 5}
        parts = [el("rect", class_="cvp-belt", fill="#e3e6ea", **place)]
        rollers = [
            el("circle", cx=x, cy=y + 5, r=2.4, class_="cvp-roller", fill="#b4bcc6")
            for x in range(plan.left + 10, plan.belt_end - 20, 20)
        ]
        moves = not stands and (state.coming or state.counts[JobState.ACTIVE])
        parts.append(el("g", *rollers, class_="cvp-rollers cvp-moves" if moves else "cvp-rollers"))
        x = float(plan.belt_end - _WIDE - 8)
        for job in self.coming:
            self._put(job, x, y - _HIGH, dashed=stands)
            x -= _WIDE + _GAP
        if stands:
            parts += self._stop()
        elif state.coming:
            arrow = f"M{plan.belt_end + 6} {y - 12}h20m-6 -5l6 5l-6 5"
            drawn = {"fill": "none", "class_": "cvp-line", "stroke": "#8a929c"}
            parts.append(el("path", d=arrow, stroke_width=1.6, **drawn))
            parts.append(soft(plan.belt_end + 16, y - 22, "next", 10, text_anchor="middle"))
        parts.append(soft(plan.left, y - (_HIGH + 8 if state.coming else 8), self._behind(), 11))
        x = float(plan.left)
        for job in state.parents[: plan.delayed]:
            self._put(job, x, y + 20, dashed=True)
            x += _WIDE + _GAP
        parts.append(soft(x, y + (37 if state.parents else 27), self._aside(), 11))
        return parts

    def _behind(self) -> str:
        """What is said of the waiting jobs that are not seen on the belt."""
        state = self.state
        waiting = state.counts[JobState.WAITING]
        if not waiting:
            return "nothing waits" if state.total else "add a job, and it comes along here"
        more = waiting - len(self.coming)
        if not state.coming:
            return f"{waiting:,} stand by"
        return f"{waiting:,} waiting" + (f", {more:,} of them behind these" if more > 0 else "")

    def _aside(self) -> str:
        """What is on its way to the belt, or is kept from it."""
        told = []
        if count := self.state.counts[JobState.WAITING_CHILDREN]:
            told.append(f"{count:,} {state_word(JobState.WAITING_CHILDREN)}")
        names = sorted(self.state.paused_names - {ALL_NAMES})
        if names:
            some = ", ".join(brief(name, 24) for name in names[:3])
            more = f" and {len(names) - 3:,} more names" if len(names) > 3 else ""
            told.append(f"paused: {some}{more}")
        return " · ".join(told)

    def _stop(self) -> list[Element]:
        """Two bars before the slots, and who has stopped the belt."""
        y, end = self.belt, self.plan.belt_end
        bars = f"M{end + 9} {y - 24}v24M{end + 17} {y - 24}v24"
        said = {"font_weight": "600", "text_anchor": "end", "class_": None, "fill": _DELAYED}
        line = y - _HIGH - 8 if self.plan.told else y - _HIGH - 22
        return [
            el("path", d=bars, stroke=_DELAYED, stroke_width=4, stroke_linecap="round"),
            text(end - 8, line, f"stands: {self.state.standing}", 12, **said),
        ]

    # -- the slots ----------------------------------------------------------------------------

    def _stations(self) -> list[Element]:
        """The workers' slots, each with the job in it, how far it is, and for how long it runs."""
        state, plan = self.state, self.plan
        if not state.stations:
            y = self.belt - 32 if plan.beside else self.slots
            place = {"x": plan.slots, "y": y, "width": plan.slot_width, "height": 31}
            drawn: Attributes = {"rx": 5, "fill": "none", "class_": "cvp-line", "stroke": "#8a929c"}
            box = el("rect", stroke_dasharray="4 3", **place, **drawn)
            told = "other jobs run" if state.workers else "no worker"  # a flow's slots may be taken
            return [box, soft(plan.slots + 12, y + 20, told, 11)]
        parts = []
        for number, station in enumerate(state.stations):
            x, y = self._spot(number)
            parts.append(group(x, y, *self._station(station)))
            if station.job is not None:
                self._put(station.job, x + 3, y + 2.5)
        if state.more_stations:
            x, y = self._spot(len(state.stations))
            parts.append(soft(x + 4, y + 16, f"+{state.more_stations:,} slots", 11))
        return parts

    def _spot(self, place: int) -> tuple[float, float]:
        """Where a slot is."""
        plan = self.plan
        row, column = divmod(place, plan.columns)
        return plan.slots + column * (plan.slot_width + 12), self.first_slot + row * plan.row

    def _whose(self, station: Station) -> str:
        """Whose slot it is; one that nobody knows of is not gone as long as its lock holds."""
        if station.worker is not None:
            return brief(station.worker.name, 14)
        if station.job is None or has_run_out(station.job, self.state.now):
            return "worker gone"
        return brief(station.job.locked_by or "", 14)

    def _station(self, station: Station) -> list[Element]:
        job, width = station.job, self.plan.slot_width
        edge: Attributes = {"stroke": "#b4bcc6" if job is None else _ACTIVE, "stroke_width": 1.2}
        box = el("rect", class_="cvp-box", fill="#f6f8fa", width=width, height=31, rx=5, **edge)
        whose = self._whose(station)
        if job is None:
            return [box, soft(10, 19, f"{whose}: {'paused' if station.is_paused else 'free'}", 11)]
        assert job.processed_at is not None, "it is active"
        took = about(max(0.0, (self.state.now - job.processed_at).total_seconds()))
        attempt = job.attempt_logs[-1].attempt if job.attempt_logs else 1
        told = f"{took} ↺{attempt}" if attempt > 1 else took
        room = width - (66 if attempt == 1 else 73) - text_width(told, 10)
        parts = [
            box,
            text(55, 14, told, 10),
            soft(width - 7, 14, brief(whose, max(1, int(room / 5.6))), 10, text_anchor="end"),
        ]
        if job.progress:
            whole, bar = width - 62, {"x": 55, "y": 20, "height": 4, "rx": 2}
            parts += [
                el("rect", width=whole, class_="cvp-belt", fill="#e3e6ea", **bar),
                el("rect", width=whole * job.progress / 100, fill=_ACTIVE, **bar),
            ]
        return parts

    # -- the trays ----------------------------------------------------------------------------

    def _trays(self) -> list[Element]:
        """What has completed, and what has failed."""
        state, plan = self.state, self.plan
        ended = ((JobState.COMPLETED, state.completed), (JobState.FAILED, state.failed))
        parts: list[Element] = []
        for (one, jobs), left, y in zip(ended, plan.trays, self.trays, strict=True):
            colour, count = STATE_LOOKS[one].colour, state.counts[one]
            for place, job in enumerate(jobs[:2]):
                self._put(job, left + 14 + place * (_WIDE + _GAP + 3), y - _HIGH - 3, edge=colour)
            tray = f"M{left} {y - 18}V{y}H{left + plan.tray_width}V{y - 18}"
            look: Attributes = {"fill": "none", "stroke": colour, "stroke_width": 2}
            label, bad = f"{count:,} {state_word(one)}", one is JobState.FAILED and count > 0
            parts += [
                el("path", d=tray, stroke_opacity=1 if count else 0.4, **look),
                state_mark(one, left, y + 5),
                text(left + 17, y + 15, label, 11, font_weight="700" if bad else None),
            ]
        return parts

    # -- names and pieces ---------------------------------------------------------------------

    def _names(self, top: float) -> tuple[list[Element], int]:
        """Which look is that of which jobs, of those that are seen; and in how many lines."""
        parts: list[Element] = []
        x, line = float(self.plan.left), 0
        for name, look in self.looks.items():
            told = brief(name, 24)
            needed = 17 + text_width(told, 11)
            if x + needed > self.plan.right:
                x, line = float(self.plan.left), line + 1
            y = top + 18 * line
            parts += [mark(look, x, y - 10, 11), soft(x + 16, y, told, 11)]
            x += needed + 16
        return parts, line + 1 if self.looks else 0

    def _put(
        self, job: JobData, x: float, y: float, *, edge: str | None = None, dashed: bool = False
    ) -> None:
        """Put the piece of a job somewhere."""
        drawn = piece(
            self.looks[self.label(job)], end_of(job.id), job_words(job), edge=edge, dashed=dashed
        )
        key, whose = job.id, {}
        if self.state.is_flow:
            key = f"{len(job.queue_name)} {job.queue_name} {job.id}"
            whose = {"data_queue": job.queue_name, "data_job": job.id}
        # by its key, as a job that changes its state between two reads may be seen twice
        self.pieces[key] = group(x, y, *drawn[2:], data_key=key, **whose, class_="cvp-piece")
