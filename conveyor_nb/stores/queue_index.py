"""The jobs of one queue in memory, found by id, by state in order, and by deduplication key."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sortedcontainers import SortedList

from conveyor_nb.durations import to_seconds
from conveyor_nb.lifecycle import SETTLED
from conveyor_nb.model import EPOCH, JobData, JobState
from conveyor_nb.stores.limits import SlidingWindow
from conveyor_nb.stores.waiting import WaitingIndex

__all__ = ["QueueIndex"]

_POSITION_FIELDS = frozenset({"state", "delay_until", "priority"})
"""A change of one of these moves a job to another place in the indexes."""


class QueueIndex:
    """The records of one queue and the indexes over them; every operation is O(log n) or better.

    The records are the store's own: whoever takes one out copies it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: dict[str, JobData] = {}
        self.waiting = WaitingIndex()
        self.active: dict[str, JobData] = {}
        self.starts = SlidingWindow()
        self._sequence = itertools.count(1)
        self._sorted: dict[JobState, Any] = {
            state: SortedList()
            for state in JobState
            if state not in (JobState.WAITING, JobState.ACTIVE)
        }
        self._keys: dict[str, str] = {}

    def add(self, job: JobData) -> None:
        """Take in a new job, which gets the next place in line."""
        job.sequence = next(self._sequence)
        self.jobs[job.id] = job
        if job.deduplication_key is not None:
            self._keys[job.deduplication_key] = job.id
        self._index(job)

    def remove(self, job: JobData) -> None:
        """Let go of a job."""
        del self.jobs[job.id]
        self._unindex(job)
        self._release_key(job)

    def change(self, job: JobData, updates: Mapping[str, Any]) -> None:
        """Give a job new values, and the place that follows from them."""
        moves = not _POSITION_FIELDS.isdisjoint(updates)
        if moves:
            self._unindex(job)
        for name, value in updates.items():
            setattr(job, name, value)
        if moves:
            self._index(job)
            if job.state in SETTLED:
                self._release_key(job)
            elif job.deduplication_key is not None:
                self._keys.setdefault(job.deduplication_key, job.id)

    def holder_of(self, key: str, now: datetime) -> JobData | None:
        """The unfinished job that holds a deduplication key and is younger than its ttl."""
        job_id = self._keys.get(key)
        if job_id is None:
            return None
        job = self.jobs[job_id]
        ttl = job.opts.deduplication.ttl if job.opts.deduplication else None
        if ttl is not None and job.created_at + timedelta(seconds=to_seconds(ttl)) <= now:
            return None
        return job

    def count(self, state: JobState | None) -> int:
        """How many jobs are in a state, or in all."""
        return len(self.jobs if state is None else self._members(state))

    def page(self, state: JobState | None, start: int, end: int | None) -> list[JobData]:
        """The jobs at positions ``start`` to ``end`` (exclusive) of a state, or of all."""
        if state is None:
            return self._page_of_all(start, len(self.jobs) if end is None else end)
        if state in self._sorted:
            return [self.jobs[key[-1]] for key in self._sorted[state][start:end]]
        return [self.jobs[one] for one in itertools.islice(self._members(state), start, end)]

    def _page_of_all(self, start: int, end: int) -> list[JobData]:
        """A dict can only be walked; from its end, if that is nearer."""
        size = len(self.jobs)
        if start <= size - end:
            return list(itertools.islice(self.jobs.values(), start, end))
        newest_first = reversed(self.jobs.values())
        return list(itertools.islice(newest_first, max(size - end, 0), size - min(start, size)))[
            ::-1
        ]

    def due(self, now: datetime) -> list[JobData]:
        """The delayed jobs whose time has come, the earliest first."""
        return self._settled_before(JobState.DELAYED, now)

    def next_due(self) -> datetime | None:
        """When the next delayed job falls due."""
        delayed = self._sorted[JobState.DELAYED]
        return delayed[0][0] if delayed else None

    def since(self, state: JobState, instant: datetime) -> list[JobData]:
        """The jobs that have been in a state since ``instant`` or longer."""
        if state in SETTLED:
            return self._settled_before(state, instant)
        return [job for job in self.page(state, 0, None) if job.created_at <= instant]

    def _settled_before(self, state: JobState, instant: datetime) -> list[JobData]:
        found = self._sorted[state]
        end = found.bisect_right((instant, float("inf")))
        return [self.jobs[key[-1]] for key in found[:end]]

    def _members(self, state: JobState) -> Any:
        if state is JobState.WAITING:
            return self.waiting
        if state is JobState.ACTIVE:
            return self.active
        return self._sorted[state]

    def _index(self, job: JobData) -> None:
        if job.state is JobState.WAITING:
            self.waiting.add(job)
        elif job.state is JobState.ACTIVE:
            self.active[job.id] = job
            assert job.processed_at is not None
            self.waiting.note_start(job.group_id, job.processed_at)
            self.starts.note_start(job.processed_at)
        else:
            self._sorted[job.state].add(_key(job))

    def _unindex(self, job: JobData) -> None:
        if job.state is JobState.WAITING:
            self.waiting.remove(job)
        elif job.state is JobState.ACTIVE:
            del self.active[job.id]
            self.waiting.note_end(job.group_id)
        else:
            self._sorted[job.state].remove(_key(job))

    def _release_key(self, job: JobData) -> None:
        key = job.deduplication_key
        if key is not None and self._keys.get(key) == job.id:
            del self._keys[key]


def _key(job: JobData) -> tuple[datetime, int, str]:
    """Where a job stands among those of its state: by the time that brought or will bring it on."""
    match job.state:
        case JobState.DELAYED:
            instant = job.delay_until
        case JobState.COMPLETED:
            instant = job.completed_at
        case JobState.FAILED:
            instant = job.failed_at
        case _:
            instant = job.created_at
    return (instant or EPOCH, job.sequence, job.id)
