"""The part of a queue that repeats jobs: by an interval, by a cron line, by job schedulers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from conveyor_nb.durations import Duration
from conveyor_nb.intake import new_scheduler
from conveyor_nb.job import Job
from conveyor_nb.model import JobScheduler
from conveyor_nb.options import JobOptions, Repeat
from conveyor_nb.stores import StoreInterface

__all__ = ["Repeating"]


class Repeating(ABC):
    """What a queue offers for jobs that run again and again."""

    name: str
    store: StoreInterface
    default_job_options: JobOptions

    @abstractmethod
    async def add(self, name: str, data: Any = None, **options: Any) -> Job:
        """Add a job."""

    @abstractmethod
    def _require_open(self) -> None:
        """Raise ``QueueClosedError`` if the queue was closed."""

    async def every(self, interval: Duration, name: str, data: Any = None, **options: Any) -> Job:
        """Add a job that runs now and then once every ``interval``, a duration.

        Args:
            interval: the time from one run to the next.
            name: the job's name.
            data: its payload.
            options: those of a job, and ``limit``, ``start_date`` and ``end_date`` of ``Repeat``.
        """
        repeat, options = _split_repeat(options, every=interval)
        return await self.add(name, data, repeat=repeat, **options)

    async def cron(self, line: str, name: str, data: Any = None, **options: Any) -> Job:
        """Add a job that runs whenever a cron line says.

        Args:
            line: 5 fields, 6 (seconds first) or 7 (year last), such as ``"0 9 * * 1-5"``.
            name: the job's name.
            data: its payload.
            options: those of a job, and ``tz``, ``limit``, ``start_date`` and ``end_date`` of
                ``Repeat``.
        """
        repeat, options = _split_repeat(options, cron=line)
        return await self.add(name, data, repeat=repeat, **options)

    async def upsert_job_scheduler(
        self, scheduler_id: str, repeat: Repeat, name: str, data: Any = None, **options: Any
    ) -> Job:
        """Create a job scheduler, or change the one with this id.

        A change takes effect for the pending run; one that is active finishes as it is.

        Returns:
            The pending run.

        Raises:
            ValueError: the schedule has no run left, for instance as its end date is past.
        """
        self._require_open()
        opts = JobOptions.of(options, defaults=self.default_job_options)
        return await self._save_scheduler(scheduler_id, repeat, name, data, opts)

    async def get_job_schedulers(self) -> list[JobScheduler]:
        """The job schedulers of this queue, in the order they were created."""
        self._require_open()
        return await self.store.get_job_schedulers(self.name)

    async def pause_job_scheduler(self, scheduler_id: str) -> bool:
        """Plan no more runs, and take back the pending one; ``False``: no such scheduler."""
        self._require_open()
        return await self.store.pause_job_scheduler(self.name, scheduler_id)

    async def resume_job_scheduler(self, scheduler_id: str) -> bool:
        """Plan runs again, from now on; ``False``: no such scheduler."""
        self._require_open()
        return await self.store.resume_job_scheduler(self.name, scheduler_id)

    async def remove_job_scheduler(self, scheduler_id: str) -> bool:
        """Remove a job scheduler and its pending run; ``False``: no such scheduler."""
        self._require_open()
        return await self.store.remove_job_scheduler(self.name, scheduler_id)

    async def _save_scheduler(
        self, scheduler_id: str, repeat: Repeat, name: str, data: Any, opts: JobOptions
    ) -> Job:
        wanted = new_scheduler(self.name, scheduler_id, repeat, name, data, opts)
        saved = await self.store.upsert_job_scheduler(wanted)
        run = saved.pending_job_id and await self.store.get_job(self.name, saved.pending_job_id)
        if not run:
            why = "it is paused" if saved.paused else "its limit or end date is reached"
            raise ValueError(f"job scheduler {scheduler_id!r} has no run to come: {why}")
        return Job(run, self.store)


_REPEAT_OPTIONS = ("limit", "start_date", "end_date", "tz")


def _split_repeat(options: dict[str, Any], **when: Any) -> tuple[Repeat, dict[str, Any]]:
    """A ``Repeat`` of the options that are its own, and the other options."""
    own = {name: value for name, value in options.items() if name in _REPEAT_OPTIONS}
    others = {name: value for name, value in options.items() if name not in own}
    return Repeat(**when, **own), others
