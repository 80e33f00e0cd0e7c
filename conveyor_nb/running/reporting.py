"""Reporting what came of jobs to a store, which may refuse it, or fail for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.clocks.timer import Timer
from conveyor_nb.core.actions import Action, LetGo
from conveyor_nb.core.errors import JobNotFoundError, LostLockError, PayloadError
from conveyor_nb.core.options.retry_policy import Retried
from conveyor_nb.job import Job
from conveyor_nb.running.execution import failed
from conveyor_nb.running.faults import FaultReporter

__all__ = ["OutcomeReporter"]

_PAUSE = timedelta(seconds=1)
"""The time between tries when the store itself fails."""

_REFUSALS = (LostLockError, JobNotFoundError, PayloadError, SystemExit, KeyboardInterrupt)
"""What a refused outcome raises: the job is not ours, or its result is of a class that raises."""


class OutcomeReporter:
    """Reports what came of the jobs of a worker.

    Args:
        clock: the store's.
        retry_on: what the worker retries.
        faults: told of what the store raises, and of jobs that are not the worker's any more.
        wake: called when it is time to try again.
    """

    def __init__(
        self, clock: Clock, retry_on: Retried, faults: FaultReporter, wake: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._retry_on = retry_on
        self._faults = faults
        self._timer = Timer(clock, wake)
        self._again = asyncio.Event()
        self._is_store_gone = False

    def begin(self) -> None:
        """Report from now on: the store is there."""
        self._is_store_gone = False

    def give_up(self) -> None:
        """Report nothing more, and try nothing again: the store was disconnected."""
        self._is_store_gone = True
        self._again.set()

    async def report(self, job: Job, action: Action) -> None:
        """Report an outcome, as soon as the store can keep it."""
        try:
            await job.apply(action)
        except (Exception, *_REFUSALS) as error:
            await self.report_refused(job, action, error)

    async def report_refused(
        self, job: Job, action: Action, error: BaseException, *, keep_trying: bool = True
    ) -> None:
        """Report an outcome that the store did not take as it was.

        Args:
            job, action: the outcome.
            error: what the store raised.
            keep_trying: ask a store that fails again, however long that takes, or else raise.
        """
        try:
            await self._report_otherwise(job, action, error)
        except Exception as fault:
            if not keep_trying:
                raise
            await self._report_later(job, action, fault)

    async def pause_after(self, where: str, error: Exception) -> None:
        """Tell of a fault of the store, and see to it that all is tried again in a while."""
        await self._faults.report(where, error)
        self._timer.set(self._clock.now() + _PAUSE)

    def try_again(self) -> None:
        """Try what waits for the store at once."""
        self._again.set()

    def close(self) -> None:
        """Try nothing again."""
        self._timer.cancel()

    async def _report_later(self, job: Job, action: Action, error: Exception) -> None:
        while not self._is_store_gone:
            self._again.clear()
            await self.pause_after("report", error)
            await self._again.wait()
            try:
                await self._settle(job, action)
            except Exception as again:  # the store's fault; go on when it can
                error = again
            else:
                self._faults.all_is_well("report")
                return

    async def _settle(self, job: Job, action: Action) -> None:
        try:
            await job.apply(action)
        except _REFUSALS as error:
            await self._report_otherwise(job, action, error)

    async def _report_otherwise(self, job: Job, action: Action, error: BaseException) -> None:
        """Report an outcome that can't be kept as it is, or is of a job that is not ours."""
        if not isinstance(error, _REFUSALS):
            raise error
        if not isinstance(error, (LostLockError, JobNotFoundError)):
            await self._settle(job, failed(job, error, self._retry_on))
        elif not isinstance(action, LetGo):  # there is nothing to let go of a job that is gone
            await self._faults.publish(error, job.id)
