"""How a job enters its queue, and what a worker changes by taking it; see ``lifecycle``."""

from __future__ import annotations

from datetime import datetime

from conveyor_nb.core.attempts import with_room
from conveyor_nb.core.lifecycle import Change, move, placed
from conveyor_nb.core.model import (
    ACTIVE,
    DELAYED,
    WAITING,
    WAITING_CHILDREN,
    AttemptRecord,
    JobData,
)
from conveyor_nb.core.values.durations import span

__all__ = ["admit", "take"]


def admit(job: JobData, now: datetime) -> Change:
    """Decide in which state a new job begins: it waits for children, for its time, or its turn."""
    until = job.planned_at
    if job.opts.delay:
        until = now + span(job.opts.delay)
    state = WAITING
    if job.pending_children_count:
        state = WAITING_CHILDREN
    elif until is not None and until > now:
        state = DELAYED
    if state is not DELAYED:
        until = None
    updates = {"state": state, "created_at": now, "delay_until": until}
    return Change(updates, (placed(job, state, None, until=until),))


def take(
    job: JobData, worker_id: str, lock_duration: float, now: datetime, slot: int | None = None
) -> Change:
    """Decide what a worker changes by taking a waiting job."""
    if attempts := job.attempt_logs:
        attempt = attempts[-1].attempt + 1
        attempts = (*with_room(attempts), AttemptRecord(attempt, worker_id, now, slot=slot))
    else:
        attempt = 1
        attempts = (AttemptRecord(attempt, worker_id, now, slot=slot),)
    updates = {
        "processed_at": now,
        "locked_by": worker_id,
        "lock_until": now + span(lock_duration),
        "attempt_logs": attempts,
    }
    return move(job, ACTIVE, updates, {"worker_id": worker_id, "attempt": attempt})
