"""What a worker is at work on: its executions, found by job, and the threads they use."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterator

from conveyor_nb.execution import Execution, ThreadFuture, Verdict
from conveyor_nb.job import Job

__all__ = ["Slots"]


class Slots:
    """The slots of a worker, and what is in them.

    An execution takes a slot until it is reported; if its handler runs in a thread that could
    not be stopped, the slot stays taken until the thread is done.

    Args:
        size: how many executions there may be at once.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.executions: set[Execution] = set()
        self.ended: deque[Execution] = deque()
        self.ended_count = 0
        self._room = asyncio.Event()
        self._by_job: dict[str, Execution] = {}
        self._threads: set[ThreadFuture] = set()
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None

    @property
    def free(self) -> bool:
        """Whether there is room for one more execution."""
        return len(self.executions) + len(self._threads) < self.size

    def jobs(self) -> Iterator[Job]:
        """The jobs that are being run."""
        return (job for execution in self.executions for job in execution.jobs)

    async def wait_for_room(self) -> None:
        """Wait until there is room for one more execution."""
        while not self.free:
            self._room.clear()
            await self._room.wait()

    def add(self, execution: Execution) -> None:
        """Take a slot."""
        self.executions.add(execution)
        for job in execution.jobs:
            self._by_job[job.id] = execution

    def stop(self, job_id: str, verdict: Verdict) -> None:
        """Stop the run of a job, if it is being run here."""
        execution = self._by_job.get(job_id)
        if execution is not None:
            for job in execution.jobs:
                if job.id == job_id:
                    execution.stop(job, verdict)

    def release(self, execution: Execution, on_free: Callable[[], None]) -> None:
        """Give a slot back; ``on_free`` is called when it is free, if that is not now."""
        self.executions.discard(execution)
        self.ended_count += len(execution.jobs)
        for job in execution.jobs:
            if self._by_job.get(job.id) is execution:
                del self._by_job[job.id]
        self._room.set()
        thread = execution.thread
        if thread is not None and not thread.done():
            self._threads.add(thread)
            loop = asyncio.get_running_loop()

            def free(_: object) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(self._forget_thread, thread, on_free)

            thread.add_done_callback(free)

    def pool(self, name: str) -> concurrent.futures.Executor:
        """The threads for plain handlers, as many as there are slots."""
        if self._pool is None:
            self._pool = concurrent.futures.ThreadPoolExecutor(self.size, f"conveyor_nb-{name}")
        return self._pool

    def close(self) -> None:
        """Let the threads go; one that is busy ends when its handler returns."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _forget_thread(self, thread: ThreadFuture, on_free: Callable[[], None]) -> None:
        self._threads.discard(thread)
        self._room.set()
        on_free()
