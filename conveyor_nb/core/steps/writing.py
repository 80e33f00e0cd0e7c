"""The writes that all steps are made of: a row and the events that tell of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from conveyor_nb.core import entering, lifecycle
from conveyor_nb.core.errors import JobNotFoundError
from conveyor_nb.core.model import EventType, JobData, StoreEvent
from conveyor_nb.core.rows import Rows, key_of

__all__ = ["Removed", "admit", "find", "note", "remove", "write"]

Removed = tuple[JobData, str | None]
"""A job that was removed, as it was before, and why, if a failed child took it away."""


def find(rows: Rows, queue_name: str, job_id: str) -> JobData:
    """The row of a job; raises ``JobNotFoundError``."""
    job = rows.job(queue_name, job_id)
    if job is None:
        raise JobNotFoundError(job_id, queue_name)
    return job


def note(
    rows: Rows, kind: EventType, queue_name: str, job_id: str | None, now: datetime, **data: object
) -> None:
    """Put an event into the outbox."""
    rows.outbox.append(StoreEvent(kind, queue_name, job_id, data, now))


def admit(rows: Rows, job: JobData, job_id: str, data: Any, now: datetime) -> JobData:
    """Take in a new job with its id and its frozen payload; returns its row."""
    change = entering.admit(job, now)
    values = change.updates
    values["id"] = job_id
    values["data"] = data
    values["priority"] = job.opts.priority
    row = rows.add(job, values)
    for kind, about in change.events:
        rows.outbox.append(StoreEvent(kind, row.queue_name, job_id, about, now))
    return row


def write(rows: Rows, job: JobData, change: lifecycle.Change, now: datetime) -> JobData:
    """Make a decided change of one row; returns the row after. What follows is for others."""
    values = change.updates
    changed = rows.change(job, values) if values else job
    followed, unheard = rows.followed, rows.unheard.get(job.queue_name, ())
    for kind, about in change.events:
        if kind not in unheard or (followed and key_of(job) in followed):
            rows.outbox.append(StoreEvent(kind, job.queue_name, job.id, about, now))
    if followed and (result := values.get("returnvalue")) is not None:
        rows.results[job.queue_name, job.id] = result
    return changed


def remove(rows: Rows, job: JobData, now: datetime, reason: str | None = None) -> Removed:
    """Remove a row; what follows from that is for ``follow_up``, given what this returns."""
    rows.remove(job)
    about = {"name": job.name, "previous": job.state, "worker_id": job.locked_by}
    if reason is not None:
        about["reason"] = reason
    note(rows, EventType.REMOVED, job.queue_name, job.id, now, **about)
    return job, reason
