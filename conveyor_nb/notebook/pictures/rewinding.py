"""How jobs were at an earlier instant, by the records of their attempts.

A clock that jumps leaves no time to look in between. What a job's record tells is enough to see the
way there: when each attempt began and ended, and when the job settled. What it does not tell is
when a delay was over and the job had to wait for a slot; it is seen on the shelf until it started.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from conveyor_nb.core.model import AttemptRecord, AttemptStatus, JobData, JobState

__all__ = ["instants_between", "jobs_at"]

Key = tuple[str, str]
"""A job by its queue and its id."""


def instants_between(jobs: Iterable[JobData], since: datetime, until: datetime) -> list[datetime]:
    """When something happened to the jobs, from an instant up to another one, in order."""
    return sorted({at for job in jobs for at in _instants(job) if since <= at <= until})


def jobs_at(jobs: Sequence[JobData], instant: datetime) -> list[JobData]:
    """The jobs that there were at an instant, as they were then; parents know of their children."""
    open_children: dict[Key, int] = {}
    for job in jobs:
        if job.parent_id is not None and not _had_settled(job, instant):
            parent = (job.parent_queue_name or job.queue_name, job.parent_id)
            open_children[parent] = open_children.get(parent, 0) + 1
    return [
        _as_of(job, instant, open_children.get((job.queue_name, job.id), 0))
        for job in jobs
        if job.created_at <= instant
    ]


def _instants(job: JobData) -> Iterator[datetime]:
    yield job.created_at
    if job.opts.delay:
        yield _first_due(job)
    for record in job.attempt_logs:
        yield record.started_at
        if record.ended_at is not None:
            yield record.ended_at
    if (settled := job.completed_at or job.failed_at) is not None:
        yield settled


def _had_settled(job: JobData, instant: datetime) -> bool:
    settled = job.completed_at or job.failed_at
    return settled is not None and settled <= instant


def _first_due(job: JobData) -> datetime:
    return job.created_at + timedelta(seconds=job.opts.delay)


def _as_of(job: JobData, instant: datetime, open_children: int) -> JobData:
    if _had_settled(job, instant):
        return job
    begun = tuple(record for record in job.attempt_logs if record.started_at <= instant)
    runs = bool(begun) and not _is_over(begun[-1], instant)
    then: dict[str, Any] = {
        "completed_at": None,
        "failed_at": None,
        "attempts_made": sum(_has_failed(record, instant) for record in begun),
        "attempt_logs": begun,
        "pending_children_count": open_children,
        "progress": job.progress if job.state is JobState.ACTIVE else 0,
    }
    if runs:
        last = replace(begun[-1], ended_at=None, status=None, error=None, put_back=False)
        then |= {
            "state": JobState.ACTIVE,
            "attempt_logs": (*begun[:-1], last),
            "locked_by": last.worker_id,
            "processed_at": last.started_at,
        }
    else:
        state, due = _idle(job, len(begun), instant, open_children)
        then |= {"state": state, "delay_until": due}
    return replace(job, **then)


def _idle(
    job: JobData, begun: int, instant: datetime, open_children: int
) -> tuple[JobState, datetime | None]:
    """In which state a job was that did not run, and until when it was put off."""
    later = job.attempt_logs[begun:]
    if begun and later:
        return JobState.DELAYED, later[0].started_at
    if begun and job.state in (JobState.WAITING, JobState.DELAYED):
        return job.state, job.delay_until
    if not begun and job.opts.delay and instant < _first_due(job):
        return JobState.DELAYED, _first_due(job)
    return JobState.WAITING_CHILDREN if open_children else JobState.WAITING, None


def _is_over(record: AttemptRecord, instant: datetime) -> bool:
    return record.ended_at is not None and record.ended_at <= instant


def _has_failed(record: AttemptRecord, instant: datetime) -> bool:
    return _is_over(record, instant) and record.outcome == AttemptStatus.FAILED
