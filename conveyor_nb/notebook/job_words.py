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
    "option_words",
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
    begun = _begun(job)
    if not begun:
        return ""
    return f"{begun}/{job.opts.attempts}" if job.opts.attempts > 1 else f"{begun}"


def _begun(job: JobData | Job) -> int:
    return job.attempts_made + (job.state in (JobState.ACTIVE, JobState.COMPLETED))


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
    first, last = (job.attempt_logs[0], job.attempt_logs[-1]) if job.attempt_logs else (None, None)
    started = first.started_at if first else job.processed_at
    took = last.ended_at - last.started_at if last and last.ended_at else None
    is_only = first is last
    parent = job.parent_id and f"{job.parent_id} in {job.parent_queue_name}"
    facts: list[tuple[str, object]] = [
        ("Added", job.created_at),
        ("Due", job.delay_until),
        ("Started" if is_only else "First started", started),
        ("Last started", last.started_at if last and not is_only else None),
        ("Completed", job.completed_at),
        ("Failed", job.failed_at),
        ("Waited", started and started - job.created_at),
        ("Took" if is_only else "Last took", took),
        ("Tries", f"{_begun(job)} of {job.opts.attempts}"),
        ("Attempts", _attempts_in_all(job)),
        ("Priority", f"{job.priority:g}" if job.priority else None),
        ("Group", job.group_id),
        ("Schedule", job.scheduler_id),
        ("Parent", parent),
        ("Worker", job.locked_by),
        ("Held", held_by(job)),
    ]
    return [(label, value) for label, value in facts if value is not None]


def _attempts_in_all(job: JobData | Job) -> str | None:
    """How many attempts there were, if not each of them is a try of the job as it is now.

    A retry counts anew from 0, and an attempt that was put back or cancelled is no try.
    """
    in_all = job.attempt_logs[-1].attempt if job.attempt_logs else 0
    uncounted = in_all - _begun(job)
    if uncounted <= 0:
        return None
    return f"{in_all:,}; {uncounted:,} don't count (before a retry, put back or cancelled)"


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
    return "\n".join(f"{name}: {text}" for name, text in option_words(opts).items())


def option_words(opts: JobOptions) -> dict[str, str]:
    """The options that differ from the defaults, each in words.

    >>> option_words(JobOptions(delay="2 hours"))
    {'delay': '2h'}
    """
    values = {field.name: getattr(opts, field.name) for field in dataclasses.fields(opts)}
    return {
        name: _option(name, value)
        for name, value in values.items()
        if value != getattr(_DEFAULTS, name)
    }


_DEFAULTS = JobOptions()
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
