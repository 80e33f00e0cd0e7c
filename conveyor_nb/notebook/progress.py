"""A progress bar over jobs, moved by the store's events."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from tqdm.auto import tqdm

from conveyor_nb.context.deadlocks import refuse_circular_wait
from conveyor_nb.context.runs import current_run
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.model import EventType
from conveyor_nb.core.values.text import shown
from conveyor_nb.job import Job
from conveyor_nb.notebook.repaint import Repainter
from conveyor_nb.stores.following import JobEnd, JobFollower

__all__ = ["Progress", "progress"]

_Key = tuple[int, str, str]
"""Which job: its store, its queue and its id."""


class Progress:
    """The jobs as they finish, for ``async for``, with a bar that shows how many have.

    The bar is a widget in a notebook and a line of text elsewhere. It counts each job at once,
    whatever the loop's body is at; how many failed stands beside it. Leaving the loop, be it by
    ``break``, an error or an interrupt, closes it; the jobs go on.

    Args:
        jobs: the jobs, of any queues.
        bar: options of ``tqdm``, such as ``desc="emails"`` or ``leave=False``.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore, Queue, Worker
    >>> async def main():
    ...     store = MemoryStore(ids="sequential")
    ...     queue = Queue("sums", store=store)
    ...     async with Worker("sums", lambda job: sum(job.data), store=store):
    ...         jobs = await queue.add_bulk({"name": "sum", "data": [n, n]} for n in range(3))
    ...         async for job in progress(jobs, disable=True):
    ...             print(job.id, job.returnvalue)
    ...         return await progress.gather(jobs, disable=True)
    >>> asyncio.run(main())
    sums-1 0
    sums-2 2
    sums-3 4
    [0, 2, 4]
    """

    def __init__(self, jobs: Iterable[Job], **bar: Any) -> None:
        self._watch = _Watch(jobs, bar)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job:
        return (await self._watch.next()).job

    def close(self) -> None:
        """Close the bar, and follow the jobs no more."""
        self._watch.close()

    def __del__(self) -> None:
        if hasattr(self, "_watch"):
            self._watch.close()

    @classmethod
    async def gather(
        cls, jobs: Iterable[Job], *, return_exceptions: bool = False, **bar: Any
    ) -> list[Any]:
        """Wait for the jobs behind a bar, and return what their handlers did, in order.

        Args:
            jobs: the jobs, of any queues.
            return_exceptions: give the error of a failed job in its place, as ``asyncio.gather``
                does; else the first one is raised at once, while the other jobs go on.
            bar: options of ``tqdm``.

        Raises:
            JobFailedError, JobCancelledError, JobNotFoundError: as ``wait_until_finished``.
        """
        jobs = list(jobs)
        given: dict[int, Any] = {}
        watch = _Watch(jobs, bar)
        try:
            while len(given) < len({id(job) for job in jobs}):
                job, value, error = await watch.next()
                if error is not None and not return_exceptions:
                    raise error
                given[id(job)] = value if error is None else error
        finally:
            watch.close()
        return [given[id(job)] for job in jobs]


progress = Progress


class _End(NamedTuple):
    job: Job
    value: Any
    error: ConveyorError | None


class _Bar(tqdm):  # type: ignore[misc]  # it has no types
    monitor_interval = 0  # without a thread: the loop repaints this bar


class _Watch:
    """The jobs that are followed, apart from ``Progress`` so that dropping that closes this."""

    def __init__(self, jobs: Iterable[Job], bar: dict[str, Any]) -> None:
        self._pending: dict[_Key, list[Job]] = {}
        for job in jobs:
            if not isinstance(job, Job):
                raise TypeError(f"progress takes jobs, as queue.add returns them, not {shown(job)}")
            self._pending.setdefault(_key(job), []).append(job)
        self._ended: deque[tuple[Job, JobEnd]] = deque()
        self._wake = asyncio.Event()
        self._bar_options = {"unit": "job", "total": sum(map(len, self._pending.values())), **bar}
        self._bar: _Bar | None = None
        self._failed = 0
        self._repainter: Repainter | None = None
        self._followers: list[JobFollower] = []

    async def next(self) -> _End:
        """Wait for the next job's end; ``StopAsyncIteration`` after the last."""
        try:
            if self._bar is None:
                await self._start()
            while not self._ended:
                if not self._pending:
                    raise StopAsyncIteration
                self._wake.clear()
                await self._wake.wait()
            job, end = self._ended.popleft()
            return await _result(job, end)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the bar, and take no more events."""
        for follower in self._followers:
            follower.close()
        self._followers.clear()
        if self._repainter is not None:
            self._repainter.cancel()
            self._repainter = None
        if self._bar is not None:
            self._bar.close()

    async def _start(self) -> None:
        """Show the bar and follow the jobs, then look which have ended before that."""
        self._bar = _Bar(**self._bar_options)
        self._repainter = Repainter(self._bar.refresh)
        jobs = [same[0] for same in self._pending.values()]
        for job in jobs:  # one by one, as only those who follow a job are told its result
            follower = JobFollower(job.store, job.queue_name, job.id)
            follower.end.add_done_callback(functools.partial(self._note, _key(job)))
            self._followers.append(follower)
        for job, follower in zip(jobs, tuple(self._followers), strict=True):
            data = await follower.look()
            if data is not None and (run := current_run()) is not None:
                await refuse_circular_wait(run, data, job.store)

    def _note(self, key: _Key, told: asyncio.Future[JobEnd]) -> None:
        if told.cancelled():
            return
        end = told.result()
        jobs = self._pending.pop(key, ())
        if not jobs or self._bar is None or self._repainter is None:
            return
        self._ended.extend((job, end) for job in jobs)
        self._wake.set()
        self._bar.n += len(jobs)
        if end.event.type != EventType.COMPLETED:
            self._failed += len(jobs)
            self._bar.set_postfix({"failed": self._failed}, refresh=False)
        self._repainter.request()


def _key(job: Job) -> _Key:
    return id(job.store), job.queue_name, job.id


async def _result(job: Job, end: JobEnd) -> _End:
    try:
        return _End(job, await job.take_end(end), None)
    except ConveyorError as error:
        return _End(job, None, error)
