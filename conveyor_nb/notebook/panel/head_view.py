"""The head of a queue's panel: its name, its pauses, its clock, and how many jobs it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from conveyor_nb.clocks.clock import Clock, SystemClock
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import ALL_NAMES
from conveyor_nb.notebook.panel.view import Action, Glance, View

__all__ = ["HeadView", "speed_of"]


class HeadView(View):
    """What is said of the queue as a whole."""

    part: ClassVar[str] = "head"

    async def read(self, glance: Glance) -> dict[str, Any]:
        clock, paused = self.queue.store.clock, glance.paused_names
        return {
            "name": self.queue.name,
            "paused": ALL_NAMES in paused,
            "paused_names": sorted(paused - {ALL_NAMES}),
            "read_only": self.read_only,
            "counts": {str(state): count for state, count in glance.counts.items()},
            "now": clock.now().timestamp(),
            "speed": speed_of(clock),
        }

    def acts(self) -> Mapping[str, Action]:
        queue = self.queue
        return {
            "pause": lambda _: queue.pause(),
            "resume": lambda _: queue.resume(),
        }


def speed_of(clock: Clock) -> float:
    """How many of the clock's seconds pass in a real one: the page counts ages up by itself."""
    if isinstance(clock, VirtualClock):
        return 0.0
    return 1.0 if isinstance(clock, SystemClock) else float(getattr(clock, "speed", 1.0))
