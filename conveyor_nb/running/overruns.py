"""Handlers that do not stop when they are told to: what becomes of their jobs, slots and locks.

A plain handler's thread can't be stopped, and an async handler may catch its cancellation. What is
final is said of its job at once; whatever lets the job run again waits until the handler has
returned, so that it never runs twice at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from threading import Thread
from typing import Any

from conveyor_nb.core.actions import Action, Hold, Release
from conveyor_nb.core.errors import JobNotFoundError, LostLockError
from conveyor_nb.core.model import EventType, JobState, StoreEvent
from conveyor_nb.job import Job
from conveyor_nb.running.execution import LOOP_ENDED, Execution, Verdict
from conveyor_nb.running.locks import see_out
from conveyor_nb.running.slots import Slots
from conveyor_nb.stores import StoreInterface

__all__ = ["Overruns"]

_PATIENCE = 1.0
"""For how many real seconds a worker that closes waits for the store to hear of them."""


class Overruns:
    """What a worker does about its handlers that do not stop.

    Args:
        slots: where they are.
        store, queue_name: where their jobs are.
        worker_id: whose they are.
        lock_duration: seconds that a lock holds.
        report: reports what becomes of a job, as soon as the store can keep it.
        spawn: runs a coroutine as a task that the worker looks after.
        on_left: called when one of them is waited for no more.
        logger: where they are named.
    """

    def __init__(
        self,
        slots: Slots,
        store: StoreInterface,
        queue_name: str,
        worker_id: str,
        *,
        lock_duration: float,
        report: Callable[[Job, Action], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        on_left: Callable[[], object],
        logger: logging.Logger,
    ) -> None:
        self._slots = slots
        self._store = store
        self._queue_name = queue_name
        self._worker_id = worker_id
        self._lock_duration = lock_duration
        self._report = report
        self._spawn = spawn
        self._on_left = on_left
        self._logger = logger

    def note(self, execution: Execution) -> None:
        """Look after an execution that was told to stop, and goes on."""
        self._spawn(self._see_to(execution))

    async def finish(self, holder: asyncio.Task[Any], execution: Execution) -> None:
        """Report the end of an execution that went on, after all that was reported of it before."""
        assert execution.reporting is not None, "it went on"
        async with execution.reporting:
            for job, action in execution.outcomes():
                await self._report(job, action)
        self._slots.end(holder, execution)
        now = self._store.clock.now()
        for job in execution.jobs:
            data = {"name": job.name, "worker_id": self._worker_id}
            event = StoreEvent(EventType.FREED, self._queue_name, job.id, data, now)
            await self._store.publish(event)

    async def abandon(self) -> None:
        """Stop waiting for executions that were told to stop, and put their jobs back."""
        executions = self._slots.executions
        going_on = [execution for execution in executions if execution.lose_patience()]
        seeing = asyncio.gather(*map(self._see_to, going_on), return_exceptions=True)
        if not await self._store.clock.wait_in_real_time(seeing, _PATIENCE):
            seeing.cancel()  # the store does not answer; what they hold is reported later
            await asyncio.gather(seeing, return_exceptions=True)
        for execution in going_on:
            self._leave_alone(execution)
        for execution in executions:
            if execution not in going_on:  # it has stopped, and the store could not keep its end
                await _put_back(execution, Release())

    async def put_back(self) -> None:
        """Put back the jobs that were left when the loop was closed; for use on another one."""
        for execution in self._slots.executions:
            if execution.is_in_thread:
                self.outlive(execution)
            else:
                await _put_back(execution, Release(LOOP_ENDED))

    async def let_go(self) -> None:
        """Let go of the jobs that handlers in threads still hold, as the process ends."""
        self.give_up(is_closed=True)
        held = [one.task for one in self._slots.executions if one.is_in_thread]
        await asyncio.gather(*held, return_exceptions=True)

    def give_up(self, *, is_closed: bool) -> None:
        """Note that there is nothing left that one of them could hold."""
        for execution in self._slots.executions:
            if execution.reporting is not None:
                execution.stop_all(Verdict.LOST)
        if is_closed:
            self.let_threads_go()

    def let_threads_go(self) -> None:
        """Wait for no thread that holds no job; for a worker that is closed."""
        for execution in self._slots.executions:
            if execution.is_in_thread and not execution.locked_jobs():
                execution.task.cancel()

    def outlive(self, execution: Execution) -> None:
        """See to the jobs of a thread that goes on after its loop, on a loop of its own."""
        execution.put_back()
        if execution.locked_jobs():
            seeing_out = see_out(execution, self._store, self._lock_duration)
            Thread(target=asyncio.run, args=(seeing_out,), daemon=True).start()

    async def _see_to(self, execution: Execution) -> None:
        """Report what does not wait for a handler that goes on, and mark the jobs that do.

        Once they all have ended, nobody waits for the handler any more.
        """
        assert execution.reporting is not None, "it goes on"
        async with execution.reporting:
            for job, end in execution.overruns():
                await self._report(job, Hold(end))
                if job.state is not JobState.ACTIVE and not execution.is_held:
                    job.mute()
        if not execution.running_jobs():
            self._leave_alone(execution)

    def _leave_alone(self, execution: Execution) -> None:
        """Wait no more for a handler; what it holds is looked after until it returns."""
        if not execution.is_held or self._slots.holders.get(execution.task) is not execution:
            return
        if self._slots.leave_alone(execution) and not execution.is_in_thread:
            for job in execution.jobs:
                self._logger.warning(
                    "the handler of job %r did not stop when cancelled; "
                    "its slot is held until it returns",
                    job.id,
                )
        self._on_left()


async def _put_back(execution: Execution, action: Release) -> None:
    for job in execution.jobs:
        with contextlib.suppress(LostLockError, JobNotFoundError):  # the job is not ours
            await job.apply(action)
