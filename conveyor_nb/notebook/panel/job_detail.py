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
from conveyor_nb.notebook.panel.sizes import sendable, size_of
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

_MOST_BYTES = 21_500
_MOST_TEXT = 6_000
_SHARES = (1.0, 0.5, 0.25, 0.1, 0.03)


def job_detail(job: JobData, opened: Container[int] = ()) -> dict[str, Any]:
    """A job as the front end draws it when it is open.

    Of what is so long that it would be felt, as it may change ten times a second, less is told.

    Args:
        job: the job.
        opened: which attempts are told with their logs and tracebacks; the last one always is.
    """
    for share in _SHARES:
        detail = _detail(job, opened, share)
        if size_of(sendable(detail)) <= _MOST_BYTES:
            break
    return detail


def _detail(job: JobData, opened: Container[int], share: float) -> dict[str, Any]:
    """The same, each long text of it with a share of the room that it has at most."""
    newest = job.attempt_logs[-1] if job.attempt_logs else None
    return {
        "id": job.id,
        "name": job.name,
        "queue": job.queue_name,
        "state": str(job.state),
        "gone": False,
        "can": _ACTIONS[job.state],
        "facts": [[label, *_value(value)] for label, value in job_facts(job) if label != "Parent"],
        "values": [
            _tree(label, value, share) for label, value in _values(job) if is_container(value)
        ],
        "texts": [[label, text] for label, text in _texts(job, share) if text],
        "attempts": [
            _attempt(record, share, whole=record is newest or record.attempt in opened)
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


def _tree(label: str, value: object, share: float) -> dict[str, Any]:
    text, is_whole = copied(value, share)
    tree = value_tree(value, share)
    return {"label": label, "tree": tree, "copy": text, "whole": is_whole}


def _texts(job: JobData, share: float) -> list[tuple[str, str]]:
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
    return [(label, _cut(text, share)) for label, text in texts if label not in is_tree]


def _cut(text: str, share: float) -> str:
    """A text that is fit already, or as much of it as there is room for: of a log the end."""
    return text if share == 1.0 else many_lines(text, round(_MOST_TEXT * share), both_ends=True)


def _attempt(record: AttemptRecord, share: float, *, whole: bool) -> dict[str, Any]:
    took = record.ended_at and (record.ended_at - record.started_at).total_seconds()
    limit = round(_MOST_TEXT * share)
    trace = many_lines(record.stacktrace or "", limit, both_ends=True) if whole else ""
    return {
        "attempt": record.attempt,
        "status": record.outcome,
        "worker": record.worker_id,
        "at": record.started_at.timestamp(),
        "took": took,
        "error": many_lines(record.error or "", round(MOST_TEXT * share)),
        "whole": whole,
        "traceback": traceback_parts(trace),
        "logs": _cut(log_text(record.logs), share) if whole else "",
    }
