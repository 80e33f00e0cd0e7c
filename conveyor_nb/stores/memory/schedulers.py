"""What a ``MemoryStore`` does with job schedulers, together with their pending runs."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from conveyor_nb.core import schedule
from conveyor_nb.core.freezing import freeze
from conveyor_nb.core.model import JobData, JobScheduler, JobState
from conveyor_nb.stores.memory.state import MemoryState

__all__ = ["pause_scheduler", "remove_scheduler", "resume_scheduler", "save_scheduler"]


def save_scheduler(state: MemoryState, wanted: JobScheduler, now: datetime) -> JobScheduler:
    """Create a scheduler, or change it together with its pending run.

    If only the template changes, the pending run keeps its time; a run that is active is
    left alone, and the change holds from the next one on.
    """
    known = state.schedulers.get((wanted.queue_name, wanted.id))
    fresh = replace(wanted, data=freeze(wanted.data, "data"))
    if known is None or (known.pending_job_id is None and not known.paused):
        return state.plan_run(fresh, schedule.first_run(fresh.repeat, now), now)
    fresh = replace(fresh, runs=known.runs, last_run=known.last_run, paused=known.paused)
    pending = state.pending_run(known)
    if pending is not None and pending.state is JobState.ACTIVE:
        return state.keep_scheduler(
            replace(fresh, next_run=known.next_run, pending_job_id=pending.id)
        )
    planned = known.next_run
    if fresh.repeat != known.repeat:
        planned = schedule.first_run(fresh.repeat, now)
    fresh = _drop_pending_run(state, fresh, pending, now)
    return state.plan_run(fresh, None if fresh.paused else planned, now)


def pause_scheduler(state: MemoryState, scheduler: JobScheduler, now: datetime) -> None:
    """Take back the pending run, and plan no other."""
    pending = state.pending_run(scheduler)
    if pending is not None and pending.state is JobState.ACTIVE:
        state.keep_scheduler(replace(scheduler, paused=True))
        return
    _drop_pending_run(state, replace(scheduler, paused=True), pending, now)


def resume_scheduler(state: MemoryState, scheduler: JobScheduler, now: datetime) -> None:
    """Plan runs again, from now on."""
    scheduler = replace(scheduler, paused=False)
    if scheduler.pending_job_id is not None:
        state.keep_scheduler(scheduler)
        return
    planned = schedule.resumed_run(scheduler.repeat, scheduler.last_run, now)
    state.plan_run(scheduler, planned, now)


def remove_scheduler(state: MemoryState, scheduler: JobScheduler, now: datetime) -> None:
    """Forget a scheduler, and take back its pending run unless that is active."""
    pending = state.pending_run(scheduler)
    del state.schedulers[(scheduler.queue_name, scheduler.id)]
    if pending is not None and pending.state is not JobState.ACTIVE:
        _remove(state, pending, now)


def _drop_pending_run(
    state: MemoryState, scheduler: JobScheduler, pending: JobData | None, now: datetime
) -> JobScheduler:
    """Take back a run that has not started: it does not count."""
    runs = scheduler.runs - (pending is not None)
    scheduler = state.keep_scheduler(
        replace(scheduler, runs=runs, next_run=None, pending_job_id=None)
    )
    if pending is not None:
        _remove(state, pending, now)
    return scheduler


def _remove(state: MemoryState, job: JobData, now: datetime) -> None:
    state.remove(job.queue_name, job.id, now)
    state.follow_up(now)
