"""The steps about workers themselves: they come and go, and are told what to do."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from conveyor_nb.core.errors import WorkerNotFoundError
from conveyor_nb.core.model import EventType
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.steps.writing import note
from conveyor_nb.core.values.checks import check_choice, check_instance
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo, WorkerStatus

__all__ = ["command_worker", "save_worker"]

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
        before = rows.worker(worker.id)
        told = None if before is None else before.command
        if told is not None:
            told = None if told.is_overdue(now) else told.left_for(status, worker.concurrency)
        rows.put_worker(dataclasses.replace(worker, status=status, last_seen=now, command=told))
    about = {"worker_id": worker.id, "name": worker.name}
    note(rows, _WORKER_EVENTS[status], worker.queue_name, None, now, **about)


def command_worker(rows: Rows, worker_id: str, command: WorkerCommand, now: datetime) -> WorkerInfo:
    """Tell a worker what to do; see ``StoreInterface.command_worker``."""
    check_instance(WorkerCommand, command, what="command", example="WorkerCommand('paused')")
    worker = rows.worker(worker_id)
    if worker is None:
        raise WorkerNotFoundError(worker_id)
    told = dataclasses.replace(command, given_at=now)
    before = worker.command
    if before is not None and (not command or before.is_overdue(now)):
        before = None
    left = told.after(before).left_for(worker.status, worker.concurrency)
    commanded = dataclasses.replace(worker, command=left)
    rows.put_worker(commanded)
    given = {
        "worker_id": worker.id,
        "name": worker.name,
        "status": None if command.status is None else str(command.status),
        "concurrency": command.concurrency,
        "timeout": command.timeout,
    }
    about = {name: value for name, value in given.items() if value is not None}
    note(rows, EventType.WORKER_COMMANDED, worker.queue_name, None, now, **about)
    return commanded
