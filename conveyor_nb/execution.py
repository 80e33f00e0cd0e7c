"""One run of a handler: over one job, or over the jobs of a batch.

An execution calls the handler, stops it when told to, and says at the end what came of each job.
It reports nothing itself: that is the worker's part.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import traceback
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

from conveyor_nb.actions import Action, Complete, Fail, Release
from conveyor_nb.causes import keep_failure
from conveyor_nb.clock import Clock, TimerHandle, checkpoint
from conveyor_nb.durations import Duration, format_seconds
from conveyor_nb.errors import FAULTS
from conveyor_nb.failures import Retried, Ruling, rule
from conveyor_nb.job import Job
from conveyor_nb.lifecycle import CANCELLED
from conveyor_nb.model import JobState
from conveyor_nb.runners import Background, Raised, Runner
from conveyor_nb.runs import Run, enter_run

__all__ = ["Execution", "RemoteError", "Verdict", "describe", "failed", "format_traceback"]


class Verdict(Enum):
    """Why a job's run is stopped before its handler is done."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    LOST = "its lock was lost"
    RELEASED = "the worker was closed"


class Execution:
    """A handler at work on some jobs, in the task that awaits :meth:`run`.

    Args:
        jobs: the jobs, each with its lock.
        runner: what calls the handler.
        batch: whether the handler takes a list and returns one result for each job.
        clock: for the jobs' timeouts.
        captured: whether what the handler prints may be taken for the jobs' logs.
        retry_on: what the worker retries.
    """

    __slots__ = (
        "_batch",
        "_captured",
        "_clock",
        "_gave",
        "_is_over",
        "_retry_on",
        "_runner",
        "_task",
        "_timers",
        "_verdicts",
        "background",
        "jobs",
    )

    def __init__(
        self,
        jobs: list[Job],
        runner: Runner,
        batch: bool,
        clock: Clock,
        captured: bool,
        retry_on: Retried = None,
    ) -> None:
        self.jobs = jobs
        self.background: Background | None = None
        """What works for it outside of the loop, and may go on for a while after its end."""
        self._runner = runner
        self._batch = batch
        self._clock = clock
        self._captured = captured
        self._retry_on = retry_on
        self._verdicts: dict[str, Verdict] = {}
        self._task: asyncio.Task[Any] | None = None
        self._gave: Any = None
        self._is_over = False
        self._timers: tuple[TimerHandle, ...] = ()

    async def run(self, task: asyncio.Task[Any]) -> bool:
        """Call the handler, to its end; whatever it raises is an outcome too.

        Args:
            task: the one that awaits this.

        Returns:
            Whether it left the task as it was, fit for another job: not cancelled, and with no
            context variable changed.
        """
        self._task = task
        for job in self.jobs:
            if job.opts.timeout is not None:
                self._time_out_after(job, job.opts.timeout)
        enter_run(Run(self.jobs, self._captured, task.get_loop()))
        context = contextvars.copy_context()
        try:
            argument = self.jobs if self._batch else self.jobs[0]
            self._gave = await self._runner.call(argument, self._keep)
        except BaseException as error:  # KeyboardInterrupt and SystemExit fail a job like others
            if asyncio.current_task(task.get_loop()) is not task:
                raise  # it was not the handler: the task itself is thrown away, unfinished
            self._gave = Raised(error)
        self._is_over = True
        for timer in self._timers:
            timer.cancel()
        self._timers = ()
        if task.cancelling():
            await self._take_in_cancellation()
            return False
        try:
            return contextvars.copy_context() == context
        except FAULTS:  # the variables' values are compared, and may be anything
            return False

    def stop(self, job: Job, verdict: Verdict) -> None:
        """Stop the run of a job: the handler is cancelled when none of its jobs is left."""
        if self._is_over:
            return
        self._verdicts.setdefault(job.id, verdict)
        job.request_stop()
        if self._task is not None and all(one.id in self._verdicts for one in self.jobs):
            self._task.cancel()

    def stop_all(self, verdict: Verdict) -> None:
        """Stop the run of every job."""
        for job in self.jobs:
            self.stop(job, verdict)

    def put_back(self) -> None:
        """Put back what its handler was kept from finishing: its task was thrown away."""
        if type(self._gave) is Raised and isinstance(self._gave.error, asyncio.CancelledError):
            for job in self.jobs:
                self._verdicts.setdefault(job.id, Verdict.RELEASED)

    def outcomes(self) -> Sequence[tuple[Job, Action]]:
        """What came of each job that something is to be reported of."""
        gave = self._gave
        if not self._batch and not self._verdicts and type(gave) is not Raised:  # as it should be
            job = self.jobs[0]
            return ((job, Complete(gave)),) if job.state is JobState.ACTIVE else ()
        decided = [
            (job, self._outcome(job, result))
            for job, result in zip(self.jobs, self._results(), strict=True)
        ]
        return [(job, action) for job, action in decided if action is not None]

    def abandon(self) -> asyncio.Task[Any]:
        """Look at the handler no more, though it has not stopped: nothing is to be reported.

        Returns:
            The task that it goes on in.
        """
        self._is_over = True
        for job in self.jobs:
            self._verdicts[job.id] = Verdict.LOST
        assert self._task is not None, "it was begun"
        # asyncio's own way; the worker has warned of it by name
        self._task._log_destroy_pending = False  # type: ignore[attr-defined]
        return self._task

    def _time_out_after(self, job: Job, limit: Duration) -> None:
        expire = functools.partial(self.stop, job, Verdict.TIMED_OUT)
        self._timers = (*self._timers, self._clock.call_later(limit, expire))

    async def _take_in_cancellation(self) -> None:
        """Let what follows in this task go undisturbed, whoever cancelled it."""
        with contextlib.suppress(asyncio.CancelledError):  # it may not have been raised yet
            await checkpoint()
        if not self._verdicts and type(self._gave) is not Raised:
            self._gave = Raised(asyncio.CancelledError())  # the handler did so itself

    def _keep(self, background: Background) -> None:
        self.background = background

    def _results(self) -> list[Any]:
        """What the handler gave for each job, or what it raised."""
        gave = self._gave
        if type(gave) is Raised or not self._batch:
            return [gave] * len(self.jobs)
        if isinstance(gave, (list, tuple)) and len(gave) == len(self.jobs):
            return [Raised(one) if isinstance(one, BaseException) else one for one in gave]
        got = f"{len(gave)}" if isinstance(gave, (list, tuple)) else f"a {type(gave).__name__}"
        wrong = ValueError(
            f"a batch handler returns a list with one result for each of its {len(self.jobs)} "
            f"jobs, not {got}"
        )
        return [Raised(wrong)] * len(self.jobs)

    def _outcome(self, job: Job, result: Any) -> Action | None:
        error = result.error if type(result) is Raised else None
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
                limit = format_seconds(job.opts.timeout)
                stacktrace = format_traceback(error) if error else None
                final = rule(TimeoutError(), self._retry_on).final
                return Fail(f"timed out after {limit}", stacktrace, final)
        if error is None:
            return Complete(result)
        return failed(job, error, self._retry_on)


