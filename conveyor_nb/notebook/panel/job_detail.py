"""One job with all that is known of it, as a panel shows it when its row is opened."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from conveyor_nb.core.durations import format_seconds
from conveyor_nb.core.freezing import peek
from conveyor_nb.core.model import AttemptRecord, JobData, JobState
from conveyor_nb.core.options import JobOptions
from conveyor_nb.core.text import many_lines, one_line
from conveyor_nb.job import Job
from conveyor_nb.notebook.panel.job_table import held_by

__all__ = [
    "gone_detail",
    "job_detail",
    "job_facts",
    "log_text",
    "options_text",
    "payload_text",
    "result_text",
]

_LOG_LINES = 200
"""So many of its newest log lines are shown of a job or an attempt."""

_MOST_TEXT = 1_000
"""So many characters of an error, or of a line of a log, are shown."""

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


def job_facts(job: JobData | Job) -> list[tuple[str, object]]:
    """What is worth saying of a job: instants, durations, texts; missing ones are left out."""
    settled_at = job.completed_at or job.failed_at
    wait = job.processed_at and job.processed_at - job.created_at
    took = settled_at and job.processed_at and settled_at - job.processed_at
    parent = job.parent_id and f"{job.parent_id} in {job.parent_queue_name}"
    facts: list[tuple[str, object]] = [
        ("Added", job.created_at),
        ("Due", job.delay_until),
        ("Started", job.processed_at),
        ("Completed", job.completed_at),
        ("Failed", job.failed_at),
        ("Waited", wait),
        ("Took", took),
        ("Attempts", f"{job.attempts_made} of {job.opts.attempts} failed"),
        ("Priority", f"{job.priority:g}" if job.priority else None),
        ("Group", job.group_id),
        ("Parent", parent),
        ("Worker", job.locked_by),
        ("Held", held_by(job)),
    ]
    return [(label, value) for label, value in facts if value is not None]


def payload_text(job: JobData | Job) -> str:
    """The payload over several lines, or why it can't be read; nothing if there is none."""
    data = peek(job, "data")
    return "" if data is None else many_lines(data)


def result_text(job: JobData | Job) -> str:
    """What a completed job returned, likewise."""
    return many_lines(peek(job, "returnvalue")) if job.state is JobState.COMPLETED else ""


def options_text(opts: JobOptions) -> str:
    """The options that differ from the defaults, one a line.

    >>> print(options_text(JobOptions(attempts=3, backoff="2s")))
    attempts: 3
    backoff: fixed, delay 2s
    """
    defaults = JobOptions()
    names = [field.name for field in dataclasses.fields(opts)]
    set_ones = [(name, getattr(opts, name)) for name in names]
    return "\n".join(
        f"{name}: {_option(name, value)}"
        for name, value in set_ones
        if value != getattr(defaults, name)
    )


_DURATIONS = frozenset({"delay", "timeout", "ttl", "age", "every", "duration"})


def _option(name: str, value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return ", ".join(
            _option(part, inner) if part == "type" else f"{part} {_option(part, inner)}"
            for part, inner in parts
            if inner is not None and inner is not False
        )
    if name in _DURATIONS and isinstance(value, (int, float)):
        return format_seconds(value)
    return one_line(value)


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
        ("Failure", "" if told_by_attempt else many_lines(job.failed_reason or "", _MOST_TEXT)),
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
        "error": many_lines(record.error or "", _MOST_TEXT),
        "traceback": many_lines(record.stacktrace or "", both_ends=True),
        "logs": log_text(record.logs),
    }


def log_text(lines: tuple[str, ...]) -> str:
    """The newest lines of a log, and how many there were before."""
    shown = lines[-_LOG_LINES:]
    earlier = len(lines) - len(shown)
    told = [many_lines(line, _MOST_TEXT) for line in shown]
    return "\n".join([f"… {earlier:,} earlier lines"] * bool(earlier) + told)
