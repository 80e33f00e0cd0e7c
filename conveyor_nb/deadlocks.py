"""Waits of a handler that could never end: refused where they begin, by one clear error.

Who asks belongs to a run, see ``runs``; so does what a handler starts, be it a task or a thread.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from conveyor_nb.model import JobData, JobState
from conveyor_nb.runs import Run
from conveyor_nb.stores import StoreInterface
from conveyor_nb.text import shown

if TYPE_CHECKING:
    from conveyor_nb.job import Job

__all__ = ["refuse_vain_close", "refuse_vain_join", "refuse_vain_wait"]


def _at_work(run: Run, store: StoreInterface) -> list[Job]:
    """The jobs of a run that can't end before its handler does."""
    return [job for job in run.jobs if job.store is store and job.state is JobState.ACTIVE]


async def refuse_vain_wait(run: Run, target: JobData, store: StoreInterface) -> None:
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


async def _is_below(job: Job, wanted: tuple[str, str], store: StoreInterface) -> bool:
    above = (job.parent_queue_name, job.parent_id)
    while above[0] is not None and above[1] is not None:
        if above == wanted:
            return True
        parent = await store.get_job(above[0], above[1])
        above = (parent.parent_queue_name, parent.parent_id) if parent else (None, None)
    return False


def refuse_vain_join(run: Run, queue_name: str, store: StoreInterface) -> None:
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


def refuse_vain_close(run: Run, worker_name: str, running: Collection[Job], remedy: str) -> None:
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
