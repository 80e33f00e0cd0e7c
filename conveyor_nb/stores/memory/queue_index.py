"""The jobs of one queue in memory, found by id, by state in order, and by deduplication key."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

from sortedcontainers import SortedList

from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import (
    ACTIVE,
    COMPLETED,
    DELAYED,
    FAILED,
    WAITING,
    WAITING_CHILDREN,
    JobData,
    JobState,
)
from conveyor_nb.core.rows import HeldKey, held_key
from conveyor_nb.core.steps.retention import entered_at
from conveyor_nb.stores.memory.limits import SlidingWindow
from conveyor_nb.stores.memory.waiting import WaitingIndex

__all__ = ["QueueIndex"]

_PLACING_FIELDS = frozenset({"delay_until", "priority"})
"""A change of one of these, as of the state, moves a job to another place in the indexes."""


class QueueIndex:
    """The records of one queue and the indexes over them; every operation is O(log n) or better.

    The records are the store's own: whoever takes one out copies it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: dict[str, JobData] = {}
        self.waiting = WaitingIndex()
        self.active: dict[str, None] = {}
        self.starts = SlidingWindow()
        self.sequence = itertools.count(1)
        """The places in line of new jobs."""
        self._delayed: Any = SortedList()
        self.next_due: datetime | None = None
        """When the next delayed job falls due."""
        # the other states are dicts: who came to a state first stands first in it
        self._in_order: dict[JobState, dict[str, None]] = {
            ACTIVE: self.active,
            WAITING_CHILDREN: {},
            COMPLETED: {},
            FAILED: {},
        }
        # one job for each key is enough: another one takes a key only when the one before has
        # it has settled, or is too old to get the key back
        self._holders: dict[HeldKey, str] = {}

    def add(self, job: JobData) -> None:
        """Take in a new job."""
        self.jobs[job.id] = job
        if job.deduplication_key is not None:
            self._hold_key(job)
        self._index(job)

    def remove(self, job: JobData) -> None:
        """Let go of a job."""
        del self.jobs[job.id]
        self._unindex(job)
        if self.waiting.has_groups:
            self.waiting.give_back(job.group_id)
        if job.deduplication_key is not None:
            self._release_key(job)

    def replace(self, job: JobData, changed: JobData, values: Mapping[str, Any]) -> None:
        """Replace a job by one with new ``values``, at the place that follows from them."""
        self.jobs[job.id] = changed
        if "state" in values or (
            job.state is not ACTIVE and not _PLACING_FIELDS.isdisjoint(values)
        ):
            self._unindex(job)
            self._index(changed)
            if self.waiting.has_groups:
                self.waiting.give_back(job.group_id)
            if job.deduplication_key is not None:
                self._pass_key(job, changed)

    def holders(self, key: HeldKey) -> tuple[JobData, ...]:
        """The unfinished job that came to hold a deduplication key last, whatever its ttl."""
        job_id = self._holders.get(key)
        return () if job_id is None else (self.jobs[job_id],)

    def count(self, state: JobState | None) -> int:
        """How many jobs are in a state, or in all."""
        if state is None:
            return len(self.jobs)
        if state is WAITING:
            return len(self.waiting)
        return len(self._delayed if state is DELAYED else self._in_order[state])

    def page(
        self,
        state: JobState | None,
        start: int,
        end: int | None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        """The jobs at positions ``start`` to ``end`` (exclusive) of a state, or of all.

        With ``newest_first`` positions count from the other end.
        """
        if newest_first and state is WAITING:
            ids: Iterable[str] = itertools.islice(reversed(self.waiting), start, end)
        elif newest_first:
            size = self.count(state)
            first = 0 if end is None else max(size - end, 0)
            return self.page(state, first, max(size - start, 0))[::-1]
        elif state is WAITING:
            ids = itertools.islice(self.waiting, start, end)
        elif state is DELAYED:
            ids = map(itemgetter(-1), self._delayed[start:end])
        else:
            ids = _page_of(self.jobs if state is None else self._in_order[state], start, end)
        return list(map(self.jobs.__getitem__, ids))

    def due(self, now: datetime) -> list[JobData]:
        """The delayed jobs whose time has come, the earliest first."""
        end = self._delayed.bisect_right((now, float("inf")))
        return [self.jobs[key[-1]] for key in self._delayed[:end]]

    def since(self, state: JobState, instant: datetime) -> list[JobData]:
        """The jobs that settled at ``instant`` or before; others: were created."""
        return [job for job in self.page(state, 0, None) if entered_at(job) <= instant]

    def _index(self, job: JobData) -> None:
        state = job.state
        if state is WAITING:
            self.waiting.add(job)
        elif state is ACTIVE:
            self.active[job.id] = None
            assert job.processed_at is not None
            self.waiting.note_start(job.group_id, job.processed_at)
            if self.starts.is_asked_for:
                self.starts.note_start(job.processed_at)
        elif state is DELAYED:
            self._delayed.add(_due_key(job))
            self.next_due = self._delayed[0][0]
        else:
            self._in_order[state][job.id] = None

    def _unindex(self, job: JobData) -> None:
        state = job.state
        if state is WAITING:
            self.waiting.remove(job)
        elif state is ACTIVE:
            del self.active[job.id]
            self.waiting.note_end(job.group_id)
        elif state is DELAYED:
            self._delayed.remove(_due_key(job))
            self.next_due = self._delayed[0][0] if self._delayed else None
        else:
            del self._in_order[state][job.id]

    def _hold_key(self, job: JobData) -> None:
        key = held_key(job)
        assert key is not None, "it has one"
        self._holders[key] = job.id

    def _pass_key(self, before: JobData, after: JobData) -> None:
        """Only an unfinished job holds its key."""
        was_settled = before.state in SETTLED
        if was_settled is (after.state in SETTLED):
            return
        if was_settled:
            self._hold_key(after)
        else:
            self._release_key(after)

    def _release_key(self, job: JobData) -> None:
        key = held_key(job)
        if key is not None and self._holders.get(key) == job.id:
            del self._holders[key]


def _due_key(job: JobData) -> tuple[datetime, int, str]:
    assert job.delay_until is not None
    return (job.delay_until, job.sequence, job.id)


def _page_of(ids: dict[str, Any], start: int, end: int | None) -> list[str]:
    """A page of a dict's keys, which can only be walked; from their end, if that is nearer."""
    size = len(ids)
    end = size if end is None else min(end, size)
    if start <= size - end:
        return list(itertools.islice(ids, start, end))
    newest_first = itertools.islice(reversed(ids), size - end, max(size - start, 0))
    return list(newest_first)[::-1]
