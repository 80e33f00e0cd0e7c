"""The life of a job as a line in time: what its record tells of it, instant by instant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from conveyor_nb.core.model import AttemptRecord, JobData, JobState
from conveyor_nb.core.values.text import one_line

__all__ = ["life_of"]

_MOST_ATTEMPTS = 24
_MOST_TEXT = 120


def life_of(job: JobData) -> list[dict[str, Any]]:
    """What happened to a job in the order of time: when, of which kind, and what is said of it.

    Of very many attempts the first and the newest are told.
    """
    told: list[dict[str, Any]] = [_moment(job.created_at, "added", "added")]
    attempts = job.attempt_logs
    left_out = len(attempts) - _MOST_ATTEMPTS
    if left_out > 0:
        attempts = (attempts[0], *attempts[1 - _MOST_ATTEMPTS :])
    for place, record in enumerate(attempts):
        told.extend(_of_attempt(record))
        if left_out > 0 and place == 0:
            at = record.ended_at or record.started_at
            told.append(_moment(at, "gap", f"{left_out:,} more attempts"))
    if job.cancelled_at is not None:
        told.append(_moment(job.cancelled_at, "cancelled", "told to stop"))
    if job.state is JobState.DELAYED and job.delay_until is not None:
        told.append(_moment(job.delay_until, "due", "due"))
    settled_at = job.completed_at or job.failed_at
    if settled_at is not None and told[-1]["at"] != settled_at.timestamp():
        reason = one_line(job.failed_reason or "", _MOST_TEXT)
        told.append(_moment(settled_at, str(job.state), reason or str(job.state)))
    return sorted(told, key=lambda one: float(one["at"]))


def _of_attempt(record: AttemptRecord) -> list[dict[str, Any]]:
    worker = one_line(record.worker_id, _MOST_TEXT)
    begun = _moment(record.started_at, "active", f"attempt {record.attempt} by {worker}")
    if record.ended_at is None:
        return [begun]
    told = one_line(record.error or "", _MOST_TEXT)
    if record.put_back:
        told = f"put back: {told}"
    return [begun, _moment(record.ended_at, record.outcome, told or record.outcome)]


def _moment(at: datetime, kind: str, text: str) -> dict[str, Any]:
    return {"at": at.timestamp(), "kind": kind, "text": text}
