"""The rows that a ``MemoryStore`` keeps, and its indexes over them. No rule lives here."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from conveyor_nb.core import freezing
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState, StoreEvent
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.core.rows import ChildRow, HeldKey, Key
from conveyor_nb.core.values.ids import Numbers, random_id, random_worker_id
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.stores.memory.families import Families
from conveyor_nb.stores.memory.queue_index import QueueIndex
from conveyor_nb.stores.memory.retention import Retention
from conveyor_nb.stores.metrics import Metrics

__all__ = ["MemoryState"]

_NOTHING: Mapping[str, Collection[str]] = {}


class MemoryState:
    """Jobs, flows, schedulers and workers of a store: what steps read and write, see ``Rows``.

    Args:
        sequential_ids: ids are counted for each queue, and are not random.
        seed: fixes what chance has a say in.
        metrics: collect them.
        followed: the jobs that somebody follows by themselves, and is to be told the results of.
        unheard: by queue, the types of event that nobody else wants.
    """

    freeze = staticmethod(freezing.freeze)

    def __init__(
        self,
        *,
        sequential_ids: bool,
        seed: int | None,
        metrics: bool,
        followed: Collection[Key] = (),
        unheard: Mapping[str, Collection[str]] = _NOTHING,
    ) -> None:
        self.queues: dict[str, QueueIndex] = {}
        self.families = Families()
        self.retention = Retention()
        self.metrics = Metrics() if metrics else None
        self.collects_metrics = metrics
        self.workers: dict[str, WorkerInfo] = {}
        self.outbox: list[StoreEvent] = []
        self.results: dict[Key, Any] = {}
        self.random = random.Random(seed)
        self.followed = followed
        self.unheard = unheard
        self._schedulers: dict[str, dict[str, JobScheduler]] = {}
        self._sequential_ids = sequential_ids
        self._numbers = Numbers()
        self._worker_numbers = Numbers()

    def queue(self, name: str) -> QueueIndex:
        """The queue, made if there is none yet."""
        index = self.queues.get(name)
        if index is None:
            index = self.queues[name] = QueueIndex(name)
        return index

    def look(self, name: str) -> QueueIndex:
        """The queue, or an empty one that is not kept."""
        return self.queues.get(name) or QueueIndex(name)

    def new_worker_id(self, name: str) -> str:
        """An id that no worker has."""
        if not self._sequential_ids:
            return random_worker_id(name)
        return f"{name}-worker-{next(self._worker_numbers.of(name))}"

    def record(self, job: JobData, now: datetime) -> None:
        """Count a job that has just settled."""
        if self.metrics is not None:
            self.metrics.record(job, now)

    # -- jobs ---------------------------------------------------------------------------------

    def job(self, queue_name: str, job_id: str) -> JobData | None:
        """The job."""
        index = self.queues.get(queue_name)
        return None if index is None else index.jobs.get(job_id)

    def holders(self, queue_name: str, key: HeldKey) -> Sequence[JobData]:
        """The job that came to hold a key last, if it is unfinished."""
        return self.look(queue_name).holders(key)

    def new_id(self, queue_name: str) -> str:
        """An id that no job of the queue has."""
        if not self._sequential_ids:
            return random_id()
        taken = self.look(queue_name).jobs
        numbers = self._numbers.of(queue_name)
        return next(name for n in numbers if (name := f"{queue_name}-{n}") not in taken)

    def add(self, job: JobData, values: Mapping[str, Any]) -> JobData:
        """Take in a new row."""
        index = self.queues.get(job.queue_name)
        if index is None:
            index = self.queue(job.queue_name)
        row = replace(job, sequence=next(index.sequence), **values)
        index.add(row)
        return row

    def change(self, job: JobData, values: Mapping[str, Any]) -> JobData:
        """Replace a row by one with new values."""
        changed = replace(job, **values)
        self.queues[job.queue_name].replace(job, changed, values)
        if (job.opts.remove_on_complete or job.opts.remove_on_fail) and "state" in values:
            self.retention.move(job, changed)
        return changed

    def remove(self, job: JobData) -> None:
        """Remove a row, and those of its children."""
        self.queues[job.queue_name].remove(job)
        if job.children_ids:
            self.families.forget((job.queue_name, job.id))
        if job.opts.remove_on_complete or job.opts.remove_on_fail:
            self.retention.move(job, None)

    # -- families -----------------------------------------------------------------------------

    def child(self, parent: Key, child: Key) -> ChildRow | None:
        """What a parent knows of a child."""
        return self.families.children(parent).get(child)

    def children(self, parent: Key) -> Mapping[Key, ChildRow]:
        """What a parent knows of all its children."""
        return self.families.children(parent)

    def put_child(self, parent: Key, child: Key, row: ChildRow) -> None:
        """Keep what a parent knows of a child."""
        self.families.put(parent, child, row)

    def failed_children(self, parent: Key) -> Sequence[Key]:
        """The children of a parent that failed."""
        return self.families.failed(parent)

    def awaited_children(self, parent: Key, most: int) -> tuple[Sequence[Key], int]:
        """The first of those that a parent waits for again, and how many there are."""
        return self.families.awaited(parent, most)

    # -- schedulers ---------------------------------------------------------------------------

    def scheduler(self, queue_name: str, scheduler_id: str) -> JobScheduler | None:
        """The scheduler."""
        return self._schedulers.get(queue_name, {}).get(scheduler_id)

    def schedulers(self, queue_name: str) -> list[JobScheduler]:
        """The schedulers of a queue, in the order they were created."""
        return list(self._schedulers.get(queue_name, {}).values())

    def put_scheduler(self, scheduler: JobScheduler) -> None:
        """Keep a scheduler as it is now."""
        self._schedulers.setdefault(scheduler.queue_name, {})[scheduler.id] = scheduler

    def remove_scheduler(self, scheduler: JobScheduler) -> None:
        """Remove a scheduler."""
        of_queue = self._schedulers[scheduler.queue_name]
        del of_queue[scheduler.id]
        if not of_queue:
            del self._schedulers[scheduler.queue_name]

    # -- queues -------------------------------------------------------------------------------

    def is_idle(self, queue_name: str) -> bool:
        """Whether nothing is waiting or active."""
        index = self.queues[queue_name]
        return not index.active and not index.waiting.count

    def listed(
        self, queue_name: str, state: JobState | None = None, *, since: datetime | None = None
    ) -> list[JobData]:
        """All jobs in a state."""
        index = self.look(queue_name)
        if since is not None and state is not None:
            return index.since(state, since)
        return index.page(state, 0, None)

    def surplus(self, queue_name: str, state: JobState, most: int) -> list[JobData]:
        """The oldest jobs of those that are kept by count."""
        ids = self.retention.surplus(queue_name, state, most)
        return [self.queues[queue_name].jobs[job_id] for job_id in ids]

    def expired(self, now: datetime, most: int) -> list[JobData]:
        """Jobs that have been kept long enough."""
        return [
            self.queues[name].jobs[job_id] for name, job_id in self.retention.expired(now, most)
        ]

    def paused_names(self, queue_name: str) -> Collection[str]:
        """The paused names."""
        return self.look(queue_name).waiting.paused_names

    def pause(self, queue_name: str, name: str) -> None:
        """Offer no more jobs of a name."""
        self.queue(queue_name).waiting.pause(name)

    def resume(self, queue_name: str, name: str) -> None:
        """Offer jobs of a name again."""
        self.queue(queue_name).waiting.resume(name)

    def forget_queue(self, queue_name: str) -> None:
        """Keep nothing of a queue that has no jobs, but for a while the next of its numbers."""
        self.queues.pop(queue_name, None)
        if self.metrics is not None:
            self.metrics.forget(queue_name)
        self._numbers.let_go(queue_name)

    # -- serving ------------------------------------------------------------------------------

    def due(self, queue_name: str, now: datetime) -> list[JobData]:
        """The delayed jobs whose time has come."""
        return self.look(queue_name).due(now)

    def next_due(self, queue_name: str) -> datetime | None:
        """When the next delayed job falls due."""
        return self.look(queue_name).next_due

    def has_waiting(self, queue_name: str) -> bool:
        """Whether a job is waiting."""
        return bool(self.look(queue_name).waiting)

    def next_opening(self, queue_name: str) -> datetime | None:
        """When a group that a rate limit holds back may be served again."""
        return self.look(queue_name).waiting.next_opening()

    def active_count(self, queue_name: str) -> int:
        """How many jobs are active."""
        return len(self.look(queue_name).active)

    def waiting_in_group(self, queue_name: str, group_id: str) -> int:
        """How many jobs of a group wait."""
        return self.look(queue_name).waiting.count_in_group(group_id)

    def opens_at(self, queue_name: str, limiter: Limiter) -> datetime | None:
        """When one more may start, by a rate limit."""
        return self.look(queue_name).starts.opens_at(limiter)

    def next_in_turn(self, queue_name: str, options: FetchOptions, now: datetime) -> JobData | None:
        """The job to serve now."""
        index = self.queues.get(queue_name)
        job_id = None if index is None else index.waiting.next_id(options, now)
        return None if index is None or job_id is None else index.jobs[job_id]

    def in_turn(self, queue_name: str, options: FetchOptions, now: datetime) -> Iterator[JobData]:
        """The jobs to serve from now on."""
        index = self.look(queue_name)
        return map(index.jobs.__getitem__, index.waiting.in_turn(options, now))

    def room(self, queue_name: str, limiter: Limiter, now: datetime) -> int:
        """How many jobs may start now, by a rate limit."""
        return self.look(queue_name).starts.room(limiter, now)

    # -- workers ------------------------------------------------------------------------------

    def worker(self, worker_id: str) -> WorkerInfo | None:
        """The worker."""
        return self.workers.get(worker_id)

    def put_worker(self, worker: WorkerInfo) -> None:
        """Keep a worker."""
        self.queue(worker.queue_name)
        self.workers[worker.id] = worker

    def see_worker(self, worker_id: str, now: datetime) -> None:
        """Keep that a worker was seen now."""
        if (worker := self.workers.get(worker_id)) is not None:
            self.workers[worker_id] = dataclasses.replace(worker, last_seen=now)

    def remove_worker(self, worker: WorkerInfo) -> None:
        """Keep nothing of a worker that is closed, but for a while the next number of its name."""
        self.workers.pop(worker.id, None)
        self._worker_numbers.let_go(worker.name)
