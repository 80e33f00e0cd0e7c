"""A ring of progress: how many of a parent's children have completed, failed, and run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import pi

from conveyor_nb.core.model import ACTIVE, COMPLETED, FAILED, JobData, JobState
from conveyor_nb.notebook.pictures.pieces import STATE_LOOKS
from conveyor_nb.notebook.pictures.svg import Element, el

__all__ = ["ring", "tally"]

_RADIUS = 8.0
_AROUND = 2 * pi * _RADIUS
_SIZE = 22.0
_DRAWN = (COMPLETED, FAILED, ACTIVE)


def tally(parent: JobData, children: Iterable[JobData]) -> dict[JobState, int]:
    """How many children of a parent are in each state; those that were removed had completed.

    >>> tally(JobData("sum", "sum", "sums", children_ids=("a", "b")), [])[COMPLETED]
    2
    """
    counts = dict.fromkeys(JobState, 0)
    kept = 0
    for child in children:
        counts[child.state] += 1
        kept += 1
    counts[COMPLETED] += max(0, len(parent.children_ids) - kept)
    return counts


def ring(counts: Mapping[JobState, int]) -> Element:
    """The ring: what has completed, then what failed, then what runs, on a track of what waits.

    >>> ring({COMPLETED: 1, FAILED: 1})[1]["aria-label"]
    '1 of 2 completed, 1 failed'
    """
    total = sum(counts.values())
    arcs: list[Element] = []
    turned = 0.0
    for state in _DRAWN:
        share = counts.get(state, 0) / total if total else 0.0
        if share:
            arcs.append(_arc(share, turned, STATE_LOOKS[state].colour, thin=state is ACTIVE))
        turned += share
    failed = counts.get(FAILED, 0)
    told = f"{counts.get(COMPLETED, 0)} of {total} completed{f', {failed} failed' * bool(failed)}"
    track = el(
        "circle",
        cx=11,
        cy=11,
        r=_RADIUS,
        fill="none",
        stroke="#8a94a0",
        stroke_opacity=0.3,
        stroke_width=4,
    )
    return el(
        "svg",
        *(track, *arcs),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_SIZE:g} {_SIZE:g}",
        width=_SIZE,
        height=_SIZE,
        role="img",
        aria_label=told,
    )


def _arc(share: float, turned: float, colour: str, *, thin: bool) -> Element:
    """A part of the ring, from the top on and clockwise; what runs is thinner than what is over."""
    return el(
        "circle",
        cx=11,
        cy=11,
        r=_RADIUS,
        fill="none",
        stroke=colour,
        stroke_width=2 if thin else 4,
        stroke_dasharray=f"{share * _AROUND:.2f} {_AROUND:.2f}",
        transform=f"rotate({turned * 360 - 90:.1f} 11 11)",
    )
