"""What is kept of settled jobs, and for how long: for ever, so long, so many, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import COMPLETED, JobData
from conveyor_nb.core.options.keep import Keep
from conveyor_nb.core.rows import Rows

__all__ = ["entered_at", "expires_at", "is_kept_by_count", "keep_of", "too_many"]


def keep_of(job: JobData) -> bool | Keep:
    """What a settled job's options say: ``True``: remove it; ``False``: keep it for ever."""
    opts = job.opts
    return opts.remove_on_complete if job.state is COMPLETED else opts.remove_on_fail


def expires_at(job: JobData) -> datetime | None:
    """When a settled job has been kept long enough; ``None``: never by its age."""
    keep = keep_of(job)
    if not isinstance(keep, Keep) or keep.age is None or job.state not in SETTLED:
        return None
    settled_at = job.completed_at if job.state is COMPLETED else job.failed_at
    assert settled_at is not None
    return settled_at + timedelta(seconds=keep.age)


def entered_at(job: JobData) -> datetime:
    """Since when a job is what it is, for who cleans up: it settled, or else was created."""
    settled_at = job.completed_at if job.state is COMPLETED else job.failed_at
    return settled_at if settled_at is not None and job.state in SETTLED else job.created_at


def is_kept_by_count(job: JobData) -> bool:
    """Whether a job has settled and is one of those that are kept by count."""
    keep = keep_of(job)
    return isinstance(keep, Keep) and keep.count is not None and job.state in SETTLED


def too_many(rows: Rows, job: JobData) -> Sequence[JobData]:
    """The jobs that are not kept, or no longer, as this one has settled."""
    keep = keep_of(job)
    if keep is False:
        return ()
    if not isinstance(keep, Keep):
        current = rows.job(job.queue_name, job.id)
        return () if current is None else (current,)
    return () if keep.count is None else rows.surplus(job.queue_name, job.state, keep.count)
