"""What follows when jobs end, in the same step: one loop, for a flow may be any number deep.

When a job has settled, in this order: it is counted in the metrics, its parent is told, the next
run of its schedule is planned, and what is not kept (any longer) is removed; a queue in which
nothing waits and nothing is active is said to be drained. When a job was removed that had not
settled, its parent is told, and the next run of its schedule is planned.
"""

from __future__ import annotations

from datetime import datetime

from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import EventType, JobData
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.steps.families import child_ended
from conveyor_nb.core.steps.planning import add_next_of_chain, plan_next_run
from conveyor_nb.core.steps.retention import too_many
from conveyor_nb.core.steps.writing import Removed, note, remove, write

__all__ = ["follow_up", "tell_parent"]


def follow_up(rows: Rows, now: datetime, settled: list[JobData], removed: list[Removed]) -> None:
    """Do what follows from jobs that settled, or were removed; both lists are used up.

    Args:
        rows: the store's.
        now: the instant of the step.
        settled: jobs that have just settled, as they are now.
        removed: jobs that were removed.
    """
    if removed:
        _follow_removals(rows, now, settled, removed)
    for job in settled:  # the list grows by parents that settle
        if rows.collects_metrics:
            rows.record(job, now)
        if job.parent_id is not None:
            _tell(rows, job, None, now, settled, removed)
        if job.scheduler_id is not None:
            plan_next_run(rows, job, now)
        elif job.opts.repeat is not None:
            add_next_of_chain(rows, job, now)
        if job.opts.remove_on_complete or job.opts.remove_on_fail:
            removed += [remove(rows, one, now) for one in too_many(rows, job)]
        if rows.is_idle(job.queue_name):
            note(rows, EventType.DRAINED, job.queue_name, None, now)
        if removed:
            _follow_removals(rows, now, settled, removed)


def _follow_removals(
    rows: Rows, now: datetime, settled: list[JobData], removed: list[Removed]
) -> None:
    for job, reason in removed:  # the list grows by parents that are removed
        _tell(rows, job, reason, now, settled, removed)
        if job.scheduler_id is not None:
            plan_next_run(rows, job, now)
    removed.clear()


def tell_parent(rows: Rows, child: JobData, now: datetime) -> bool:
    """Tell the parent how a child settled; returns whether that was news to it."""
    settled: list[JobData] = []
    removed: list[Removed] = []
    told = _tell(rows, child, None, now, settled, removed)
    follow_up(rows, now, settled, removed)
    return told


def _tell(
    rows: Rows,
    child: JobData,
    reason: str | None,
    now: datetime,
    settled: list[JobData],
    removed: list[Removed],
) -> bool:
    """Tell the parent of a child that ended, and add to the jobs that ended if it does, too."""
    told = child_ended(rows, child, reason, now)
    if told is None:
        return False
    parent, change = told
    changed = write(rows, parent, change, now)
    if change.removes:
        removed.append(remove(rows, changed, now, changed.failed_reason))
    elif changed.state in SETTLED and parent.state not in SETTLED:
        settled.append(changed)
    return True
