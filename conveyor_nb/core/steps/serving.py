"""The steps of workers: jobs are taken, locks renewed, names paused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import islice

from conveyor_nb.core import entering
from conveyor_nb.core.actions import ExtendLock
from conveyor_nb.core.errors import JobNotFoundError, LostLockError
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.model import EventType, JobData, Lock
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.steps.changing import apply
from conveyor_nb.core.steps.writing import note, write

__all__ = ["fetch", "next_jobs", "pause_name", "renew_locks", "resume_name"]


def fetch(
    rows: Rows,
    queue_name: str,
    worker_id: str,
    lock_duration: float,
    options: FetchOptions,
    limit: int,
    now: datetime,
) -> Fetched:
    """Make the next jobs in order of service active; see ``StoreInterface.fetch_jobs``.

    The delayed jobs that are due are to be promoted before.
    """
    has_limits = options.limiter is not None or options.max_global_concurrency is not None
    taken: list[JobData] = []
    while len(taken) < limit:
        if has_limits and not _may_start(rows, queue_name, options, now):
            break
        job = rows.next_in_turn(queue_name, options, now)
        if job is None:
            break
        change = entering.take(job, worker_id, lock_duration, now, options.slot)
        taken.append(write(rows, job, change, now))
    if taken:
        return Fetched(taken)
    return Fetched(next_at=_next_fetch_at(rows, queue_name, options, now))


def _may_start(rows: Rows, queue_name: str, options: FetchOptions, now: datetime) -> bool:
    """Whether the limits that hold for the whole queue let one more job start."""
    most = options.max_global_concurrency
    if most is not None and rows.active_count(queue_name) >= most:
        return False
    opens = rows.opens_at(queue_name, options.limiter) if options.limiter else None
    return opens is None or opens <= now


def _next_fetch_at(
    rows: Rows, queue_name: str, options: FetchOptions, now: datetime
) -> datetime | None:
    """When there may be a job to fetch, if there is none now and nothing else happens."""
    instants = [rows.next_due(queue_name)]
    if rows.has_waiting(queue_name):
        instants.append(rows.next_opening(queue_name))
        if options.limiter is not None:
            instants.append(rows.opens_at(queue_name, options.limiter))
    return min((one for one in instants if one is not None and one > now), default=None)


def next_jobs(
    rows: Rows, queue_name: str, count: int, options: FetchOptions, now: datetime
) -> list[JobData]:
    """The jobs that a fetch of as many would take; see ``StoreInterface.next_jobs``."""
    if options.max_global_concurrency is not None:
        count = min(count, options.max_global_concurrency - rows.active_count(queue_name))
    if options.limiter is not None:
        count = min(count, rows.room(queue_name, options.limiter, now))
    return list(islice(rows.in_turn(queue_name, options, now), max(0, count)))


def renew_locks(
    rows: Rows,
    queue_name: str,
    worker_id: str,
    attempts: Mapping[str, int],
    lock_duration: float,
    now: datetime,
) -> list[str]:
    """Renew the locks of a worker, who is seen so; see ``StoreInterface.renew_locks``."""
    lost: list[str] = []
    for job_id, attempt in attempts.items():
        lock = Lock(worker_id, attempt)
        try:
            apply(rows, queue_name, job_id, ExtendLock(lock_duration), lock, now)
        except (JobNotFoundError, LostLockError):
            lost.append(job_id)
    rows.see_worker(worker_id, now)
    return lost


def pause_name(rows: Rows, queue_name: str, name: str, now: datetime) -> None:
    """Start no more jobs of a name; ``ALL_NAMES`` pauses the queue."""
    if name not in rows.paused_names(queue_name):
        rows.pause(queue_name, name)
        note(rows, EventType.PAUSED, queue_name, None, now, job_name=name)


def resume_name(rows: Rows, queue_name: str, name: str, now: datetime) -> None:
    """Undo :func:`pause_name` for this name."""
    if name in rows.paused_names(queue_name):
        rows.resume(queue_name, name)
        note(rows, EventType.RESUMED, queue_name, None, now, job_name=name)
