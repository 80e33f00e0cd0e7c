"""Where things are in the picture of a queue: on a wide page, and on a narrow one."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["LIVE", "LIVE_NARROW", "NARROW", "WIDE", "Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The places of a picture, in its own units; a page scales it.

    Args:
        width: that of the picture.
        told: whether the rate stands beside the name, and not in a line of its own.
        belt_end: where the belt ends.
        pieces: how many jobs are seen on the belt.
        delayed: how many on the shelf.
        columns: in how many columns the slots stand.
        beside: whether slots and trays stand beside the belt, and not below it.
        slots: where the slots begin.
        slot_width: how wide one is.
        trays: where each tray begins.
        tray_width: how wide one is.
        is_live: whether it is a part of a panel, which tells the name and the counts itself, and
            which is to keep its height whatever comes.
    """

    width: int
    told: bool
    belt_end: int
    pieces: int
    delayed: int
    columns: int
    beside: bool
    slots: int
    slot_width: int
    trays: tuple[int, int]
    tray_width: int
    is_live: bool = False
    left: int = 20
    row: int = 36

    @property
    def right(self) -> int:
        """Where the picture ends on the right."""
        return self.width - 20


WIDE = Plan(
    width=920,
    told=True,
    belt_end=560,
    pieces=10,
    delayed=5,
    columns=1,
    beside=True,
    slots=600,
    slot_width=150,
    trays=(772, 772),
    tray_width=128,
)
NARROW = Plan(
    width=380,
    told=False,
    belt_end=330,
    pieces=5,
    delayed=3,
    columns=2,
    beside=False,
    slots=20,
    slot_width=164,
    trays=(20, 196),
    tray_width=164,
)

LIVE, LIVE_NARROW = (replace(plan, is_live=True) for plan in (WIDE, NARROW))
"""The same in a panel."""
