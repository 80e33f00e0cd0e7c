"""The part of a ``MemoryStore`` that takes on many jobs at a time, in slices."""

from __future__ import annotations

from collections.abc import Sequence

from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.slicing import Step
from conveyor_nb.core.steps import many, saving
from conveyor_nb.stores.memory.reads import MemoryReads
from conveyor_nb.stores.memory.slices import in_slices

__all__ = ["MemoryBulk"]


class MemoryBulk(MemoryReads):
    """Adds, changes and removes many jobs of a store in memory."""

    @in_slices
    def save_bulk(self, jobs: Sequence[JobData]) -> Step[list[JobData]]:
        return saving.save_bulk(self._state, jobs, self.clock.now())

    @in_slices
    def save_flow(self, jobs: Sequence[JobData]) -> Step[list[JobData]]:
        return saving.save_flow(self._state, jobs, self.clock.now())

    @in_slices
    def promote_delayed_jobs(self, queue_name: str) -> Step[int]:
        return many.promote_due(self._state, queue_name, self.clock.now())

    @in_slices
    def promote_jobs(self, queue_name: str) -> Step[int]:
        return many.promote_jobs(self._state, queue_name, self.clock.now())

    @in_slices
    def retry_jobs(self, queue_name: str, state: JobState | str = JobState.FAILED) -> Step[int]:
        return many.retry_jobs(self._state, queue_name, state, self.clock.now())

    @in_slices
    def retry_family(self, queue_name: str, job_id: str) -> Step[JobData]:
        return many.retry_family(self._state, queue_name, job_id, self.clock.now())

    @in_slices
    def clean(self, queue_name: str, state: JobState | str, grace: float = 0.0) -> Step[int]:
        return many.clean(self._state, queue_name, state, grace, self.clock.now())

    @in_slices
    def drain(self, queue_name: str) -> Step[int]:
        return many.drain(self._state, queue_name, self.clock.now())

    @in_slices
    def obliterate(self, queue_name: str, *, force: bool = False) -> Step[int]:
        return many.obliterate(self._state, queue_name, force=force, now=self.clock.now())
