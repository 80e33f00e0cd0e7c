"""Where a worker's handler runs: in the loop, in threads, or in processes (``processes``)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from conveyor_nb.blocking import BlockingJob
from conveyor_nb.clock import Clock
from conveyor_nb.job import Job
from conveyor_nb.text import shown
from conveyor_nb.threads import ThreadPool
from conveyor_nb.worker_options import WorkerOptions

__all__ = ["Handler", "Raised", "Runner", "check_handler", "runner_for"]

Handler = Callable[[Any], Any]
"""Takes a ``Job``, or a list of them for a batch; plain or async."""

Argument = Job | list[Job]


class Raised(NamedTuple):
    """What a handler raised, as a value: not every exception can be raised out of a coroutine."""

    error: BaseException


Background = concurrent.futures.Future[Any]
"""What is done when a thread or a process has ended."""


class Runner(ABC):
    """Calls the handler of a worker: one for each worker, from its start to its end."""

    @abstractmethod
    def call(self, argument: Argument, keep: Callable[[Background], None]) -> Awaitable[Any]:
        """Call the handler; gives what it returns. What it raises is raised, or comes ``Raised``.

        Args:
            argument: the job, or the jobs of a batch.
            keep: told of what works outside of the loop, and may go on for a while when this
                call is cancelled: the slot is not free before it is done.
        """

    def resize(self, size: int) -> None:  # noqa: B027 -- as below
        """Be ready for so many calls at once."""

    async def close(self) -> None:  # noqa: B027 -- a task needs nothing of it
        """Let go of threads and processes."""


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
        with self._clock.off_loop():
            value = await asyncio.wrap_future(thread)
        if inspect.isawaitable(value):  # such as from ``lambda job: send(job)``
            value = await value
        return value

    def resize(self, size: int) -> None:
        self._threads.size = size

    async def close(self) -> None:
        """Let the threads go; one that is busy ends when its handler returns."""
        self._threads.close()


def runner_for(handler: Handler, options: WorkerOptions, clock: Clock, *, name: str) -> Runner:
    """What runs a worker's handler.

    Raises:
        TypeError: the handler is not for processes, and the options ask for these.
    """
    if options.executor == "process":
        from conveyor_nb.processes import ProcessRunner  # only who uses it pays its import

        if is_async(handler):
            raise TypeError(
                "executor='process' runs plain functions: write the handler with 'def' in place "
                "of 'async def', or leave executor away"
            )
        return ProcessRunner(handler, clock, options.retry_on)
    if is_async(handler):
        return TaskRunner(handler)
    return ThreadRunner(handler, clock, size=options.concurrency, name=name)


def check_handler(handler: object) -> Handler:
    """Check that a handler can be called with one argument, and gives one result.

    Raises:
        TypeError: it can't.

    >>> def numbers(job):
    ...     yield from range(job.data)
    >>> check_handler(numbers)
    Traceback (most recent call last):
    ...
    TypeError: handler numbers is a generator, as it has a `yield`: its code would never run; \
give the one result with `return`, and what comes before it with job.log or job.update_progress
    """
    if inspect.iscoroutine(handler):
        handler.close()  # else Python warns that it was never awaited, which was not meant
        name = handler.__qualname__
        raise TypeError(
            f"handler must be a function that takes the job, not what a call of it gives: "
            f"{name} in place of {name}(...)"
        )
    name = _name_of(handler)
    if inspect.isclass(handler):
        raise TypeError(
            f"handler {name} is a class; give a function, a method such as {name}().run, or an "
            "object that can be called"
        )
    if not callable(handler):
        raise TypeError(f"handler must be a function that takes the job, not {shown(handler)}")
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in _code(handler)):
        raise TypeError(
            f"handler {name} is a generator, as it has a `yield`: its code would never run; give "
            "the one result with `return`, and what comes before it with job.log or "
            "job.update_progress"
        )
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        raise TypeError(f"handler {name} must take exactly one argument, the job") from error
    except ValueError:  # some built-ins don't tell their signature
        pass
    return handler


def is_async(handler: Handler) -> bool:
    """Whether calling the handler gives a coroutine."""
    return any(map(inspect.iscoroutinefunction, _code(handler)))


def _name_of(handler: object) -> str:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return str(getattr(handler, "__name__", type(handler).__name__))


def _code(handler: object) -> tuple[object, object]:
    """A handler, and what a call of it runs if it is an object with a ``__call__``."""
    return handler, getattr(handler, "__call__", None)  # noqa: B004 -- that is what is looked for


def _call(handler: Handler, argument: Any) -> Any:
    """Call a plain handler in its thread; what it raises comes ``Raised``."""
    try:
        return handler(argument)
    except BaseException as error:  # KeyboardInterrupt and SystemExit fail a job like others
        return Raised(error)
