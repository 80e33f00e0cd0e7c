"""One run of a handler: over one job, or over the jobs of a batch.

An execution calls the handler, stops it when told to, and says at the end what came of each job.
It reports nothing itself: that is the worker's part.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from conveyor_nb.clocks.clock import Callback, Clock, TimerHandle, checkpoint
from conveyor_nb.context.recent_failures import keep_failure
from conveyor_nb.context.runs import Run, enter_run
from conveyor_nb.core.actions import Action, Complete, Fail, LetGo, Release
from conveyor_nb.core.errors import FAULTS
from conveyor_nb.core.lifecycle import CANCELLED, SETTLED
from conveyor_nb.core.model import ACTIVE
from conveyor_nb.core.options.retry_policy import Retried, ruling_on
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.job import Job
from conveyor_nb.running.runner import Background, Raised, Runner
from conveyor_nb.running.tracebacks import (
    ProcessEndedError,
    RemoteError,
    describe,
    format_traceback,
)

__all__ = ["LOOP_ENDED", "Execution", "Terms", "Verdict", "failed"]

LOOP_ENDED = "the event loop of its worker ended"
"""Why a job is given back that nobody goes on with."""

_TAKEN_AWAY = "it was removed, or taken away from its worker"

_GRACE = 1.0
"""Seconds that an async handler has to stop, once it was cancelled."""


class Verdict(IntEnum):
    """Why a job's run is stopped before its handler is done; of two reasons the higher counts."""

    LEFT = 1
    """The event loop of its worker ended."""
    RELEASED = 2
    """Its worker was closed."""
    TIMED_OUT = 3
    CANCELLED = 4
    LOST = 5
    """Its lock was lost, or the job itself."""


_NONE_YET: Mapping[str, Verdict] = MappingProxyType({})
_NOTHING_YET: Any = object()


class Terms(Struct, frozen=True, eq=False):
    """What holds for all runs of a worker's handler.

    Args:
        runner: what calls the handler.
        batch: whether the handler takes a list and returns one result for each job.
        clock: for the jobs' timeouts.
        captured: whether what the handler prints may be taken for the jobs' logs.
        retry_on: what the worker retries.
        on_overrun: called with a run that was told to stop and goes on all the same.
    """

    runner: Runner
    batch: bool
    clock: Clock
    captured: bool
    retry_on: Retried
    on_overrun: Callable[[Execution], object]


