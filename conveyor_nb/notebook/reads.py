"""What views show of queues and their jobs, as their store's reads give it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.reads import Reads

__all__ = ["QueueLine", "jobs_of", "queue_lines"]


class QueueLine(NamedTuple):
    """What a list of queues says of one."""

    name: str
    counts: Mapping[JobState, int]
    paused: frozenset[str]
    workers: list[WorkerInfo]


async def queue_lines(reads: Reads, names: Iterable[str] | None = None) -> list[QueueLine]:
    """Some queues of a store, or all."""
    return [
        QueueLine(
            name,
            await reads.get_job_counts(name),
            await reads.get_paused_job_names(name),
            await reads.list_workers(name),
        )
        for name in (await reads.list_queues() if names is None else names)
    ]


async def jobs_of(
    reads: Reads, subject: Queue | StoreInterface, state: JobState | None
) -> list[JobData]:
    """The jobs of a queue, or of all queues of a store, or those in a state."""
    names = [subject.name] if isinstance(subject, Queue) else await reads.list_queues()
    return [job for name in names for job in await reads.list_jobs(name, state)]
