"""The steps of job schedulers: each changes one together with its pending run."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from conveyor_nb.core import schedule
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.steps.consequences import follow_up
from conveyor_nb.core.steps.planning import keep, plan_run
from conveyor_nb.core.steps.writing import remove

__all__ = ["pause_scheduler", "remove_scheduler", "resume_scheduler", "save_scheduler"]


def save_scheduler(rows: Rows, wanted: JobScheduler, now: datetime) -> JobScheduler:
    """Create a scheduler, or change it together with its pending run.

    If only the template changes, the pending run keeps its time; a run that is active is
    left alone, and the change holds from the next one on.
    """
    fresh = replace(wanted, data=rows.freeze(wanted.data, "data"))
    known = rows.scheduler(wanted.queue_name, wanted.id)
    if known is None or (known.pending_job_id is None and not known.paused):
        return plan_run(rows, fresh, schedule.first_run(fresh.repeat, now), now)
    fresh = replace(fresh, runs=known.runs, last_run=known.last_run, paused=known.paused)
    pending = _pending_run(rows, known)
    if pending is not None and pending.state is JobState.ACTIVE:
        return keep(rows, replace(fresh, next_run=known.next_run, pending_job_id=pending.id))
    planned = known.next_run
    if fresh.repeat != known.repeat:
        planned = schedule.first_run(fresh.repeat, now)
    fresh = _drop_pending_run(rows, fresh, pending, now)
    return plan_run(rows, fresh, None if fresh.paused else planned, now)


def pause_scheduler(rows: Rows, queue_name: str, scheduler_id: str, now: datetime) -> bool:
    """Take back the pending run, and plan no other; ``False``: there is no such scheduler."""
    scheduler = rows.scheduler(queue_name, scheduler_id)
    if scheduler is None:
        return False
    pending = _pending_run(rows, scheduler)
    if pending is not None and pending.state is JobState.ACTIVE:
        keep(rows, replace(scheduler, paused=True))
    else:
        _drop_pending_run(rows, replace(scheduler, paused=True), pending, now)
    return True


def resume_scheduler(rows: Rows, queue_name: str, scheduler_id: str, now: datetime) -> bool:
    """Plan runs again, from now on; ``False``: there is no such scheduler."""
    scheduler = rows.scheduler(queue_name, scheduler_id)
    if scheduler is None:
        return False
    scheduler = replace(scheduler, paused=False)
    if scheduler.pending_job_id is not None:
        keep(rows, scheduler)
    else:
        planned = schedule.resumed_run(scheduler.repeat, scheduler.last_run, now)
        plan_run(rows, scheduler, planned, now)
    return True


def remove_scheduler(rows: Rows, queue_name: str, scheduler_id: str, now: datetime) -> bool:
    """Forget a scheduler, and take back its pending run unless that is active."""
    scheduler = rows.scheduler(queue_name, scheduler_id)
    if scheduler is None:
        return False
    pending = _pending_run(rows, scheduler)
    rows.remove_scheduler(scheduler)
    if pending is not None and pending.state is not JobState.ACTIVE:
        follow_up(rows, now, [], [remove(rows, pending, now)])
    return True


def _pending_run(rows: Rows, scheduler: JobScheduler) -> JobData | None:
    """The run of a scheduler that is to come, or is active."""
    if scheduler.pending_job_id is None:
        return None
    return rows.job(scheduler.queue_name, scheduler.pending_job_id)


def _drop_pending_run(
    rows: Rows, scheduler: JobScheduler, pending: JobData | None, now: datetime
) -> JobScheduler:
    """Take back a run that has not started: it does not count."""
    runs = scheduler.runs - (pending is not None)
    scheduler = keep(rows, replace(scheduler, runs=runs, next_run=None, pending_job_id=None))
    if pending is not None:
        follow_up(rows, now, [], [remove(rows, pending, now)])
    return scheduler
