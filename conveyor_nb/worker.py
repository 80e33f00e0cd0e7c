"""The worker: takes jobs from a queue as soon as it has room, and reports what came of them.

One task, the dispatcher, reports the executions that ended, fills the free slots, then sleeps
until an event of the store, the end of an execution or a timer wakes it. Handlers run in tasks
of their own (``execution``); locks are looked after by ``locks``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from conveyor_nb.actions import Action, Fail, Release
from conveyor_nb.checks import (
    check_count,
    check_flag,
    check_instance,
    check_name,
    positive_seconds,
)
from conveyor_nb.clock import Alarm
from conveyor_nb.display import Displayable
from conveyor_nb.durations import Duration, to_seconds
from conveyor_nb.errors import JobNotFoundError, LostLockError, PayloadError
from conveyor_nb.events import EventBus, EventHandler
from conveyor_nb.execution import (
    Execution,
    Handler,
    Verdict,
    check_handler,
    describe,
    format_traceback,
)
from conveyor_nb.intake import check_store
from conveyor_nb.job import Job
from conveyor_nb.locks import LockKeeper
from conveyor_nb.model import EventType, FetchOptions, Lock, StoreEvent, WorkerInfo, WorkerStatus
from conveyor_nb.options import Batch, GroupLimits, Limiter
from conveyor_nb.slots import Slots
from conveyor_nb.stores import StoreInterface

__all__ = ["Handler", "Worker"]

_T = TypeVar("_T")

_WAKING = frozenset({EventType.WAITING, EventType.DELAYED, EventType.RESUMED})
_FREEING = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.REMOVED})
_ENDING = frozenset({EventType.CANCELLED, EventType.REMOVED})

_ERROR_PAUSE = 1.0
"""Seconds between tries when the store itself fails."""

_LAST_WORDS = 1.0
"""Seconds that handlers have to clean up, once ``close`` has cancelled them."""


class Worker(Displayable):
    """Runs a handler over the jobs of a queue.

    Args:
        queue_name: the queue.
        handler: takes the ``Job`` (or a list of them, see ``batch``); async, or a plain function,
            which runs in a thread. What it returns is the job's result; what it raises fails
            the attempt.
        store: where the jobs are; the default ``MemoryStore`` if not given.
        concurrency: how many executions at once.
        max_global_concurrency: how many active jobs of the queue at most, over all workers.
        limiter: a ``Limiter`` that holds over all workers of the queue.
        lock_duration: a duration; how long a job stays locked without renewal.
        stalled_interval: a duration; how often to look for jobs whose worker is gone.
        auto_start: start at once; needs a running event loop.
        lifo: take the newest job first.
        batch: a ``Batch``, for a handler that takes several jobs at a time.
        group: ``GroupLimits`` that hold for each group of jobs.
        name: what to call the worker; the queue's name if not given.

    Raises:
        TypeError, ValueError: a bad argument; nothing is started.
        RuntimeError: ``auto_start`` without a running event loop.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore, Queue
    >>> async def main():
    ...     async with MemoryStore(ids="sequential") as store, Queue("sums", store=store) as queue:
    ...         async with Worker("sums", lambda job: sum(job.data), store=store):
    ...             job = await queue.add("sum", [1, 2, 3])
    ...             return await job.wait_until_finished()
    >>> asyncio.run(main())
    6
    """

    def __init__(
        self,
        queue_name: str,
        handler: Handler,
        *,
        store: StoreInterface | None = None,
        concurrency: int = 1,
        max_global_concurrency: int | None = None,
        limiter: Limiter | None = None,
        lock_duration: Duration = 30,
        stalled_interval: Duration = 30,
        auto_start: bool = True,
        lifo: bool = False,
        batch: Batch | None = None,
        group: GroupLimits | None = None,
        name: str | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.queue_name = check_name(queue_name, what="queue name")
        self.handler = check_handler(handler)
        self.store = check_store(store)
        self.concurrency = check_count(concurrency, what="concurrency")
        self.batch = check_instance(Batch, batch, what="batch", example="Batch(10)")
        self.name = check_name(queue_name if name is None else name, what="worker name")
        self._fetch_options = _fetch_options(lifo, limiter, max_global_concurrency, group)
        self._lock_duration = positive_seconds(lock_duration, what="lock_duration")
        stalled_interval = positive_seconds(stalled_interval, what="stalled_interval")
        if check_flag(auto_start, what="auto_start"):
            _require_loop("a worker starts at once", "pass auto_start=False and call start()")
        self._arguments: dict[str, Any] = {
            "concurrency": concurrency,
            "max_global_concurrency": max_global_concurrency,
            "limiter": limiter,
            "lock_duration": lock_duration,
            "stalled_interval": stalled_interval,
            "lifo": lifo,
            "batch": batch,
            "group": group,
            "name": name,
            "logger": logger,
        }
        self.id = self.store.new_worker_id(self.name)
        self._logger = logger or logging.getLogger("conveyor_nb")
        self._bus = EventBus(EventType, logger)
        self._slots = Slots(self.concurrency)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._alarm = Alarm(self.store.clock, self._wake.set)
        self._dispatcher: asyncio.Task[None] | None = None
        self._steps: set[asyncio.Task[Any]] = set()
        self._chores: set[asyncio.Task[Any]] = set()
        self._stepping = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None
        self._hurry: asyncio.Future[None]
        self._started = False
        self._paused = False
        self._announced: WorkerStatus | None = None
        self._locks = LockKeeper(
            self.store,
            self.queue_name,
            lock_duration=self._lock_duration,
            stalled_interval=stalled_interval,
            running=self._slots.jobs,
            on_lost=self._lose,
            spawn=lambda chore: self._spawn(chore, self._chores),
        )
        if auto_start:
            self.start()

    def __repr__(self) -> str:
        busy = f"{len(self._slots.executions)} of {self.concurrency} slots in use"
        return f"<Worker {self.name} of {self.queue_name}: {self.status}, {busy}>"

    # -- looking ------------------------------------------------------------------------------

    @property
    def status(self) -> WorkerStatus:
        """What the worker is doing."""
        if self._closing is not None:
            return WorkerStatus.CLOSED
        if not self._started:
            return WorkerStatus.STOPPED
        return WorkerStatus.PAUSED if self._paused else WorkerStatus.RUNNING

    @property
    def running(self) -> list[Job]:
        """The jobs that its handler is at work on."""
        return list(self._slots.jobs())

    def on(self, name: str, handler: EventHandler | None = None) -> Any:
        """Call ``handler(event)`` for each event of this name about this worker or its jobs.

        The names: ``active``, ``completed``, ``failed``, ``retrying``, ``progress``, ``started``,
        ``paused``, ``closed``, ``error`` and so on; also a decorator.
        """
        self._listen()
        return self._bus.on(name, handler) if handler else self._bus.on(name)

    def off(self, name: str, handler: EventHandler | None = None) -> None:
        """Stop calling a handler, or all handlers of this name."""
        self._bus.off(name, handler)

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Take jobs from now on; of a paused worker: as :meth:`resume`.

        Raises:
            RuntimeError: the worker was closed, or there is no running event loop.
        """
        self._require_open()
        _require_loop("a worker runs in an event loop", "await it inside an async function")
        self._started = True
        self.resume()
        self._listen()
        self._locks.watch()
        if self._dispatcher is None or self._dispatcher.done():
            self._dispatcher = asyncio.get_running_loop().create_task(
                self._dispatch(), name=f"conveyor_nb worker {self.id}"
            )

    def pause(self) -> None:
        """Take no more jobs until :meth:`resume`; running ones finish."""
        self._require_open()
        self._paused = True
        self._wake.set()

    def resume(self) -> None:
        """Take jobs again."""
        self._require_open()
        self._paused = False
        self._wake.set()

    async def run_once(self) -> Job | None:
        """Take and process exactly one job, and return it as it is after; ``None``: none is due.

        Raises:
            RuntimeError: the worker is running; this is for one that is paused or not started.
        """
        self._require_open()
        if self.status is WorkerStatus.RUNNING:
            raise RuntimeError(
                f"worker {self.name!r} is running by itself; run_once is for a worker that is "
                "paused, or was made with auto_start=False"
            )
        # in a task of its own, so that an interrupted cell does not leave a job half reported
        return await asyncio.shield(self._spawn(self._run_once(), self._steps))

    async def run_until_idle(self) -> int:
        """Process jobs until none is running and none can start now; returns how many ended."""
        self._require_open()
        before = self._slots.ended_count
        temporary = not self._started
        if temporary:
            self.start()
        self._idle.clear()
        self._wake.set()
        try:
            await self._idle.wait()
        finally:
            if temporary:
                self._started = False
                self._wake.set()
        return self._slots.ended_count - before

    async def close(self, timeout: Duration | None = 30) -> None:
        """Take no more jobs, wait for those running, and stop.

        Args:
            timeout: a duration, in real time; jobs that still run after it are cancelled and put
                back to waiting, with no attempt spent. ``None``: wait for as long as it takes.
        """
        if timeout is not None:
            timeout = to_seconds(timeout, what="timeout")
        closing = self.retire()
        in_time = await self.store.clock.wait_in_real_time(closing, timeout)
        if not in_time and not self._hurry.done():
            self._hurry.set_result(None)
        await asyncio.shield(closing)

    def retire(self) -> asyncio.Task[None]:
        """Take no more jobs, and close when the running ones are done.

        Returns:
            The task that does so; nobody needs to wait for it.
        """
        if self._closing is None:
            loop = asyncio.get_running_loop()
            self._hurry = loop.create_future()
            self._closing = loop.create_task(self._shut_down())
            self._wake.set()
        return self._closing

    def successor(self, handler: Handler | None = None) -> Worker:
        """Start a new worker with the same options, and with another handler if one is given."""
        return Worker(self.queue_name, handler or self.handler, store=self.store, **self._arguments)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- dispatching --------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._announce()
                await self._report_ended()
                await self._fill_slots()
            except Exception as error:  # the store's fault; the worker goes on when it can
                await self._report_fault(error)
                self._alarm.set(self.store.clock.now() + timedelta(seconds=_ERROR_PAUSE))
            if not self._slots.executions:
                self._idle.set()
                if not self._started or self._closing is not None:
                    break
            await self._wake.wait()
        if self._closing is None:
            await self._announce()
            self._stop_listening()

    async def _fill_slots(self) -> None:
        while self._started and not self._paused and self._closing is None and self._slots.free:
            jobs = await self._fetch(self.batch.size if self.batch else 1)
            if not jobs:
                due = await self.store.next_fetch_at(self.queue_name, self._fetch_options)
                self._alarm.set(due)
                break
            self._execute(jobs, on_end=self._note_end)

    async def _fetch(self, most: int) -> list[Job]:
        jobs: list[Job] = []
        while len(jobs) < most:
            data = await self.store.fetch_next_job(
                self.queue_name, self.id, self._lock_duration, self._fetch_options
            )
            if data is None:
                break
            jobs.append(Job(data, self.store, lock=Lock(self.id, len(data.attempt_logs))))
        return jobs

    def _execute(self, jobs: list[Job], on_end: Callable[[Execution], None]) -> Execution:
        execution = Execution(
            jobs,
            self.handler,
            batch=self.batch is not None,
            clock=self.store.clock,
            pool=self._slots.pool(self.handler, self.name),
        )
        self._slots.add(execution)
        self._locks.keep()
        execution.start(on_end)
        return execution

    def _note_end(self, execution: Execution) -> None:
        self._slots.ended.append(execution)
        self._wake.set()

    async def _report_ended(self) -> None:
        ended = self._slots.ended
        while ended:
            # taken off when it is reported, so that a failing store does not lose an outcome
            await self._report(ended[0])
            self._slots.release(ended.popleft(), self._wake.set)

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

    async def _run_once(self) -> Job | None:
        self._listen()
        try:
            async with self._stepping:  # one step at a time takes the next free slot
                await self._slots.wait_for_room()
                jobs = await self._fetch(1)
                if not jobs:
                    return None
                ended = asyncio.get_running_loop().create_future()
                execution = self._execute(jobs, on_end=ended.set_result)
            try:
                await ended
                await self._report(execution)
            finally:
                self._slots.release(execution, self._wake.set)
            return jobs[0]
        finally:
            if not self._started and not self._slots.executions:
                self._stop_listening()

    async def _shut_down(self) -> None:
        wait = self.store.clock.wait_in_real_time
        pending = [task for task in (self._dispatcher, *self._steps) if task is not None]
        over: asyncio.Future[Any] = asyncio.gather(*pending, return_exceptions=True)
        try:
            await asyncio.wait({over, self._hurry}, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                for execution in self._slots.executions:
                    execution.stop_all(Verdict.RELEASED)
                if not await wait(over, _LAST_WORDS):
                    await self._abandon()
                    await wait(over, _LAST_WORDS)
        finally:
            over.cancel()
            self._hurry.cancel()
            self._locks.close()
            self._alarm.cancel()
            for task in self._chores:
                task.cancel()
            await asyncio.gather(over, *self._chores, return_exceptions=True)
            self._slots.close()
            await self._announce()
            self._stop_listening()
            self._bus.close()

    async def _abandon(self) -> None:
        """Put back the jobs of handlers that did not stop when they were cancelled."""
        for execution in tuple(self._slots.executions):
            for job in execution.jobs:
                self._logger.warning("the handler of job %r did not stop when cancelled", job.id)
                with contextlib.suppress(LostLockError, JobNotFoundError):  # it is not ours
                    await job.apply(Release())
            execution.abandon()

    # -- events -------------------------------------------------------------------------------

    def _listen(self) -> None:
        self.store.subscribe(self.queue_name, self._hear)

    def _stop_listening(self) -> None:
        self.store.unsubscribe(self.queue_name, self._hear)

    def _hear(self, event: StoreEvent) -> None:
        kind = event.type
        if kind in _WAKING or (kind in _FREEING and self._needs_freeing):
            self._wake.set()
        elif kind == EventType.ACTIVE:
            self._locks.watch()
        if kind in _ENDING and event.job_id is not None:
            cancelled = kind == EventType.CANCELLED
            self._slots.stop(event.job_id, Verdict.CANCELLED if cancelled else Verdict.LOST)
        if len(self._bus) and event.data.get("worker_id") == self.id:
            self._bus.emit(event)

    @property
    def _needs_freeing(self) -> bool:
        options = self._fetch_options
        return options.max_global_concurrency is not None or options.group is not None

    def _lose(self, job: Job) -> None:
        self._slots.stop(job.id, Verdict.LOST)
        self._spawn(self._publish_error(LostLockError(job.id, self.id), job.id), self._chores)

    async def _announce(self) -> None:
        """Tell the store, and through it everybody, what the worker does now."""
        status = self.status
        if status is WorkerStatus.STOPPED:
            status = WorkerStatus.CLOSED
        if status is self._announced or (status is WorkerStatus.CLOSED and not self._announced):
            return
        self._announced = status
        now = self.store.clock.now()
        await self.store.save_worker(
            WorkerInfo(self.id, self.name, self.queue_name, self.concurrency, status, now)
        )

    async def _report_fault(self, error: Exception) -> None:
        self._logger.error("worker %s: the store failed", self.id, exc_info=error)
        try:
            await self._publish_error(error, None)
        except Exception as again:  # then the log must do
            self._logger.error("worker %s: no event either", self.id, exc_info=again)

    async def _publish_error(self, error: Exception, job_id: str | None) -> None:
        data = {"worker_id": self.id, "error": describe(error)}
        now = self.store.clock.now()
        await self.store.publish(StoreEvent(EventType.ERROR, self.queue_name, job_id, data, now))

    # -- within -------------------------------------------------------------------------------

    def _spawn(
        self, work: Coroutine[Any, Any, _T], group: set[asyncio.Task[Any]]
    ) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        group.add(task)
        task.add_done_callback(group.discard)
        return task

    def _require_open(self) -> None:
        if self._closing is not None:
            raise RuntimeError(
                f"worker {self.name!r} is closed; worker.successor() starts a new one like it"
            )


def _require_loop(what: str, remedy: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(f"{what} and there is no running event loop; {remedy}") from None


def _fetch_options(
    lifo: bool,
    limiter: Limiter | None,
    max_global_concurrency: int | None,
    group: GroupLimits | None,
) -> FetchOptions:
    check_flag(lifo, what="lifo")
    check_instance(Limiter, limiter, what="limiter", example="Limiter(10, '1s')")
    check_instance(GroupLimits, group, what="group", example="GroupLimits(concurrency=1)")
    if max_global_concurrency is not None:
        check_count(max_global_concurrency, what="max_global_concurrency")
    return FetchOptions(lifo, limiter, max_global_concurrency, group)
