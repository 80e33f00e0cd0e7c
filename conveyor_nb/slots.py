"""What a worker is at work on: its executions, found by job."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from conveyor_nb.execution import Execution, Verdict
from conveyor_nb.job import Job
from conveyor_nb.runners import Background

__all__ = ["Slots"]


class Slots:
    """The slots of a worker, and what is in them.

    An execution takes a slot until it is reported; if its handler runs in a thread that could
    not be stopped, or in a process that is still ending, the slot stays taken until that is done.

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
        self._left_behind: set[Background] = set()

    @property
    def free(self) -> bool:
        """Whether there is room for one more execution."""
        return len(self.executions) + len(self._left_behind) < self.size

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
        background = execution.background
        if background is not None and not background.done():
            self._left_behind.add(background)
            loop = asyncio.get_running_loop()

            def free(_: object) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(self._forget, background, on_free)

            background.add_done_callback(free)

    def _forget(self, background: Background, on_free: Callable[[], None]) -> None:
        self._left_behind.discard(background)
        self._room.set()
        on_free()
