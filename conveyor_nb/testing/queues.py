"""Testing one's own handlers and queues: in virtual time, with ids that are the same each time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Unpack

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.errors import JobFailedError
from conveyor_nb.core.handlers import Handler, Handlers
from conveyor_nb.core.lifecycle import UNSETTLED
from conveyor_nb.core.model import ALL_NAMES, JobState
from conveyor_nb.core.options.job_options import JobKeywords
from conveyor_nb.core.options.worker_options import MakeLifespan
from conveyor_nb.core.values.durations import Duration, format_seconds, to_seconds
from conveyor_nb.core.values.text import inline, one_line, shown
from conveyor_nb.job import Job
from conveyor_nb.queue import Queue
from conveyor_nb.stores import MemoryStore
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.stores.telling import wait_until_told
from conveyor_nb.worker import Worker

__all__ = ["run_job", "until_settled", "virtual_queue"]

_MOST_NAMED = 5
_MOST_DELAYED = 1_000


@asynccontextmanager
async def virtual_queue(
    name: str = "tests", *, clock: Clock | None = None, seed: int = 1, **options: Any
) -> AsyncIterator[Queue]:
    """A queue for a test: its time stands still, its ids are ``tests-1, tests-2, ...``.

    Args:
        name: the queue's name.
        clock: its clock; a new ``VirtualClock`` if not given, which is ``queue.store.clock``.
        seed: fixes the jitter of backoffs.
        options: what else a ``MemoryStore`` takes.

    Raises:
        TypeError, ValueError: a bad name or option.

    >>> import asyncio
    >>> async def main():
    ...     async with virtual_queue("emails") as queue:
    ...         @queue.worker
    ...         async def send(job):
    ...             await job.sleep("1 hour")
    ...             return f"sent to {job.data}"
    ...         job = await queue.add("send", "ada@example.org")
    ...         await until_settled(queue)
    ...         await send.worker.close()
    ...         return job.id, (await job.refresh()).returnvalue
    >>> asyncio.run(main())
    ('emails-1', 'sent to ada@example.org')
    """
    clock = VirtualClock() if clock is None else clock
    async with (
        MemoryStore(clock=clock, ids="sequential", seed=seed, **options) as store,
        Queue(name, store=store) as queue,
    ):
        yield queue


async def until_settled(subject: Queue | StoreInterface, within: Duration = "7 days") -> None:
    """Move a virtual clock on until every job has completed or failed, and no further.

    Retries, delays and the waits of handlers take no real time. The next runs of schedules, which
    never end, are not waited for.

    Args:
        subject: the queue; or a store, for all of its queues.
        within: a duration; how much of the clock's time that may take.

    Raises:
        AssertionError: there still are jobs after that; the message says which, and what may be
            missing.
        TypeError: its clock is no ``VirtualClock``.

    >>> import asyncio
    >>> async def main():
    ...     async with virtual_queue("emails") as queue:
    ...         await queue.add("send")
    ...         await until_settled(queue, within="1 hour")
    >>> asyncio.run(main())
    Traceback (most recent call last):
    ...
    AssertionError: queue emails has 1 job left after 1h: emails-1 is waiting (no worker takes jobs)
    """
    if not isinstance(subject, (Queue, StoreInterface)):
        raise TypeError(f"until_settled takes a Queue or a store, not {shown(subject)}")
    store = subject.store if isinstance(subject, Queue) else subject
    clock = store.clock
    if not isinstance(clock, VirtualClock):
        raise TypeError(
            f"until_settled moves a VirtualClock, and this store has {clock!r}; wait for jobs in"
            " real time by await job.wait_until_finished() or await queue.join()"
        )
    end = clock.now() + timedelta(seconds=to_seconds(within, what="within"))
    while True:
        await clock.settle()
        names = [subject.name] if isinstance(subject, Queue) else await store.list_queues()
        left = [name for name in names if await _unsettled(store, name)]
        if not left:
            break
        at = clock.next_timer()
        if at is None or at > end:
            raise AssertionError(await _told(store, left, to_seconds(within, what="within")))
        await clock.advance(max(timedelta(), at - clock.now()))
    if not store.tells_at_once:
        await wait_until_told(store)


async def run_job(
    handler: Handler | Handlers,
    data: Any = None,
    *,
    name: str = "test",
    clock: Clock | None = None,
    lifespan: MakeLifespan | None = None,
    **options: Unpack[JobKeywords],
) -> Job:
    """Run one job with a handler, all its attempts, and return it as it is in the end.

    Its record is kept for that, whatever ``remove_on_complete`` and ``remove_on_fail`` say.

    Args:
        handler: what a ``Worker`` takes: a function, or a mapping of job names to functions.
        data: the job's payload.
        name: the job's name.
        clock: the clock; a ``VirtualClock`` if not given, so that ``job.sleep`` and retries take no
            time. With a ``SystemClock`` the handler may wait for a server or the like.
        lifespan: as a ``Worker`` takes it, for ``job.resources``.
        options: those of the job, as for ``queue.add``.

    Raises:
        TypeError, ValueError: a bad handler or option.
        AssertionError: the job did not end in 7 days of virtual time.

    >>> import asyncio
    >>> async def divide(job):
    ...     await job.sleep("5s")
    ...     return job.data[0] / job.data[1]
    >>> job = asyncio.run(run_job(divide, [6, 3]))
    >>> job.state, job.returnvalue
    ('completed', 2.0)
    >>> job = asyncio.run(run_job(divide, [1, 0], attempts=3, backoff="1m"))
    >>> job.state, job.failed_reason, job.attempts_made
    ('failed', 'ZeroDivisionError: division by zero', 3)
    >>> [f"{attempt.started_at:%H:%M:%S}" for attempt in job.attempt_logs]
    ['00:00:00', '00:01:05', '00:02:10']
    """
    async with (
        virtual_queue(clock=clock) as queue,
        Worker(queue.name, handler, store=queue.store, lifespan=lifespan),
    ):
        kept: JobKeywords = {**options, "remove_on_complete": False, "remove_on_fail": False}
        job = await queue.add(name, data, **kept)
        if isinstance(queue.store.clock, VirtualClock):
            await until_settled(queue)
        else:
            with contextlib.suppress(JobFailedError):  # how it ended is what is asked for
                await job.wait_until_finished()
        return await job.refresh()


async def _unsettled(store: StoreInterface, queue_name: str) -> int:
    """How many jobs have not ended, but for the next runs of schedules."""
    counts = await store.get_job_counts(queue_name)
    left = sum(counts[state] for state in UNSETTLED)
    if counts[JobState.DELAYED] == left and left:
        delayed = await store.list_jobs(queue_name, JobState.DELAYED, 0, _MOST_DELAYED)
        # one that has begun is no next run: it rests before it is tried again
        left -= sum(job.scheduler_id is not None and not job.attempt_logs for job in delayed)
    return left


async def _told(store: StoreInterface, names: Sequence[str], seconds: float) -> str:
    """Which jobs have not ended, and why that may be."""
    told = []
    for name in names:
        jobs = [
            job
            for state in (JobState.ACTIVE, JobState.WAITING, JobState.DELAYED)
            for job in await store.list_jobs(name, state, 0, _MOST_NAMED)
        ] or await store.list_jobs(name, JobState.WAITING_CHILDREN, 0, _MOST_NAMED)
        some = ", ".join(f"{inline(job.id)} is {job.state}" for job in jobs[:_MOST_NAMED])
        paused = await store.get_paused_job_names(name)
        why = [] if await store.list_workers(name) else ["no worker takes jobs"]
        if ALL_NAMES in paused:
            why.append("the queue is paused")
        elif paused:
            why.append(f"paused are jobs named {one_line(', '.join(sorted(paused)), 100)}")
        count = await _unsettled(store, name)
        told.append(
            f"queue {inline(name)} has {count:,} {'job' if count == 1 else 'jobs'} left after "
            f"{format_seconds(seconds)}: {some}" + (f" ({'; '.join(why)})" if why else "")
        )
    return "; ".join(told)
