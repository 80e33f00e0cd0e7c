"""What programs of Conveyor leave undone that share a database with us, found and done.

They run what a schedule of ours has planned, and plan no next run, as they know nothing of it. They
tell a parent of its child in a statement of its own, and may die before that; and they do not go on
to its own parent if that fails it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from conveyor_nb.core import flow_rules
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import WAITING_CHILDREN, JobData
from conveyor_nb.core.rows import ChildRow, Key, Rows, key_of
from conveyor_nb.core.steps.consequences import follow_up
from conveyor_nb.core.steps.families import child_of, outcome_of
from conveyor_nb.core.steps.planning import plan_next_run
from conveyor_nb.core.steps.writing import Removed, remove, write
from conveyor_nb.stores.sql.asking import Asking

__all__ = ["forgotten_parents", "go_on", "stopped_schedulers", "tell_of_children"]

_MOST = 100
"""How much is put right at a time."""

_STOPPED = (
    "SELECT its.id FROM conveyor_nb_schedulers AS its LEFT JOIN conveyor_jobs AS run"
    " ON run.queue_name = its.queue_name AND run.id = its.pending_job_id"
    " WHERE its.queue_name = ? AND its.pending_job_id IS NOT NULL"
    " AND (run.id IS NULL OR run.state IN ('completed', 'failed'))"
)
_CHILD_OF_ITS = "child.parent_queue_name = its.queue_name AND child.parent_id = its.id"
_FORGOTTEN = (
    "SELECT its.id FROM conveyor_jobs AS its"
    " WHERE its.queue_name = ? AND its.state = 'waiting-children'"
    f" AND NOT EXISTS (SELECT 1 FROM conveyor_jobs AS child WHERE {_CHILD_OF_ITS}"
    " AND child.state NOT IN ('completed', 'failed'))"
    f" AND NOT EXISTS (SELECT 1 FROM conveyor_nb_children AS child WHERE {_CHILD_OF_ITS}"
    " AND child.awaited = ?) LIMIT ?"
)


def stopped_schedulers(queue_name: str) -> Asking[list[str]]:
    """The schedulers of a queue whose pending run is over, or gone."""
    rows = yield _STOPPED, (queue_name,)
    return [row[0] for row in rows]


def go_on(rows: Rows, queue_name: str, scheduler_id: str, now: datetime) -> None:
    """Plan the next run of a scheduler whose pending one is over, or gone."""
    scheduler = rows.scheduler(queue_name, scheduler_id)
    if scheduler is None or scheduler.pending_job_id is None:
        return
    run = rows.job(queue_name, scheduler.pending_job_id)
    if run is None:
        run = JobData(
            scheduler.pending_job_id,
            scheduler.name,
            queue_name,
            scheduler_id=scheduler_id,
            planned_at=scheduler.next_run or now,
        )
    elif run.state not in SETTLED:
        return
    plan_next_run(rows, run, now)


def forgotten_parents(queue_name: str, true: Any) -> Asking[list[str]]:
    """Jobs of a queue that wait for children of which none is still to settle.

    Args:
        queue_name: the queue.
        true: how the database writes that something is so.
    """
    rows = yield _FORGOTTEN, (queue_name, true, _MOST)
    return [row[0] for row in rows]


def tell_of_children(rows: Rows, queue_name: str, job_id: str, now: datetime) -> None:
    """Tell a parent how its children did, if all have settled or are gone and it still waits."""
    parent = rows.job(queue_name, job_id)
    if parent is None or parent.state is not WAITING_CHILDREN:
        return
    ended: dict[Key, ChildRow] = {}
    gone: list[Key] = []
    for key, row in rows.children(key_of(parent)).items():
        child = child_of(rows, parent, key)
        if row.awaited or (child is not None and child.state not in SETTLED):
            return
        if child is not None:
            ended[key] = outcome_of(child)
        elif row.settled:
            ended[key] = row
        else:
            gone.append(key)
    # if it waits for no more than those, who removed the others had told of them
    if gone and parent.pending_children_count > _untold(rows, parent, ended):
        ended |= dict.fromkeys(gone, ChildRow(True, flow_rules.REMOVED))
    for key, row in ended.items():
        rows.put_child(key_of(parent), key, row)
    (_, last), why = max(ended, default=key_of(parent)), None
    if parent.opts.fail_parent_on_child_failure != "ignore":
        failed = ((key[1], row.why) for key, row in ended.items() if row.why is not None)
        last, why = next(failed, (last, None))
    change = flow_rules.child_settled(parent, last, why, pending=0, now=now)
    changed = write(rows, parent, change, now)
    settled: list[JobData] = []
    removed: list[Removed] = []
    if change.removes:
        removed.append(remove(rows, changed, now, changed.failed_reason))
    elif changed.state in SETTLED:
        settled.append(changed)
    follow_up(rows, now, settled, removed)


def _untold(rows: Rows, parent: JobData, ended: Iterable[Key]) -> int:
    """Of how many children that have ended a parent was not told, as far as its own rows know."""
    kept = (rows.child(key_of(parent), key) for key in ended)
    return sum(row is None or row.is_waited_for for row in kept)
