"""The waiting jobs of a queue, in order of service.

Jobs lie in lanes, one for each job name of a group, each lane sorted by (priority, place). A
group offers the head of each lane that is not paused; groups that offer something are served in
turn. Adding, removing and choosing cost O(log n) in the jobs, names and groups held.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sortedcontainers import SortedList

from conveyor_nb.model import ALL_NAMES, FetchOptions, JobData
from conveyor_nb.options import GroupLimits
from conveyor_nb.stores.limits import SlidingWindow

__all__ = ["Place", "WaitingIndex", "place_of"]

Place = tuple[float, int, str]
"""Priority, signed insertion counter (negative for a ``lifo`` job), job id."""


def place_of(job: JobData) -> Place:
    """Where a waiting job stands in order of service."""
    return (job.priority, -job.sequence if job.opts.lifo else job.sequence, job.id)


class WaitingIndex:
    """Which job is next, given the paused names, the groups' turns and their limits."""

    def __init__(self) -> None:
        self.paused_names: set[str] = set()
        self._groups: dict[str | None, _Group] = {}
        self._turns = itertools.count(1)
        # Groups that offer a job, by how many of their jobs are active: a cap on that then
        # rules out whole shelves, and the head of each other shelf is its next in turn.
        self._shelves: dict[int, Any] = {}
        self._limited: Any = SortedList()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        """The ids of all waiting jobs by priority and place, paused ones too."""
        lanes = [lane for group in self._groups.values() for lane in group.lanes.values()]
        return (place[2] for place in heapq.merge(*lanes))

    def add(self, job: JobData) -> None:
        """Put a job in its place."""
        group = self._group(job.group_id)
        group.add(job.name, place_of(job), offered=job.name not in self.paused_names)
        self._count += 1
        self._shelve(group)

    def remove(self, job: JobData) -> None:
        """Take a job out, by the place that it was added with."""
        group = self._groups[job.group_id]
        group.remove(job.name, place_of(job))
        self._count -= 1
        self._shelve(group)

    def count_in_group(self, group_id: str | None) -> int:
        """How many jobs of a group wait."""
        group = self._groups.get(group_id)
        return group.count if group else 0

    def active_in_group(self, group_id: str | None) -> int:
        """How many jobs of a group are active."""
        group = self._groups.get(group_id)
        return group.active if group else 0

    def pause(self, name: str) -> None:
        """Offer no more jobs of this name."""
        self.paused_names.add(name)
        self._reoffer(name)

    def resume(self, name: str) -> None:
        """Offer jobs of this name again."""
        self.paused_names.discard(name)
        self._reoffer(name)

    def note_start(self, group_id: str | None, now: datetime) -> None:
        """A job of the group became active: the group has had its turn."""
        group = self._group(group_id)
        group.active += 1
        group.served = next(self._turns)
        group.window.note_start(now)
        self._shelve(group)

    def note_end(self, group_id: str | None) -> None:
        """A job of the group is no longer active."""
        group = self._groups[group_id]
        group.active -= 1
        self._shelve(group)

    def next_id(self, options: FetchOptions, now: datetime) -> str | None:
        """The job to serve now, or ``None``; the job stays where it is."""
        if ALL_NAMES in self.paused_names:
            return None
        group = self._next_group(options.group, now)
        if group is None:
            return None
        return group.newest() if options.lifo else group.first()

    def next_opening(self, after: datetime) -> datetime | None:
        """When, past an instant, the first group held back by a rate limit may be served."""
        first = self._limited.bisect_right((after, _LAST_GROUP))
        return self._limited[first][0] if first < len(self._limited) else None

    def _next_group(self, limits: GroupLimits | None, now: datetime) -> _Group | None:
        cap = limits.concurrency if limits else None
        limiter = limits.limiter if limits else None
        while self._limited and self._limited[0][0] <= now:
            self._hold(self._limited[0][1], None)
        while True:
            heads = [
                shelf[0] for active, shelf in self._shelves.items() if cap is None or active < cap
            ]
            if not heads:
                return None
            group: _Group = min(heads)[1]
            opens = None
            if limiter is not None and group.id is not None:
                opens = group.window.opens_at(limiter)
            if opens is None or opens <= now:
                return group
            self._hold(group, opens)

    def _group(self, group_id: str | None) -> _Group:
        group = self._groups.get(group_id)
        if group is None:
            group = self._groups[group_id] = _Group(group_id, len(self._groups))
        return group

    def _reoffer(self, name: str) -> None:
        for group in self._groups.values():
            if name in group.lanes:
                group.offer(name, offered=name not in self.paused_names)
                self._shelve(group)

    def _hold(self, group: _Group, until: datetime | None) -> None:
        """Keep a group from being served until an instant; ``None``: no longer."""
        if group.held_until is not None:
            self._limited.remove((group.held_until, group))
        group.held_until = until
        if until is not None:
            self._limited.add((until, group))
        self._shelve(group)

    def _shelve(self, group: _Group) -> None:
        """Put a group where what it offers, how busy it is and its last turn say."""
        ready = group.heads and group.held_until is None
        # jobs without a group form one that no cap holds back: it always counts as idle
        spot = (group.busy, group.served) if ready else None
        if spot == group.spot:
            return
        if group.spot is not None:
            active, served = group.spot
            shelf = self._shelves[active]
            shelf.remove((served, group))
            if not shelf:
                del self._shelves[active]
        group.spot = spot
        if spot is not None:
            active, served = spot
            shelf = self._shelves.get(active)
            if shelf is None:
                shelf = self._shelves[active] = SortedList()
            shelf.add((served, group))


