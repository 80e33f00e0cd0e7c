"""How the jobs of a queue divide into states, as a bar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from conveyor_nb.core.model import JobState
from conveyor_nb.notebook.pictures.pieces import STATE_LOOKS
from conveyor_nb.notebook.pictures.svg import Element, el

__all__ = ["BAR_ORDER", "REST", "shares", "state_bar"]

BAR_ORDER = (
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.ACTIVE,
    JobState.DELAYED,
    JobState.WAITING_CHILDREN,
    JobState.WAITING,
)
"""The states from left to right."""

REST = "#c3c9d1"
"""The colour of what waits: the part of the bar that is not done yet."""

_WIDE, _HIGH = 200.0, 9.0
_GAP = 2.0


def shares(
    counts: Mapping[JobState, int], left: float, width: float
) -> Iterator[tuple[JobState, float, float]]:
    """Of each state that has jobs: where its part of the bar begins, and how wide it is.

    Even a single job among thousands is seen.

    >>> [(str(state), x, wide) for state, x, wide in shares({JobState.FAILED: 3}, 10, 100)]
    [('failed', 10, 100.0)]
    """
    present = [state for state in BAR_ORDER if counts.get(state)]
    total = sum(counts[state] for state in present)
    wanted = [max(4.0, width * counts[state] / total) for state in present]
    scale = (width - _GAP * (len(present) - 1)) / sum(wanted) if wanted else 0.0
    x = left
    for state, share in zip(present, wanted, strict=True):
        yield state, x, share * scale
        x += share * scale + _GAP


def state_bar(counts: Mapping[JobState, int]) -> Element:
    """The bar as a picture of its own, for a line of a table."""
    parts = [
        el("rect", x=x, y=0, width=wide, height=_HIGH, rx=2, fill=_colour(state))
        for state, x, wide in shares(counts, 0.0, _WIDE)
    ]
    ground = el("rect", width=_WIDE, height=_HIGH, rx=2, fill=REST, fill_opacity=0.35)
    return el(
        "svg",
        *(parts or [ground]),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDE:g} {_HIGH:g}",
        width=_WIDE,
        height=_HIGH,
    )


def _colour(state: JobState) -> str:
    return REST if state is JobState.WAITING else STATE_LOOKS[state].colour
