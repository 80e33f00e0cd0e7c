"""The waiting jobs of a queue, in order of service.

Jobs lie in lanes, one for each job name of a group, each lane sorted by place. A group offers
the first job of each lane that is not paused; groups that offer something are served in turn.

What is offered lies in heaps whose entries are not taken out when they no longer hold, but
dropped when they come to the top, or when they are most of a heap: each change costs O(log n) in
the names or groups held, and most of it in C.

A group that is over is given back; for a while it is remembered when the latest few of these
were served.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter

from sortedcontainers import SortedList

from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import ALL_NAMES, JobData
from conveyor_nb.core.options.worker_options import GroupLimits
from conveyor_nb.core.turns import Place, place_of
from conveyor_nb.stores.memory.group import FEW, Group, Shelf

__all__ = ["WaitingIndex"]

_MOST_REMEMBERED = 256
"""For how many groups that are over it is remembered when they were served."""


class WaitingIndex:
    """Which job is next, given the paused names, the groups' turns and their limits."""

    def __init__(self) -> None:
        self.paused_names: set[str] = set()
        self.has_groups = False
        """Whether there are jobs of groups, so that those that are over are to be given back."""
        self._groups: dict[str | None, Group] = {}
        self._orders = itertools.count()
        self._turns = itertools.count(1)
        self._remembered: OrderedDict[str | None, int] = OrderedDict()
        self._forgotten = 0
        """The latest turn of those groups that are remembered no more: all others count as that."""
        # The groups that offer a job, by the rate limit that holds them back, if one does, and by
        # how many of their jobs are active: who asks with that limit, or with a cap, passes over
        # whole shelves, and the top of each other shelf is its next in turn.
        self._shelves: dict[Shelf, list[tuple[int, int, Group]]] = {}
        self._stale: Counter[Shelf] = Counter()
        """How many entries of each shelf don't hold any more."""
        self._held: list[tuple[datetime, int, Group]] = []
        self._idle: list[tuple[datetime, int, Group]] = []
        """Groups that are over, but whose rate limit still has to know of them, until when."""
        self._only: Group | None = None
        """The jobs without a group, as long as there are no others: no limit holds for them."""
        self.count = 0
        """How many jobs wait; as ``len`` says, which costs more."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        """The ids of all waiting jobs by priority and place, paused ones too."""
        lanes = self._lanes()
        return map(attrgetter("id"), lanes[0] if len(lanes) == 1 else heapq.merge(*lanes))

    def __reversed__(self) -> Iterator[str]:
        """The same, from the last to the first."""
        lanes = [reversed(lane) for lane in self._lanes()]
        last_first = lanes[0] if len(lanes) == 1 else heapq.merge(*lanes, reverse=True)
        return map(attrgetter("id"), last_first)

    def _lanes(self) -> list[deque[Place] | SortedList]:
        return [lane for group in self._groups.values() for lane in group.lanes.values()]

    def add(self, job: JobData) -> None:
        """Put a job in its place."""
        group = self._groups.get(job.group_id) or self._new_group(job.group_id)
        group.add(job.name, place_of(job))
        self.count += 1
        if self._only is None:
            self._shelve(group)

    def remove(self, job: JobData) -> None:
        """Take a job out, by the place that it was added with."""
        group = self._groups[job.group_id]
        group.remove(job)
        self.count -= 1
        if self._only is None:
            self._shelve(group)

    def count_in_group(self, group_id: str | None) -> int:
        """How many jobs of a group wait."""
        group = self._groups.get(group_id)
        return sum(map(len, group.lanes.values())) if group else 0

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
        group = self._groups.get(group_id) or self._new_group(group_id)
        group.active += 1
        group.served = next(self._turns)
        if group.window.is_asked_for:
            group.window.note_start(now)
        if self._only is None:
            self._shelve(group)

    def note_end(self, group_id: str | None) -> None:
        """A job of the group is no longer active."""
        group = self._groups[group_id]
        group.active -= 1
        if self._only is None:
            self._shelve(group)

    def give_back(self, group_id: str | None) -> None:
        """Keep nothing of a group that has no job left, waiting or active."""
        group = self._groups.get(group_id)
        if group is None or self._only is not None or not group.is_over():
            return
        over_at = group.window.over_at()
        if over_at is not None:
            group.lingers = True
            heapq.heappush(self._idle, (over_at, group.order, group))
            return
        del self._groups[group_id]
        self._remember(group_id, group.served)
        if len(self._groups) == (None in self._groups):
            self._begin_again()

    def next_id(self, options: FetchOptions, now: datetime) -> str | None:
        """The job to serve now, or ``None``; the job stays where it is."""
        if ALL_NAMES in self.paused_names:
            return None
        group = self._only or self._next_group(options.group, now)
        if group is None or not group.offers():
            return None
        return group.newest() if options.lifo else group.offered[0][0].id

    def in_turn(self, options: FetchOptions, now: datetime) -> Iterator[str]:
        """The ids of the waiting jobs in the order of ``core.turns.in_turn``, found one by one.

        Nothing may change meanwhile.
        """
        if ALL_NAMES in self.paused_names:
            return
        self._open_again(now)
        if self._only is not None:
            yield from self._only.in_turn(lifo=options.lifo)
            return
        limits = options.group
        to_come = (
            itertools.islice(group.in_turn(lifo=options.lifo), group.room(limits, now))
            for group in self._by_turn(limits)
        )
        had_a_turn: deque[Iterator[str]] = deque()
        while group := next(to_come, None) or (had_a_turn.popleft() if had_a_turn else None):
            if (job_id := next(group, None)) is not None:
                yield job_id
                had_a_turn.append(group)

    def _by_turn(self, limits: GroupLimits | None) -> Iterator[Group]:
        """The groups that such limits leave a turn, as they were served, found one by one."""
        keys = self._shelves_for(limits)
        shelves = [self._shelves[key] for key in keys]
        ahead = [(shelf[0], number, 0) for number, shelf in enumerate(shelves) if shelf]
        heapq.heapify(ahead)
        seen: set[int] = set()
        while ahead:
            entry, number, at = heapq.heappop(ahead)
            shelf = shelves[number]
            for below in range(2 * at + 1, min(2 * at + 3, len(shelf))):
                heapq.heappush(ahead, (shelf[below], number, below))
            served, order, group = entry
            if group.spot == (keys[number], served) and order not in seen:
                seen.add(order)
                yield group

    def _shelves_for(self, limits: GroupLimits | None) -> list[Shelf]:
        """The shelves whose groups may have a turn with such limits."""
        if limits is None:
            return list(self._shelves)
        cap, limiter = limits.concurrency, limits.limiter
        return [
            (held_by, active)
            for held_by, active in self._shelves
            if (cap is None or active < cap) and (held_by is None or held_by != limiter)
        ]

    def next_opening(self) -> datetime | None:
        """When the first of the groups that a rate limit held back may be served again."""
        return self._held[0][0] if self._held else None

    def _open_again(self, now: datetime) -> None:
        """Take note of the rate limits of groups that have opened by now."""
        while self._idle and self._idle[0][0] <= now:
            over = heapq.heappop(self._idle)[2]
            over.lingers = False
            over.window.forget(now)
            self.give_back(over.id)
        while self._held and self._held[0][0] <= now:
            reopened = heapq.heappop(self._held)[2]
            reopened.held_by = reopened.held_until = None
            self._shelve(reopened)
            self.give_back(reopened.id)

    def _next_group(self, limits: GroupLimits | None, now: datetime) -> Group | None:
        self._open_again(now)
        if self._only is not None:  # the last other group was given back just now
            return self._only
        limiter = limits.limiter if limits else None
        while True:
            group = self._first_in_turn(limits)
            if group is None or limiter is None or group.id is None:
                return group
            opens = group.window.opens_at(limiter)
            if opens is None or opens <= now:
                return group
            group.held_by = limiter
            if group.held_until is None or opens < group.held_until:
                group.held_until = opens
                heapq.heappush(self._held, (opens, group.order, group))
            self._shelve(group)

    def _first_in_turn(self, limits: GroupLimits | None) -> Group | None:
        """The group that was served least recently of those that such limits leave a turn."""
        best: tuple[int, int, Group] | None = None
        for key in self._shelves_for(limits):
            shelf = self._shelves[key]
            while shelf and shelf[0][2].spot != (key, shelf[0][0]):
                heapq.heappop(shelf)
                self._stale[key] -= 1
            if not shelf:
                del self._shelves[key], self._stale[key]
            elif best is None or shelf[0] < best:
                best = shelf[0]
        return best[2] if best else None

    def _new_group(self, group_id: str | None) -> Group:
        group = Group(group_id, next(self._orders), self.paused_names)
        group.served = self._remembered.pop(group_id, self._forgotten)
        self._groups[group_id] = group
        if self._only is not None:
            only, self._only = self._only, None
            self._shelve(only)
            self.give_back(only.id)
        elif group_id is None and len(self._groups) == 1:
            self._only = group
        self.has_groups = self._only is None
        return group

    def _begin_again(self) -> None:
        """The jobs without a group are alone again, or there are none at all."""
        self._shelves.clear()
        self._stale.clear()
        self._held.clear()
        self._only = self._groups.get(None)
        if self._only is not None:
            self._only.spot = None
        self.has_groups = False

    def _remember(self, group_id: str | None, served: int) -> None:
        if served > self._forgotten:
            self._remembered[group_id] = served
            if len(self._remembered) > _MOST_REMEMBERED:
                _, turn = self._remembered.popitem(last=False)
                self._forgotten = max(self._forgotten, turn)

    def _reoffer(self, name: str) -> None:
        for group in self._groups.values():
            if name in group.lanes:
                group.offer(name)
                if self._only is None:
                    self._shelve(group)

    def _shelve(self, group: Group) -> None:
        """Put a group where what it offers, how busy it is and its last turn say."""
        spot = None
        if group.offers():
            # jobs without a group form one that no cap holds back: it always counts as idle
            active = group.active if group.id is not None else 0
            spot = ((group.held_by, active), group.served)
        if spot == group.spot:
            return
        left, group.spot = group.spot, spot
        if spot is not None:
            shelf = self._shelves.setdefault(spot[0], [])
            heapq.heappush(shelf, (group.served, group.order, group))
        if left is not None:
            self._stale[left[0]] += 1
            self._tidy(left[0])

    def _tidy(self, key: Shelf) -> None:
        """Drop what does not hold from a shelf of which it is most."""
        shelf = self._shelves[key]
        if self._stale[key] <= len(shelf) // 2 + FEW:
            return
        # a group may have come back to a spot that it had left
        held = {entry[1]: entry for entry in shelf if entry[2].spot == (key, entry[0])}
        del self._stale[key]
        if held:
            self._shelves[key] = list(held.values())
            heapq.heapify(self._shelves[key])
        else:
            del self._shelves[key]
