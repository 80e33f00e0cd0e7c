"""Attempts that are too many to be told apart are drawn as one bar: which of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from conveyor_nb.notebook.pictures.timeline_state import Bar

__all__ = ["GRAVEST", "Run", "runs_of"]

GRAVEST = ("failed", "put back", "running", "completed")
"""Outcomes, those first that are to be seen."""

_GRAIN = 0.75
"""What is narrower than this, and as near to its neighbour, can't be seen by itself."""

_NEAR = 12.0
"""As far apart neighbours may be that went alike and are drawn as one."""

Placed = tuple[Bar, str, float, float]
"""An attempt, how it ended, and where it begins and ends."""


class Run:
    """What is drawn as one bar: an attempt, or neighbours that are too many to be told apart.

    Args:
        bars: the attempts.
        left: where the first one begins.
        right: where the last one ends.
        counts: how many of them ended in each way.
    """

    __slots__ = ("bars", "counts", "left", "right")

    def __init__(self, bars: list[Bar], left: float, right: float, counts: Counter[str]) -> None:
        self.bars = bars
        self.left = left
        self.right = right
        self.counts = counts

    @property
    def outcome(self) -> str:
        """The gravest: a failure is seen, however many go well beside it."""
        return next(one for one in GRAVEST if one in self.counts)

    @property
    def is_alike(self) -> bool:
        """Whether all its attempts ended in one way."""
        return len(self.counts) == 1

    def joined(self, other: Run) -> Run:
        """It and the one after it as one."""
        right = max(self.right, other.right)
        return Run(self.bars + other.bars, self.left, right, self.counts + other.counts)


def runs_of(placed: Sequence[Placed], most: int, width: float) -> list[Run]:
    """The bars to draw, at most so many if that is possible at all, lane by lane.

    Neighbours that completed become one first, so that each failure is still seen by itself; where
    that does not do, neighbours become one whatever became of them.
    """
    runs = _merged(placed, _GRAIN)
    if len(runs) <= most:
        return runs
    alike = _merged_alike(runs, most)
    if len(alike) <= most:
        return alike
    grain = _GRAIN
    while len(runs) > most and grain <= width:
        grain *= 2
        runs = _merged(placed, grain)
    return runs


def _merged(placed: Iterable[Placed], grain: float) -> list[Run]:
    """Those narrower than ``grain`` join one that is as near before them."""
    lanes: dict[int, list[Run]] = defaultdict(list)
    for bar, outcome, left, right in placed:
        own = lanes[bar.lane]
        last = own[-1] if own else None
        near = last is not None and left - last.right < grain and right - last.left < 2 * grain
        if last is not None and near:
            last.bars.append(bar)
            last.counts[outcome] += 1
            last.right = max(last.right, right)
        else:
            own.append(Run([bar], left, right, Counter((outcome,))))
    return [run for lane in sorted(lanes) for run in lanes[lane]]


def _merged_alike(runs: Sequence[Run], most: int) -> list[Run]:
    """Neighbours that completed become one, the narrowest first, until there are few enough."""
    shown = list(runs)
    while len(shown) > most:
        widths = sorted(
            (after.right - before.left, place)
            for place, (before, after) in enumerate(pairwise(shown))
            if _may_join(before, after)
        )
        joined: set[int] = set()
        for _, place in widths[: len(shown) - most]:
            if not {place - 1, place + 1} & joined:
                joined.add(place)
        if not joined:
            break
        shown = [
            run.joined(shown[place + 1]) if place in joined else run
            for place, run in enumerate(shown)
            if place - 1 not in joined
        ]
    return shown


def _may_join(before: Run, after: Run) -> bool:
    return (
        before.bars[0].lane == after.bars[0].lane
        and before.outcome == after.outcome == GRAVEST[-1]
        and after.left - before.right < _NEAR
    )
