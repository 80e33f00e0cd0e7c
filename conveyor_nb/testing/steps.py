"""Short ways to put a store to work in a test."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Action, Complete, Fail, Stall
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import JobData, JobState, Lock
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.options.worker_options import GroupLimits, Limiter
from conveyor_nb.stores.interface import StoreInterface

__all__ = [
    "LOCK_DURATION",
    "QUEUE",
    "add",
    "add_all",
    "apply",
    "complete",
    "fail",
    "fail_for_good",
    "fetch_options",
    "get",
    "ids_in",
    "in_state",
    "likely_id",
    "lock_of",
    "new_job",
    "next_id",
    "next_job",
    "other_than",
    "served",
    "stall",
    "state_of",
    "take",
]

QUEUE = "emails"
LOCK_DURATION = 30.0


def new_job(
    job_id: str = "", name: str = "send", data: Any = None, *, queue: str = QUEUE, **options: Any
) -> JobData:
    """A job as a queue builds it for ``save_job``."""
    opts = JobOptions(**options)
    return JobData(
        id=job_id,
        name=name,
        queue_name=queue,
        data=data,
        opts=opts,
        deduplication_key=opts.deduplication.key if opts.deduplication else None,
        group_id=opts.group.id if opts.group else None,
    )


async def add(store: StoreInterface, job_id: str = "", **options: Any) -> JobData:
    """Save one job; ``options`` as for :func:`new_job`."""
    return await store.save_job(new_job(job_id, **options))


async def add_all(store: StoreInterface, *job_ids: str, **options: Any) -> None:
    """Save several jobs, one after the other."""
    for job_id in job_ids:
        await add(store, job_id, **options)


async def get(store: StoreInterface, job_id: str, queue: str = QUEUE) -> JobData:
    """A job that must be there."""
    job = await store.get_job(queue, job_id)
    assert job is not None, f"job {job_id!r} is gone"
    return job


async def state_of(store: StoreInterface, job_id: str) -> JobState | None:
    """The state that a job is in; ``None``: it is gone."""
    job = await store.get_job(QUEUE, job_id)
    return job.state if job else None


async def ids_in(store: StoreInterface, state: JobState | None = None) -> list[str]:
    """The ids of the jobs in a state, as the store lists them."""
    return [job.id for job in await store.list_jobs(QUEUE, state)]


async def likely_id(store: StoreInterface) -> str:
    """The id that the next job may well get, if ids are numbers; else any that is free."""
    saved = await add(store)
    await store.remove_job(QUEUE, saved.id)
    head, _, number = saved.id.rpartition("-")
    return f"{head}-{int(number) + 1}" if number.isdecimal() else f"{saved.id}+1"


def fetch_options(
    *,
    lifo: bool = False,
    limiter: Limiter | None = None,
    max_global_concurrency: int | None = None,
    group_concurrency: int | None = None,
    group_limiter: Limiter | None = None,
) -> FetchOptions:
    """What a worker asks for, in one call."""
    group = GroupLimits(group_concurrency, group_limiter)
    return FetchOptions(lifo, limiter, max_global_concurrency, group)


async def next_job(store: StoreInterface, worker_id: str = "w1", **options: Any) -> JobData | None:
    """Fetch the next job, if there is one; ``options`` as for :func:`fetch_options`."""
    return await store.fetch_next_job(QUEUE, worker_id, LOCK_DURATION, fetch_options(**options))


async def next_id(store: StoreInterface, worker_id: str = "w1", **options: Any) -> str | None:
    """Fetch the next job; gives its id."""
    job = await next_job(store, worker_id, **options)
    return job.id if job else None


async def take(store: StoreInterface, worker_id: str = "w1", **options: Any) -> JobData:
    """Fetch the next job, which must be there."""
    job = await next_job(store, worker_id, **options)
    assert job is not None, "there was no job to fetch"
    return job


async def served(store: StoreInterface, **options: Any) -> list[str]:
    """Fetch until there is no job left; gives the ids in order."""
    ids = []
    while (job_id := await next_id(store, **options)) is not None:
        ids.append(job_id)
    return ids


def lock_of(job: JobData) -> Lock:
    """The lock that a fetched job is held by."""
    assert job.locked_by is not None, f"nobody holds job {job.id!r}"
    return Lock(job.locked_by, job.attempt_logs[-1].attempt)


async def apply(store: StoreInterface, job: JobData, action: Action) -> JobData:
    """Apply an action as the holder of the job's lock."""
    return await store.apply(job.queue_name, job.id, action, lock=lock_of(job))


async def complete(store: StoreInterface, job: JobData, returnvalue: Any = None) -> JobData:
    """Report that the handler returned."""
    return await apply(store, job, Complete(returnvalue))


async def fail(store: StoreInterface, job: JobData, reason: str = "boom") -> JobData:
    """Report that the attempt failed."""
    return await apply(store, job, Fail(reason))


async def fail_for_good(store: StoreInterface, job: JobData, reason: str = "boom") -> JobData:
    """Report that the attempt failed, and rule out a retry."""
    return await apply(store, job, Fail(reason, final=True))


async def stall(store: StoreInterface, clock: VirtualClock, job: JobData) -> JobData:
    """Let a job's lock run out, and say so."""
    await clock.advance(LOCK_DURATION)
    return await store.apply(job.queue_name, job.id, Stall())


def other_than(*states: JobState) -> list[JobState]:
    """All other states."""
    return [state for state in JobState if state not in states]


async def in_state(store: StoreInterface, state: JobState, job_id: str = "a") -> JobData:
    """A new job, brought into a state; it has two attempts and is the only one of its queue."""
    match state:
        case JobState.WAITING_CHILDREN:
            parent, child = new_job(job_id, attempts=2), new_job(f"{job_id}'s", queue="children")
            saved = await store.save_flow(
                [
                    replace(parent, children_ids=(child.id,), pending_children_count=1),
                    replace(child, parent_id=job_id, parent_queue_name=QUEUE),
                ]
            )
            return saved[0]
        case JobState.DELAYED:
            return await add(store, job_id, attempts=2, delay=60)
        case _:
            job = await add(store, job_id, attempts=2)
    if state is JobState.WAITING:
        return job
    job = await take(store)
    if state is JobState.ACTIVE:
        return job
    if state is JobState.COMPLETED:
        return await complete(store, job, "done")
    return await fail_for_good(store, job)
