"""How a queue did in the last minute: what completed and what failed in each second of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import COMPLETED, FAILED, EventType, StoreEvent
from conveyor_nb.notebook.panel.view import Glance, View
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface

__all__ = ["Pulse", "PulseView", "read_pulse"]

SECONDS = 60
_FOR_RATE = 5
_MOST_READ = 200
_MOST_KEPT = 4 * SECONDS
_EACH_SECOND = 1.0

_PLACES: Mapping[str, int] = {EventType.COMPLETED: 0, EventType.FAILED: 1}


class Pulse:
    """Counts what settles, by the second of the store's clock; a minute of it is kept."""

    def __init__(self) -> None:
        self._counts: dict[int, list[int]] = {}

    def add(self, events: Iterable[StoreEvent]) -> None:
        """Count the jobs that have settled; all else is passed over."""
        for event in events:
            if event.type in _PLACES:
                self._count(event.timestamp, _PLACES[event.type])

    def add_settled(self, instants: Sequence[datetime], *, failed: bool) -> None:
        """Count jobs by when they settled, in order of time or against it."""
        if instants and int(instants[0].timestamp()) == int(instants[-1].timestamp()):
            self._count(instants[0], int(failed), len(instants))
            return
        for at in instants:
            self._count(at, int(failed))

    def told(self, now: datetime) -> dict[str, Any]:
        """Each second of the last minute, and how many settle in one; nothing if none did."""
        second = int(now.timestamp())
        last = [self._counts.get(one, (0, 0)) for one in range(second - SECONDS + 1, second + 1)]
        if not any(map(any, last)):
            return {"done": [], "failed": [], "rate": 0.0}
        done, failed = zip(*last, strict=True)
        recent = last[-_FOR_RATE - 1 : -1]  # the second that is under way is not whole
        rate = sum(map(sum, recent)) / _FOR_RATE
        return {"done": list(done), "failed": list(failed), "rate": round(rate, 1)}

    def _count(self, at: datetime, place: int, number: int = 1) -> None:
        second = int(at.timestamp())
        counts = self._counts.get(second)
        if counts is None:
            counts = self._counts[second] = [0, 0]
            if len(self._counts) > _MOST_KEPT:
                for old in sorted(self._counts)[:-SECONDS]:
                    del self._counts[old]
        counts[place] += number


async def read_pulse(store: StoreInterface, queue_name: str, most: int = _MOST_READ) -> Pulse:
    """The pulse of a queue by the last jobs that settled: of a busy one, of less than a minute.

    Args:
        store: the store.
        queue_name: the queue's name.
        most: how many jobs are read of each state.
    """
    pulse = Pulse()
    for state in (COMPLETED, FAILED):
        jobs = await store.list_jobs(queue_name, state, 0, most, newest_first=True)
        instants = (job.completed_at or job.failed_at for job in jobs)
        pulse.add_settled([at for at in instants if at is not None], failed=state is FAILED)
    return pulse


class PulseView(View):
    """The last minute of a queue, as a little chart."""

    part: ClassVar[str] = "pulse"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._pulse: Pulse | None = None
        self._beats = False

    async def read(self, glance: Glance) -> dict[str, Any]:
        if self._pulse is None:
            self._pulse = await read_pulse(self.queue.store, self.queue.name)
        told = self._pulse.told(self.queue.store.clock.now())
        self._beats = bool(told["done"])
        return told

    @property
    def again(self) -> float | None:
        goes = not isinstance(self.queue.store.clock, VirtualClock)
        return _EACH_SECOND if self._beats and goes else None

    def note(self, events: Sequence[StoreEvent]) -> None:
        if self._pulse is not None:
            self._pulse.add(events)

    def count(self, instants: Sequence[datetime], *, failed: bool) -> None:
        if self._pulse is not None:
            self._pulse.add_settled(instants, failed=failed)

    def retell(self, events: Sequence[StoreEvent]) -> None:
        self._pulse = None

    def rest(self) -> None:
        self._pulse = None  # what settles meanwhile comes to nobody's ears
