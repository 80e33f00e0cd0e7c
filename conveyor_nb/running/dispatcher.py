"""The engine room of a worker: takes jobs into free slots, and reports what came of them.

Each slot is a task that takes a job, runs the handler, reports, and takes the next, until none is
left; the store's events and a timer start such tasks. Events are heard by ``hearing``; locks are
looked after by ``locks``, outcomes that a store does not take by ``reporting``, handlers that don't
stop by ``overruns``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import cache
from typing import Any

from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.clocks.timer import Timer
from conveyor_nb.core.actions import Action, Release
from conveyor_nb.core.errors import FAULTS, LostLockError
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.handlers import Handler, Handlers
from conveyor_nb.core.model import EventType, JobData, Lock, StoreEvent
from conveyor_nb.core.options.worker_options import WorkerOptions
from conveyor_nb.job import Job
from conveyor_nb.running.execution import Execution, Terms, Verdict
from conveyor_nb.running.faults import Chores, FaultReporter
from conveyor_nb.running.hearing import Hearing, Reaction
from conveyor_nb.running.lifespan import Lifespan, Resources
from conveyor_nb.running.locks import LockKeeper
from conveyor_nb.running.overruns import Overruns
from conveyor_nb.running.owners import Owners
from conveyor_nb.running.phase import Phase
from conveyor_nb.running.reporting import OutcomeReporter
from conveyor_nb.running.runners import runner_for
from conveyor_nb.running.slots import Slots
from conveyor_nb.stores import StoreInterface

__all__ = ["Dispatcher"]

_TAKES_NONE = Release("the worker takes no more jobs")


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
        on_beat: awaited after each beat of the worker, and when events were missed.
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
        on_beat: Callable[[], Coroutine[Any, Any, object]],
        lifespan: Lifespan | None = None,
    ) -> None:
        self.slots = Slots(options.concurrency)
        self.phase = Phase.STOPPED
        """That of the worker, see :meth:`enter`."""
        self.hearing = Hearing(store, queue_name, on_loop_gone)
        self._store = store
        self._queue_name = queue_name
        self._worker_id = worker_id
        self._most = options.batch.size if options.batch else 1
        self._lock_duration = options.lock_duration
        asks = FetchOptions(
            options.lifo, options.limiter, options.max_global_concurrency, options.group
        )
        self._asking_for = cache(lambda slot: replace(asks, slot=slot))
        """What it asks the store for on behalf of a slot."""
        self._on_turn = on_turn
        self._on_disconnect = on_disconnect
        self._owners = Owners()
        self._on_end = on_end
        self._on_beat = on_beat
        self._fetches_next = store.settles_and_fetches
        self._runs = False
        self._news = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._stepping = asyncio.Lock()
        self._timer = Timer(store.clock, self.wake)
        self._faults = FaultReporter(store, queue_name, worker_id, logger)
        self._outcomes = OutcomeReporter(store.clock, options.retry_on, self._faults, self.wake)
        self._chores = Chores(self._faults)
        self.resources = Resources(lifespan, self._faults)
        self._runner = self.resources.given_to(
            runner_for(handler, options, store.clock, name=worker_id)
        )
        self._locks = LockKeeper(
            store,
            queue_name,
            worker_id,
            lock_duration=self._lock_duration,
            stalled_interval=options.stalled_interval,
            running=self.slots.locked_jobs,
            on_lost=self._lose,
            spawn=self._chores.spawn,
            on_watch=self._hear_of_starts_no_more,
            on_loop_gone=on_loop_gone,
            on_beat=on_beat,
        )
        self.overruns = Overruns(
            self.slots,
            store,
            queue_name,
            worker_id,
            lock_duration=options.lock_duration,
            report=self._outcomes.report,
            spawn=self._chores.spawn,
            on_left=self._wake.set,
            logger=logger,
        )
        self._terms = Terms(
            self._runner,
            options.batch is not None,
            store.clock,
            options.capture,
            options.retry_on,
            self.overruns.note,
        )
        self.hearing.react(self._reactions_to_events(options))

    # -- being told ---------------------------------------------------------------------------

    def enter(self, phase: Phase) -> None:
        """Do what the worker's phase asks for, from now on."""
        self.phase = phase
        if phase is Phase.CLOSED:
            self.overruns.let_threads_go()
            self._end_if_done()
        else:
            self.wake()

    def wake(self) -> None:
        """Look again at what there is to do; may be called on any thread."""
        self.hearing.call(self._look_again)

    def _look_again(self) -> None:
        self._idle.clear()
        self._wake.set()
        self._outcomes.try_again()
        self._open_slot(all_of_them=True)

    def resize(self, size: int) -> None:
        """Have so many slots from now on."""
        self.slots.size = size
        self._runner.resize(size)
        self.wake()

    def _hear_of_starts_no_more(self, watches: bool) -> None:
        """Do not hear of jobs that become active while locks are watched."""
        self.hearing.react({EventType.ACTIVE: None if watches else self._locks.watch})

    def _reactions_to_events(self, options: WorkerOptions) -> dict[EventType, Reaction | None]:
        reactions: dict[EventType, Reaction | None] = {
            EventType.WAITING: self._open_slot,
            EventType.DELAYED: self._open_slot,  # which finds out when it is due
            EventType.RESUMED: lambda _: self._open_slot(all_of_them=True),
            EventType.MISSED: self._look_for_missed,
            EventType.ACTIVE: self._locks.watch,
            EventType.CANCELLED: lambda event: self._stop(event, Verdict.CANCELLED),
            EventType.REMOVED: lambda event: self._stop(event, Verdict.LOST),
            EventType.DISCONNECTED: lambda _: self._end_with_store(),
            EventType.WORKER_STARTED: lambda _: None,  # it is seen whether the loop is there
        }
        if options.max_global_concurrency is not None or options.group is not None:
            for kind in (EventType.COMPLETED, EventType.FAILED):
                reactions[kind] = self._open_slot
        return reactions

    def _look_for_missed(self, event: StoreEvent) -> None:
        self._open_slot(all_of_them=True)
        if event.data.get("missed"):
            self._chores.spawn(self._on_beat())

    def _stop(self, event: StoreEvent, verdict: Verdict) -> None:
        assert event.job_id is not None, "it is of a job"
        self.slots.stop(event.job_id, verdict)
        if verdict is Verdict.LOST:  # it may have kept others from starting
            self._open_slot()

    # -- running ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Stay until it is neither to stay on nor has anything left to report."""
        self._locks.watch()
        self._locks.start_beat()
        self.hearing.settle()
        self._outcomes.begin()
        try:
            with self._owners.joined():
                await self._run()
        finally:
            self._runs = False
            self._locks.stop_beat()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._on_turn()
                self._faults.all_is_well("status")
            except Exception as error:  # the store's fault; go on when it can
                await self._outcomes.pause_after("status", error)
            else:
                self._begin()
            if not self.slots.busy:
                self._idle.set()
                if not self.phase.stays_on:
                    return
            await self._wake.wait()

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
        self.hearing.loop = asyncio.get_running_loop()
        self._outcomes.begin()
        with self._owners.joined():
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
        if holder.done():  # a task that has left and is not done runs a handler that does not stop
            holder.result()
        return taken[0] if taken else None

    async def close(self) -> None:
        """Let go of timers, tasks, threads and processes; but not of jobs that are still held."""
        self._locks.stop_watching()
        self._timer.cancel()
        self._outcomes.close()
        here = asyncio.get_running_loop()
        if self.hearing.loop in (None, here):  # else they went with their loop
            holders = [one for one in self.slots.holders if not self.slots.is_left_alone(one)]
            for holder in holders:
                holder.cancel()
            await asyncio.gather(*holders, return_exceptions=True)
            await self._chores.close()
        await self._runner.close()
        for execution in self.slots.executions:  # a loop that is thrown away says nothing of it
            execution.task._log_destroy_pending = False  # type: ignore[attr-defined]
        if not self.slots.holders:
            await self.resources.close()

    def _end_with_store(self) -> None:
        """Its jobs are gone, and new ones may come to have their ids."""
        self._outcomes.give_up()
        self.slots.stop_all(Verdict.LOST)
        self.overruns.give_up(is_closed=self.phase is Phase.CLOSED)
        self._on_disconnect()

    def _end_if_done(self) -> None:
        if self.phase is Phase.CLOSED and not self.slots.holders:
            self._locks.close()
            if self.resources.are_given:  # the last handler may have used them
                self._chores.spawn(self.resources.close())
            self._on_end()

    # -- slots --------------------------------------------------------------------------------

    def _open_slot(self, _: StoreEvent | None = None, *, all_of_them: bool = False) -> None:
        """Let a free slot, if there is one, look for a job; with ``all_of_them`` each in turn."""
        self._news += 1
        slots = self.slots
        # as slots.free, which costs more, and for each job that is added
        if len(slots.holders) < slots.size and self._runs and self.phase.takes_jobs:
            # each in the context that the worker was started in, whoever made the event
            task = asyncio.get_running_loop().create_task(
                self._work(all_of_them), context=self.hearing.context.copy()
            )
            self.slots.take(task)

    async def _step(self, taken: list[Job]) -> None:
        """Take and run one job, in a slot."""
        holder = asyncio.current_task()
        assert holder is not None
        try:
            fetched = await self._store.fetch_jobs(
                self._queue_name,
                self._worker_id,
                self._lock_duration,
                self._asking_for(self.slots.numbers[holder]),
            )
            taken += map(self._as_taken, fetched.jobs)
            if taken:
                await self._run_jobs(holder, taken)
        finally:
            self._leave_slot(holder)
        self._open_slot()  # others may have been kept from it

    def _leave_slot(self, holder: asyncio.Task[Any]) -> None:
        self.slots.leave(holder)
        if not self.slots.busy and not holder.get_loop().is_closed():
            self._wake.set()
            self._end_if_done()

    async def _work(self, all_of_them: bool) -> None:
        """Take and run jobs in a slot, one after the other, until there is none."""
        holder = asyncio.current_task()
        assert holder is not None
        slots = self.slots
        asking = self._asking_for(slots.numbers[holder])
        goes_on = True
        fetched: Fetched | None = None
        try:
            # a worker that is told to run fewer at once has more holders than slots for a while
            while fetched is not None or (
                goes_on and self.phase.takes_jobs and len(slots.holders) <= slots.size
            ):
                news = self._news
                if fetched is None:
                    fetched = await self._store.fetch_jobs(
                        self._queue_name,
                        self._worker_id,
                        self._lock_duration,
                        asking,
                        limit=self._most,
                    )
                if not fetched.jobs:
                    if news != self._news:
                        fetched = None
                        continue  # there may be one by now
                    self._timer.set(fetched.next_at)
                    self._faults.all_is_well("work")
                    return
                jobs = [self._as_taken(data) for data in fetched.jobs]
                fetched = None
                if not self.phase.takes_jobs:  # it was told so while the answer was under way
                    for job in jobs:
                        await self._outcomes.report(job, _TAKES_NONE)
                    continue
                if all_of_them:
                    self._open_slot(all_of_them=True)
                    all_of_them = False
                if self._faults.told:
                    self._faults.all_is_well("work")
                goes_on, fetched = await self._run_jobs(holder, jobs, asking)
                if self._store.clock.overdue():
                    news = self._news
                    await checkpoint()
                    if fetched is not None and not fetched.jobs and news != self._news:
                        fetched = None  # there may be one by now
        except Exception as error:  # the store's fault; go on when it can
            await self._outcomes.pause_after("work", error)
        finally:
            self._leave_slot(holder)
        if not goes_on:
            self._open_slot()

    def _as_taken(self, data: JobData) -> Job:
        lock = Lock(self._worker_id, data.attempt_logs[-1].attempt)
        return Job(data, self._store, lock)

    async def _run_jobs(
        self, holder: asyncio.Task[Any], jobs: list[Job], asking: FetchOptions | None = None
    ) -> tuple[bool, Fetched | None]:
        """Run the handler over jobs and report.

        Args:
            holder: the task that this is called in.
            jobs: the jobs.
            asking: what is asked of the jobs that it runs next. ``None``: it runs no others, and
                a store that fails raises; else it is asked again until it can keep the outcome.

        Returns:
            Whether the task may run others, and those to run next if they were fetched already.
        """
        goes_on = asking is not None
        fetched: Fetched | None = None
        execution = Execution(jobs, self._terms, holder)
        self.slots.begin(holder, execution)
        self._locks.keep()
        try:
            is_as_before = await execution.run()
            if not is_as_before and execution.is_in_thread:
                # its task was cancelled, which a thread does not notice
                self.overruns.outlive(execution)
                return False, None
            if not is_as_before and self._owners.are_thrown_away:
                execution.put_back()
            if execution.reporting is not None:
                await self.overruns.finish(holder, execution)
                return False, None
            outcomes = execution.outcomes()
            slots = self.slots
            fetches = self._fetches_next and is_as_before and len(slots.holders) <= slots.size
            for job, action in outcomes:
                try:
                    if fetches and asking and self.phase.takes_jobs and job is outcomes[-1][0]:
                        fetched = await self._settle_and_fetch(job, action, asking)
                    else:
                        await job.apply(action)  # as the reporter does, without its cost
                except FAULTS as error:
                    await self._outcomes.report_refused(job, action, error, keep_trying=goes_on)
        finally:
            self.slots.end(holder, execution)
        return is_as_before, fetched

    async def _settle_and_fetch(
        self, job: Job, action: Action, asking: FetchOptions
    ) -> Fetched | None:
        """Report an outcome and ask for the next jobs at once; ``None``: to be asked for again."""
        fetched: Fetched | None = None

        async def settle(
            queue_name: str, job_id: str, action: Action, *, lock: Lock | None
        ) -> JobData:
            nonlocal fetched
            changed, fetched = await self._store.apply_and_fetch(
                queue_name,
                job_id,
                action,
                self._worker_id,
                self._lock_duration,
                asking,
                lock=lock,
                limit=self._most,
            )
            return changed

        news = self._news
        await job.apply(action, by=settle)
        if fetched is not None and not fetched.jobs and news != self._news:
            return None  # there may be one by now
        return fetched

    def _lose(self, job: Job) -> None:
        # of a job that runs no more, the report of its outcome will tell that the lock was lost
        if self.slots.stop(job.id, Verdict.LOST):
            error = LostLockError(job.id, self._worker_id)
            self._chores.spawn(self._faults.publish(error, job.id))
