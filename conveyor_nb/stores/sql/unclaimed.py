"""What becomes of jobs that were taken for somebody who was gone before they had them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

from conveyor_nb.core.actions import Release
from conveyor_nb.core.fetching import Fetched
from conveyor_nb.core.model import JobData, Lock
from conveyor_nb.core.rows import Key, Rows
from conveyor_nb.core.steps import changing

__all__ = ["giving_back"]


def giving_back(
    fetched: Fetched | None, worker_id: str
) -> Iterator[tuple[Key, Callable[[Rows, datetime], JobData]]]:
    """The steps that put them back, with no attempt spent, and whose each is.

    A step raises ``ConveyorError`` if the job is the worker's no more.
    """
    for job in () if fetched is None else fetched.jobs:
        lock = Lock(worker_id, job.attempt_logs[-1].attempt)
        yield (job.queue_name, job.id), partial(_release, job.queue_name, job.id, lock)


def _release(queue_name: str, job_id: str, lock: Lock, rows: Rows, now: datetime) -> JobData:
    return changing.apply(rows, queue_name, job_id, Release(), lock, now)
