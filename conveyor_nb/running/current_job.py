"""The job that is being run, for code that a handler calls and does not give the job to."""

from __future__ import annotations

import asyncio

from conveyor_nb.context.runs import current_run
from conveyor_nb.job import Job
from conveyor_nb.running.blocking_job import BlockingJob

__all__ = ["current_job"]


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
    run = current_run()
    if run is None:
        return None
    job: Job = run.jobs[0]
    return job if asyncio._get_running_loop() is run.loop else BlockingJob(job, run.loop)
