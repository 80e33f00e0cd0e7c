"""The steps about workers themselves: they come and go."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from conveyor_nb.core.model import EventType
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.steps.writing import note
from conveyor_nb.core.values.checks import check_choice
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus

__all__ = ["save_worker"]

_WORKER_EVENTS = {
    WorkerStatus.RUNNING: EventType.WORKER_STARTED,
    WorkerStatus.PAUSED: EventType.WORKER_PAUSED,
    WorkerStatus.CLOSING: EventType.WORKER_PAUSED,  # it takes no more jobs
    WorkerStatus.STOPPED: EventType.WORKER_CLOSED,
    WorkerStatus.CLOSED: EventType.WORKER_CLOSED,
}


def save_worker(rows: Rows, worker: WorkerInfo, now: datetime) -> None:
    """Note a worker, or its new status; one that has stopped or closed is listed no more."""
    status = check_choice(WorkerStatus, worker.status, what="worker status")
    if status in (WorkerStatus.CLOSED, WorkerStatus.STOPPED):
        rows.remove_worker(worker)
    else:
        rows.put_worker(dataclasses.replace(worker, status=status, last_seen=now))
    about = {"worker_id": worker.id, "name": worker.name}
    note(rows, _WORKER_EVENTS[status], worker.queue_name, None, now, **about)
