"""The runs of a scheduler: how one is created, and the one after it when it has ended.

Programs of Conveyor know no schedulers: there each run has the rule in its own options, and
whoever runs it adds the next.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from msgspec.structs import replace

from conveyor_nb.core import schedule
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import COMPLETED, JobData
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.steps.writing import admit

__all__ = ["add_next_of_chain", "has_gone_on", "keep", "plan_next_run", "plan_run"]


def keep(rows: Rows, scheduler: JobScheduler) -> JobScheduler:
    """Keep a scheduler as it is now; returns it."""
    rows.put_scheduler(scheduler)
    return scheduler


def plan_run(
    rows: Rows, scheduler: JobScheduler, planned: datetime | None, now: datetime
) -> JobScheduler:
    """Create a run of a scheduler, if one is planned; keep and return the scheduler."""
    limit = scheduler.repeat.limit
    if planned is None or (limit is not None and scheduler.runs >= limit):
        return keep(rows, replace(scheduler, next_run=None, pending_job_id=None))
    job = JobData(
        id=rows.new_id(scheduler.queue_name),
        name=scheduler.name,
        queue_name=scheduler.queue_name,
        opts=scheduler.opts,
        group_id=scheduler.opts.group.id if scheduler.opts.group else None,
        scheduler_id=scheduler.id,
        planned_at=planned,
    )
    admit(rows, job, job.id, scheduler.data, now)
    return keep(
        rows,
        replace(scheduler, runs=scheduler.runs + 1, next_run=planned, pending_job_id=job.id),
    )


def plan_next_run(rows: Rows, job: JobData, now: datetime) -> None:
    """Create the run after this one, if the job is its schedule's latest."""
    if job.scheduler_id is None:
        return
    scheduler = rows.scheduler(job.queue_name, job.scheduler_id)
    if scheduler is None or scheduler.pending_job_id != job.id:
        return
    assert job.planned_at is not None, "every run of a scheduler is planned"
    scheduler = replace(scheduler, last_run=job.planned_at)
    planned = None
    if not scheduler.paused:
        # one that never started, as it was taken away, stands for what was due by now
        started = job.attempt_logs[0].started_at if job.attempt_logs else now
        planned = schedule.next_run(scheduler.repeat, job.planned_at, now, scheduler.runs, started)
    plan_run(rows, scheduler, planned, now)


def add_next_of_chain(rows: Rows, job: JobData, now: datetime) -> None:
    """Add the run after one of a program of Conveyor's, unless it was cancelled or the last."""
    repeat = job.opts.repeat
    if repeat is None or job.cancelled_at is not None:
        return
    planned = job.created_at + timedelta(seconds=job.opts.delay)
    started = job.attempt_logs[0].started_at if job.attempt_logs else now
    upcoming = schedule.next_run(repeat, planned, now, 1, started)
    if upcoming is None:
        return
    left = None if repeat.limit is None else repeat.limit - 1
    delay = max((upcoming - now).total_seconds(), 0.0)
    again = dataclasses.replace(repeat, limit=left)
    opts = dataclasses.replace(job.opts, job_id=None, delay=delay, repeat=again)
    following = JobData(
        id=rows.new_id(job.queue_name),
        name=job.name,
        queue_name=job.queue_name,
        opts=opts,
        group_id=job.group_id,
    )
    admit(rows, following, following.id, job.kept_data, now)


def has_gone_on(job: JobData) -> bool:
    """Whether the run after a settled one of a program of Conveyor's was added as that settled.

    Those programs add none if a run fails for good, and ours do. It is ours that had the run if it
    is known in which slot.
    """
    if job.opts.repeat is None or job.scheduler_id is not None or job.cancelled_at is not None:
        return False
    ran = job.attempt_logs
    return job.state is COMPLETED or (bool(ran) and ran[-1].slot is not None)
