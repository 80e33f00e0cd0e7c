"""The engine room of a worker: takes jobs into free slots, and reports what came of them.

Each slot is a task that takes a job, runs the handler, reports, and takes the next, until none is
left; the store's events and a timer start such tasks. Locks are looked after by ``locks``.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from threading import get_ident
from typing import Any

from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.clocks.loops import call_on
from conveyor_nb.clocks.timer import Timer
from conveyor_nb.core.actions import Action, LetGo, Release
from conveyor_nb.core.errors import JobNotFoundError, LostLockError, PayloadError
from conveyor_nb.core.handlers import Handler, Handlers
from conveyor_nb.core.model import EventType, FetchOptions, JobData, Lock, StoreEvent
from conveyor_nb.core.worker_options import WorkerOptions
from conveyor_nb.job import Job
from conveyor_nb.running.execution import LOOP_ENDED, Execution, Verdict, failed
from conveyor_nb.running.faults import Chores, FaultReporter
from conveyor_nb.running.lifespan import Lifespan, ResourceRunner
from conveyor_nb.running.locks import LockKeeper
from conveyor_nb.running.overruns import Overruns
from conveyor_nb.running.phase import Phase
from conveyor_nb.running.runners import runner_for
from conveyor_nb.running.slots import Slots
from conveyor_nb.stores import StoreInterface

__all__ = ["Dispatcher"]

_ERROR_PAUSE = timedelta(seconds=1)
"""The time between tries when the store itself fails."""

_NOT_KEPT = (LostLockError, JobNotFoundError, PayloadError, SystemExit, KeyboardInterrupt)
"""What reporting an outcome raises: the job is not ours, or its result is of a class that does."""


class Dispatcher:
    """Runs a handler over the jobs of a queue, for as long as it is told to take them.

    Args:
        store: where the jobs are.
        queue_name: their queue.
        worker_id: in whose name they are locked.
        handler: what runs them, or what does by job name.
        options: the worker's options.
        logger: where faults of the store and handlers that don't stop are reported.
        on_turn: awaited each time that the worker's status may have changed.
        lifespan: opened before the first job, closed after the last one.
        on_loop_gone: called when it should do something, and the loop that it runs on is closed.
        on_disconnect: called when the store was disconnected, which tells it nothing any more.
        on_end: called when it is closed and the last handler has returned.
    """

    def __init__(
        self,
        store: StoreInterface,
        queue_name: str,
        worker_id: str,
        handler: Handler | Handlers,
        options: WorkerOptions,
        *,
        logger: logging.Logger,
        on_turn: Callable[[], Awaitable[None]],
        on_loop_gone: Callable[[], None],
        on_disconnect: Callable[[], None],
        on_end: Callable[[], None],
        lifespan: Lifespan | None = None,
    ) -> None:
        self.slots = Slots(options.concurrency)
        self.phase = Phase.STOPPED
        """That of the worker, see :meth:`enter`."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where it runs, or ran last."""
        self._store = store
        self._queue_name = queue_name
        self._worker_id = worker_id
        self._runner = runner_for(handler, options, store.clock, name=worker_id)
        self._lifespan = lifespan
        if lifespan is not None:
            self._runner = ResourceRunner(self._runner, lifespan)
        self._is_batch = options.batch is not None
        self._most = options.batch.size if options.batch else 1
        self._captures = options.capture
        self._retry_on = options.retry_on
        self._lock_duration = options.lock_duration
        self._fetch_options = FetchOptions(
            options.lifo, options.limiter, options.max_global_concurrency, options.group
        )
        self._logger = logger
        self._on_turn = on_turn
        self._on_loop_gone = on_loop_gone
        self._on_disconnect = on_disconnect
        self._is_thrown_away = False
        self._owners: set[asyncio.Task[Any]] = set()
        self._on_end = on_end
        self._runs = False
        self._news = 0
        self._context = contextvars.copy_context()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._again = asyncio.Event()
        self._stepping = asyncio.Lock()
        self._timer = Timer(store.clock, self.wake)
        self._retry = Timer(store.clock, self.wake)
        self._faults = FaultReporter(store, queue_name, worker_id, logger)
        self._chores = Chores(self._faults)
        self._locks = LockKeeper(
            store,
            queue_name,
            worker_id,
            lock_duration=self._lock_duration,
            stalled_interval=options.stalled_interval,
            running=self.slots.locked_jobs,
            on_lost=self._lose,
            spawn=self._chores.spawn,
        )
        self._overruns = Overruns(
            self.slots,
            store,
            queue_name,
            worker_id,
            lock_duration=options.lock_duration,
            report=self._report,
            spawn=self._chores.spawn,
            on_left=self._wake.set,
            logger=logger,
        )
        self._note_overrun = self._overruns.note
        self._reactions = self._reactions_to_events(options)

    # -- being told ---------------------------------------------------------------------------

    def enter(self, phase: Phase) -> None:
        """Do what the worker's phase asks for, from now on."""
        self.phase = phase
        if phase is Phase.CLOSED:
            self._overruns.let_threads_go()
            self._end_if_done()
        else:
            self.wake()

    def wake(self) -> None:
        """Look again at what there is to do; may be called on any thread."""
        if self.loop is not None and not call_on(self.loop, self._look_again):
            self._on_loop_gone()

    def _look_again(self) -> None:
        self._idle.clear()
        self._wake.set()
        self._again.set()
        self._open_slot(all_of_them=True)

    def resize(self, size: int) -> None:
        """Have so many slots from now on."""
        self.slots.size = size
        self._runner.resize(size)
        self.wake()

    def hear(self, event: StoreEvent) -> None:
        """Take note of an event of the queue, on whatever thread it was made."""
        react = self._reactions.get(event.type)
        if react is None or self.loop is None:
            return
        if getattr(self.loop, "_thread_id", None) == get_ident():  # as runs_here, for each job
            react(event)
        elif not call_on(self.loop, react, event, context=self._context.copy()):
            self._on_loop_gone()

    def _reactions_to_events(
        self, options: WorkerOptions
    ) -> dict[str, Callable[[StoreEvent], object]]:
        reactions: dict[str, Callable[[StoreEvent], object]] = {
            EventType.WAITING: self._open_slot,
            EventType.DELAYED: self._open_slot,  # which finds out when it is due
            EventType.RESUMED: lambda _: self._open_slot(all_of_them=True),
            EventType.ACTIVE: self._locks.watch,
            EventType.CANCELLED: lambda event: self._stop(event, Verdict.CANCELLED),
            EventType.REMOVED: lambda event: self._stop(event, Verdict.LOST),
            EventType.DISCONNECTED: lambda _: self._end_with_store(),
        }
        if options.max_global_concurrency is not None or options.group is not None:
            for kind in (EventType.COMPLETED, EventType.FAILED):
                reactions[kind] = self._open_slot
        return reactions

    def _stop(self, event: StoreEvent, verdict: Verdict) -> None:
        assert event.job_id is not None, "it is of a job"
        self.slots.stop(event.job_id, verdict)
        if verdict is Verdict.LOST:  # it may have kept others from starting
            self._open_slot()

    # -- running ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Stay until it is neither to stay on nor has anything left to report."""
        self._locks.watch()
        self._locks.show()
        self._context = contextvars.copy_context()
        try:
            with self._owning():
                await self._run()
        finally:
            self._locks.hide()

    async def _run(self) -> None:
        try:
            while True:
                self._wake.clear()
                try:
                    await self._on_turn()
                    self._faults.all_is_well("status")
                except Exception as error:  # the store's fault; go on when it can
                    await self._pause_after("status", error)
                else:
                    self._begin()
                if not self.slots.busy:
                    self._idle.set()
                    if not self.phase.stays_on:
                        return
                await self._wake.wait()
        finally:
            self._runs = False

    async def open(self) -> bool:
        """Open the lifespan, if there is one; ``False``: it was closed before it was open.

        Raises:
            RuntimeError: it could not be opened.
        """
        if self._lifespan is None:
            return True
        try:
            return await self._lifespan.open()
        except RuntimeError as error:
            await self._faults.publish(error, None)
            raise

    def call_off(self) -> None:
        """Do not wait for a lifespan that is not open yet."""
        if self._lifespan is not None:
            self._lifespan.call_off()

    async def _close_lifespan(self) -> None:
        if self._lifespan is None:
            return
        try:
            await self._lifespan.close()
        except Exception as error:  # it is a person's
            self._logger.error(
                "worker %s: its lifespan raised as it was closed", self._worker_id, exc_info=error
            )
            await self._faults.publish(error, None)

    def _begin(self) -> None:
        if not self._runs:
            self._runs = True
            self._open_slot(all_of_them=True)

    async def until_idle(self) -> None:
        """Wait until nothing is running and nothing can start."""
        self._look_again()
        await self._idle.wait()

    async def step(self) -> Job | None:
        """Take and run exactly one job, now or when a slot is free; ``None``: there is none."""
        with self._owning():
            return await self._step_once()

    async def _step_once(self) -> Job | None:
        taken: list[Job] = []
        async with self._stepping:  # one step at a time takes the next free slot
            await self.slots.wait_for_room()
            if self.phase.is_closing:
                return None
            holder = asyncio.get_running_loop().create_task(self._step(taken))
            self.slots.take(holder)
        await self.slots.wait_for_leave(holder)
        if holder.done():  # if not, its handler does not stop
            holder.result()
        return taken[0] if taken else None

    def stop_handlers(self) -> None:
        """Cancel what runs, to be put back."""
        for execution in self.slots.executions:
            execution.stop_all(Verdict.RELEASED)

    async def abandon(self) -> None:
        """Wait no more for handlers that did not stop when they were told to."""
        for execution in await self._overruns.abandon():
            for job in execution.jobs:
                with contextlib.suppress(LostLockError, JobNotFoundError):  # it is not ours
                    await job.apply(Release())

    async def close(self) -> None:
        """Let go of timers, tasks, threads and processes; but not of jobs that are still held."""
        self._locks.stop_watching()
        self._timer.cancel()
        self._retry.cancel()
        if self.loop in (None, asyncio.get_running_loop()):  # else they went with their loop
            holders = [one for one in self.slots.holders if not self.slots.is_left_alone(one)]
            for holder in holders:
                holder.cancel()
            await asyncio.gather(*holders, return_exceptions=True)
            await self._chores.close()
        await self._runner.close()
        for execution in self.slots.executions:  # a loop that is thrown away says nothing of it
            execution.task._log_destroy_pending = False  # type: ignore[attr-defined]
        if not self.slots.holders:
            await self._close_lifespan()
            self._lifespan = None

    async def let_go(self) -> None:
        """Let go of the jobs that handlers in threads still hold, as the process ends."""
        self._overruns.give_up(is_closed=True)
        held = [one.task for one in self.slots.executions if one.is_in_thread]
        await asyncio.gather(*held, return_exceptions=True)

    def _end_with_store(self) -> None:
        """Its jobs are gone, and new ones may come to have their ids."""
        for execution in self.slots.executions:
            execution.stop_all(Verdict.LOST)
        self._overruns.give_up(is_closed=self.phase is Phase.CLOSED)
        self._on_disconnect()

    def _end_if_done(self) -> None:
        if self.phase is Phase.CLOSED and not self.slots.holders:
            self._locks.close()
            if self._lifespan is not None:  # the last handler may have used what it gave
                self._chores.spawn(self._close_lifespan())
            self._on_end()

    async def put_back(self) -> None:
        """Put back the jobs that were left when the loop was closed; for use on another one."""
        for execution in self.slots.executions:
            if execution.is_in_thread:
                self._overruns.outlive(execution)
                continue
            for job in execution.jobs:
                with contextlib.suppress(LostLockError, JobNotFoundError):  # it is not ours
                    await job.apply(Release(LOOP_ENDED))

    @contextlib.contextmanager
    def _owning(self) -> Iterator[None]:
        """Notes that the task which does so is cancelled, as a loop does with all at its end."""
        self.loop = asyncio.get_running_loop()
        self._is_thrown_away = False
        owner = asyncio.current_task()
        assert owner is not None
        self._owners.add(owner)
        try:
            yield
        except asyncio.CancelledError:
            self._is_thrown_away = True
            raise
        finally:
            self._owners.discard(owner)

    def _is_being_thrown_away(self) -> bool:
        return self._is_thrown_away or any(owner.cancelling() for owner in self._owners)

    # -- slots --------------------------------------------------------------------------------

    def _open_slot(self, _: StoreEvent | None = None, *, all_of_them: bool = False) -> None:
        """Let a free slot, if there is one, look for a job; with ``all_of_them`` each in turn."""
        self._news += 1
        if self._runs and self.phase.takes_jobs and self.slots.free:
            # each in the context that the worker was started in, whoever made the event
            task = asyncio.get_running_loop().create_task(
                self._work(all_of_them), context=self._context.copy()
            )
            self.slots.take(task)

    async def _step(self, taken: list[Job]) -> None:
        """Take and run one job, in a slot."""
        holder = asyncio.current_task()
        assert holder is not None
        try:
            fetched = await self._store.fetch_jobs(
                self._queue_name, self._worker_id, self._lock_duration, self._fetch_options
            )
            taken += map(self._as_taken, fetched.jobs)
            if taken:
                await self._run_jobs(holder, taken, keep_trying=False)
        finally:
            self._leave_slot(holder)

    def _leave_slot(self, holder: asyncio.Task[Any]) -> None:
        self.slots.leave(holder)
        if not self.slots.busy and not holder.get_loop().is_closed():
            self._wake.set()
            self._end_if_done()

    async def _work(self, all_of_them: bool) -> None:
        """Take and run jobs in a slot, one after the other, until there is none."""
        holder = asyncio.current_task()
        assert holder is not None
        goes_on = True
        try:
            while goes_on and self.phase.takes_jobs:
                news = self._news
                fetched = await self._store.fetch_jobs(
                    self._queue_name,
                    self._worker_id,
                    self._lock_duration,
                    self._fetch_options,
                    limit=self._most,
                )
                if not fetched.jobs:
                    if news != self._news:
                        continue  # there may be one by now
                    self._timer.set(fetched.next_at)
                    self._faults.all_is_well("work")
                    return
                jobs = list(map(self._as_taken, fetched.jobs))
                if all_of_them:
                    self._open_slot(all_of_them=True)
                    all_of_them = False
                if self._faults.told:
                    self._faults.all_is_well("work")
                goes_on = await self._run_jobs(holder, jobs)
                if self._store.clock.overdue():
                    await checkpoint()
        except Exception as error:  # the store's fault; go on when it can
            await self._pause_after("work", error)
        finally:
            self._leave_slot(holder)
        if not goes_on:
            self._open_slot()

    def _as_taken(self, data: JobData) -> Job:
        lock = Lock(self._worker_id, data.attempt_logs[-1].attempt)
        return Job(data, self._store, lock=lock)

    async def _run_jobs(
        self, holder: asyncio.Task[Any], jobs: list[Job], *, keep_trying: bool = True
    ) -> bool:
        """Run the handler over jobs and report; returns whether its task may run others.

        A store that fails is asked again until it can keep the outcome, or raises if we are not
        to ``keep_trying``.
        """
        clock = self._store.clock
        execution = Execution(
            jobs,
            self._runner,
            self._is_batch,
            clock,
            self._captures,
            self._retry_on,
            self._note_overrun,
        )
        self.slots.begin(holder, execution)
        self._locks.keep()
        try:
            is_as_before = await execution.run(holder)
            if not is_as_before and execution.is_in_thread:
                # its task was cancelled, which a thread does not notice
                self._overruns.outlive(execution)
                return False
            if not is_as_before and self._is_being_thrown_away():
                execution.put_back()
            if execution.reporting is not None:
                await self._overruns.finish(holder, execution)
                return False
            for job, action in execution.outcomes():
                try:
                    try:
                        await job.apply(action)  # as _settle does, without its cost
                    except _NOT_KEPT as error:
                        await self._settle_otherwise(job, action, error)
                except Exception as error:
                    if not keep_trying:
                        raise
                    await self._settle_later(job, action, error)
        finally:
            self.slots.end(holder, execution)
        return is_as_before

    # -- reporting ----------------------------------------------------------------------------

    async def _report(self, job: Job, action: Action) -> None:
        """Report, as soon as the store can keep it."""
        try:
            await self._settle(job, action)
        except Exception as error:
            await self._settle_later(job, action, error)

    async def _settle_later(self, job: Job, action: Action, error: Exception) -> None:
        """Report an outcome, however long it takes until the store can keep it."""
        while True:
            self._again.clear()
            await self._pause_after("report", error)
            await self._again.wait()
            try:
                await self._settle(job, action)
            except Exception as again:  # the store's fault; go on when it can
                error = again
            else:
                self._faults.all_is_well("report")
                return

    async def _pause_after(self, where: str, error: Exception) -> None:
        """Report a fault, and wake up when it is time to try again."""
        await self._faults.report(where, error)
        self._retry.set(self._store.clock.now() + _ERROR_PAUSE)

    async def _settle(self, job: Job, action: Action) -> None:
        try:
            await job.apply(action)
        except _NOT_KEPT as error:
            await self._settle_otherwise(job, action, error)

    async def _settle_otherwise(self, job: Job, action: Action, error: BaseException) -> None:
        """Report an outcome that can't be kept as it is, or is of a job that is not ours."""
        if not isinstance(error, (LostLockError, JobNotFoundError)):
            await self._settle(job, failed(job, error, self._retry_on))
        elif not isinstance(action, LetGo):  # of a job that is gone there is nothing to let go
            await self._faults.publish(error, job.id)

    def _lose(self, job: Job) -> None:
        if self.slots.stop(job.id, Verdict.LOST):  # else its report will tell
            error = LostLockError(job.id, self._worker_id)
            self._chores.spawn(self._faults.publish(error, job.id))
