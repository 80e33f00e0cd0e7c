"""The part of a queue that keeps job schedulers: rules by which jobs run again and again."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Unpack

from conveyor_nb.core.errors import ScheduleReplacedWarning
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.new_jobs import new_scheduler
from conveyor_nb.core.options.declaring import part_of, spelled_out
from conveyor_nb.core.options.job_options import JobOptions, RunKeywords
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.schedule import describe, first_run, why_no_run
from conveyor_nb.core.values.checks import check_text
from conveyor_nb.core.values.text import shown
from conveyor_nb.job import Job
from conveyor_nb.queue_parts.base import QueueBase

__all__ = ["Schedulers"]


@part_of("Queue")
class Schedulers(QueueBase):
    """What a queue offers for jobs that run again and again."""

    @spelled_out()
    async def upsert_job_scheduler(
        self,
        scheduler_id: str,
        repeat: Repeat,
        name: str,
        data: Any = None,
        **options: Unpack[RunKeywords],
    ) -> Job:
        """Create a job scheduler, or change the one with this id.

        A change takes effect for the pending run; one that is active finishes as it is.

        Returns:
            The pending run.

        Raises:
            ValueError: the schedule has no run to come, for instance as its end date is past, its
                cron line never comes, or it is paused; nothing is stored.
        """
        self._require_open()
        if "job_id" in options:
            raise TypeError("job_id: the id of a scheduler is its first argument")
        opts = JobOptions.of(options, defaults=self.default_job_options)
        return await self._save_scheduler(scheduler_id, repeat, name, data, opts)

    async def get_job_schedulers(self) -> list[JobScheduler]:
        """The job schedulers of this queue, in the order they were created."""
        self._require_open()
        return await self.store.get_job_schedulers(self.name)

    async def pause_job_scheduler(self, scheduler_id: str) -> bool:
        """Plan no more runs, and take back the pending one; ``False``: no such scheduler."""
        self._require_open()
        scheduler_id = check_text(scheduler_id, what="scheduler id")
        return await self.store.pause_job_scheduler(self.name, scheduler_id)

    async def resume_job_scheduler(self, scheduler_id: str) -> bool:
        """Plan runs again, from now on; ``False``: no such scheduler."""
        self._require_open()
        scheduler_id = check_text(scheduler_id, what="scheduler id")
        return await self.store.resume_job_scheduler(self.name, scheduler_id)

    async def remove_job_scheduler(self, scheduler_id: str) -> bool:
        """Remove a job scheduler and its pending run; ``False``: no such scheduler."""
        self._require_open()
        scheduler_id = check_text(scheduler_id, what="scheduler id")
        return await self.store.remove_job_scheduler(self.name, scheduler_id)

    async def _save_scheduler(
        self, scheduler_id: str, repeat: Repeat, name: str, data: Any, opts: JobOptions
    ) -> Job:
        wanted = new_scheduler(self.name, scheduler_id, repeat, name, data, opts)
        known = await self.store.get_job_scheduler(self.name, scheduler_id)
        goes_on = known is not None and known.pending_job_id and known.repeat == repeat
        now = self.store.clock.now()
        if known is not None and known.paused:
            raise _without_run(scheduler_id, "it is paused; queue.resume_job_scheduler(...) first")
        if not goes_on and first_run(repeat, now) is None:
            raise _without_run(scheduler_id, why_no_run(repeat, now))
        if opts.repeat is not None and opts.job_id is None and known is not None:
            _warn_of_change(known, wanted)
        saved = await self.store.upsert_job_scheduler(wanted)
        run = saved.pending_job_id and await self.store.get_job(self.name, saved.pending_job_id)
        if not run:
            raise _without_run(scheduler_id, f"its limit of {repeat.limit} runs is reached")
        return Job(run, self.store)


def _without_run(scheduler_id: str, why: str) -> ValueError:
    return ValueError(f"job scheduler {shown(scheduler_id)} has no run to come: {why}")


def _warn_of_change(known: JobScheduler, wanted: JobScheduler) -> None:
    """Warn that an edited rule replaces the one from before, if that has runs to come."""
    is_over = known.pending_job_id is None and not known.paused
    if is_over or known.repeat == wanted.repeat:
        return
    was, now = describe(known.repeat), describe(wanted.repeat)
    warnings.warn(
        f"the schedule of {shown(known.name)} in queue {shown(known.queue_name)} was {was}, and is "
        f"{now} from now on; to have both, give each an id of its own: "
        f"upsert_job_scheduler('...', Repeat({now}), {shown(known.name)}, ...)",
        ScheduleReplacedWarning,
        stacklevel=_level_of_caller(),
    )


def _level_of_caller() -> int:
    """The ``stacklevel`` of the code that called this package, for the function that calls this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


_PACKAGE = f"{__name__.partition('.')[0]}."
