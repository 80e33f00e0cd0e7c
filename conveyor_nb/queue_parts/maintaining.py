"""The part of a queue that pauses it, and removes, retries or promotes many of its jobs."""

from __future__ import annotations

from conveyor_nb.core.model import ALL_NAMES, JobState, to_state
from conveyor_nb.core.new_jobs import paused_name
from conveyor_nb.core.options.declaring import part_of
from conveyor_nb.core.values.checks import check_flag, check_text
from conveyor_nb.core.values.conditions import condition
from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.text import shown
from conveyor_nb.queue_parts.base import QueueBase

__all__ = ["Maintaining"]


@part_of("Queue")
class Maintaining(QueueBase):
    """What a queue offers to keep it in order."""

    async def pause(self, job_name: str | None = None) -> None:
        """Start no more jobs of this queue, or of this name in it; running ones finish."""
        self._require_open()
        await self.store.pause_job_name(self.name, paused_name(job_name))

    async def resume(self, job_name: str | None = None) -> None:
        """Undo :meth:`pause` of the queue, or of the name."""
        self._require_open()
        await self.store.resume_job_name(self.name, paused_name(job_name))

    @condition
    async def is_paused(self, job_name: str | None = None) -> bool:
        """Whether the queue as a whole, or also this name in it, is paused."""
        self._require_open()
        if job_name is not None:
            job_name = check_text(job_name, what="job name")
        paused = await self.store.get_paused_job_names(self.name)
        return ALL_NAMES in paused or job_name in paused

    async def drain(self) -> int:
        """Remove all that waits: for its turn, its time or its children; returns how many.

        The next run of a schedule is planned as ever: ``remove_job_scheduler`` ends it. Children
        of a parent that goes so are jobs of their own from then on.
        """
        self._require_open()
        return await self.store.drain(self.name)

    async def clean(self, state: JobState | str, grace: Duration = 0) -> int:
        """Remove the jobs that have been in a state for ``grace`` or longer; returns how many."""
        self._require_open()
        wanted = to_state(state)
        if wanted in (None, JobState.ACTIVE):
            raise ValueError(f"clean takes any state but active, not {shown(state)}")
        return await self.store.clean(self.name, wanted, to_seconds(grace, what="grace"))

    async def retry_jobs(self, state: JobState | str = JobState.FAILED) -> int:
        """Run all failed (or completed) jobs again; returns how many.

        A job that can't be retried, for instance as an unfinished one has its deduplication key
        by now, stays as it is and is not counted: an ``error`` event with its id says why.
        """
        self._require_open()
        wanted = to_state(state)
        if wanted not in (JobState.FAILED, JobState.COMPLETED):
            raise ValueError(f"retry_jobs takes 'failed' or 'completed', not {shown(state)}")
        return await self.store.retry_jobs(self.name, wanted)

    async def promote_jobs(self) -> int:
        """Let all delayed jobs run now; returns how many."""
        self._require_open()
        return await self.store.promote_jobs(self.name)

    async def obliterate(self, *, force: bool = False) -> int:
        """Remove the queue with all its jobs; returns how many.

        Raises:
            InvalidJobStateError: a job is active, and ``force`` is not set.
        """
        self._require_open()
        return await self.store.obliterate(self.name, force=check_flag(force, what="force"))
