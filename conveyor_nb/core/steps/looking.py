"""The questions that a store answers from rows which its steps read, too; they change nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from conveyor_nb.core.errors import UnreadablePayloadError
from conveyor_nb.core.freezing import Unreadable, thaw_for
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.locks import has_run_out
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.steps.deduplication import holder_of
from conveyor_nb.core.steps.families import child_of

__all__ = [
    "children_jobs",
    "children_values",
    "find_by_key",
    "scheduler_of",
    "scheduler_out",
    "schedulers_of",
    "stalled_jobs",
]


def find_by_key(
    rows: Rows, queue_name: str, key: str, name: str | None, now: datetime
) -> JobData | None:
    """The unfinished job that holds a key; with a job name, the hash of a payload."""
    return holder_of(rows, queue_name, key if name is None else (name, key), now)


def children_jobs(rows: Rows, queue_name: str, parent_id: str) -> list[JobData]:
    """The children of a parent that are still there, in the order of the flow."""
    parent = rows.job(queue_name, parent_id)
    if parent is None:
        return []
    found = (child_of(rows, parent, key) for key in rows.children((queue_name, parent_id)))
    return [job for job in found if job is not None]


def children_values(rows: Rows, queue_name: str, parent_id: str) -> dict[str, Any]:
    """What the completed children of a parent returned, by child id; removed ones too."""
    return {
        child_id: thaw_for(child_id, "returnvalue", row.returnvalue)
        for (_, child_id), row in rows.children((queue_name, parent_id)).items()
        if row.settled and row.why is None
    }


def stalled_jobs(rows: Rows, queue_name: str, now: datetime) -> list[JobData]:
    """The active jobs whose lock has run out."""
    active = rows.listed(queue_name, JobState.ACTIVE)
    return [job for job in active if has_run_out(job, now)]


def schedulers_of(rows: Rows, queue_name: str) -> list[JobScheduler]:
    """The schedulers of a queue, in the order they were created."""
    return [scheduler_out(one) for one in rows.schedulers(queue_name)]


def scheduler_of(rows: Rows, queue_name: str, scheduler_id: str) -> JobScheduler | None:
    """The scheduler of a queue with this id."""
    found = rows.scheduler(queue_name, scheduler_id)
    return None if found is None else scheduler_out(found)


def scheduler_out(scheduler: JobScheduler) -> JobScheduler:
    """A scheduler as it leaves the store, with a payload of its own."""
    try:
        data = thaw_for(scheduler.id, "data", scheduler.data)
    except UnreadablePayloadError as error:
        data = Unreadable(error)  # one scheduler must not hide the others
    return replace(scheduler, data=data)
