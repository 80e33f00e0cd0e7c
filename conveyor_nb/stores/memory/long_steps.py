"""The steps of a ``MemoryStore`` that take on many jobs: each may be interrupted where it yields.

Whatever may be refused is refused before anything changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from conveyor_nb.clocks.clock import SLICE
from conveyor_nb.core import lifecycle
from conveyor_nb.core.actions import Action, Retry
from conveyor_nb.core.errors import GroupFullError, RetryRefusedError
from conveyor_nb.core.flow_rules import FamilyCheck, refuse_family
from conveyor_nb.core.freezing import freeze
from conveyor_nb.core.model import EventType, JobData, JobState
from conveyor_nb.core.text import shown
from conveyor_nb.stores.memory.families import Key, key_of, parent_key_of
from conveyor_nb.stores.memory.queue_index import HeldKey, QueueIndex, held_key
from conveyor_nb.stores.memory.slices import Step, sliced
from conveyor_nb.stores.memory.state import MemoryState

__all__ = ["apply_to_all", "promote_due", "remove", "save_all", "save_flow"]


def save_all(state: MemoryState, jobs: Sequence[JobData], now: datetime) -> Step[list[JobData]]:
    """Take in copies of jobs, all or none; deduplicated among each other too."""
    batch = _Batch({key_of(job) for job in jobs if job.id})
    for some in sliced(jobs):
        for job in some:
            try:
                batch.choose(state, job, now)
            except GroupFullError as error:
                position = len(batch.chosen)
                error.add_note(f"It is item {position} of {len(jobs)}; none was added.")
                raise
        if len(some) == SLICE:
            yield
    admitted: list[JobData] = []
    for some in sliced(batch.fresh):
        admitted += [state.admit(job, now) for job in some]
        if len(some) == SLICE:
            yield
    return [admitted[one] if isinstance(one, int) else one for one in batch.chosen]


class _Batch:
    """Jobs that are to be added together, and what is known of them before any of them is.

    Args:
        reserved: ids that some of them are to have, so that no other job gets one of these.
    """

    def __init__(self, reserved: set[Key]) -> None:
        self.chosen: list[JobData | int] = []
        """What stands for each job: one that there is, or the place in ``fresh`` of a new one."""
        self.fresh: list[JobData] = []
        self._reserved = reserved
        self._room: dict[Key, int] = {}
        self._by_id: dict[Key, int] = {}
        self._by_key: dict[tuple[str, HeldKey | None], int] = {}

    def choose(self, state: MemoryState, job: JobData, now: datetime) -> None:
        """Choose what stands for the next job."""
        refuse_family(job)
        chosen: JobData | int | None = state.existing(job, now)
        if chosen is None:
            chosen = self._position_of(job)
        if chosen is None:
            record = self._record_of(state, job)
            state.take_room(job, self._room)
            chosen = self._add(record, has_own_id=bool(job.id))
        self.chosen.append(chosen)

    def _position_of(self, job: JobData) -> int | None:
        """Where the new job is that has this one's id or deduplication key."""
        position = self._by_id.get(key_of(job)) if job.id else None
        if position is None and job.deduplication_key is not None:
            position = self._by_key.get((job.queue_name, held_key(job)))
        return position

    def _record_of(self, state: MemoryState, job: JobData) -> JobData:
        job_id = job.id
        while not job_id or (not job.id and (job.queue_name, job_id) in self._reserved):
            job_id = state.new_id(job.queue_name)
        data = freeze(job.kept_data, f"item {len(self.chosen)}: data")
        return replace(job, id=job_id, data=data)

    def _add(self, job: JobData, *, has_own_id: bool) -> int:
        position = len(self.fresh)
        self.fresh.append(job)
        if has_own_id:
            self._by_id[key_of(job)] = position
        if job.deduplication_key is not None:
            self._by_key[(job.queue_name, held_key(job))] = position
        return position


def save_flow(state: MemoryState, jobs: Sequence[JobData], now: datetime) -> Step[list[JobData]]:
    """Take in copies of the jobs of a flow, all or none; returns the store's own records."""
    records: list[JobData] = []
    room: dict[Key, int] = {}
    family = FamilyCheck()
    for some in sliced(jobs):
        for job in some:
            if job.id in state.look(job.queue_name).jobs:
                raise ValueError(
                    f"a job {shown(job.id)} is in queue {shown(job.queue_name)} already; "
                    "the jobs of a flow need ids of their own"
                )
            family.take(job)
            if not job.pending_children_count:
                state.take_room(job, room)
            data = freeze(job.kept_data, f"data of {shown(job.name)}")
            records.append(replace(job, data=data))
        if len(some) == SLICE:
            yield
    family.finish()
    saved: list[JobData] = []
    for some in sliced(records):
        for job in some:
            if (parent_key := parent_key_of(job)) is not None:
                state.families.add_child(parent_key, key_of(job))
            saved.append(state.admit(job, now))
        if len(some) == SLICE:
            yield
    return saved


def retry_family(state: MemoryState, top: JobData, now: datetime) -> Step[JobData]:
    """Retry a settled job, its failed children, and theirs: all or none.

    Raises ``RetryRefusedError`` if one can't be retried though its children are.
    """
    state.decide(top, Retry(), None, now)
    family = [top]
    for number, parent in enumerate(family, 1):  # it grows: a flow may be any number deep
        for key in state.families.failed(key_of(parent)):
            child = state.child_of(parent, key)
            if child is not None:
                state.decide(child, Retry(), None, now)
                family.append(child)
        if number % SLICE == 0:
            yield
    for some in sliced(family[::-1]):  # children first: so each parent knows what it waits for
        for listed in some:
            job = state.find(listed.queue_name, listed.id)
            state.commit(job, state.decide(job, Retry(), None, now), now)
        if len(some) == SLICE:
            yield
    return state.find(top.queue_name, top.id)


def remove(
    store: MemoryState, jobs: Sequence[JobData], now: datetime, *, state: JobState | None = None
) -> Step[int]:
    """Remove jobs; returns how many. An unsettled child counts as failed for its parent.

    What follows from the end of one may take another away, or to another state: of those in
    ``jobs``, the ones that are gone by their turn, or no longer in ``state``, are left out.
    """
    removed = 0
    for some in sliced(jobs):
        for listed in some:
            job = store.look(listed.queue_name).jobs.get(listed.id)
            if job is not None and state in (None, job.state):
                store.remove(job.queue_name, job.id, now)
                removed += 1
        store.follow_up(now)
        if len(some) == SLICE:
            yield
    return removed


def promote_due(state: MemoryState, index: QueueIndex, now: datetime) -> Step[int]:
    """Make the delayed jobs that are due wait; returns how many."""
    due = index.due(now)
    for some in sliced(due):
        for job in some:
            state.commit(job, lifecycle.due(job), now)
        if len(some) == SLICE:
            yield
    return len(due)


def apply_to_all(
    state: MemoryState, jobs: Sequence[JobData], action: Action, now: datetime
) -> Step[int]:
    """Apply an action to jobs; returns to how many.

    One that can't be retried is left as it is, and an event ``queue:error`` says why.
    """
    changed = 0
    for some in sliced(jobs):
        for listed in some:
            # as it is now: what was done to one of a flow may have changed another
            job = state.find(listed.queue_name, listed.id)
            try:
                state.commit(job, state.decide(job, action, None, now), now)
            except RetryRefusedError as error:
                about = {"name": job.name, "error": str(error)}
                state.note(EventType.ERROR, job.queue_name, job.id, now, **about)
            else:
                changed += 1
        if len(some) == SLICE:
            yield
    return changed
