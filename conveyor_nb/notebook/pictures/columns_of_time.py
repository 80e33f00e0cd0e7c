"""Metrics as a few columns: several minutes or hours together, where there are very many."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from conveyor_nb.core.metrics import MetricsPoint
from conveyor_nb.core.model import EPOCH

__all__ = ["Column", "Spread", "columns_of"]


@dataclass(frozen=True, slots=True)
class Spread:
    """How long jobs took, in seconds.

    Args:
        middle: the median; of several periods the median of theirs, which is near it.
        high: 95 % took less; of several periods the largest of theirs, so that it holds for all.
    """

    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Column:
    """What settled in a span of time.

    Args:
        start: when it begins; likewise ``end``.
        completed: how many jobs completed; likewise ``failed``.
        ran: how long they ran; ``None``: none was taken by a worker. Likewise ``waited``.
        is_exact: whether it is one period, and no others with it.
    """

    start: datetime
    end: datetime
    completed: int
    failed: int
    ran: Spread | None
    waited: Spread | None
    is_exact: bool


def columns_of(points: Iterable[MetricsPoint], width: timedelta) -> list[Column]:
    """The columns of that width, the oldest first; one in which nothing settled is left out."""
    found: dict[datetime, list[MetricsPoint]] = defaultdict(list)
    for point in points:
        found[EPOCH + (point.start - EPOCH) // width * width].append(point)
    return [_column(start, start + width, found[start]) for start in sorted(found)]


def _column(start: datetime, end: datetime, points: Sequence[MetricsPoint]) -> Column:
    return Column(
        start,
        end,
        completed=sum(point.completed for point in points),
        failed=sum(point.failed for point in points),
        ran=_spread(
            [(point, point.processing_p50, point.processing_p95) for point in points],
        ),
        waited=_spread(
            [(point, point.waiting_p50, point.waiting_p95) for point in points],
        ),
        is_exact=points[0].end - points[0].start >= end - start,
    )


def _spread(told: Iterable[tuple[MetricsPoint, float | None, float | None]]) -> Spread | None:
    known = [
        (middle, high, point.completed + point.failed)
        for point, middle, high in told
        if middle is not None and high is not None
    ]
    if not known:
        return None
    known.sort()
    below = list(itertools.accumulate(jobs for *_, jobs in known))  # each counts as its jobs do
    place = bisect_left(below, below[-1] / 2)
    return Spread(known[place][0], max(high for _, high, _ in known))
