"""What happened before anybody listened, as events: told by the records of the newest jobs.

Nothing is kept for that while nobody looks. So what leaves no trace in a job's record, such as its
progress or a pause of the queue, is not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from conveyor_nb.core.model import (
    AttemptRecord,
    AttemptStatus,
    EventType,
    JobData,
    JobState,
    StoreEvent,
)
from conveyor_nb.stores import StoreInterface

__all__ = ["past_events", "past_of_job"]

_EACH = 40
"""How many of the newest jobs of each state are read; of several queues each has a share of it."""


async def past_events(store: StoreInterface, queue_name: str, queues: int = 1) -> list[StoreEvent]:
    """What is known of the past, the newest first.

    Args:
        store: the store.
        queue_name: of which queue.
        queues: of how many queues it is asked.
    """
    most = max(2, _EACH // queues)
    jobs = {
        job.id: job
        for state in JobState
        for job in await store.list_jobs(queue_name, state, 0, most, newest_first=True)
    }
    told = [event for job in jobs.values() for event in past_of_job(job)]
    return sorted(told, key=lambda event: event.timestamp)[::-1]


def past_of_job(job: JobData) -> Iterator[StoreEvent]:
    """The events that a job's record tells of, in the order of time."""

    def event(kind: EventType, at: datetime, **data: Any) -> StoreEvent:
        return StoreEvent(kind, job.queue_name, job.id, {"name": job.name, **data}, at)

    if job.opts.delay:
        yield event(EventType.DELAYED, job.created_at)
    elif job.children_ids:
        yield event(EventType.WAITING_CHILDREN, job.created_at)
    else:
        yield event(EventType.WAITING, job.created_at)
    settled_at = job.completed_at or job.failed_at
    for record in job.attempt_logs:
        yield event(EventType.ACTIVE, record.started_at, attempt=record.attempt)
        if record.ended_at is not None and record.ended_at != settled_at:
            yield event(_end_of(job, record), record.ended_at, **_why(record))
    if job.completed_at is not None:
        yield event(EventType.COMPLETED, job.completed_at)
    elif job.failed_at is not None:
        yield event(EventType.FAILED, job.failed_at, reason=job.failed_reason or "")


def _end_of(job: JobData, record: AttemptRecord) -> EventType:
    """What an attempt led to that was not the one by which the job settled."""
    if record.put_back:
        is_off = job.state is JobState.DELAYED and record is job.attempt_logs[-1]
        return EventType.DELAYED if is_off else EventType.WAITING
    is_done = record.status == AttemptStatus.COMPLETED
    return EventType.COMPLETED if is_done else EventType.RETRYING


def _why(record: AttemptRecord) -> dict[str, str]:
    return {"reason": record.error} if record.error else {}
