"""The worker: what people start, pause and close; its ``dispatcher`` does the work."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, Unpack
from weakref import WeakSet, ref

from conveyor_nb.clocks.loops import run_on
from conveyor_nb.context.deadlocks import refuse_circular_close
from conveyor_nb.context.runs import current_run
from conveyor_nb.core.handlers import Handler, Handlers, check_handlers, shown_names
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.options.declaring import spelled_out
from conveyor_nb.core.options.worker_options import WorkerKeywords, WorkerOptions
from conveyor_nb.core.values.checks import check_flag, check_logger, check_name
from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.text import inline, shown
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.display import Displayable
from conveyor_nb.job import Job
from conveyor_nb.running.life import Life, require_loop
from conveyor_nb.running.phase import PhaseChange
from conveyor_nb.stores import StoreInterface, check_store
from conveyor_nb.stores.events import EventBus, EventHandler

__all__ = ["Handler", "Worker", "holding_workers", "live_workers"]

_known: WeakSet[Worker] = WeakSet()


class Worker(Displayable):
    """Runs a handler over the jobs of a queue.

    Args:
        queue_name: the queue.
        handler: takes the ``Job`` (or a list of them, see ``batch``); async, or a plain function,
            which runs in a thread. What it returns is the job's result; what it raises fails
            the attempt. Or a mapping of job names to handlers, async and plain ones:
            ``{"send": send, "bounce": bounce}``. A worker takes the jobs of every name: those
            whose name has no handler fail for good and say so, unless one is named ``"*"``,
            for all others. (What different workers are to do belongs into different queues.)
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
        executor: ``"process"``: a plain handler runs in processes of its own, one for each
            execution, for work that keeps a core busy. It is copied there with the variables
            it uses, as they are when the worker is made; of its job it has the name, the data,
            the id and ``attempts_made``, and ``update_progress``, ``log``, ``sleep`` and
            ``raise_if_cancelled``. Cancelling a job, its timeout and closing end its process.
        capture: in a notebook with the extension loaded, let what the handler prints go to the
            job's log; of a batch, to the log of each of its jobs.
        retry_on: exception classes, such as ``(ConnectionError, TimeoutError)``: what else a
            handler raises fails its job for good, whatever attempts are left. An attempt that
            takes longer than the job's ``timeout`` counts as a ``TimeoutError``. Everything is
            retried if not given; a handler can say so itself, too: see ``Retry`` and
            ``Unrecoverable``.
        lifespan: opens what all jobs are to have at hand, as ``job.resources``: a client, a pool,
            a model. An async generator function with one ``yield``, or another function that
            gives an async context manager; it may take the worker. It is opened before the
            first job and closed after the last one, when the worker closes. While it can't be
            opened the worker takes no jobs, and says why; ``start()`` tries again. A worker
            that takes over from another one opens its own while that one finishes.

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

    @spelled_out(WorkerOptions)
    def __init__(
        self,
        queue_name: str,
        handler: Handler | Handlers,
        *,
        store: StoreInterface | None = None,
        auto_start: bool = True,
        logger: logging.Logger | None = None,
        **options: Unpack[WorkerKeywords],
    ) -> None:
        self.queue_name = check_name(queue_name, what="queue name")
        self.handler = check_handlers(handler)
        self.store = check_store(store)
        self.options = WorkerOptions(**options)
        if self.options.batch is not None and isinstance(self.handler, Mapping):
            raise ValueError(
                "batch goes with one handler for all jobs, as a batch may have jobs of several "
                "names in it; it can look at the name of each: job.name"
            )
        if check_flag(auto_start, what="auto_start"):
            require_loop("a worker starts at once", "pass auto_start=False and call start()")
        self.name = self.options.name or self.queue_name
        self.id = self.store.new_worker_id(self.name)
        self.version: int | None = None
        """For a worker known by name: the number of its handler under that name, from 1."""
        self.stop_timeout = 30.0
        """Seconds that running jobs have when the worker is told through its store to stop."""
        self._logger = check_logger(logger)
        self._bus = EventBus(EventType, self._logger, owner=(ref(self.store), self.name, "worker"))
        self._life = Life(self, self._logger, self._stop_telling)
        _known.add(self)
        if auto_start:
            self.start()

    def __repr__(self) -> str:
        names = f", for {shown_names(self.handler)}" if isinstance(self.handler, Mapping) else ""
        of = f"{inline(self.name)} of {inline(self.queue_name)}"
        fault = f" ({self.fault})" if self.fault else ""
        return f"<Worker {of}: {self.status.in_words}{fault}, {self.slots_summary}{names}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _left_behind, (os.getpid(), self.name)

    # -- looking ------------------------------------------------------------------------------

    @property
    def status(self) -> WorkerStatus:
        """What the worker is doing."""
        return self._life.status

    @property
    def fault(self) -> str | None:
        """What has stopped the worker, in short, if it was not told to stop."""
        return self._life.fault

    @property
    def running(self) -> list[Job]:
        """The jobs that its handler is at work on, but for those that have ended already."""
        return list(self._life.dispatcher.slots.jobs())

    @property
    def slots_in_use(self) -> int:
        """How many of its slots are in use: a batch takes one."""
        return len(self._life.dispatcher.slots.executions)

    @property
    def slots_held(self) -> int:
        """How many of these are held by a handler that did not stop when it was told to.

        A plain handler's thread can't be stopped, and an async handler may catch its cancellation.
        """
        return self._life.dispatcher.slots.held

    @property
    def slots_summary(self) -> str:
        """Both in words: ``"2 of 2 slots in use, 1 held by a handler that did not stop"``."""
        return str(self._life.dispatcher.slots)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that it runs in, if it was ever started."""
        return self._life.loop

    @property
    def concurrency(self) -> int:
        """How many executions it runs at once; may be set while it runs.

        With a smaller number those that run finish, and fewer begin.
        """
        return self.options.concurrency

    @concurrency.setter
    def concurrency(self, value: int) -> None:
        self._life.require_open()
        self.options = replace(self.options, concurrency=value)
        self._life.dispatcher.resize(self.options.concurrency)

    def on(self, name: str, handler: EventHandler | None = None) -> Any:
        """Call ``handler(event)`` for each event of this name about this worker or its jobs.

        The names: ``active``, ``completed``, ``failed``, ``retrying``, ``progress``, ``started``,
        ``paused``, ``closed``, ``error`` and so on; also a decorator. What a cell that is run
        again adds replaces what it added before, as with ``Queue.on``.
        """
        self.store.subscribe(self.queue_name, self._tell)
        return self._bus.on(name, handler) if handler else self._bus.on(name)

    def off(self, name: str, handler: EventHandler | None = None) -> None:
        """Stop calling a handler, or all handlers of this name."""
        self._bus.off(name, handler)

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Take jobs from now on; of a paused worker: as :meth:`resume`.

        It runs on the loop where it is started first, whatever thread this is called on later.

        Raises:
            RuntimeError: the worker was closed, there is no running event loop, or the one that
                it was started on is closed.
        """
        self._life.start()

    def pause(self) -> None:
        """Take no more jobs until :meth:`resume`; running ones finish."""
        self._life.require_open()
        self._life.note(PhaseChange.PAUSE)

    def resume(self) -> None:
        """Take jobs again."""
        self._life.require_open()
        self._life.note(PhaseChange.RESUME)

    async def run_once(self) -> Job | None:
        """Take and process exactly one job, and return it as it is after; ``None``: none is due.

        Raises:
            RuntimeError: the worker is running; this is for one that is paused or not started.
        """
        self._life.require_open()
        if self.status is WorkerStatus.RUNNING:
            raise RuntimeError(
                f"worker {shown(self.name)} is running by itself; run_once is for a worker that is "
                "paused, or was made with auto_start=False"
            )
        self._refuse_own_handler("it can't step on meanwhile")
        if (loop := self._loop_elsewhere()) is not None:
            return await run_on(loop, self.run_once)
        return await self._life.step()

    async def run_until_idle(self) -> int:
        """Process jobs until none is running and none can start now; returns how many ended."""
        self._life.require_open()
        self._refuse_own_handler("it can't become idle meanwhile")
        if (loop := self._loop_elsewhere()) is not None:
            return await run_on(loop, self.run_until_idle)
        return await self._life.until_idle()

    async def close(self, timeout: Duration | None = 30) -> None:
        """Take no more jobs, wait for those running, and stop.

        Args:
            timeout: a duration, in real time; jobs that still run after it are cancelled and put
                back to waiting, with no attempt spent. ``None``: wait for as long as it takes.

        A handler that does not stop in a second, as none in a thread may, is not waited for: its
        job stays active until it returns, and is put back then.

        Raises:
            RuntimeError: its own handler waits for it, and with a ``timeout`` of more than 0.
        """
        if timeout is not None:
            timeout = to_seconds(timeout, what="timeout")
        if timeout != 0:
            self._refuse_own_handler("worker.retire() closes it as soon as they are done")
        await self._life.close(timeout)

    def retire(self) -> concurrent.futures.Future[None]:
        """Take no more jobs, and close when the running ones are done.

        It closes on its own loop; on this one if it has none, or that is gone.

        Returns:
            Done when it is closed; nobody needs to wait for it.

        Raises:
            RuntimeError: there is no event loop to close it on.
        """
        return self._life.retire()

    def successor(self, handler: Handler | Handlers | None = None) -> Worker:
        """Start a new worker with the same options, and with another handler if one is given."""
        return Worker(
            self.queue_name,
            self.handler if handler is None else handler,
            store=self.store,
            logger=self._logger,
            **self.options.keywords(),
        )

    async def __aenter__(self) -> Self:
        try:
            await self._life.dispatcher.resources.open()
        except BaseException:
            await self.close(timeout=0)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- within -------------------------------------------------------------------------------

    def _tell(self, event: StoreEvent) -> None:
        if event.data.get("worker_id") == self.id:
            self._bus.emit(event)

    def info(self) -> WorkerInfo:
        """What a store is told of it, as it is now."""
        now = self.store.clock.now()
        return WorkerInfo(self.id, self.name, self.queue_name, self.concurrency, self.status, now)

    async def let_go(self) -> None:
        """Let go of the jobs that its threads still hold after it was closed.

        For the end of the process, which ends them too.
        """
        await self._life.dispatcher.overruns.let_go()

    def _stop_telling(self) -> None:
        """It is closed: there is nothing more to tell."""
        self.store.unsubscribe(self.queue_name, self._tell)
        self._bus.close()

    def _loop_elsewhere(self) -> asyncio.AbstractEventLoop | None:
        loop = self._life.loop
        return None if loop is asyncio.get_running_loop() else loop

    def _refuse_own_handler(self, remedy: str) -> None:
        if (run := current_run()) is not None:
            refuse_circular_close(run, self.name, self.running, remedy)


def holding_workers() -> list[Worker]:
    """The workers that are closed, and whose handlers go on all the same."""
    closed = [one for one in list(_known) if one.status is WorkerStatus.CLOSED]
    return [one for one in closed if one._life.dispatcher.slots.holders]


def live_workers() -> list[Worker]:
    """The workers that were started and are not closed yet, however they were made."""
    started = [one for one in list(_known) if one.loop is not None]
    return [one for one in started if one.status is not WorkerStatus.CLOSED]


def _left_behind(process: int, name: str) -> None:
    """Nothing of a worker goes along with its handler to another process."""
    if process == os.getpid():
        raise TypeError(f"worker {shown(name)} can't be copied")
