"""What programs of Conveyor leave undone that share a database with us, found and done.

They run what a schedule of ours has planned, and plan no next run, as they know nothing of it.
"""

from __future__ import annotations

from datetime import datetime

from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import JobData
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.steps.planning import plan_next_run
from conveyor_nb.stores.sql.asking import Asking

__all__ = ["go_on", "stopped_schedulers"]

_STOPPED = (
    "SELECT its.id FROM conveyor_nb_schedulers AS its LEFT JOIN conveyor_jobs AS run"
    " ON run.queue_name = its.queue_name AND run.id = its.pending_job_id"
    " WHERE its.queue_name = ? AND its.pending_job_id IS NOT NULL"
    " AND (run.id IS NULL OR run.state IN ('completed', 'failed'))"
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
