"""One run of a handler: over one job, or over the jobs of a batch.

An execution starts the handler in a task of its own, stops it when told to, and says at the end
what came of each job. It reports nothing itself: that is the worker's part.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import traceback
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

from conveyor_nb.actions import Action, Complete, Fail, Release
from conveyor_nb.clock import Clock, TimerHandle
from conveyor_nb.current import Run, enter_run
from conveyor_nb.durations import format_seconds, to_seconds
from conveyor_nb.job import Job
from conveyor_nb.lifecycle import CANCELLED
from conveyor_nb.model import JobState
from conveyor_nb.runners import Background, Result, Runner

__all__ = ["Execution", "RemoteError", "Verdict", "describe", "format_traceback"]


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
        runner: what calls the handler.
        batch: whether the handler takes a list and returns one result for each job.
        clock: for the jobs' timeouts.
        captured: whether what the handler prints may be taken for the jobs' logs.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        runner: Runner,
        *,
        batch: bool,
        clock: Clock,
        captured: bool = True,
    ) -> None:
        self.jobs = list(jobs)
        self.background: Background | None = None
        """What works for it outside of the loop, and may go on for a while after its end."""
        self._runner = runner
        self._batch = batch
        self._clock = clock
        self._captured = captured
        self._verdicts: dict[str, Verdict] = {}
        self._timers: list[TimerHandle] = []
        self._task: asyncio.Task[None] | None = None
        # what stands if the handler is cancelled before its first line
        self._gave: Result = (None, asyncio.CancelledError())
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
        if self._task is not None:
            # asyncio's own way; the worker has warned of it by name
            self._task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._end()

    async def _run(self) -> None:
        """Call the handler; whatever it raises is an outcome too.

        The outcome is noted here, not returned: the task may be marked cancelled all the same.
        """
        enter_run(Run(tuple(self.jobs), self._captured, asyncio.get_running_loop()))
        try:
            argument = self.jobs if self._batch else self.jobs[0]
            self._gave = await self._runner.call(argument, self._keep)
        except BaseException as error:  # KeyboardInterrupt and SystemExit fail a job like others
            self._gave = (None, error)

    def _keep(self, background: Background) -> None:
        self.background = background

    def _end(self) -> None:
        for timer in self._timers:
            timer.cancel()
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)

    def _results(self) -> list[Result]:
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


class RemoteError(Exception):
    """What was raised in another process: its text, as the exception itself may not be copied.

    Args:
        description: what :func:`describe` said there.
        stacktrace: what :func:`format_traceback` said there.
    """

    def __init__(self, description: str, stacktrace: str) -> None:
        super().__init__(description, stacktrace)
        self.description = description
        self.stacktrace = stacktrace

    @classmethod
    def of(cls, error: BaseException) -> RemoteError:
        """What another process is to be told of an exception."""
        return cls(describe(error), format_traceback(error))


def describe(error: BaseException) -> str:
    """An exception in one line."""
    if isinstance(error, asyncio.CancelledError):
        return "the handler cancelled itself"
    if isinstance(error, RemoteError):
        return error.description
    try:
        text = str(error)
    except Exception:  # a person's __str__ may raise anything
        text = "(its text can't be shown: __str__ raised)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def format_traceback(error: BaseException) -> str:
    """The traceback as Python prints it, from the handler's first line on."""
    if isinstance(error, RemoteError):
        return error.stacktrace
    lines = traceback.format_exception(type(error), error, _from_handler(error.__traceback__))
    return "".join(lines)


_OWN_MODULES = ("execution", "runners", "processes", "process_child", "process_pickle")
_OWN_FILES = frozenset(
    {
        *(str(Path(__file__).with_name(f"{name}.py")) for name in _OWN_MODULES),
        str(Path(concurrent.futures.__file__).parent / "thread.py"),
    }
)


def _from_handler(trace: TracebackType | None) -> TracebackType | None:
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename in _OWN_FILES:
        first = first.tb_next
    return first or trace
