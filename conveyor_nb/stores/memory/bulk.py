"""The part of a ``MemoryStore`` that takes on many jobs at a time, in slices."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from conveyor_nb.core.actions import Action, Promote, Retry
from conveyor_nb.core.durations import to_delta
from conveyor_nb.core.errors import InvalidJobStateError
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import EventType, JobData, JobState, to_state
from conveyor_nb.core.text import shown
from conveyor_nb.stores.memory import long_steps
from conveyor_nb.stores.memory.reads import MemoryReads
from conveyor_nb.stores.memory.slices import Step, in_slices

__all__ = ["MemoryBulk"]


class MemoryBulk(MemoryReads):
    """Adds, changes and removes many jobs of a store in memory."""

    @in_slices
    def save_bulk(self, jobs: Sequence[JobData]) -> Step[list[JobData]]:
        return long_steps.save_all(self._state, jobs, self.clock.now())

    @in_slices
    def save_flow(self, jobs: Sequence[JobData]) -> Step[list[JobData]]:
        return long_steps.save_flow(self._state, jobs, self.clock.now())

    @in_slices
    def promote_delayed_jobs(self, queue_name: str) -> Step[int]:
        index = self._state.look(queue_name)
        return long_steps.promote_due(self._state, index, self.clock.now())

    @in_slices
    def promote_jobs(self, queue_name: str) -> Step[int]:
        return self._apply_to_all(queue_name, JobState.DELAYED, Promote())

    @in_slices
    def retry_jobs(self, queue_name: str, state: JobState | str = JobState.FAILED) -> Step[int]:
        settled = to_state(state)
        if settled not in SETTLED:
            raise ValueError(f"retry_jobs takes 'failed' or 'completed', not {shown(state)}")
        return self._apply_to_all(queue_name, settled, Retry())

    @in_slices
    def retry_family(self, queue_name: str, job_id: str) -> Step[JobData]:
        job = self._state.find(queue_name, job_id)
        return long_steps.retry_family(self._state, job, self.clock.now())

    @in_slices
    def clean(self, queue_name: str, state: JobState | str, grace: float = 0.0) -> Step[int]:
        wanted = to_state(state)
        if wanted in (None, JobState.ACTIVE):
            raise ValueError(f"clean takes any state but active, not {shown(state)}")
        now = self.clock.now()
        since = now - to_delta(grace, what="grace")
        jobs = self._state.look(queue_name).since(wanted, since)
        if wanted is JobState.WAITING_CHILDREN:  # parents before their children, as in drain
            jobs.sort(key=attrgetter("sequence"))
        return long_steps.remove(self._state, jobs, now, state=wanted)

    @in_slices
    def drain(self, queue_name: str) -> Step[int]:
        index = self._state.look(queue_name)
        now = self.clock.now()
        # parents before their children, which then are jobs of their own and tell nobody
        parents = index.page(JobState.WAITING_CHILDREN, 0, None)
        parents.sort(key=attrgetter("sequence"))
        others = index.page(JobState.WAITING, 0, None) + index.page(JobState.DELAYED, 0, None)
        removed = yield from long_steps.remove(self._state, parents + others, now)
        self._state.note(EventType.DRAINED, queue_name, None, now)
        return removed

    @in_slices
    def obliterate(self, queue_name: str, *, force: bool = False) -> Step[int]:
        index = self._state.look(queue_name)
        now = self.clock.now()
        if index.active and not force:
            [job] = index.page(JobState.ACTIVE, 0, 1)
            raise InvalidJobStateError(job.id, job.state, sorted(set(JobState) - {job.state}))
        for key in [key for key in self._state.schedulers if key[0] == queue_name]:
            del self._state.schedulers[key]
        jobs = index.page(None, 0, None)
        removed = yield from long_steps.remove(self._state, jobs, now)
        for name in sorted(index.waiting.paused_names):
            self._state.note(EventType.RESUMED, queue_name, None, now, job_name=name)
        self._state.forget_queue(queue_name)
        return removed

    # -- within -------------------------------------------------------------------------------

    def _apply_to_all(self, queue_name: str, state: JobState, action: Action) -> Step[int]:
        jobs = self._state.look(queue_name).page(state, 0, None)
        return long_steps.apply_to_all(self._state, jobs, action, self.clock.now())
