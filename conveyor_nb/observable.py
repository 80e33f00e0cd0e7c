"""Following one job: its start, its progress and its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from conveyor_nb.events import EventBus, EventHandler
from conveyor_nb.lifecycle import SETTLED
from conveyor_nb.model import EventType, JobData, JobState, StoreEvent
from conveyor_nb.stores import StoreInterface

__all__ = ["JobObservable"]

_FOLLOWED = (
    EventType.ACTIVE,
    EventType.PROGRESS,
    EventType.COMPLETED,
    EventType.FAILED,
    EventType.REMOVED,
)
_ENDS = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.REMOVED})

Unsubscribe = Callable[[], None]
Observer = Callable[..., Awaitable[None] | None]


class JobObservable:
    """Calls back as a job starts, makes progress and ends; then it is disposed.

    Async callbacks may still be at work then: they are left to finish, until the store is
    disconnected or the queue closed that gave this.

    Args:
        store: where the job is.
        queue_name: the job's queue.
        job_id: the job.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore, Queue, Worker
    >>> async def main():
    ...     store = MemoryStore(ids="sequential")
    ...     queue = Queue("sums", store=store)
    ...     job = await queue.add("sum", [1, 2, 3])
    ...     job.observe().subscribe(on_completed=lambda value: print("the sum is", value))
    ...     async with Worker("sums", lambda job: sum(job.data), store=store) as worker:
    ...         await job.wait_until_finished()
    >>> asyncio.run(main())
    the sum is 6
    """

    def __init__(
        self,
        store: StoreInterface,
        queue_name: str,
        job_id: str,
        *,
        logger: logging.Logger | None = None,
    ) -> None:
        self.queue_name = queue_name
        self.job_id = job_id
        self._store = store
        self._logger = logger
        self._buses: list[EventBus] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._disposed = False
        store.subscribe(queue_name, self._hear, job_id=job_id)

    @property
    def disposed(self) -> bool:
        """Whether the job has ended, or :meth:`dispose` was called."""
        return self._disposed

    def subscribe(
        self,
        *,
        on_active: Observer | None = None,
        on_progress: Observer | None = None,
        on_completed: Observer | None = None,
        on_failed: Observer | None = None,
        on_cancelled: Observer | None = None,
    ) -> Unsubscribe:
        """Call back from now on; if the job has settled already, very soon.

        Args:
            on_active: called with nothing when a worker takes the job.
            on_progress: called with the progress in percent.
            on_completed: called with the result.
            on_failed: called with the reason when the job fails for good.
            on_cancelled: called with nothing when it ends because it was cancelled.

        Returns:
            A function that ends this subscription.
        """
        bus = EventBus(_FOLLOWED, self._logger)
        _connect(bus, "active", on_active, lambda event: ())
        _connect(bus, "progress", on_progress, lambda event: (event.data["progress"],))
        _connect(bus, "completed", on_completed, lambda event: (event.data["returnvalue"],))
        if on_failed or on_cancelled:
            bus.on("failed", lambda event: _tell_failure(event, on_failed, on_cancelled))
        self._buses.append(bus)
        self._store.subscribe(self.queue_name, self._hear, job_id=self.job_id)  # if it had left
        task = asyncio.get_running_loop().create_task(self._catch_up(bus))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def unsubscribe() -> None:
            if bus in self._buses:
                self._buses.remove(bus)
            bus.close()

        return unsubscribe

    async def cancel(self) -> None:
        """Cancel the job; of a settled job: no effect."""
        await self._store.cancel_job(self.queue_name, self.job_id)

    def dispose(self) -> None:
        """Call nobody back any more, and stop the async callbacks that are at work."""
        self._disposed = True
        self._store.unsubscribe(self.queue_name, self._hear, job_id=self.job_id)
        for bus in self._buses:
            bus.close()
        self._buses.clear()

    def _hear(self, event: StoreEvent) -> None:
        if event.type == EventType.DISCONNECTED:
            self.dispose()
        elif not self._disposed:
            for bus in tuple(self._buses):
                bus.emit(event)
            if event.type in _ENDS:
                self._end()

    def _end(self) -> None:
        """Take no more events of the job, and leave when no callback is at work any more."""
        self._disposed = True
        at_work = [task for bus in self._buses for task in bus.at_work]
        if at_work:
            at_work[0].add_done_callback(lambda _: self._end())
        else:
            self.dispose()

    async def _catch_up(self, bus: EventBus) -> None:
        """Tell a late subscriber of an end that he missed."""
        job = await self._store.get_job(self.queue_name, self.job_id)
        if bus not in self._buses or (job is not None and job.state not in SETTLED):
            return
        if job is not None:
            bus.emit(_end_of(job, self._store))
        self._end()


def _connect(
    bus: EventBus,
    name: str,
    observer: Observer | None,
    arguments: Callable[[StoreEvent], tuple[Any, ...]],
) -> None:
    if observer is not None:
        call: EventHandler = lambda event: observer(*arguments(event))  # noqa: E731
        bus.on(name, call)


def _tell_failure(
    event: StoreEvent, on_failed: Observer | None, on_cancelled: Observer | None
) -> Awaitable[None] | None:
    if event.data["cancelled"]:
        return on_cancelled() if on_cancelled else None
    return on_failed(event.data["reason"]) if on_failed else None


def _end_of(job: JobData, store: StoreInterface) -> StoreEvent:
    """The event that told of a settled job's end."""
    data = {
        "returnvalue": job.returnvalue,
        "reason": job.failed_reason,
        "cancelled": job.cancelled_at is not None,
    }
    kind = EventType.COMPLETED if job.state is JobState.COMPLETED else EventType.FAILED
    return StoreEvent(kind, job.queue_name, job.id, data, store.clock.now())