class _Group:
    """The jobs of one group that wait, by name, and what its limits need to know."""

    __slots__ = (
        "active",
        "count",
        "heads",
        "held_until",
        "id",
        "lanes",
        "order",
        "served",
        "spot",
        "window",
    )

    def __init__(self, group_id: str | None, order: int) -> None:
        self.id = group_id
        self.order = order
        self.lanes: dict[str, Any] = {}
        self.heads: Any = SortedList()
        self.count = 0
        self.active = 0
        self.served = 0
        self.window = SlidingWindow()
        self.held_until: datetime | None = None
        self.spot: tuple[int, int] | None = None

    @property
    def busy(self) -> int:
        return self.active if self.id is not None else 0

    def add(self, name: str, place: Place, *, offered: bool) -> None:
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = SortedList()
        if offered and (not lane or place < lane[0]):
            if lane:
                self.heads.remove((lane[0], name))
            self.heads.add((place, name))
        lane.add(place)
        self.count += 1

    def remove(self, name: str, place: Place) -> None:
        lane = self.lanes[name]
        is_head = lane[0] == place
        offered = is_head and (place, name) in self.heads
        if is_head:
            del lane[0]
        else:
            lane.remove(place)
        if offered:
            self.heads.remove((place, name))
            if lane:
                self.heads.add((lane[0], name))
        if not lane:
            del self.lanes[name]
        self.count -= 1

    def offer(self, name: str, *, offered: bool) -> None:
        head = (self.lanes[name][0], name)
        if offered:
            self.heads.add(head)
        else:
            self.heads.discard(head)

    def first(self) -> str:
        place: Place = self.heads[0][0]
        return place[2]

    def newest(self) -> str:
        """The youngest job of the best priority that is offered."""
        best = self.heads[0][0][0]
        candidates: list[Place] = []
        for (priority, _, _), name in self.heads:
            if priority != best:
                break
            lane = self.lanes[name]
            candidates += (lane[0], lane[lane.bisect_right((best, float("inf"))) - 1])
        return max(candidates, key=lambda place: abs(place[1]))[2]

    def __lt__(self, other: _Group) -> bool:
        return self.order < other.order


_LAST_GROUP = _Group(None, sys.maxsize)
"""Comes after every other in order."""
