"""The record of a job's attempts: how one is closed, and how much of them all is kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from conveyor_nb.core.model import ACTIVE, AttemptRecord, AttemptStatus, JobData
from conveyor_nb.core.values.bounds import (
    MAX_ATTEMPT_RECORDS,
    MAX_LOG_LINES,
    MAX_STACKTRACE,
    cut,
    keep_newest,
)

__all__ = ["WENT_WELL", "attempt_ended", "attempt_failed", "with_lines", "with_room"]

WENT_WELL: Final = AttemptStatus.COMPLETED
"""By a name of a module, as each job asks for it: see ``model.ACTIVE``."""


def attempt_ended(
    job: JobData,
    now: datetime,
    status: AttemptStatus,
    error: str | None = None,
    stacktrace: str | None = None,
    *,
    put_back: bool = False,
) -> dict[str, Any]:
    """What every end of an attempt changes: the lock is gone, the attempt's record is closed."""
    if job.state is not ACTIVE:
        return {}
    attempts = job.attempt_logs
    last = attempts[-1]
    attempt, worker_id, begun = last.attempt, last.worker_id, last.started_at
    logs, slot = last.logs, last.slot
    record = AttemptRecord(
        attempt, worker_id, begun, now, status, error, stacktrace, logs, put_back, slot
    )
    attempts = (record,) if len(attempts) == 1 else (*attempts[:-1], record)
    return {"locked_by": None, "lock_until": None, "attempt_logs": attempts}


def attempt_failed(
    job: JobData, reason: str, stacktrace: str | None, now: datetime
) -> dict[str, Any]:
    """What an attempt that failed, and counts, changes."""
    traces = job.stacktrace
    if stacktrace:
        stacktrace = cut(stacktrace, MAX_STACKTRACE)
        traces = keep_newest(traces, [stacktrace], MAX_ATTEMPT_RECORDS, what="tracebacks")
    return attempt_ended(job, now, AttemptStatus.FAILED, reason, stacktrace) | {
        "attempts_made": job.attempts_made + 1,
        "failed_reason": reason,
        "stacktrace": traces,
    }


def with_lines(lines: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """A log with more lines."""
    return keep_newest(lines, new, MAX_LOG_LINES, what="lines")


def with_room(attempts: tuple[AttemptRecord, ...]) -> tuple[AttemptRecord, ...]:
    """The records of the attempts so far, with room for one more, and their lines bounded."""
    if len(attempts) >= MAX_ATTEMPT_RECORDS:
        attempts = (attempts[0], *attempts[2 - MAX_ATTEMPT_RECORDS :])
    room, kept = MAX_LOG_LINES, []
    for record in reversed(attempts):
        if len(record.logs) > room:
            record = replace(record, logs=keep_newest((), record.logs, room, what="lines"))
        room = max(0, room - len(record.logs))
        kept.append(record)
    return tuple(reversed(kept))
