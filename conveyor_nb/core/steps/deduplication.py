"""Which job stands for a new one: the one that has its id, or holds its deduplication key."""

from __future__ import annotations

from datetime import datetime

from conveyor_nb.core.model import JobData
from conveyor_nb.core.rows import HeldKey, Rows, held_key, holds_still

__all__ = ["duplicate_of", "holder_of"]


def holder_of(rows: Rows, queue_name: str, key: HeldKey, now: datetime) -> JobData | None:
    """The unfinished job that holds a deduplication key, as it is younger than its ttl."""
    for job in rows.holders(queue_name, key):
        if holds_still(job, now):
            return job
    return None


def duplicate_of(rows: Rows, job: JobData, now: datetime) -> JobData | None:
    """The job in the store that has the id or the deduplication key of a new one."""
    existing = rows.job(job.queue_name, job.id) if job.id else None
    if existing is None and job.deduplication_key is not None:
        key = held_key(job)
        return None if key is None else holder_of(rows, job.queue_name, key, now)
    return existing
