"""One run of a handler: over one job, or over the jobs of a batch.

An execution starts the handler in a task of its own, stops it when told to, and says at the end
what came of each job. It reports nothing itself: that is the worker's part.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import traceback
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

from conveyor_nb.actions import Action, Complete, Fail, Release
from conveyor_nb.blocking import BlockingJob
from conveyor_nb.clock import Clock, TimerHandle
from conveyor_nb.durations import format_seconds, to_seconds
from conveyor_nb.job import Job
from conveyor_nb.lifecycle import CANCELLED
from conveyor_nb.model import JobState

__all__ = ["Execution", "Handler", "Verdict", "check_handler", "is_async"]

Handler = Callable[[Any], Any]
"""Takes a ``Job``, or a list of them for a batch; plain or async."""

_Result = tuple[Any, BaseException | None]
"""What a handler gave, and None; or None, and what it raised."""

ThreadFuture = concurrent.futures.Future[_Result]


class Verdict(Enum):
    """Why a job's run is stopped before its handler is done."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    LOST = "its lock was lost"
    RELEASED = "the worker was closed"


class Execution:
    """A handler at work on some jobs.

    Args:
        jobs: the jobs, each with its lock.
        handler: what to call.
        batch: whether the handler takes a list and returns one result for each job.
        clock: for the jobs' timeouts.
        pool: the threads that a plain handler runs in; ``None``: the handler is async.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        handler: Handler,
        *,
        batch: bool,
        clock: Clock,
        pool: concurrent.futures.Executor | None,
    ) -> None:
        self.jobs = list(jobs)
        self.thread: ThreadFuture | None = None
        self._handler = handler
        self._batch = batch
        self._clock = clock
        self._pool = pool
        self._verdicts: dict[str, Verdict] = {}
        self._timers: list[TimerHandle] = []
        self._task: asyncio.Task[None] | None = None
        # what stands if the handler is cancelled before its first line
        self._gave: _Result = (None, asyncio.CancelledError())
        self._on_end: Callable[[Execution], None] | None = None
        self._abandoned = False

    def start(self, on_end: Callable[[Execution], None]) -> None:
        """Start the handler; ``on_end`` is called when it has ended, in whatever way."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._on_end = on_end
        self._task.add_done_callback(lambda _: self._end())
        for job in self.jobs:
            if job.opts.timeout is not None:
                expire = functools.partial(self.stop, job, Verdict.TIMED_OUT)
                self._timers.append(self._clock.call_later(job.opts.timeout, expire))

    def stop(self, job: Job, verdict: Verdict) -> None:
        """Stop the run of a job: the handler is cancelled when none of its jobs is left."""
        if self._task is None or self._task.done():
            return
        self._verdicts.setdefault(job.id, verdict)
        job.request_stop()
        if all(one.id in self._verdicts for one in self.jobs):
            self._task.cancel()

    def stop_all(self, verdict: Verdict) -> None:
        """Stop the run of every job."""
        for job in self.jobs:
            self.stop(job, verdict)

    def outcomes(self) -> list[tuple[Job, Action | None]]:
        """What came of each job, to be reported; ``None``: nothing is to be."""
        if self._abandoned:
            return [(job, None) for job in self.jobs]
        return [
            (job, self._outcome(job, *result))
            for job, result in zip(self.jobs, self._results(), strict=True)
        ]

    def abandon(self) -> None:
        """Look at the handler no more, though it has not stopped: nothing is to be reported."""
        self._abandoned = True
        self._end()

    async def _run(self) -> None:
        """Call the handler; whatever it raises is an outcome too.

        The outcome is noted here, not returned: the task may be marked cancelled all the same.
        """
        try:
            if self._pool is None:
                value = await self._handler(self.jobs if self._batch else self.jobs[0])
                self._gave = (value, None)
            else:
                self._gave = await self._run_in_thread()
        except BaseException as error:  # KeyboardInterrupt and SystemExit fail a job like others
            self._gave = (None, error)

    async def _run_in_thread(self) -> _Result:
        assert self._pool is not None
        loop = asyncio.get_running_loop()
        jobs = [BlockingJob(job, loop) for job in self.jobs]
        argument = jobs if self._batch else jobs[0]
        context = contextvars.copy_context()
        self.thread = self._pool.submit(context.run, _call, self._handler, argument)
        with self._clock.off_loop():
            value, error = await asyncio.wrap_future(self.thread)
        if inspect.isawaitable(value):  # such as from ``lambda job: send(job)``
            value = await value
        return value, error

    def _end(self) -> None:
        for timer in self._timers:
            timer.cancel()
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)

    def _results(self) -> list[_Result]:
        """What the handler gave, or what it raised, for each job."""
        assert self._task is not None
        value, error = self._gave
        if error is None and self._task.cancelled():  # it did so itself, and went on to its end
            error = asyncio.CancelledError()
        if error is not None or not self._batch:
            return [(value, error)] * len(self.jobs)
        if isinstance(value, (list, tuple)) and len(value) == len(self.jobs):
            return [(None, one) if isinstance(one, BaseException) else (one, None) for one in value]
        got = f"{len(value)}" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"
        wrong = ValueError(
            f"a batch handler returns a list with one result for each of its {len(self.jobs)} "
            f"jobs, not {got}"
        )
        return [(None, wrong)] * len(self.jobs)

    def _outcome(self, job: Job, value: Any, error: BaseException | None) -> Action | None:
        verdict = self._verdicts.get(job.id)
        if verdict is Verdict.LOST or job.state is not JobState.ACTIVE:
            return None  # it is no longer ours: taken away, or moved by the handler itself
        match verdict:
            case Verdict.CANCELLED:
                return Fail(CANCELLED, final=True)
            case Verdict.RELEASED:
                return Release()
            case Verdict.TIMED_OUT:
                assert job.opts.timeout is not None
                limit = format_seconds(to_seconds(job.opts.timeout))
                stacktrace = format_traceback(error) if error else None
                return Fail(f"timed out after {limit}", stacktrace)
        if error is None:
            return Complete(value)
        return Fail(describe(error), format_traceback(error))


def check_handler(handler: object) -> Handler:
    """Check that a handler can be called with one argument."""
    if not callable(handler):
        raise TypeError(f"handler must be a function that takes the job, not {handler!r}")
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        name = getattr(handler, "__name__", repr(handler))
        raise TypeError(f"handler {name} must take exactly one argument, the job") from error
    except ValueError:  # some built-ins don't tell their signature
        pass
    return handler


def is_async(handler: Handler) -> bool:
    """Whether calling the handler gives a coroutine."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 -- an object with an async __call__
    )


def describe(error: BaseException) -> str:
    """An exception in one line."""
    if isinstance(error, asyncio.CancelledError):
        return "the handler cancelled itself"
    try:
        text = str(error)
    except Exception:  # a person's __str__ may raise anything
        text = "(its text can't be shown: __str__ raised)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def format_traceback(error: BaseException) -> str:
    """The traceback as Python prints it, from the handler's first line on."""
    lines = traceback.format_exception(type(error), error, _from_handler(error.__traceback__))
    return "".join(lines)


_OWN_FILES = frozenset({__file__, str(Path(concurrent.futures.__file__).parent / "thread.py")})


def _from_handler(trace: TracebackType | None) -> TracebackType | None:
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename in _OWN_FILES:
        first = first.tb_next
    return first or trace


def _call(handler: Handler, argument: Any) -> _Result:
    """Call a plain handler in its thread.

    What it raises is handed over as a value: not every exception can be set on a future.
    """
    try:
        return handler(argument), None
    except BaseException as error:  # see Execution._run
        return None, error
