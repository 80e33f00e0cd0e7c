"""What is said of a job, in tables, displays and panels alike."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from conveyor_nb.core.freezing import peek
from conveyor_nb.core.locks import still_at_work
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import many_lines, one_line
from conveyor_nb.job import Job

__all__ = [
    "MOST_TEXT",
    "held_by",
    "instant_of",
    "job_facts",
    "log_text",
    "options_text",
    "outcome",
    "payload_text",
    "result_text",
    "tries",
]

MOST_TEXT = 1_000
"""How many characters of an error, or of a line of a log, are shown."""

_LOG_LINES = 200
"""How many of the newest log lines of a job or an attempt are shown."""


def tries(job: JobData | Job) -> str:
    """How many attempts were begun since the job was added or retried, of how many.

    >>> tries(JobData("emails-1", "send", "emails"))
    ''
    """
    begun = job.attempts_made + (job.state in (JobState.ACTIVE, JobState.COMPLETED))
    if not begun:
        return ""
    return f"{begun}/{job.opts.attempts}" if job.opts.attempts > 1 else f"{begun}"


def instant_of(job: JobData | Job) -> tuple[datetime | None, str]:
    """The instant that says most about a job in its state, and what happened then."""
    match job.state:
        case JobState.ACTIVE:
            return job.processed_at, "started"
        case JobState.DELAYED:
            return job.delay_until, "due"
        case JobState.COMPLETED:
            return job.completed_at, "completed"
        case JobState.FAILED:
            return job.failed_at, "failed"
        case _:
            return job.created_at, "added"


def outcome(job: JobData | Job) -> str:
    """What came of the job, or the latest that is known of it."""
    match job.state:
        case JobState.COMPLETED:
            result = peek(job, "returnvalue")
            return "" if result is None else one_line(result)
        case JobState.WAITING_CHILDREN:
            waits = f"waits for {job.pending_children_count} of {len(job.children_ids)} children"
            return one_line("; ".join(filter(None, (waits, job.failed_reason))))
        case JobState.ACTIVE:
            return one_line(held_by(job) or (job.logs[-1] if job.logs else ""))
        case _:
            return one_line("; ".join(filter(None, (job.failed_reason, held_by(job)))))


def held_by(job: JobData | Job) -> str | None:
    """What there is to say of a job that was to stop, and whose handler is still at work."""
    return still_at_work(job.state, job.locked_by, job.attempt_logs)


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


def log_text(lines: tuple[str, ...]) -> str:
    """The newest lines of a log, and how many there were before."""
    shown = lines[-_LOG_LINES:]
    earlier = len(lines) - len(shown)
    told = [many_lines(line, MOST_TEXT) for line in shown]
    return "\n".join([f"… {earlier:,} earlier lines"] * bool(earlier) + told)