class Execution(Struct, eq=False):
    """A handler at work on some jobs, in the task that awaits :meth:`run`.

    Args:
        jobs: the jobs, each with its lock.
        terms: those of the worker.
        task: what it runs in.
    """

    jobs: list[Job]
    _terms: Terms
    task: asyncio.Task[Any]
    reporting: asyncio.Lock | None = None
    """Held by whoever reports on a run that goes on; ``None``: it ends when it is told to."""
    _background: Background | None = None
    _was_told: bool = False
    _was_patient: bool = False
    _verdicts: Mapping[str, Verdict] = _NONE_YET
    _gave: Any = _NOTHING_YET
    _timers: tuple[TimerHandle, ...] = ()

    async def run(self) -> bool:
        """Call the handler, to its end, in the task; whatever it raises is an outcome too.

        Returns:
            Whether it left the task as it was, fit for another job: not cancelled, and with no
            context variable changed.
        """
        for job in self.jobs:
            timeout = job._data.opts.timeout  # as job.opts, which costs more, and so below
            if timeout is not None:
                expire = functools.partial(self.stop, job, Verdict.TIMED_OUT)
                self._call_later(timeout, expire)
        terms, task = self._terms, self.task
        enter_run(Run(self.jobs, terms.captured, task.get_loop()))
        context = contextvars.copy_context()
        try:
            argument = self.jobs if terms.batch else self.jobs[0]
            self._gave = await terms.runner.call(argument, self._keep)
        except BaseException as error:  # KeyboardInterrupt and SystemExit fail a job like others
            if asyncio.current_task(task.get_loop()) is not task:
                raise  # it was not the handler: the task itself is thrown away, unfinished
            self._gave = Raised(error)
        if self._timers:
            self._cancel_timers()
        if task.cancelling():
            await self._take_in_cancellation()
            return False
        try:
            return contextvars.copy_context() == context
        except FAULTS:  # the variables' values are compared, and may be anything
            return False

    def stop(self, job: Job, verdict: Verdict) -> None:
        """Stop the run of a job: the handler is cancelled when none of its jobs is left."""
        if self.is_over or self._verdicts.get(job.id, 0) >= verdict:
            return
        self._verdicts = {**self._verdicts, job.id: verdict}
        end = self._end_of(job, None)
        job.request_stop(end.reason if end else _TAKEN_AWAY)
        if verdict is Verdict.LOST:
            job.lose_lock()
        is_to_end = len(self._verdicts) == len(self.jobs)
        can_end = is_to_end and not self.is_in_thread
        is_wanted_again = self._was_patient and verdict is Verdict.CANCELLED
        if can_end and (is_wanted_again or not self._was_told):
            self._was_told = True
            self.task.cancel()
        if verdict is Verdict.RELEASED:
            return  # the worker that is closed waits for all its handlers, in real time
        if can_end and not self._was_patient:
            self._call_later(_GRACE, self._lose_patience_soon)
        else:
            self._overrun()

    def stop_all(self, verdict: Verdict) -> None:
        """Stop the run of every job."""
        for job in self.jobs:
            self.stop(job, verdict)

    def put_back(self) -> None:
        """Put back what its handler was kept from finishing: its task was thrown away."""
        gave = self._gave
        was_interrupted = type(gave) is Raised and isinstance(gave.error, _INTERRUPTED)
        if was_interrupted or not self.is_over:
            self._verdicts = {**{job.id: Verdict.LEFT for job in self.jobs}, **self._verdicts}

    def lose_patience(self) -> bool:
        """Take it that the handler does not stop, though it was told to; ``False``: it did."""
        if not self.is_over:
            self._was_patient = True
            self._overrun()
        return not self.is_over

    def overruns(self) -> list[tuple[Job, Fail | Release]]:
        """The jobs whose run was told to stop and goes on, and how each of them is to end."""
        may_still_stop = self._was_told and not self._was_patient
        if (self.is_over or may_still_stop) and not self.is_in_thread:
            return []
        ends = [(job, self._end_of(job, None)) for job in self.jobs]
        return [(job, end) for job, end in ends if end is not None]

    @property
    def is_over(self) -> bool:
        """Whether its handler has returned."""
        return self._gave is not _NOTHING_YET

    @property
    def is_held(self) -> bool:
        """Whether it goes on though nobody wants it to."""
        return self.reporting is not None and len(self._verdicts) == len(self.jobs)

    @property
    def is_in_thread(self) -> bool:
        """Whether it is in a thread, which can't be stopped."""
        return self._background is not None and not self._background.done()

    async def wait_for_thread(self, clock: Clock, timeout: float) -> bool:
        """Wait until its thread returns, for so many seconds; returns whether it has."""
        assert self._background is not None, "it is in a thread"
        return await clock.wait(asyncio.wrap_future(self._background), timeout)

    def locked_jobs(self) -> list[Job]:
        """The jobs that it holds the locks of."""
        return [
            job
            for job in self.jobs
            if job.locked_by is not None and self._verdicts.get(job.id) is not Verdict.LOST
        ]

    def running_jobs(self) -> list[Job]:
        """The jobs that have not ended."""
        return [job for job in self.locked_jobs() if job.state is ACTIVE]

    def outcomes(self) -> Sequence[tuple[Job, Action]]:
        """What came of each job that something is to be reported of."""
        gave = self._gave
        if (
            not self._terms.batch and not self._verdicts and type(gave) is not Raised
        ):  # as it should be
            job = self.jobs[0]
            return ((job, Complete(gave)),) if job._data.state is ACTIVE else ()
        decided = [
            (job, self._outcome(job, result))
            for job, result in zip(self.jobs, self._results(), strict=True)
        ]
        return [(job, action) for job, action in decided if action is not None]

    def _overrun(self) -> None:
        if self.reporting is None:
            self.reporting = asyncio.Lock()
        self._terms.on_overrun(self)

    def _lose_patience_soon(self) -> None:
        self._call_later(0, self.lose_patience)  # a handler that ends at this very instant does end

    def _call_later(self, delay: float, callback: Callback) -> None:
        self._timers = (*self._timers, self._terms.clock.call_later(delay, callback))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = ()

    async def _take_in_cancellation(self) -> None:
        """Let what follows in this task go undisturbed, whoever cancelled it."""
        with contextlib.suppress(asyncio.CancelledError):  # it may not have been raised yet
            await checkpoint()
        if not self._verdicts and type(self._gave) is not Raised:
            self._gave = Raised(asyncio.CancelledError())  # the handler did so itself

    def _keep(self, background: Background) -> None:
        self._background = background

    def _results(self) -> list[Any]:
        """What the handler gave for each job, or what it raised."""
        gave = self._gave
        if type(gave) is Raised or not self._terms.batch:
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
        if job.state in SETTLED and job.locked_by is not None:
            return LetGo()  # it ended before its handler did
        error = result.error if type(result) is Raised else None
        if job.id in self._verdicts:
            return self._end_of(job, error)
        if job.state is not ACTIVE:
            return None  # it was moved by the handler itself
        if error is None:
            return Complete(result)
        return failed(job, error, self._terms.retry_on)

    def _end_of(self, job: Job, error: BaseException | None) -> Fail | Release | None:
        """How a job ends whose run was stopped; ``None``: it wasn't, or the job is not ours."""
        if job.state is not ACTIVE:
            return None
        match self._verdicts.get(job.id):
            case Verdict.CANCELLED:
                return Fail(CANCELLED, final=True)
            case Verdict.RELEASED:
                return Release()
            case Verdict.LEFT:
                return Release(LOOP_ENDED)
            case Verdict.TIMED_OUT:
                assert job.opts.timeout is not None
                limit = format_seconds(job.opts.timeout)
                stacktrace = format_traceback(error) if error else None
                final = ruling_on(TimeoutError(), self._terms.retry_on).final
                return Fail(f"timed out after {limit}", stacktrace, final)
        return None


def failed(job: Job, error: BaseException, retry_on: Retried) -> Fail:
    """What a handler's exception makes of its job; it is kept for those who wait for that."""
    reason = describe(error)
    if isinstance(error, RemoteError):
        ruling = error.ruling
    else:
        ruling = ruling_on(error, retry_on)
        attempt = job.attempts_made + 1
        keep_failure(job.store, job.queue_name, job.id, reason=reason, attempt=attempt, error=error)
    return Fail(reason, format_traceback(error), *ruling)


_INTERRUPTED = (asyncio.CancelledError, ProcessEndedError)
"""What a handler whose task was cancelled ends with."""
