"""When a lock is lost, and when a handler is still at work: who holds a job, by its record.

A worker that takes a job gets a ``Lock``: its id, and the number of the attempt. It holds the job
as long as the record names the same two. It has lost its lock once the job stalled (its lock ran
out with nobody to renew it), was settled, put back, taken anew or removed; whatever it reports
then changes nothing and raises ``LostLockError``. ``running.locks`` renews the locks of a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from conveyor_nb.core.errors import LostLockError
from conveyor_nb.core.model import ACTIVE, AttemptRecord, JobData, JobState, Lock

__all__ = ["STILL_AT_WORK", "has_run_out", "require_lock", "still_at_work"]

STILL_AT_WORK = "its handler is still at work"
"""What is said of a job whose run was told to stop and goes on."""


def require_lock(job: JobData, lock: Lock | None, *, ended_too: bool = False) -> None:
    """Raise ``LostLockError`` unless ``lock`` is the one that the job is held by now.

    Args:
        job: the job as it is.
        lock: what the caller has.
        ended_too: whether it also counts of a job that has ended, though its handler has not.
    """
    held = (
        lock is not None
        and (ended_too or job.state is ACTIVE)
        and job.locked_by == lock.worker_id
        and job.attempt_logs[-1].attempt == lock.attempt
    )
    if not held:
        raise LostLockError(job.id, lock.worker_id if lock else None)


def has_run_out(job: JobData, now: datetime) -> bool:
    """Whether the lock of an active job was not renewed in time, so that the job may be stalled."""
    return job.lock_until is not None and job.lock_until <= now


def still_at_work(
    state: JobState, locked_by: str | None, attempts: Sequence[AttemptRecord]
) -> str | None:
    """What is to be said of a job whose run was told to stop and goes on; else ``None``."""
    if locked_by is None or not attempts:
        return None
    return attempts[-1].error if state is ACTIVE else STILL_AT_WORK
