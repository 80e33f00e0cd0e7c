"""The slots of a worker: who has one, and what is at work in them, found by job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from conveyor_nb.execution import Execution, Verdict
from conveyor_nb.job import Job
from conveyor_nb.loops import Flag
from conveyor_nb.runners import Background

__all__ = ["Slots"]

Holder = asyncio.Task[Any]
"""The task that works in a slot."""


class Slots:
    """The slots of a worker, and what is in them.

    A slot is held by a task. If the handler that ran in it went on in a thread that could not be
    stopped, or in a process that is still ending, the slot stays taken until that is done.

    Args:
        size: how many slots there are.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.holders: dict[Holder, Execution | None] = {}
        """Who has a slot, and what is at work in it."""
        self.ended_count = 0
        """How many jobs were at work here and are no longer."""
        self._by_job: dict[str, Execution] = {}
        self._left_behind: set[Background] = set()
        self._left = Flag()

    @property
    def free(self) -> bool:
        """Whether a slot is free."""
        return len(self.holders) + len(self._left_behind) < self.size

    @property
    def executions(self) -> list[Execution]:
        """What is at work."""
        return [execution for execution in self.holders.values() if execution is not None]

    def jobs(self) -> list[Job]:
        """The jobs that are being run."""
        return [job for execution in self.executions for job in execution.jobs]

    async def wait_for_room(self) -> None:
        """Wait until a slot is free."""
        while not self.free:
            self._left.clear()
            await self._left.wait()

    async def wait_for_leave(self, holder: Holder) -> None:
        """Wait until a task has given back its slot."""
        while holder in self.holders:
            self._left.clear()
            await self._left.wait()

    def take(self, holder: Holder) -> None:
        """Give a slot to a task."""
        self.holders[holder] = None

    def leave(self, holder: Holder) -> None:
        """Give a slot back; harmless if that was done."""
        self.holders.pop(holder, None)
        self._left.set()

    def begin(self, holder: Holder, execution: Execution) -> None:
        """Note what is at work in a slot."""
        self.holders[holder] = execution
        for job in execution.jobs:
            self._by_job[job.id] = execution

    def end(self, holder: Holder, execution: Execution) -> None:
        """Note that it is at work no longer; harmless if the slot was given back."""
        if holder not in self.holders:
            return
        self.holders[holder] = None
        self.ended_count += len(execution.jobs)
        for job in execution.jobs:
            if self._by_job.get(job.id) is execution:
                del self._by_job[job.id]

    def stop(self, job_id: str, verdict: Verdict) -> None:
        """Stop the run of a job, if it is being run here."""
        execution = self._by_job.get(job_id)
        if execution is not None:
            for job in execution.jobs:
                if job.id == job_id:
                    execution.stop(job, verdict)

    def leave_behind(self, background: Background, on_free: Callable[[], None]) -> None:
        """Count one more slot as taken until ``background`` is done; then call ``on_free``."""
        self._left_behind.add(background)
        loop = asyncio.get_running_loop()

        def free(_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._forget, background, on_free)

        background.add_done_callback(free)

    def _forget(self, background: Background, on_free: Callable[[], None]) -> None:
        self._left_behind.discard(background)
        self._left.set()
        on_free()
