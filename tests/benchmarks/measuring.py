"""How the benchmarks measure: what a figure is, and how its samples are taken.

The collector runs as it does in any program: it is neither off nor tuned, and a full collection
before each sample gives all of them the same start. Figures are medians.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

__all__ = ["MICRO", "PAYLOAD", "Figure", "Plan", "Sample", "Stopwatch", "medians", "relative"]

MICRO = 1e6
"""Microseconds in a second."""

PAYLOAD = {"to": "ada@example.org", "subject": "hello", "attempt": 1}
"""The small payload that every job has."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What something took once, in seconds: by the clock on the wall, and of the processor."""

    wall: float
    cpu: float


class Stopwatch:
    """Measures the body of a ``with`` statement."""

    def __enter__(self) -> Stopwatch:
        gc.collect()
        self._cpu = time.process_time()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        wall = time.perf_counter() - self._wall
        self.sample = Sample(wall, time.process_time() - self._cpu)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a report: the median of its samples.

    Args:
        group: what is measured.
        name: of whom, or in which condition.
        size: with how many jobs, or whatever the group counts.
        unit: what the number counts.
        samples: what was measured, each time.
        cpu: the median of the processor's time, where it may differ from the wall's.
        at_most: the target.
        small: the same figure at a small size.
        at_most_ratio: the target for the ratio to that.
        remark: what the reader should know.
    """

    group: str
    name: str
    size: int
    unit: str
    samples: tuple[float, ...]
    cpu: float | None = None
    at_most: float | None = None
    small: float | None = None
    at_most_ratio: float | None = None
    remark: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """How many times the figure at the small size this one is."""
        return self.value / self.small if self.small else None

    @property
    def is_met(self) -> bool | None:
        """Whether the figure is within its targets; ``None``: it has none."""
        verdicts = []
        if self.at_most is not None:
            verdicts.append(self.value <= self.at_most)
        if self.at_most_ratio is not None and self.ratio is not None:
            verdicts.append(self.ratio <= self.at_most_ratio)
        return all(verdicts) if verdicts else None


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        sizes: numbers of jobs, the smallest first.
        repeats: samples of each figure.
        say: told of what is being done.
    """

    sizes: tuple[int, ...]
    repeats: int
    say: Callable[[str], None] = lambda _: None

    def up_to(self, most: int) -> int:
        """The largest of the sizes, but not more than ``most``."""
        return min(self.sizes[-1], most)

    def rounds(self, what: str) -> Iterator[int]:
        """Count the repeats, and say so."""
        for number in range(self.repeats):
            self.say(f"{what}: {number + 1} of {self.repeats}")
            yield number


def relative(figures: Iterable[Figure], *, at_most_ratio: float | None = None) -> list[Figure]:
    """Give each figure the ratio to the first of its group and name, the small size."""
    first: dict[tuple[str, str], Figure] = {}
    related: list[Figure] = []
    for figure in figures:
        small = first.setdefault((figure.group, figure.name), figure)
        if figure.size > small.size:
            figure = replace(figure, small=small.value, at_most_ratio=at_most_ratio)
        related.append(figure)
    return related


def medians(samples: Sequence[Sample], count: int) -> tuple[tuple[float, ...], float]:
    """Samples of ``count`` pieces in microseconds a piece: of the wall, and the median of CPU."""
    wall = tuple(sample.wall / count * MICRO for sample in samples)
    return wall, statistics.median(sample.cpu for sample in samples) / count * MICRO
