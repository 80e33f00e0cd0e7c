"""Waits of a handler that could never end: refused where they begin, by one clear error.

Who asks belongs to a run, see ``runs``; so does what a handler starts, be it a task or a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from conveyor_nb.context.runs import Run
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.values.text import shown
from conveyor_nb.core.worker_info import WorkerStatus
from conveyor_nb.stores.interface import StoreInterface

__all__ = [
    "refuse_circular_close",
    "refuse_circular_join",
    "refuse_circular_wait",
    "refuse_slot_deadlock",
]


class _OwnJob(Protocol):
    """What is to be known here of a job of the caller's run."""

    id: str
    queue_name: str
    state: JobState
    opts: JobOptions
    locked_by: str | None
    parent_id: str | None
    parent_queue_name: str | None


def _at_work(run: Run, store: StoreInterface) -> list[_OwnJob]:
    """The jobs of a run that can't end before its handler does."""
    return [job for job in run.jobs if job.store is store and job.state is JobState.ACTIVE]


async def refuse_circular_wait(run: Run, target: JobData, store: StoreInterface) -> None:
    """Refuse to wait for the end of a job that can't end before the caller's own.

    Raises:
        RuntimeError: it is the caller's own job, or one that has that below it in a flow.
    """
    wanted = (target.queue_name, target.id)
    for job in _at_work(run, store):
        if (job.queue_name, job.id) == wanted:
            raise RuntimeError(
                f"job {shown(job.id)} waits for its own end, which can't come before its handler "
                "returns; let others wait for it, or follow it with job.observe()"
            )
        if target.state is JobState.WAITING_CHILDREN and await _is_below(job, wanted, store):
            raise RuntimeError(
                f"job {shown(job.id)} waits for the end of job {shown(target.id)}, which is above "
                "it in their flow and can't begin before this one has ended"
            )


async def _is_below(job: _OwnJob, wanted: tuple[str, str], store: StoreInterface) -> bool:
    above = (job.parent_queue_name, job.parent_id)
    while above[0] is not None and above[1] is not None:
        if above == wanted:
            return True
        parent = await store.get_job(above[0], above[1])
        above = (parent.parent_queue_name, parent.parent_id) if parent else (None, None)
    return False


_Line = dict[asyncio.Future[Any], tuple[Run, str | None]]

_lines: WeakKeyDictionary[StoreInterface, _Line] = WeakKeyDictionary()
"""For each store: the jobs that runs wait for now, and the worker whose slot each run has."""


async def refuse_slot_deadlock(
    run: Run, target: JobData, store: StoreInterface, settled: asyncio.Future[Any]
) -> None:
    """Refuse to wait in a slot for a job that needs one, when all that there are wait like this.

    Args:
        run: the caller's.
        target: the job that is waited for, for as long as it takes.
        store: where it is.
        settled: what is waited for; done or cancelled when the wait is over.

    Raises:
        RuntimeError: no slot of the queue's workers will ever be free.
    """
    if target.state is JobState.ACTIVE:
        return
    queue_name = target.queue_name
    job = next(iter(_at_work(run, store)), None)
    if job is None or job.queue_name != queue_name or job.opts.timeout is not None:
        return  # the waiting job has no slot of that queue, or a timeout ends its wait
    workers = await store.list_workers(queue_name)
    if settled.done():
        return
    # from here on nothing is awaited, so of several that begin to wait the last one sees the others
    line = _lines.setdefault(store, {})
    line[settled] = (run, job.locked_by)
    settled.add_done_callback(lambda _: line.pop(settled, None))
    running = [one for one in workers if one.status == WorkerStatus.RUNNING]
    room = sum(worker.concurrency for worker in running)
    if not room or any(_held(line, worker.id) < worker.concurrency for worker in running):
        return  # somebody takes the jobs step by step, or there is a slot
    settled.cancel()
    raise RuntimeError(
        f"job {shown(job.id)} waits for job {shown(target.id)}, which can't begin: every slot of "
        f"queue {shown(queue_name)} ({room}) is held by a job that waits like this; give its "
        "worker a higher concurrency, or put one of the two jobs into another queue"
    )


def _held(line: _Line, worker_id: str) -> int:
    """How many slots of a worker are held by runs that wait for what needs one."""
    waits = list(line.items())  # others, on other threads, may begin and end to wait meanwhile
    return len({id(run) for wait, (run, by) in waits if by == worker_id and not wait.done()})


def refuse_circular_join(run: Run, queue_name: str, store: StoreInterface) -> None:
    """Refuse to wait until a queue has no work left, for a caller that is some of it.

    Raises:
        RuntimeError: the caller's own job is one of the queue.
    """
    for job in _at_work(run, store):
        if job.queue_name == queue_name:
            raise RuntimeError(
                f"job {shown(job.id)} waits until queue {shown(queue_name)} has no work left, and "
                "is some of it itself; wait for the jobs that matter: "
                "await other_job.wait_until_finished()"
            )


def refuse_circular_close(
    run: Run, worker_name: str, running: Collection[object], remedy: str
) -> None:
    """Refuse to wait until a worker has finished its jobs, for a caller that is one of them.

    Raises:
        RuntimeError: the caller's own job is among those ``running``.
    """
    for job in run.jobs:
        if any(job is one for one in running):
            raise RuntimeError(
                f"job {shown(job.id)} waits for worker {shown(worker_name)} to finish the jobs "
                f"that it runs, and is one of them itself; {remedy}"
            )
