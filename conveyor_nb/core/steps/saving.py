"""The steps that add jobs: one, many at once, or a whole flow; all of them or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from conveyor_nb.core.errors import GroupFullError
from conveyor_nb.core.flow_rules import FamilyCheck, refuse_family
from conveyor_nb.core.model import JobData
from conveyor_nb.core.rows import PENDING, HeldKey, Key, Rows, held_key, key_of, parent_key_of
from conveyor_nb.core.slicing import SLICE, Step, sliced
from conveyor_nb.core.steps.deduplication import duplicate_of
from conveyor_nb.core.steps.writing import admit
from conveyor_nb.core.values.ids import is_placeholder
from conveyor_nb.core.values.text import shown

__all__ = ["save", "save_bulk", "save_flow"]


def save(rows: Rows, job: JobData, now: datetime) -> JobData:
    """Take in a copy of a job, and return its row; see ``StoreInterface.save_job``.

    If its id or its deduplication key is taken, that is the row of the one that has it.
    """
    if job.parent_id is not None or job.children_ids or job.pending_children_count:
        refuse_family(job)
    if job.id or job.deduplication_key is not None:
        existing = duplicate_of(rows, job, now)
        if existing is not None:
            return existing
    data = rows.freeze(job.kept_data, "data")
    if job.opts.group is not None:
        _take_room(rows, job, {})
    return admit(rows, job, job.id or rows.new_id(job.queue_name), data, now)


def _take_room(rows: Rows, job: JobData, room: dict[Key, int]) -> None:
    """Check that a job's group has room for it, beside what was promised in ``room``.

    Raises:
        GroupFullError: it has none.
    """
    group = job.opts.group
    if group is None or group.max_size is None:
        return
    key = (job.queue_name, group.id)
    taken = room.get(key)
    if taken is None:
        taken = rows.waiting_in_group(job.queue_name, group.id)
    if taken >= group.max_size:
        raise GroupFullError(group.id, group.max_size)
    room[key] = taken + 1


def save_bulk(rows: Rows, jobs: Sequence[JobData], now: datetime) -> Step[list[JobData]]:
    """Take in copies of jobs, all or none; deduplicated among each other too."""
    batch = _Batch({key_of(job) for job in jobs if job.id})
    for some in sliced(jobs):
        for job in some:
            try:
                batch.choose(rows, job, now)
            except GroupFullError as error:
                position = len(batch.chosen)
                error.add_note(f"It is item {position} of {len(jobs)}; none was added.")
                raise
        if len(some) == SLICE:
            yield
    admitted: list[JobData] = []
    for some in sliced(batch.fresh):
        admitted += [admit(rows, job, job.id, job.kept_data, now) for job in some]
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

    def choose(self, rows: Rows, job: JobData, now: datetime) -> None:
        """Choose what stands for the next job."""
        refuse_family(job)
        chosen: JobData | int | None = duplicate_of(rows, job, now)
        if chosen is None:
            chosen = self._position_of(job)
        if chosen is None:
            record = self._record_of(rows, job)
            _take_room(rows, job, self._room)
            chosen = self._add(record, has_own_id=bool(job.id))
        self.chosen.append(chosen)

    def _position_of(self, job: JobData) -> int | None:
        """Where the new job is that has this one's id or deduplication key."""
        position = self._by_id.get(key_of(job)) if job.id else None
        if position is None and job.deduplication_key is not None:
            position = self._by_key.get((job.queue_name, held_key(job)))
        return position

    def _record_of(self, rows: Rows, job: JobData) -> JobData:
        job_id = job.id
        while not job_id or (not job.id and (job.queue_name, job_id) in self._reserved):
            job_id = rows.new_id(job.queue_name)
        data = rows.freeze(job.kept_data, f"item {len(self.chosen)}: data")
        return replace(job, id=job_id, data=data)

    def _add(self, job: JobData, *, has_own_id: bool) -> int:
        position = len(self.fresh)
        self.fresh.append(job)
        if has_own_id:
            self._by_id[key_of(job)] = position
        if job.deduplication_key is not None:
            self._by_key[(job.queue_name, held_key(job))] = position
        return position


def save_flow(rows: Rows, jobs: Sequence[JobData], now: datetime) -> Step[list[JobData]]:
    """Take in copies of the jobs of a flow, all or none; returns their rows.

    Those with a placeholder get ids that no other job of the flow has.
    """
    records: list[JobData] = []
    room: dict[Key, int] = {}
    family = FamilyCheck()
    for some in sliced(jobs):
        for job in some:
            if not is_placeholder(job.id) and rows.job(job.queue_name, job.id) is not None:
                raise ValueError(
                    f"a job {shown(job.id)} is in queue {shown(job.queue_name)} already; "
                    "the jobs of a flow need ids of their own"
                )
            family.take(job)
            if not job.pending_children_count:
                _take_room(rows, job, room)
            data = rows.freeze(job.kept_data, f"data of {shown(job.name)}")
            records.append(replace(job, data=data))
        if len(some) == SLICE:
            yield
    family.finish()
    ids = yield from _new_ids(rows, records)
    saved: list[JobData] = []
    for some in sliced(records):
        for record in some:
            job = _with_ids(record, ids) if ids else record
            if (parent_key := parent_key_of(job)) is not None:
                rows.put_child(parent_key, key_of(job), PENDING)
            saved.append(admit(rows, job, job.id, job.kept_data, now))
        if len(some) == SLICE:
            yield
    return saved


def _new_ids(rows: Rows, jobs: Sequence[JobData]) -> Step[dict[str, str]]:
    """The ids of those jobs of a flow that have a placeholder, by that."""
    given = {job.id for job in jobs if not is_placeholder(job.id)}
    ids: dict[str, str] = {}
    for some in sliced(jobs) if len(given) < len(jobs) else ():
        for job in some:
            if is_placeholder(job.id):
                ids[job.id] = rows.new_id(job.queue_name)
                while ids[job.id] in given:
                    ids[job.id] = rows.new_id(job.queue_name)
        if len(some) == SLICE:
            yield
    return ids


def _with_ids(job: JobData, ids: Mapping[str, str]) -> JobData:
    """A job of a flow, with ids in place of placeholders, also those of its relatives."""
    return replace(
        job,
        id=ids.get(job.id, job.id),
        parent_id=None if job.parent_id is None else ids.get(job.parent_id, job.parent_id),
        children_ids=tuple(ids.get(one, one) for one in job.children_ids),
    )
