"""The engine room of a worker: takes jobs into free slots, and reports what came of them.

One loop reports the executions that ended, fills the free slots, then sleeps until an event of
the store, the end of an execution or a timer wakes it. Handlers run in tasks of their own
(``execution``); locks are looked after by ``locks``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

from conveyor_nb.actions import Action, Fail, Release
from conveyor_nb.alarm import Alarm
from conveyor_nb.errors import JobNotFoundError, LostLockError, PayloadError
from conveyor_nb.execution import (
    Execution,
    Verdict,
    describe,
    format_traceback,
)
from conveyor_nb.job import Job
from conveyor_nb.locks import LockKeeper
from conveyor_nb.model import EventType, FetchOptions, Lock, StoreEvent
from conveyor_nb.options import WorkerOptions
from conveyor_nb.runners import Handler, runner_for
from conveyor_nb.slots import Slots
from conveyor_nb.stores import StoreInterface

__all__ = ["Dispatcher"]

_WAKING = frozenset({EventType.WAITING, EventType.DELAYED, EventType.RESUMED})
_FREEING = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.REMOVED})

_ERROR_PAUSE = timedelta(seconds=1)
"""The time between tries when the store itself fails."""


class Dispatcher:
    """Runs a handler over the jobs of a queue, for as long as it is told to take them.

    Args:
        store: where the jobs are.
        queue_name: their queue.
        worker_id: in whose name they are locked.
        handler: what runs them.
        options: the worker's options.
        logger: where faults of the store and handlers that don't stop are reported.
        on_turn: awaited at the begin of each turn of the loop.
    """

    def __init__(
        self,
        store: StoreInterface,
        queue_name: str,
        worker_id: str,
        handler: Handler,
        options: WorkerOptions,
        *,
        logger: logging.Logger,
        on_turn: Callable[[], Awaitable[None]],
    ) -> None:
        self.slots = Slots(options.concurrency)
        self.takes_jobs = False
        self.stays_on = False
        self.is_closing = False
        self._store = store
        self._queue_name = queue_name
        self._worker_id = worker_id
        self._runner = runner_for(handler, options, store.clock, name=worker_id)
        self._options = options
        self._fetch_options = FetchOptions(
            options.lifo, options.limiter, options.max_global_concurrency, options.group
        )
        needs_freeing = options.max_global_concurrency is not None or options.group is not None
        self._waking = _WAKING | _FREEING if needs_freeing else _WAKING
        self._logger = logger
        self._on_turn = on_turn
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._stepping = asyncio.Lock()
        self._alarm = Alarm(store.clock, self._wake.set)
        self._chores: set[asyncio.Task[None]] = set()
        self._told: dict[str, str] = {}  # where a fault is that was told, and which
        self._locks = LockKeeper(
            store,
            queue_name,
            lock_duration=options.lock_seconds,
            stalled_interval=options.stalled_seconds,
            running=self.slots.jobs,
            on_lost=self._lose,
            spawn=self._spawn,
        )

    def wake(self) -> None:
        """Let the loop look again at what there is to do."""
        self._idle.clear()
        self._wake.set()

    def hear(self, event: StoreEvent) -> None:
        """Take note of an event of the queue."""
        kind = event.type
        if kind in self._waking:
            self._wake.set()
        elif kind == EventType.ACTIVE:
            self._locks.watch()
        elif kind == EventType.CANCELLED and event.job_id is not None:
            self.slots.stop(event.job_id, Verdict.CANCELLED)
        if kind == EventType.REMOVED and event.job_id is not None:
            self.slots.stop(event.job_id, Verdict.LOST)

    async def run(self) -> None:
        """Take, run and report, until it is neither to stay on nor has anything left to report."""
        self._locks.watch()
        while True:
            self._wake.clear()
            try:
                await self._on_turn()
                await self._report_ended()
                await self._fill_slots()
                self._told.pop("loop", None)
            except Exception as error:  # the store's fault; go on when it can
                await self._report_fault("loop", error)
                self._alarm.set(self._store.clock.now() + _ERROR_PAUSE)
            if not self.slots.executions:
                self._idle.set()
                if not self.stays_on:
                    return
            await self._wake.wait()

    async def until_idle(self) -> None:
        """Wait until nothing is running and nothing can start."""
        self.wake()
        await self._idle.wait()

    async def step(self) -> Job | None:
        """Take and run exactly one job, now or when a slot is free; ``None``: there is none."""
        async with self._stepping:  # one step at a time takes the next free slot
            await self.slots.wait_for_room()
            jobs = [] if self.is_closing else await self._fetch(1)
            if not jobs:
                return None
            ended = asyncio.get_running_loop().create_future()
            execution = self._execute(jobs, on_end=ended.set_result)
        try:
            await ended
            await self._report(execution)
        finally:
            self.slots.release(execution, self._wake.set)
        return jobs[0]

    def stop_handlers(self) -> None:
        """Cancel what runs, to be put back."""
        for execution in self.slots.executions:
            execution.stop_all(Verdict.RELEASED)

    async def abandon(self) -> None:
        """Put back the jobs of handlers that did not stop when they were cancelled."""
        for execution in tuple(self.slots.executions):
            for job in execution.jobs:
                self._logger.warning("the handler of job %r did not stop when cancelled", job.id)
                with contextlib.suppress(LostLockError, JobNotFoundError):  # it is not ours
                    await job.apply(Release())
            execution.abandon()

    async def close(self) -> None:
        """Let go of timers, chores, threads and processes."""
        self._locks.close()
        self._alarm.cancel()
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self._runner.close()

    # -- taking -------------------------------------------------------------------------------

    async def _fill_slots(self) -> None:
        most = self._options.batch.size if self._options.batch else 1
        while self.takes_jobs and self.slots.free:
            asked_at = self._store.clock.now()
            jobs = await self._fetch(most)
            if not jobs:
                self._alarm.set(
                    await self._store.next_fetch_at(
                        self._queue_name, self._fetch_options, after=asked_at
                    )
                )
                return
            self._execute(jobs, on_end=self._note_end)

    async def _fetch(self, most: int) -> list[Job]:
        jobs: list[Job] = []
        while len(jobs) < most:
            data = await self._store.fetch_next_job(
                self._queue_name, self._worker_id, self._options.lock_seconds, self._fetch_options
            )
            if data is None:
                break
            lock = Lock(self._worker_id, len(data.attempt_logs))
            jobs.append(Job(data, self._store, lock=lock))
        return jobs

    def _execute(self, jobs: list[Job], on_end: Callable[[Execution], None]) -> Execution:
        execution = Execution(
            jobs,
            self._runner,
            batch=self._options.batch is not None,
            clock=self._store.clock,
            captured=self._options.capture,
        )
        self.slots.add(execution)
        self._locks.keep()
        execution.start(on_end)
        return execution

    # -- reporting ----------------------------------------------------------------------------

    def _note_end(self, execution: Execution) -> None:
        self.slots.ended.append(execution)
        self._wake.set()

    async def _report_ended(self) -> None:
        ended = self.slots.ended
        while ended:
            # taken off when it is reported, so that a failing store does not lose an outcome
            await self._report(ended[0])
            self.slots.release(ended.popleft(), self._wake.set)

    async def _report(self, execution: Execution) -> None:
        for job, action in execution.outcomes():
            if action is not None:
                await self._settle(job, action)

    async def _settle(self, job: Job, action: Action) -> None:
        try:
            try:
                await job.apply(action)
            except PayloadError as error:  # the handler's result can't be kept
                await job.apply(Fail(describe(error), format_traceback(error)))
        except (LostLockError, JobNotFoundError) as error:
            await self._publish_error(error, job.id)

    def _lose(self, job: Job) -> None:
        self.slots.stop(job.id, Verdict.LOST)
        self._spawn(self._publish_error(LostLockError(job.id, self._worker_id), job.id))

    async def _report_fault(self, where: str, error: Exception) -> None:
        """Report a fault once, however often it comes again until all is well there."""
        if self._told.get(where) == describe(error):
            return
        self._told[where] = describe(error)
        self._logger.error(
            "worker %s: the store failed; it goes on trying", self._worker_id, exc_info=error
        )
        try:
            await self._publish_error(error, None)
        except Exception as again:  # then the log must do
            self._logger.error("worker %s: no event either", self._worker_id, exc_info=again)

    async def _publish_error(self, error: Exception, job_id: str | None) -> None:
        data = {"worker_id": self._worker_id, "error": describe(error)}
        now = self._store.clock.now()
        event = StoreEvent(EventType.ERROR, self._queue_name, job_id, data, now)
        await self._store.publish(event)

    def _spawn(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._note_chore)

    def _note_chore(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        if task.cancelled():
            return
        where = getattr(task.get_coro(), "__qualname__", "")
        error = task.exception()
        if isinstance(error, Exception):
            self._spawn(self._report_fault(where, error))
        else:
            self._told.pop(where, None)