_AS_ANY = Ruling()


class RemoteError(Exception):
    """What was raised in another process: its text, as the exception itself may not be copied.

    Args:
        description: what :func:`describe` said there.
        stacktrace: what :func:`format_traceback` said there.
        ruling: what it means for the job.
    """

    def __init__(self, description: str, stacktrace: str, ruling: Ruling = _AS_ANY) -> None:
        super().__init__(description, stacktrace, ruling)
        self.description = description
        self.stacktrace = stacktrace
        self.ruling = ruling

    @classmethod
    def of(cls, error: BaseException, retry_on: Retried) -> RemoteError:
        """What another process is to be told of an exception."""
        return cls(describe(error), format_traceback(error), rule(error, retry_on))


def failed(job: Job, error: BaseException, retry_on: Retried) -> Fail:
    """What a handler's exception makes of its job; it is kept for those who wait for that."""
    reason = describe(error)
    if isinstance(error, RemoteError):
        ruling = error.ruling
    else:
        ruling = rule(error, retry_on)
        attempt = job.attempts_made + 1
        keep_failure(job.store, job.queue_name, job.id, reason=reason, attempt=attempt, error=error)
    return Fail(reason, format_traceback(error), *ruling)


def describe(error: BaseException) -> str:
    """An exception in one line."""
    if isinstance(error, asyncio.CancelledError):
        return "the handler cancelled itself"
    if isinstance(error, RemoteError):
        return error.description
    try:
        text = str(error)
    except BaseException:  # a person's __str__ may raise anything, and sys.exit() ends no loop
        text = "(its text can't be shown: __str__ raised)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def format_traceback(error: BaseException) -> str:
    """The traceback as Python prints it, from the handler's first line on."""
    if isinstance(error, RemoteError):
        return error.stacktrace
    lines = traceback.format_exception(type(error), error, _from_handler(error.__traceback__))
    return "".join(lines)


_OWN_MODULES = "execution handlers runners processes process_child process_pickle".split()
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
