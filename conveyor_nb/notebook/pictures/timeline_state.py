"""Who ran what and when, by the records of a queue's attempts: what a timeline shows."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from conveyor_nb.core.model import AttemptRecord, JobData, JobState
from conveyor_nb.stores.reads import Reads

__all__ = ["Bar", "Lane", "TimelineState", "read_timeline", "timeline_of"]

_MOST_NAMED = 60


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt.

    Args:
        job: its job.
        record: its record.
        lane: the place of its lane.
        end: when it ended; now, if it has not.
    """

    job: JobData
    record: AttemptRecord
    lane: int
    end: datetime

    @property
    def start(self) -> datetime:
        """When it began."""
        return self.record.started_at

    @property
    def outcome(self) -> str:
        """How it ended: see ``AttemptRecord.outcome``."""
        return self.record.outcome

    @property
    def took(self) -> float:
        """For how many seconds it ran."""
        return max(0.0, (self.end - self.start).total_seconds())


@dataclass(frozen=True, slots=True)
class Lane:
    """A slot of a worker.

    Args:
        worker_id: the worker.
        worker: what it is called.
        slot: which of its slots it is, counted from 1.
    """

    worker_id: str
    worker: str
    slot: int


@dataclass(frozen=True, slots=True)
class TimelineState:
    """The attempts of a queue over a span of time.

    Args:
        name: the queue's name.
        now: when this was seen.
        begin: where it begins.
        end: where it ends.
        lanes: the slots, those of each worker together.
        bars: the attempts, the earliest first.
        left_out: how many jobs that have settled were not looked at, as there are too many.
    """

    name: str
    now: datetime
    begin: datetime
    end: datetime
    lanes: list[Lane] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    left_out: int = 0

    @property
    def span(self) -> float:
        """For how many seconds it goes."""
        return max(1e-6, (self.end - self.begin).total_seconds())

    def outcomes(self) -> Counter[str]:
        """How many attempts ended in each way."""
        return Counter(bar.outcome for bar in self.bars)

    def count(self, outcome: str) -> int:
        """How many attempts ended so."""
        return self.outcomes()[outcome]

    def retries(self) -> list[tuple[Bar, Bar]]:
        """Each attempt that was followed by another one of its job, with that one."""
        last: dict[tuple[str, str], Bar] = {}
        pairs = []
        for bar in self.bars:
            key = bar.job.queue_name, bar.job.id
            before = last.get(key)
            if before is not None and before.record.attempt + 1 == bar.record.attempt:
                pairs.append((before, bar))
            last[key] = bar
        return pairs


async def read_timeline(
    reads: Reads,
    queue_name: str,
    now: datetime,
    *,
    most_jobs: int = 10_000,
    since: datetime | None = None,
    until: datetime | None = None,
) -> TimelineState:
    """Read the attempts of a queue, the newest if there are too many.

    Args:
        reads: asks the store.
        queue_name: the queue's name.
        now: the instant, by the store's clock.
        most_jobs: how many jobs of each state are looked at.
        since: leave out what ended before.
        until: leave out what began after.
    """
    jobs: list[JobData] = []
    counts = await reads.get_job_counts(queue_name)
    for state in (JobState.COMPLETED, JobState.FAILED):
        jobs += await reads.list_jobs(queue_name, state, 0, most_jobs, newest_first=True)
    for state in (JobState.ACTIVE, JobState.DELAYED, JobState.WAITING):
        jobs += await reads.list_jobs(queue_name, state, 0, most_jobs)
    workers = await reads.list_workers(queue_name)
    settled = counts[JobState.COMPLETED], counts[JobState.FAILED]
    return timeline_of(
        queue_name,
        {job.id: job for job in jobs}.values(),  # one may have changed its state meanwhile
        now,
        names={worker.id: worker.name for worker in workers},
        since=since,
        until=until,
        left_out=sum(max(0, count - most_jobs) for count in settled),
    )


def timeline_of(
    name: str,
    jobs: Iterable[JobData],
    now: datetime,
    *,
    names: Mapping[str, str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    left_out: int = 0,
) -> TimelineState:
    """The timeline of some jobs: each attempt in the slot of its worker that its record tells.

    Attempts of a batch share a slot, which has a row for each of them. Where no record tells the
    slot, as of what another program ran, slots are found by what ran at the same time: an
    attempt is in the first one whose last attempt is over.
    """
    attempts = sorted(
        (
            (job, record)
            for job in jobs
            for record in job.attempt_logs
            if (since is None or (record.ended_at or now) >= since)
            and (until is None or record.started_at <= until)
        ),
        key=lambda pair: (pair[1].started_at, pair[1].ended_at or now, pair[0].sequence),
    )
    slots: dict[str, _Slots] = defaultdict(_Slots)
    found = []
    for job, record in attempts:
        end = max(record.started_at, record.ended_at or now)
        row = slots[record.worker_id].take(record.started_at, end, record.slot)
        found.append((job, record, row, end))
    rows = [(worker_id, row) for worker_id, own in slots.items() for row in own.rows()]
    lanes = [Lane(one, _called(one, names or {}), row.slot) for one, row in rows]
    places = {place: number for number, place in enumerate(rows)}
    bars = [Bar(job, record, places[record.worker_id, row], end) for job, record, row, end in found]
    first = min((bar.start for bar in bars), default=now)
    begin = first if since is None else since if until else max(since, first)
    runs = any(bar.outcome == "running" for bar in bars)
    last = max((bar.end for bar in bars), default=now)
    end = until or (now if runs or since is not None else last)
    return TimelineState(name, now, begin, end, lanes, bars, left_out)


class _Row(NamedTuple):
    """A row of the slots of one worker."""

    slot: int
    place: int
    """Which of the slot's rows it is, from 0: each has one, unless it ran batches."""


class _Slots:
    """The slots of one worker: until when each is taken."""

    def __init__(self) -> None:
        self._rows: dict[int, list[datetime]] = {}
        """Of each slot, until when each of its rows is taken."""
        self._found = 0
        self._free: list[int] = []
        self._taken: list[tuple[datetime, int]] = []

    def rows(self) -> list[_Row]:
        """All rows, those of a slot together."""
        return [
            _Row(slot, place)
            for slot, ends in sorted(self._rows.items())
            for place in range(len(ends))
        ]

    def take(self, start: datetime, end: datetime, slot: int | None) -> _Row:
        """A row that is free at ``start``, of a slot if it is known; it is taken until ``end``."""
        if slot is None:
            slot = self._first_free(start, end)
        ends = self._rows.setdefault(slot, [])
        place = next((one for one, until in enumerate(ends) if until <= start), len(ends))
        ends[place:] = [end, *ends[place + 1 :]]
        return _Row(slot, place)

    def _first_free(self, start: datetime, end: datetime) -> int:
        while self._taken and self._taken[0][0] <= start:
            heapq.heappush(self._free, heapq.heappop(self._taken)[1])
        if self._free:
            slot = heapq.heappop(self._free)
        else:
            self._found += 1
            slot = self._found
        heapq.heappush(self._taken, (end, slot))
        return slot


def _called(worker_id: str, names: Mapping[str, str]) -> str:
    """A worker's name; one that is gone is called by its id."""
    return names.get(worker_id, worker_id)[:_MOST_NAMED]
