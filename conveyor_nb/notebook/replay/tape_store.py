"""A store that holds what there was at an event of a tape, so that every view can show that."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import EventType, JobData, JobState, StoreEvent
from conveyor_nb.core.rows import ChildRow
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.stores.memory.state import MemoryState
from conveyor_nb.stores.memory.store import MemoryStore
from conveyor_nb.stores.tapes.moments import Key
from conveyor_nb.stores.tapes.tape import Tape

__all__ = ["TapeStore"]

_STATUS_BY: Mapping[str, WorkerStatus] = {
    EventType.WORKER_STARTED: WorkerStatus.RUNNING,
    EventType.WORKER_PAUSED: WorkerStatus.PAUSED,
    EventType.WORKER_CLOSED: WorkerStatus.CLOSED,
}
_CHANGES = (
    *("save_job", "save_bulk", "save_flow", "update_job", "remove_job", "apply", "fetch_jobs"),
    *("renew_locks", "promote_delayed_jobs", "promote_jobs", "retry_jobs", "retry_family"),
    *("pause_job_name", "resume_job_name", "drain", "clean", "obliterate", "save_worker"),
    *("upsert_job_scheduler", "remove_job_scheduler", "pause_job_scheduler"),
    *("resume_job_scheduler", "command_worker", "publish", "notify_child_completed"),
    "fail_parent_on_child_failure",
)
"""What changes a store; a tape is only looked at."""


class _TapeClock(VirtualClock):
    """Stands where the tape stands."""

    def show(self, now: datetime) -> None:
        """Stand there from now on."""
        self._now = now


class TapeStore(MemoryStore):
    """What there was when so many events of a tape had happened; nothing can be changed in it.

    Args:
        tape: the tape; it is shown from its begin.

    >>> from datetime import UTC, datetime
    >>> TapeStore(Tape("emails", datetime(2027, 1, 1, tzinfo=UTC)))
    <TapeStore: 0 jobs in 0 queues>
    """

    read_only = True

    def __init__(self, tape: Tape) -> None:
        self._here = _TapeClock(tape.began)
        super().__init__(clock=self._here)
        self._tape = tape
        self._slots = _slots_of(tape.jobs)
        self.place = 0
        """How many of the events have happened."""
        self.show(0)

    def show(self, place: int) -> None:
        """Hold what there was after so many events; of too many, after the last one."""
        moments = self._tape.moments
        self.place = place = max(0, min(place, len(moments)))
        jobs, settled = self._jobs_at(place)
        at = moments[place - 1].event.timestamp if place else self._tape.began
        with self._lock:
            state = self._state = self._empty_state()
            for queue in self._tape.queues:
                state.queue(queue)
            _fill(state, jobs, settled)
            for worker in self._workers_at(place, at):
                state.put_worker(worker)
            self._pause(state, self._tape.events[:place])
            self._here.show(at)

    def _jobs_at(self, place: int) -> tuple[list[JobData], list[Key]]:
        """The jobs that there were, and the keys of those that had settled, as they did."""
        start = self._tape.start.jobs
        there = {(job.queue_name, job.id): job for job in start}
        settled = {key: None for key, job in there.items() if job.state in SETTLED}
        for moment in self._tape.moments[:place]:
            event, job = moment.event, moment.job
            if event.job_id is None:
                continue
            key = event.queue_name, event.job_id
            if job is None:
                there.pop(key, None)
            else:
                there[key] = job
            if job is None or job.state not in SETTLED:
                settled.pop(key, None)
            else:
                settled.setdefault(key)
        return list(there.values()), list(settled)

    def _workers_at(self, place: int, at: datetime) -> list[WorkerInfo]:
        there = {worker.id: worker for worker in self._tape.start.workers}
        for event in self._tape.events[:place]:
            status = _STATUS_BY.get(event.type)
            worker_id = event.data.get("worker_id")
            if status is None or worker_id is None:
                continue
            known = there.get(worker_id) or WorkerInfo(
                worker_id,
                str(event.data.get("name", worker_id)),
                event.queue_name,
                self._slots.get(worker_id, 1),
                status,
                event.timestamp,
            )
            there[worker_id] = dataclasses.replace(known, status=status)
        return [
            dataclasses.replace(worker, last_seen=at)
            for worker in there.values()
            if worker.status is not WorkerStatus.CLOSED
        ]

    def _pause(self, state: MemoryState, events: Sequence[StoreEvent]) -> None:
        for queue, names in self._tape.start.paused.items():
            for name in names:
                state.pause(queue, name)
        for event in events:
            if event.type == EventType.PAUSED:
                state.pause(event.queue_name, event.data["job_name"])
            elif event.type == EventType.RESUMED:
                state.resume(event.queue_name, event.data["job_name"])


def _slots_of(jobs: Sequence[JobData]) -> dict[str, int]:
    """How many slots each worker has been seen to have."""
    slots: dict[str, int] = {}
    for job in jobs:
        for record in job.attempt_logs:
            slots[record.worker_id] = max(slots.get(record.worker_id, 1), record.slot or 1)
    return slots


def _fill(state: MemoryState, jobs: Sequence[JobData], settled: Sequence[Key]) -> None:
    """Put jobs into their queues: as they were added, and settled ones as they settled."""
    for job in sorted(jobs, key=lambda one: one.sequence):
        row = state.add(job, {})
        if row.parent_id is not None and row.parent_queue_name is not None:
            why = row.failed_reason or "" if row.state is JobState.FAILED else None
            child = ChildRow(row.state in SETTLED, why, row.kept_returnvalue)
            state.put_child((row.parent_queue_name, row.parent_id), (row.queue_name, row.id), child)
    for queue, job_id in settled:
        index = state.queues[queue]
        row = index.jobs[job_id]
        index.replace(row, row, {"state": row.state})


async def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise PermissionError("this is a tape: what happened can be looked at, and not be changed")


for _name in _CHANGES:
    setattr(TapeStore, _name, _refuse)
