"""What a worker does about faults that are not a job's: it tells of each once, and goes on."""

from __future__ import annotations

import logging

from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.running.tracebacks import describe
from conveyor_nb.stores import StoreInterface

__all__ = ["Chores", "FaultReporter"]


class FaultReporter:
    """Tells of faults, in the log and as events of the queue.

    Args:
        store, queue_name: where events of them are published.
        worker_id: whose faults they are.
        logger: where faults of the store go as well.
    """

    def __init__(
        self, store: StoreInterface, queue_name: str, worker_id: str, logger: logging.Logger
    ) -> None:
        self._store = store
        self._queue_name = queue_name
        self._worker_id = worker_id
        self._logger = logger
        self.told: dict[str, str] = {}
        """The fault that was told of last, by where it was."""

    async def report(self, where: str, error: Exception) -> None:
        """Tell of a fault once, however often it comes again until all is well there."""
        if self.told.get(where) == describe(error):
            return
        self.told[where] = describe(error)
        self._logger.error(
            "worker %s: the store failed; it goes on trying", self._worker_id, exc_info=error
        )
        try:
            await self.publish(error, None)
        except Exception as again:  # then the log must do
            self._logger.error("worker %s: no event either", self._worker_id, exc_info=again)

    async def report_closing(self, error: Exception) -> None:
        """Tell what a person's lifespan raised when it was closed."""
        self._logger.error(
            "worker %s: its lifespan raised as it was closed", self._worker_id, exc_info=error
        )
        await self.publish(error, None)

    def all_is_well(self, where: str) -> None:
        """Note that what failed there works again."""
        self.told.pop(where, None)

    async def publish(self, error: Exception, job_id: str | None) -> None:
        """Tell of a fault that concerns a job, or none."""
        data = {"worker_id": self._worker_id, "error": describe(error)}
        now = self._store.clock.now()
        await self._store.publish(StoreEvent(EventType.ERROR, self._queue_name, job_id, data, now))


class Chores(BackgroundTasks):
    """What a worker does beside its jobs.

    Args:
        faults: told of what raises, and of what works again.
    """

    __slots__ = ("_faults",)

    def __init__(self, faults: FaultReporter) -> None:
        super().__init__(self._note_end)
        self._faults = faults

    def _note_end(self, where: str, error: BaseException | None) -> None:
        if isinstance(error, Exception):
            self.spawn(self._faults.report(where, error))
        else:
            self._faults.all_is_well(where)
