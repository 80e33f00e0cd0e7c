"""What a worker is told through its store, from whatever process, and how it comes to know of it.

An event tells it at once. One that was missed (the process stood still, the server was away) is
found in the worker's record, where the store keeps what it was told until it has done it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from conveyor_nb.core.model import StoreEvent
from conveyor_nb.core.worker_info import WorkerCommand
from conveyor_nb.stores.interface import StoreInterface

__all__ = ["Commands"]


class Commands:
    """Hears, and looks for, what a worker is told.

    Args:
        store, queue_name, worker_id: whose commands they are.
        obey: called with what it is told, on the worker's loop.
        enlist: awaited when the store does not list the worker any more, for it was not seen for
            long: its process stood still.
    """

    def __init__(
        self,
        store: StoreInterface,
        queue_name: str,
        worker_id: str,
        *,
        obey: Callable[[WorkerCommand], object],
        enlist: Callable[[], Awaitable[object]],
    ) -> None:
        self._store = store
        self._queue_name = queue_name
        self._worker_id = worker_id
        self._obey = obey
        self._enlist = enlist

    def hear(self, event: StoreEvent) -> None:
        """Take note of an event that tells a worker something."""
        data = event.data
        if data.get("worker_id") == self._worker_id:
            given = (data.get("status"), data.get("concurrency"), data.get("timeout"))
            self._take(WorkerCommand(*given, event.timestamp))

    async def look(self) -> None:
        """Look for what it was told and has not done, and whether it is still listed."""
        listed = await self._store.list_workers(self._queue_name)
        found = next((one for one in listed if one.id == self._worker_id), None)
        if found is None:
            await self._enlist()
        elif found.command is not None and not self._take(found.command):
            await self._store.command_worker(self._worker_id, WorkerCommand())

    def _take(self, command: WorkerCommand) -> bool:
        """Obey a command; one that is overdue is not, as who gave it counts on it no more."""
        if command.is_overdue(self._store.clock.now()):
            return False
        self._obey(command)
        return True
