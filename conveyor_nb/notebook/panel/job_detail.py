"""One job with all that is known of it, as a panel shows it when its row is opened."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from conveyor_nb.core.model import AttemptRecord, JobData, JobState
from conveyor_nb.core.values.text import many_lines
from conveyor_nb.notebook.job_words import (
    MOST_TEXT,
    job_facts,
    log_text,
    options_text,
    payload_text,
    result_text,
)

__all__ = ["gone_detail", "job_detail"]

_ACTIONS: dict[JobState, list[str]] = {
    JobState.WAITING: ["cancel", "remove"],
    JobState.WAITING_CHILDREN: ["cancel", "remove"],
    JobState.DELAYED: ["promote", "cancel", "remove"],
    JobState.ACTIVE: ["cancel"],
    JobState.COMPLETED: ["retry", "remove"],
    JobState.FAILED: ["retry", "remove"],
}
"""What a person may want to do with a job; the store decides, when it is asked to."""


def job_detail(job: JobData) -> dict[str, Any]:
    """A job as the front end draws it when it is open."""
    return {
        "id": job.id,
        "name": job.name,
        "state": str(job.state),
        "gone": False,
        "can": _ACTIONS[job.state],
        "facts": [[label, *_value(value)] for label, value in job_facts(job)],
        "texts": [[label, text] for label, text in _texts(job) if text],
        "attempts": [_attempt(attempt) for attempt in job.attempt_logs],
    }


def gone_detail(last: dict[str, Any]) -> dict[str, Any]:
    """The same job after it was removed: its last state, with nothing to do any more."""
    return {**last, "gone": True, "can": []}


def _value(value: object) -> tuple[object, str]:
    """A fact as the front end gets it: instants and durations in seconds, and which it is."""
    if isinstance(value, timedelta):
        return value.total_seconds(), "span"
    timestamp = getattr(value, "timestamp", None)
    return (timestamp(), "at") if callable(timestamp) else (value, "")


def _texts(job: JobData) -> list[tuple[str, str]]:
    told = sum(len(attempt.logs) for attempt in job.attempt_logs)
    told_by_attempt = job.attempt_logs and job.attempt_logs[-1].error == job.failed_reason
    elsewhere = len(job.logs) > told  # lines that were logged while no attempt was under way
    return [
        ("Payload", payload_text(job)),
        ("Result", result_text(job)),
        ("Failure", "" if told_by_attempt else many_lines(job.failed_reason or "", MOST_TEXT)),
        ("Options", options_text(job.opts)),
        ("Log", log_text(job.logs) if elsewhere else ""),
    ]


def _attempt(record: AttemptRecord) -> dict[str, Any]:
    took = record.ended_at and (record.ended_at - record.started_at).total_seconds()
    return {
        "attempt": record.attempt,
        "status": str(record.status or "active"),
        "worker": record.worker_id,
        "took": took,
        "error": many_lines(record.error or "", MOST_TEXT),
        "traceback": many_lines(record.stacktrace or "", both_ends=True),
        "logs": log_text(record.logs),
    }
