"""The slots of a worker: who has one, and what is at work in them, found by job."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import Any

from conveyor_nb.clocks.loops import Flag
from conveyor_nb.job import Job
from conveyor_nb.running.execution import Execution, Verdict

__all__ = ["Slots"]

Holder = asyncio.Task[Any]
"""The task that works in a slot."""


class Slots:
    """The slots of a worker, and what is in them.

    A slot is held by a task. If the handler that runs in it does not stop when it is told to, as
    none in a thread can, the slot stays taken until it returns; nobody waits for that task.

    Args:
        size: how many slots there are.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.holders: dict[Holder, Execution | None] = {}
        """Who has a slot, and what is at work in it."""
        self.numbers: dict[Holder, int] = {}
        """Which slot that is, counted from 1."""
        self._free_numbers: list[int] = []
        self.ended_count = 0
        """How many jobs were at work here and are no longer."""
        self._by_job: dict[str, Execution] = {}
        self._left_alone: set[Holder] = set()
        self._left = Flag()

    def __str__(self) -> str:
        told = f"{len(self.executions)} of {self.size} slots in use"
        held = self.held
        return f"{told}, {held} held by a handler that did not stop" if held else told

    @property
    def free(self) -> bool:
        """Whether a slot is free."""
        return len(self.holders) < self.size

    @property
    def busy(self) -> bool:
        """Whether there is anybody to wait for."""
        return len(self.holders) > len(self._left_alone)

    @property
    def executions(self) -> list[Execution]:
        """What is at work."""
        holders = list(self.holders.values())  # in one go, as other threads may ask
        return [execution for execution in holders if execution is not None]

    @property
    def held(self) -> int:
        """How many slots are held by a handler that did not stop when it was told to."""
        return sum(execution.is_held for execution in self.executions)

    def jobs(self) -> list[Job]:
        """The jobs that are being run."""
        return [job for execution in self.executions for job in execution.running_jobs()]

    def locked_jobs(self) -> list[Job]:
        """The jobs whose locks are held here: also of those that ended before their handlers."""
        return [job for execution in self.executions for job in execution.locked_jobs()]

    async def wait_for_room(self) -> None:
        """Wait until a slot is free."""
        while not self.free:
            self._left.clear()
            await self._left.wait()

    async def wait_for_leave(self, holder: Holder) -> None:
        """Wait until a task has given back its slot, or is waited for no more."""
        while holder in self.holders and holder not in self._left_alone:
            self._left.clear()
            await self._left.wait()

    def take(self, holder: Holder) -> None:
        """Give the first slot that is free to a task."""
        free = self._free_numbers
        self.numbers[holder] = heappop(free) if free else len(self.holders) + 1
        self.holders[holder] = None

    def leave(self, holder: Holder) -> None:
        """Give a slot back."""
        del self.holders[holder]
        heappush(self._free_numbers, self.numbers.pop(holder))
        self._left_alone.discard(holder)
        self._left.set()

    def leave_alone(self, execution: Execution) -> bool:
        """Wait no more for a handler that does not stop; ``False``: nobody did.

        Its slot stays taken until it returns.
        """
        if execution.task in self._left_alone:
            return False
        self._left_alone.add(execution.task)
        self.ended_count += len(execution.jobs)
        self._left.set()
        return True

    def is_left_alone(self, holder: Holder) -> bool:
        """Whether nobody waits for a task any more."""
        return holder in self._left_alone

    def begin(self, holder: Holder, execution: Execution) -> None:
        """Note what is at work in a slot."""
        self.holders[holder] = execution
        for job in execution.jobs:
            self._by_job[job._data.id] = execution  # as job.id, which costs more

    def end(self, holder: Holder, execution: Execution) -> None:
        """Note that it is at work no longer; harmless if that was done."""
        holders, by_job, jobs = self.holders, self._by_job, execution.jobs
        if holders[holder] is not execution:
            return
        holders[holder] = None
        if self._left_alone and holder in self._left_alone:
            self._left_alone.discard(holder)
        else:
            self.ended_count += len(jobs)
        for job in jobs:
            job_id = job._data.id
            if by_job.get(job_id) is execution:
                del by_job[job_id]

    def stop_all(self, verdict: Verdict) -> None:
        """Stop the run of every job."""
        for execution in self.executions:
            execution.stop_all(verdict)

    def stop(self, job_id: str, verdict: Verdict) -> bool:
        """Stop the run of a job; returns whether there is one that is not over."""
        execution = self._by_job.get(job_id)
        if execution is None or execution.is_over:
            return False
        for job in execution.jobs:
            if job.id == job_id:
                execution.stop(job, verdict)
        return True
