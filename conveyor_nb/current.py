"""The job that is being run, for code that a handler calls and does not give the job to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from msgspec import Struct

from conveyor_nb.blocking import BlockingJob
from conveyor_nb.job import Job

__all__ = ["Run", "current_job", "current_run", "enter_run"]


class Run(Struct, frozen=True, eq=False, weakref=True):
    """One run of a handler.

    Args:
        jobs: the job, or the jobs of the batch.
        captured: whether what it prints may be taken for the jobs' logs, see ``Worker``.
        loop: where the jobs' methods run.
    """

    jobs: Sequence[Job]
    captured: bool
    loop: asyncio.AbstractEventLoop


_current: ContextVar[Run | None] = ContextVar("conveyor_nb.current_run", default=None)


enter_run: Callable[[Run], object] = _current.set
"""Let all that is called from here on, in this task and what it starts, belong to a run."""


def current_run() -> Run | None:
    """The run that the caller belongs to, if any."""
    return _current.get()


def current_job() -> Job | BlockingJob | None:
    """The job whose handler called this, from however deep below it; of a batch the first.

    Tasks that a handler starts belong to its job, and so do a plain handler's thread and those of
    ``asyncio.to_thread``. In a thread the job's methods block, as they do for a plain handler.
    Threads that are started in other ways don't know the job.

    Returns:
        The job; ``None`` outside of handlers.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore, Queue, Worker
    >>> async def note(text):
    ...     if (job := current_job()) is not None:
    ...         await job.log(text)
    >>> async def main():
    ...     async with MemoryStore() as store, Queue("emails", store=store) as queue:
    ...         async with Worker("emails", lambda job: note("sent"), store=store):
    ...             job = await queue.add("send")
    ...             await job.wait_until_finished()
    ...             return (await job.refresh()).logs
    >>> asyncio.run(main())
    ('sent',)
    """
    run = _current.get()
    if run is None:
        return None
    job = run.jobs[0]
    return job if asyncio._get_running_loop() is run.loop else BlockingJob(job, run.loop)
