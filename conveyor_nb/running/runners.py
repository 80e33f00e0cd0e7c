"""Where a worker's handler runs: in the loop, in threads, or in processes (``processes``)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.clocks.loops import call_on
from conveyor_nb.core.handlers import ByName, Handler, Handlers, is_async
from conveyor_nb.core.options.worker_options import WorkerOptions
from conveyor_nb.job import Job
from conveyor_nb.running.blocking_job import BlockingJob
from conveyor_nb.running.runner import Argument, Background, Raised, Runner
from conveyor_nb.running.threads import ThreadPool

__all__ = ["runner_for"]


class TaskRunner(Runner):
    """Awaits an async handler in the execution's own task."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def call(self, argument: Argument, keep: Callable[[Background], None]) -> Awaitable[Any]:
        called: Awaitable[Any] = self._handler(argument)
        return called


class ThreadRunner(Runner):
    """Calls a plain handler in a thread, so that it never blocks the loop.

    Raises:
        RuntimeError: this Python has no threads.
    """

    def __init__(self, handler: Handler, clock: Clock, *, size: int, name: str) -> None:
        if sys.platform == "emscripten":
            raise RuntimeError("there are no threads here: write the handler with 'async def'")
        self._handler = handler
        self._clock = clock
        self._threads = ThreadPool(size, f"conveyor_nb-{name}")

    async def call(self, argument: Argument, keep: Callable[[Background], None]) -> Any:
        loop = asyncio.get_running_loop()
        blocking = (
            [BlockingJob(job, loop) for job in argument]
            if isinstance(argument, list)
            else BlockingJob(argument, loop)
        )
        context = contextvars.copy_context()
        thread = self._threads.submit(context.run, _call, self._handler, blocking)
        keep(thread)
        with contextlib.ExitStack() as off_loop:
            off_loop.enter_context(self._clock.off_loop())
            try:
                value = await asyncio.wrap_future(thread)
            except asyncio.CancelledError:  # the thread does not notice that
                _when_done(thread, loop, off_loop.pop_all().close)
                raise
        if inspect.isawaitable(value):  # for instance from ``lambda job: send(job)``
            jobs = argument if isinstance(argument, list) else [argument]
            if all(job.cancel_requested for job in jobs):  # told while in the thread
                return Raised(_dispose_of(value))
            value = await value
        return value

    def resize(self, size: int) -> None:
        self._threads.size = size

    async def close(self) -> None:
        """Let the threads go; one that is busy ends when its handler returns."""
        self._threads.close()


class NamedRunner(Runner):
    """Calls the handler of each job's name, in the loop or in a thread as the handler is."""

    def __init__(self, by_name: ByName, clock: Clock, *, size: int, name: str) -> None:
        self._by_name = by_name
        self._tasks = TaskRunner(by_name)
        self._threads: ThreadRunner | None = None
        if not all(map(is_async, by_name.handlers.values())):
            self._threads = ThreadRunner(by_name, clock, size=size, name=name)

    def call(self, argument: Argument, keep: Callable[[Background], None]) -> Awaitable[Any]:
        assert isinstance(argument, Job), "handlers by name take no batches"
        if is_async(self._by_name.pick(argument.name)) or self._threads is None:
            return self._tasks.call(argument, keep)
        return self._threads.call(argument, keep)

    def resize(self, size: int) -> None:
        if self._threads is not None:
            self._threads.resize(size)

    async def close(self) -> None:
        """The part that runs threads, if there is one."""
        if self._threads is not None:
            await self._threads.close()


def runner_for(
    handler: Handler | Handlers, options: WorkerOptions, clock: Clock, *, name: str
) -> Runner:
    """What runs a worker's handler, or handlers by job name.

    Raises:
        TypeError: a handler is not for processes, and the options ask for these.
    """
    by_name = ByName(handler) if isinstance(handler, Mapping) else None
    one: Handler = by_name or handler  # type: ignore[assignment]  # if it is not the one
    if options.executor == "process":
        from conveyor_nb.running.processes import ProcessRunner  # so that others don't load it

        if any(map(is_async, by_name.handlers.values() if by_name else (one,))):
            raise TypeError(
                "executor='process' runs plain functions: write the handler with 'def' in place "
                "of 'async def', or leave out executor"
            )
        return ProcessRunner(one, clock, options.retry_on)
    if by_name is not None:
        return NamedRunner(by_name, clock, size=options.concurrency, name=name)
    if is_async(one):
        return TaskRunner(one)
    return ThreadRunner(one, clock, size=options.concurrency, name=name)


def _when_done(
    thread: Background, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]
) -> None:
    """Call back when a thread has returned: on a loop, or in that thread if the loop is gone."""

    def tell(_: Background) -> None:
        if not call_on(loop, callback):
            callback()

    thread.add_done_callback(tell)


def _dispose_of(value: Any) -> BaseException:
    """Close or cancel an awaitable that nobody awaits any more; returns what stands for that."""
    if inspect.iscoroutine(value):
        value.close()
    elif isinstance(value, asyncio.Future):
        value.cancel()
    return asyncio.CancelledError()


def _call(handler: Handler, argument: Any) -> Any:
    """Call a plain handler in its thread; what it raises comes ``Raised``."""
    try:
        return handler(argument)
    except BaseException as error:  # KeyboardInterrupt and SystemExit fail a job like others
        return Raised(error)
