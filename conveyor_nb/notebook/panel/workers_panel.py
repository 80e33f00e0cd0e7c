"""The workers of a queue as a panel shows them, and what its buttons do with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from conveyor_nb.core.errors import ConveyorError, WorkerNotFoundError
from conveyor_nb.core.values.text import shown
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo, WorkerStatus
from conveyor_nb.notebook.known_workers import known_workers, start_worker, stop_worker
from conveyor_nb.notebook.panel.sizes import fitting, sendable
from conveyor_nb.notebook.panel.view import Action, Glance, View
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface
from conveyor_nb.worker import Worker, live_workers

__all__ = [
    "WHILE_IT_IS_TOLD",
    "WorkersView",
    "act_on_worker",
    "known_workers_of",
    "tell_worker",
    "worker_rows",
]

_ACTIONS: Mapping[str, list[str]] = {
    WorkerStatus.RUNNING: ["pause", "stop"],
    WorkerStatus.PAUSED: ["resume", "stop"],
    WorkerStatus.STOPPED: ["start"],
    WorkerStatus.CLOSED: ["start"],
}

_TOLD = {
    "pause": WorkerStatus.PAUSED,
    "resume": WorkerStatus.RUNNING,
    "stop": WorkerStatus.CLOSED,
}
"""What a worker of another process is told to become."""

WHILE_IT_IS_TOLD = 2.0
"""How often, in seconds, one looks again while a worker has not done yet what it was told."""

_MOST_SHOWN = 24
_ROOM = 6_000


class WorkersView(View):
    """The workers of a queue, with buttons to manage them."""

    part: ClassVar[str] = "workers"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._is_told = False

    @property
    def again(self) -> float | None:
        return WHILE_IT_IS_TOLD if self._is_told else None

    async def read(self, glance: Glance) -> list[dict[str, Any]]:
        rows = await worker_rows(self.queue.store, self.queue.name)
        self._is_told = any(row["told"] for row in rows)
        shown = [row | {"can": []} for row in rows] if self.read_only else rows
        fit = fitting(sendable(shown[:_MOST_SHOWN]), _ROOM)
        more = len(rows) - len(fit)
        return [*fit, {"key": "", "more": more}] if more else fit

    def acts(self) -> Mapping[str, Action]:
        verbs = ("start", "stop", "pause", "resume")
        return {f"{verb}_worker": self._doing(verb) for verb in verbs}

    def _doing(self, verb: str) -> Action:
        queue = self.queue
        return lambda message: act_on_worker(queue.store, queue.name, message.worker, verb)


async def worker_rows(store: StoreInterface, queue_name: str) -> list[dict[str, Any]]:
    """The workers that serve a queue: those that can be stopped or started here, then others.

    Those of other processes are told through the store what to do. Those that gave way to another
    version are shown when they have finished their jobs.
    """
    mine = known_workers_of(store, queue_name)
    known = {worker.id for worker in mine.values()}
    others = [info for info in await store.list_workers(queue_name) if info.id not in known]
    rows = [_known_row(key, worker) for key, worker in sorted(mine.items())]
    live = {worker.id: worker for worker in live_workers() if worker.store is store}
    now = store.clock.now()
    return rows + [_other_row(info, live.get(info.id), now) for info in others]


async def act_on_worker(store: StoreInterface, queue_name: str, key: str, action: str) -> None:
    """Start, stop, pause or resume a worker of a queue, by the key of its row.

    Stopping waits for the running jobs, for as long as ``Worker.close`` does. A worker of another
    process is told so, and that is all.

    Raises:
        ConveyorError: there is no such worker.
    """
    worker = known_workers_of(store, queue_name).get(key)
    if worker is None:
        if action not in _TOLD:
            raise _no_worker(queue_name, key)
        await tell_worker(store, queue_name, key, WorkerCommand(_TOLD[action]))
        return
    match action:
        case "pause":
            worker.pause()
        case "resume":
            worker.resume()
        case "stop":
            await stop_worker(worker)
        case "start":
            start_worker(worker)


async def tell_worker(
    store: StoreInterface, queue_name: str, worker_id: str, command: WorkerCommand
) -> None:
    """Tell a worker of another process, through the store, what to do.

    Raises:
        ConveyorError: there is no such worker.
    """
    try:
        await store.command_worker(worker_id, command)
    except WorkerNotFoundError:
        raise _no_worker(queue_name, worker_id) from None


def _no_worker(queue_name: str, key: str) -> ConveyorError:
    return ConveyorError(f"queue {shown(queue_name)} has no worker named {shown(key)} any more")


def known_workers_of(store: StoreInterface, queue_name: str) -> dict[str, Worker]:
    """The workers that serve a queue and can be managed here, by the keys of their rows."""
    workers = known_workers(store).items()
    return {key: worker for key, worker in workers if worker.queue_name == queue_name}


def _known_row(key: str, worker: Worker) -> dict[str, Any]:
    return {
        "key": key,
        "name": key,
        "version": worker.version,
        "status": worker.status.in_words,
        "busy": worker.slots_in_use,
        "held": worker.slots_held,
        "concurrency": worker.concurrency,
        "wanted": worker.concurrency,
        "told": "",
        "can": _ACTIONS.get(worker.status, []),
    }


def _other_row(info: WorkerInfo, worker: Worker | None, now: datetime) -> dict[str, Any]:
    status = worker.status if worker else info.status
    command = info.command or WorkerCommand()
    is_overdue = command.is_overdue(now)
    wanted = status if is_overdue or command.status is None else WorkerStatus(command.status)
    can = [] if worker or wanted.is_over else _ACTIONS.get(wanted, [])
    return {
        "key": info.id,
        "name": info.name,
        "version": worker and worker.version,
        "status": status.in_words,
        "busy": worker.slots_in_use if worker else None,
        "held": worker.slots_held if worker else 0,
        "concurrency": info.concurrency,
        "wanted": (None if is_overdue else command.concurrency) or info.concurrency,
        "told": _words(command, is_overdue=is_overdue),
        "can": can,
    }


def _words(command: WorkerCommand, *, is_overdue: bool) -> str:
    """What is said of a command as long as it was not obeyed."""
    if not command:
        return ""
    return f"was told to {command}, and never did" if is_overdue else f"is told to {command} …"
