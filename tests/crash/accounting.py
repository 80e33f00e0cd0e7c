"""What became of the jobs: all that were acknowledged are there, and each has one outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable

from conveyor_nb import JobState, StoreEvent, StoreInterface
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import AttemptStatus, EventType, JobData

__all__ = ["Outcomes", "faults_of"]


class Outcomes:
    """Counts how often each job was told to have completed; a subscriber."""

    def __init__(self) -> None:
        self.completed: Counter[tuple[str, str | None]] = Counter()

    def __call__(self, event: StoreEvent) -> None:
        """Take in an event."""
        if event.type == EventType.COMPLETED:
            self.completed[event.queue_name, event.job_id] += 1

    @property
    def doubled(self) -> list[str]:
        """The jobs that have completed more than once."""
        return [
            f"{queue}/{job} completed {n} times"
            for (queue, job), n in self.completed.items()
            if n > 1
        ]


async def faults_of(
    store: StoreInterface,
    acknowledged: Collection[tuple[str, str]],
    starts: Counter[tuple[str, str]],
    *,
    is_over: bool,
) -> list[str]:
    """What does not hold, in a sentence each.

    Args:
        store: the store, with nobody at work on it.
        acknowledged: queue and id of each job of which it was said that it was added.
        starts: how often a handler was started for each.
        is_over: whether all jobs are to have ended by now, but for the runs that are to come.
    """
    jobs = {
        (queue, job.id): job
        for queue in await store.list_queues()
        for job in await store.list_jobs(queue)
    }
    faults = [f"lost: {queue}/{job}" for queue, job in acknowledged if (queue, job) not in jobs]
    for queue in await store.list_queues():
        counted = Counter(job.state for (its, _), job in jobs.items() if its == queue)
        told = await store.get_job_counts(queue)
        if +Counter(told) != counted:
            faults.append(f"{queue}: {told} counted, {dict(counted)} listed")
    for (queue, job_id), job in jobs.items():
        faults += (f"{queue}/{job_id}: {fault}" for fault in _of_one(job, is_over=is_over))
        if starts[queue, job_id] > (job.attempt_logs[-1].attempt if job.attempt_logs else 0):
            faults.append(f"{queue}/{job_id}: started more often than its record says")
        if job.children_ids:
            children = await store.get_children_jobs(queue, job_id)
            faults += _of_family(job, children)
    faults += [fault async for fault in _of_schedulers(store, jobs)]
    return faults


def _of_one(job: JobData, *, is_over: bool) -> Iterable[str]:
    ended = [one for one in job.attempt_logs if one.status is AttemptStatus.COMPLETED]
    if len(ended) > 1:
        yield f"{len(ended)} outcomes"
    if (job.state is JobState.COMPLETED) != (len(ended) == 1):
        yield f"{job.state} with {len(ended)} outcomes"
    if (job.state is JobState.ACTIVE) != (job.locked_by is not None):
        yield f"{job.state}, locked by {job.locked_by}"
    if is_over and job.state is not JobState.COMPLETED and job.scheduler_id is None:
        yield f"is {job.state}, {job.failed_reason}"


def _of_family(parent: JobData, children: Collection[JobData]) -> Iterable[str]:
    pending = sum(job.state not in SETTLED for job in children)
    if parent.pending_children_count != pending:
        yield f"{parent.id} waits for {parent.pending_children_count}, {pending} are unsettled"
    if (parent.state is JobState.WAITING_CHILDREN) != bool(pending):
        yield f"{parent.id} is {parent.state} with {pending} unsettled children"


async def _of_schedulers(
    store: StoreInterface, jobs: dict[tuple[str, str], JobData]
) -> AsyncIterator[str]:
    for queue in await store.list_queues():
        for scheduler in await store.get_job_schedulers(queue):
            runs = [
                job
                for (its, _), job in jobs.items()
                if its == queue and job.scheduler_id == scheduler.id and job.state not in SETTLED
            ]
            if [job.id for job in runs] != [scheduler.pending_job_id]:
                told = [f"{job.id} {job.state}" for job in runs]
                yield f"{scheduler.id}: to come are {told}, not {scheduler.pending_job_id}"
