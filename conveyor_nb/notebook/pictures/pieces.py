"""How a job looks in a picture: its colour and shape by its name, a state's by the state.

Colours are told apart by eyes that see few of them (after Okabe and Ito), and never alone: each
goes with a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from zlib import crc32

from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.notebook.pictures.svg import Element, at, el

__all__ = [
    "LABELS",
    "PIECE",
    "SERIES_LOOKS",
    "STATE_LOOKS",
    "Look",
    "looks_by",
    "looks_of",
    "mark",
    "piece",
    "state_mark",
]

PIECE = (46.0, 26.0)
"""The width and height of a job's piece."""


class Look(NamedTuple):
    """A colour, and the outline on a 12 x 12 grid that goes with it."""

    colour: str
    outline: str


_COLOURS = ("#0072b2", "#b85c00", "#00805f", "#a8508a", "#3d7ea6", "#8a6d00")
_OUTLINES = (
    "M6 1.6a4.4 4.4 0 1 0 0 8.8a4.4 4.4 0 1 0 0-8.8Z",  # a disc
    "M2 2H10V10H2Z",  # a square
    "M6 1.4L10.8 10H1.2Z",  # a triangle
    "M6 .9L11.1 6L6 11.1L.9 6Z",  # a diamond
    "M6 1L10.8 4.5L9 10.2H3L1.2 4.5Z",  # a pentagon
    "M4.2 1.4H7.8V4.2H10.6V7.8H7.8V10.6H4.2V7.8H1.4V4.2H4.2Z",  # a cross
)

SERIES_LOOKS = tuple(map(Look, _COLOURS, _OUTLINES))
"""How what is told apart in a chart looks, one after the other."""

STATE_LOOKS: Mapping[JobState, Look] = {
    JobState.COMPLETED: Look("#2e7d4f", "M2.2 6.4L4.9 9L9.8 3.4"),
    JobState.FAILED: Look("#c0392b", "M3 3L9 9M9 3L3 9"),
    JobState.ACTIVE: Look("#2f6fb2", "M4 2.6L9.4 6L4 9.4Z"),
    JobState.DELAYED: Look(
        "#a1640d", "M6 1.8a4.2 4.2 0 1 0 0 8.4a4.2 4.2 0 1 0 0-8.4M6 3.8V6.2L7.7 7.1"
    ),
    JobState.WAITING: Look("#6d7885", "M6 1.8a4.2 4.2 0 1 0 0 8.4a4.2 4.2 0 1 0 0-8.4"),
    JobState.WAITING_CHILDREN: Look("#7a55b8", "M6 2.4V6M3 9.6V7.2Q3 6 4.2 6H7.8Q9 6 9 7.2V9.6"),
}


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """The looks of job names: each name its own colour, as far as these go.

    A name has the same look in every picture and every process, unless it shares its colour with
    one that comes before it in the alphabet.

    >>> looks = looks_of(["send", "bounce"])
    >>> looks == looks_of(["bounce", "send"]) and looks["send"] != looks["bounce"]
    True
    """
    looks: dict[str, Look] = {}
    free: list[int] = []
    for name in sorted(set(names)):
        free = free or list(range(len(_COLOURS)))
        wanted = crc32(name.encode("utf-8", "surrogatepass")) % len(_COLOURS)
        place = min(free, key=lambda one: (one - wanted) % len(_COLOURS))
        free.remove(place)
        looks[name] = Look(_COLOURS[place], _OUTLINES[place])
    return looks


LABELS: Mapping[str, Callable[[JobData], str]] = {
    "name": lambda job: job.name,
    "group": lambda job: "no group" if job.group_id is None else job.group_id,
    "priority": lambda job: f"priority {job.priority:g}",
    "state": lambda job: str(job.state),
}
"""What jobs are told apart by: each gives what jobs of one look have in common."""


def looks_by(by: str, jobs: Iterable[JobData]) -> dict[str, Look]:
    """The looks of jobs by one of ``LABELS``; states have the colours that they have elsewhere."""
    if by == "state":
        places = {str(state): place for place, state in enumerate(STATE_LOOKS)}
        seen = sorted({str(job.state) for job in jobs}, key=places.__getitem__)
        return {
            state: Look(STATE_LOOKS[JobState(state)].colour, _OUTLINES[places[state]])
            for state in seen
        }
    return looks_of(map(LABELS[by], jobs))


def mark(look: Look, x: float, y: float, size: float = 12) -> Element:
    """A filled outline, its upper left corner at ``x`` and ``y``."""
    place = f"{at(x, y)} scale({size / 12:.3g})"
    return el("path", d=look.outline, fill=look.colour, transform=place)


def state_mark(state: JobState, x: float, y: float) -> Element:
    """The outline of a state, drawn as a line."""
    look = STATE_LOOKS[state]
    return el(
        "path",
        d=look.outline,
        fill="none",
        stroke=look.colour,
        stroke_width=1.6,
        stroke_linecap="round",
        stroke_linejoin="round",
        transform=at(x, y),
    )


def piece(
    look: Look, label: str, told: str, *, edge: str | None = None, dashed: bool = False
) -> Element:
    """A job as a piece on the belt.

    Args:
        look: that of its name.
        label: what stands on it: the end of its id.
        told: what is said of it when somebody points at it.
        edge: the colour of its edge, if not that of its name.
        dashed: whether its edge is broken, as that of one that is not on its way.
    """
    width, height = PIECE
    return el(
        "g",
        el("title", told),
        el(
            "rect",
            width=width,
            height=height,
            rx=5,
            fill=look.colour,
            fill_opacity=0.16,
            stroke=edge or look.colour,
            stroke_width=1.4,
            stroke_dasharray="3 2" if dashed else None,
        ),
        mark(look, 4.5, 7),
        el(
            "text",
            label,
            x=31.5 if len(label) < 4 else 30.5,
            y=17,
            font_size=10 if len(label) < 4 else 9,
            text_anchor="middle",
            class_="cvp-ink",
            fill="#23282e",
        ),
    )
