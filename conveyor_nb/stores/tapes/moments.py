"""The moments of a tape: each event, and what its job was like after it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from conveyor_nb.core.model import (
    AttemptRecord,
    AttemptStatus,
    EventType,
    JobData,
    JobState,
    StoreEvent,
)
from conveyor_nb.core.worker_info import WorkerInfo

__all__ = ["Key", "Moment", "Start", "Taped", "as_of"]

Key = tuple[str, str]
"""A queue's name and a job's id."""

_STATES: Mapping[str, JobState] = {f"job:{state}": state for state in JobState}
_ENDS_ATTEMPT = frozenset(
    {
        *(EventType.COMPLETED, EventType.FAILED, EventType.RETRYING, EventType.STALLED),
        *(EventType.WAITING, EventType.WAITING_CHILDREN, EventType.DELAYED, EventType.REMOVED),
    }
)


class Moment(Struct, frozen=True):
    """One event of a tape.

    Args:
        event: what happened.
        job: the job that it is about, as it was after that; ``None``: it was gone, or the event
            is about no job.
    """

    event: StoreEvent
    job: JobData | None = None


class Start(Struct, frozen=True):
    """What there was when a tape began.

    Args:
        jobs: the jobs, those of a queue together.
        left_out: how many jobs there were beside these.
        paused: the paused job names of each queue that has some.
        workers: the workers.
    """

    jobs: tuple[JobData, ...] = ()
    left_out: int = 0
    paused: Mapping[str, frozenset[str]] = {}
    workers: tuple[WorkerInfo, ...] = ()


def as_of(event: StoreEvent, read: JobData | None, before: JobData | None) -> JobData | None:
    """A job as it was after an event of it.

    Args:
        event: the event.
        read: the job as it was read when the event came. Its step may have told of more than
            this event, and the store may have gone on since; ``None``: it is gone.
        before: the job as it was after the last event of it; ``None``: nothing is known.
    """
    if event.type == EventType.REMOVED:
        return None
    state = _STATES.get(event.type)
    if state is None:
        state = before.state if before is not None else read.state if read is not None else None
    if read is None:  # its removal comes next, and what it was like before tells the rest
        read = before
    if read is None or state is None:
        return None
    attempts = _attempts_of(event, read, before, state)
    if read.state is state and attempts == read.attempt_logs:
        return read
    return replace(read, state=state, attempt_logs=attempts, **_not_yet(event, read, before, state))


def _attempts_of(
    event: StoreEvent, read: JobData, before: JobData | None, state: JobState
) -> tuple[AttemptRecord, ...]:
    """The attempts that had begun by an event, the last one open if it had not ended."""
    attempts = read.attempt_logs
    if event.type == EventType.ACTIVE:
        last = event.data.get("attempt", 0)
    elif before is None and event.data.get("previous", "") is None:  # it is new
        last = 0
    else:
        known = attempts if before is None else before.attempt_logs
        last = known[-1].attempt if known else 0
    begun = tuple(one for one in attempts if one.attempt <= last)
    if not begun or begun[-1].attempt != last:
        return begun
    record = begun[-1]
    if event.type in _ENDS_ATTEMPT and record.ended_at is None:
        failed = event.type != EventType.COMPLETED
        status = AttemptStatus.FAILED if failed else AttemptStatus.COMPLETED
        error = event.data.get("reason") if failed else None
        record = replace(record, ended_at=event.timestamp, status=status, error=error)
    elif state is JobState.ACTIVE and event.type not in _ENDS_ATTEMPT:
        if record.ended_at is None:
            return begun
        record = AttemptRecord(
            record.attempt, record.worker_id, record.started_at, logs=record.logs, slot=record.slot
        )
    return (*begun[:-1], record)


def _not_yet(
    event: StoreEvent, read: JobData, before: JobData | None, state: JobState
) -> dict[str, Any]:
    """What else a job that was read too late, or not at all, has to be rid of, or to have."""
    changes: dict[str, Any] = {}
    at = event.timestamp
    is_done, has_failed = state is JobState.COMPLETED, state is JobState.FAILED
    if not is_done:
        changes["returnvalue"] = None
    changes["completed_at"] = (read.completed_at or at) if is_done else None
    changes["failed_at"] = (read.failed_at or at) if has_failed else None
    if state is not JobState.ACTIVE:
        changes |= {"locked_by": None, "lock_until": None}
    elif event.type == EventType.ACTIVE:
        changes |= {"locked_by": event.data.get("worker_id"), "processed_at": at}
    if state is JobState.DELAYED:
        changes["delay_until"] = event.data.get("delay_until", read.delay_until)
    if "reason" in event.data and event.type in (EventType.FAILED, EventType.RETRYING):
        changes["failed_reason"] = event.data["reason"]
    elif not has_failed and before is not None:
        changes["failed_reason"] = before.failed_reason
    if event.type == EventType.PROGRESS:
        changes["progress"] = event.data.get("progress", read.progress)
    return changes


class Taped(Protocol):
    """What a tape holds, for those who write, draw and compare it."""

    queue_name: str | None
    began: datetime
    ended: datetime | None
    start: Start
    limit: int
    left_out: int
    moments: list[Moment]

    @property
    def workers(self) -> Mapping[str, str]:
        """What each worker is called, by its id."""
