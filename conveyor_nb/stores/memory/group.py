"""The waiting jobs of one group, in order of service."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter

from sortedcontainers import SortedList

from conveyor_nb.core.model import JobData
from conveyor_nb.core.options.worker_options import GroupLimits, Limiter
from conveyor_nb.core.turns import Place, place_of
from conveyor_nb.stores.memory.limits import SlidingWindow

__all__ = ["FEW", "Group", "Shelf"]

FEW = 8
"""Heaps with no more entries than this that don't hold are left alone."""


Shelf = tuple[Limiter | None, int]
"""Which groups lie together: those held back by one rate limit, or by none, equally busy."""

_IN_LANE = -1
"""Marks a place that comes from its lane, and not from the heap of what is offered."""


class Group:
    """The jobs of one group that wait, by name, and what its limits need to know."""

    __slots__ = (
        "active",
        "heads",
        "held_by",
        "held_until",
        "id",
        "lanes",
        "lingers",
        "offered",
        "order",
        "paused_names",
        "served",
        "spot",
        "window",
    )

    def __init__(self, group_id: str | None, order: int, paused_names: set[str]) -> None:
        self.id = group_id
        self.order = order
        self.paused_names = paused_names
        self.lanes: dict[str, deque[Place] | SortedList] = {}
        self.heads: dict[str, Place] = {}
        self.offered: list[tuple[Place, str]] = []
        self.active = 0
        self.served = 0
        self.window = SlidingWindow()
        self.held_by: Limiter | None = None
        """The rate limit that holds it back; to those who ask with another one it does not."""
        self.held_until: datetime | None = None
        self.lingers = False
        """Whether it is among those that are over, but not for its rate limit."""
        self.spot: tuple[Shelf, int] | None = None

    def is_over(self) -> bool:
        """Whether nothing refers to it."""
        return not (self.active or self.lanes or self.held_by or self.lingers)

    def add(self, name: str, place: Place) -> None:
        lane = self.lanes.get(name)
        if lane is None:
            self.lanes[name] = deque((place,))
            self._lead(name, place)
        elif isinstance(lane, deque) and place > lane[-1]:
            lane.append(place)
        else:
            self._sorted(name).add(place)
            if place < self.heads[name]:
                self._lead(name, place)

    def remove(self, job: JobData) -> None:
        name = job.name
        lane, first = self.lanes[name], self.heads[name]
        if first.id != job.id:
            self._sorted(name).remove(place_of(job))
            return
        if isinstance(lane, deque):
            lane.popleft()
        else:
            lane.pop(0)
        if not lane:
            del self.lanes[name], self.heads[name]
        elif self.offered and self.offered[0][0] is first:  # as most often: it was the next
            self.heads[name] = head = lane[0]
            heapq.heapreplace(self.offered, (head, name))
        else:
            self._lead(name, lane[0])

    def offer(self, name: str) -> None:
        """Note that the first job of a lane may be served."""
        heapq.heappush(self.offered, (self.heads[name], name))
        if len(self.offered) > 2 * len(self.heads) + FEW:
            offered = self.heads.items()
            self.offered = [(head, one) for one, head in offered if one not in self.paused_names]
            heapq.heapify(self.offered)

    def offers(self) -> bool:
        """Whether there is a job to serve; drops what no longer holds from the top."""
        offered = self.offered
        while offered:
            place, name = offered[0]
            if self.heads.get(name) is place and name not in self.paused_names:
                return True
            heapq.heappop(offered)
        return False

    def newest(self) -> str:
        """The youngest job of the best priority that is offered."""
        best = self.offered[0][0].priority
        candidates: list[Place] = []
        for name, head in self.heads.items():
            if head.priority == best and name not in self.paused_names:
                lane = self._sorted(name)
                candidates += (head, lane[lane.bisect_right(Place(best, float("inf"), "")) - 1])
        return max(candidates, key=lambda place: abs(place.turn)).id

    def in_turn(self, *, lifo: bool) -> Iterator[str]:
        """The ids of the jobs that it offers, in order of service; it must not change meanwhile."""
        return map(attrgetter("id"), self._newest_first() if lifo else self._first_to_last())

    def _first_to_last(self) -> Iterator[Place]:
        """Each entry of the heap is looked at when those above it have had their turn."""
        offered, begun = self.offered, set[str]()
        ahead: list[tuple[Place, int, Iterator[Place]]] = []
        if offered:
            ahead.append((offered[0][0], 0, iter(())))
        while ahead:
            place, at, lane = heapq.heappop(ahead)
            if at != _IN_LANE:
                for below in range(2 * at + 1, min(2 * at + 3, len(offered))):
                    heapq.heappush(ahead, (offered[below][0], below, iter(())))
                name = offered[at][1]
                if name in begun or name in self.paused_names or self.heads.get(name) is not place:
                    continue
                begun.add(name)
                lane = iter(self.lanes[name])
                next(lane)
            yield place
            following = next(lane, None)
            if following is not None:
                heapq.heappush(ahead, (following, _IN_LANE, lane))

    def _newest_first(self) -> Iterator[Place]:
        names = [name for name in self.heads if name not in self.paused_names]
        lanes = [_newest_in(self._sorted(name)) for name in names]
        return heapq.merge(*lanes, key=lambda place: (place.priority, -abs(place.turn)))

    def room(self, limits: GroupLimits | None, now: datetime) -> int | None:
        """How many of its jobs may start now; ``None``: any number."""
        if limits is None or self.id is None:
            return None
        rooms: list[int] = []
        if limits.concurrency is not None:
            rooms.append(max(0, limits.concurrency - self.active))
        if limits.limiter is not None:
            rooms.append(self.window.room(limits.limiter, now))
        return min(rooms, default=None)

    def _sorted(self, name: str) -> SortedList:
        """A lane that something happens to elsewhere than at its ends; it stays sorted from then.

        Most lanes are added to at one end and taken from at the other, which a deque does best.
        """
        lane = self.lanes[name]
        if isinstance(lane, deque):
            lane = self.lanes[name] = SortedList(lane)
        return lane

    def _lead(self, name: str, place: Place) -> None:
        """Note the first job of a lane."""
        self.heads[name] = place
        self.offer(name)


def _newest_in(lane: SortedList) -> Iterator[Place]:
    """The places of a lane, of each priority the newest first, be the job ``lifo`` or not."""
    start = 0
    while start < len(lane):
        priority = lane[start].priority
        older = lane.bisect_left(
            Place(priority, 0, "")
        )  # before it are ``lifo`` jobs, the newest first
        end = lane.bisect_left(Place(priority, float("inf"), ""))
        newest_first = lane.islice(start, older), lane.islice(older, end, reverse=True)
        yield from heapq.merge(*newest_first, key=lambda place: -abs(place.turn))
        start = end
