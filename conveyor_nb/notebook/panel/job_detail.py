"""One job with all that is known of it, as a panel shows it when its row is opened."""

from __future__ import annotations

from collections.abc import Container
from datetime import timedelta
from typing import Any

from conveyor_nb.core.freezing import peek
from conveyor_nb.core.model import AttemptRecord, JobData, JobState
from conveyor_nb.core.values.text import many_lines
from conveyor_nb.notebook.job_words import (
    MOST_TEXT,
    job_facts,
    log_text,
    option_words,
    payload_text,
    result_text,
)
from conveyor_nb.notebook.panel.job_code import code_of
from conveyor_nb.notebook.panel.job_life import life_of
from conveyor_nb.notebook.panel.traceback_view import traceback_parts
from conveyor_nb.notebook.panel.value_tree import copied, is_container, value_tree

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


def job_detail(job: JobData, opened: Container[int] = ()) -> dict[str, Any]:
    """A job as the front end draws it when it is open.

    Args:
        job: the job.
        opened: which attempts are told with their logs and tracebacks; the last one always is.
    """
    newest = job.attempt_logs[-1] if job.attempt_logs else None
    return {
        "id": job.id,
        "name": job.name,
        "queue": job.queue_name,
        "state": str(job.state),
        "gone": False,
        "can": _ACTIONS[job.state],
        "facts": [[label, *_value(value)] for label, value in job_facts(job) if label != "Parent"],
        "values": [_tree(label, value) for label, value in _values(job) if is_container(value)],
        "texts": [[label, text] for label, text in _texts(job) if text],
        "attempts": [
            _attempt(record, whole=record is newest or record.attempt in opened)
            for record in job.attempt_logs
        ],
        "life": life_of(job),
        "code": code_of(job),
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


def _values(job: JobData) -> list[tuple[str, object]]:
    return [
        ("Payload", peek(job, "data")),
        ("Result", peek(job, "returnvalue") if job.state is JobState.COMPLETED else None),
        ("Options", option_words(job.opts)),
    ]


def _tree(label: str, value: object) -> dict[str, Any]:
    text, is_whole = copied(value)
    return {"label": label, "tree": value_tree(value), "copy": text, "whole": is_whole}


def _texts(job: JobData) -> list[tuple[str, str]]:
    told = sum(len(attempt.logs) for attempt in job.attempt_logs)
    told_by_attempt = job.attempt_logs and job.attempt_logs[-1].error == job.failed_reason
    elsewhere = len(job.logs) > told  # lines that were logged while no attempt was under way
    is_tree = {label for label, value in _values(job) if is_container(value)}
    texts = [
        ("Payload", payload_text(job)),
        ("Result", result_text(job)),
        ("Failure", "" if told_by_attempt else many_lines(job.failed_reason or "", MOST_TEXT)),
        ("Log", log_text(job.logs) if elsewhere else ""),
    ]
    return [(label, text) for label, text in texts if label not in is_tree]


def _attempt(record: AttemptRecord, *, whole: bool) -> dict[str, Any]:
    took = record.ended_at and (record.ended_at - record.started_at).total_seconds()
    trace = many_lines(record.stacktrace or "", both_ends=True) if whole else ""
    return {
        "attempt": record.attempt,
        "status": record.outcome,
        "worker": record.worker_id,
        "at": record.started_at.timestamp(),
        "took": took,
        "error": many_lines(record.error or "", MOST_TEXT),
        "whole": whole,
        "traceback": traceback_parts(trace),
        "logs": log_text(record.logs) if whole else "",
    }
