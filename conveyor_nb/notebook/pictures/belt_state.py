"""What the picture of a queue shows, read from its store: a few jobs and some counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from conveyor_nb.core.model import ALL_NAMES, JobData, JobState
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.stores.reads import Reads

__all__ = ["BeltState", "Station", "rate_of", "read_belt", "stations_of", "worker_by_record"]

MOST_WAITING = 10
MOST_DELAYED = 5
MOST_STATIONS = 6
MOST_ENDED = 2
_MOST_ACTIVE = 24
_FOR_RATE = 50
_RECENT = 10.0
"""Seconds: what settled longer ago says nothing of the rate of now."""


@dataclass(frozen=True, slots=True)
class Station:
    """A worker's slot, and the job in it, if there is one.

    Args:
        worker: whose slot it is; ``None``: nobody knows of the worker that has this job.
        job: what runs there.
    """

    worker: WorkerInfo | None
    job: JobData | None = None

    @property
    def is_paused(self) -> bool:
        """Whether its worker takes no more jobs."""
        return self.worker is not None and self.worker.status is WorkerStatus.PAUSED


@dataclass(frozen=True, slots=True)
class BeltState:
    """A queue at one instant, or a flow: what its picture shows.

    Args:
        name: the queue's name; a flow's is that of the job at its top.
        now: the instant, by the store's clock.
        counts: how many jobs are in each state.
        coming: the next jobs, in the order in which they will be served.
        delayed: the next that fall due.
        stations: the workers' slots; of very many a part.
        more_stations: how many there are beside these.
        completed: the last that completed, the newest first.
        failed: the last that failed, the newest first.
        paused_names: the job names that are paused, ``ALL_NAMES`` for the whole queue.
        workers: the workers of the queue.
        rate: how many jobs settle in a second; ``None``: nothing did of late.
        is_flow: whether it is a flow, whose jobs may be in several queues.
        parents: of a flow, the first of those that wait for children.
        stopped: of a flow, why what waits stands; empty: it does not.
    """

    name: str
    now: datetime
    counts: Mapping[JobState, int]
    coming: Sequence[JobData]
    delayed: Sequence[JobData]
    stations: Sequence[Station]
    more_stations: int
    completed: Sequence[JobData]
    failed: Sequence[JobData]
    paused_names: frozenset[str]
    workers: Sequence[WorkerInfo]
    rate: float | None
    is_flow: bool = False
    parents: Sequence[JobData] = ()
    stopped: str = ""

    @property
    def total(self) -> int:
        """How many jobs the queue has."""
        return sum(self.counts.values())

    @property
    def settled(self) -> int:
        """How many of them have completed or failed."""
        return self.counts[JobState.COMPLETED] + self.counts[JobState.FAILED]

    @property
    def standing(self) -> str:
        """Why the belt stands, in a few words; empty: it moves, or has nothing to move."""
        if self.is_flow:
            return self.stopped
        if ALL_NAMES in self.paused_names:
            return "the queue is paused"
        if not self.workers:
            return "no worker serves it" if self.counts[JobState.WAITING] else ""
        if all(one.status is WorkerStatus.PAUSED for one in self.workers):
            return "its worker is paused" if len(self.workers) == 1 else "its workers are paused"
        return ""


async def read_belt(
    reads: Reads, queue_name: str, now: datetime, before: BeltState | None = None
) -> BeltState:
    """Read what the picture of a queue shows, by a few small questions to the store.

    Args:
        reads: asks the store.
        queue_name: the queue's name.
        now: the instant, by the store's clock.
        before: what was shown before: a job stays in the slot where it was seen.
    """
    counts = await reads.get_job_counts(queue_name)
    workers = await reads.list_workers(queue_name)
    active = await reads.list_jobs(queue_name, JobState.ACTIVE, 0, _MOST_ACTIVE)
    completed, failed = [
        await reads.list_jobs(queue_name, state, 0, _FOR_RATE, newest_first=True)
        for state in (JobState.COMPLETED, JobState.FAILED)
    ]
    paused = frozenset(await reads.get_paused_job_names(queue_name))
    if ALL_NAMES in paused:  # nothing is next, but there is an order in which all stands
        coming = await reads.list_jobs(queue_name, JobState.WAITING, 0, MOST_WAITING)
    else:
        coming = await reads.next_jobs(queue_name, MOST_WAITING)
    stations = stations_of(active, workers, before.stations if before else ())
    slots = max(sum(worker.concurrency for worker in workers), counts[JobState.ACTIVE])
    return BeltState(
        name=queue_name,
        now=now,
        counts=counts,
        coming=coming,
        delayed=await reads.list_jobs(queue_name, JobState.DELAYED, 0, MOST_DELAYED),
        stations=stations,
        more_stations=max(0, slots - len(stations)),
        completed=completed[:MOST_ENDED],
        failed=failed[:MOST_ENDED],
        paused_names=paused,
        workers=workers,
        rate=rate_of((*completed, *failed), now),
    )


def stations_of(
    active: Sequence[JobData], workers: Sequence[WorkerInfo], before: Sequence[Station]
) -> list[Station]:
    """The slots to show, each job in one of its worker's, where it was before if it was there."""
    by_id = {worker.id: worker for worker in workers}
    busy = dict.fromkeys(job.locked_by for job in active)
    ranked = list(workers)
    if sum(worker.concurrency for worker in workers) > MOST_STATIONS:
        ranked.sort(key=lambda worker: worker.id not in busy)
    stations = [
        Station(worker) for worker in ranked for _ in range(min(worker.concurrency, MOST_STATIONS))
    ]
    stations += [Station(None) for job in active if job.locked_by not in by_id]
    del stations[MOST_STATIONS:]
    seen = {station.job.id: place for place, station in enumerate(before) if station.job}
    for job in sorted(active, key=lambda job: job.id not in seen):
        free = [
            place
            for place, station in enumerate(stations)
            if station.job is None and station.worker is by_id.get(job.locked_by or "")
        ]
        if free:
            place = seen[job.id] if seen.get(job.id) in free else free[0]
            stations[place] = Station(stations[place].worker, job)
    return stations


def worker_by_record(worker_id: str, queue_name: str, since: datetime, slots: int) -> WorkerInfo:
    """A worker that is closed by now, as far as the jobs that it ran tell of it: its id."""
    running = WorkerStatus.RUNNING
    return WorkerInfo(worker_id, worker_id, queue_name, slots, running, since)


def rate_of(ended: Iterable[JobData], now: datetime) -> float | None:
    """How many jobs settle in a second, by the last few that did."""
    instants = sorted(instant for job in ended if (instant := job.completed_at or job.failed_at))
    recent = [one for one in instants[-_FOR_RATE:] if (now - one).total_seconds() < _RECENT]
    if len(recent) < 2:
        return None
    took = (max(now, recent[-1]) - recent[0]).total_seconds()
    return len(recent) / took if took > 0 else None
