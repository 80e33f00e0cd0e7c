"""Following one job: its start, its progress and its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar
from weakref import ref

from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.cell_reruns import current_origin, replace_earlier
from conveyor_nb.core.model import EventType, JobData, StoreEvent
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.events import EventBus
from conveyor_nb.stores.following import GONE, JOB_ENDS, JobEnd, JobFollower, as_told

__all__ = ["JobObservable"]

_FOLLOWED = (
    EventType.ACTIVE,
    EventType.PROGRESS,
    EventType.COMPLETED,
    EventType.FAILED,
    EventType.REMOVED,
)

Unsubscribe = Callable[[], None]
Observer = Callable[..., Awaitable[None] | None]


class JobObservable:
    """Calls back as a job starts, makes progress and ends; then it is disposed.

    Callbacks are called on the loop where they subscribed. Async ones may still be at work at the
    end: they are left to finish, until the store is disconnected or the queue closed that gave
    this.

    Args:
        store: where the job is.
        queue_name: the job's queue.
        job_id: the job.
        known: the job as it was seen last, if it was.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore, Queue, Worker
    >>> async def main():
    ...     store = MemoryStore(ids="sequential")
    ...     queue = Queue("sums", store=store)
    ...     job = await queue.add("sum", [1, 2, 3])
    ...     job.observe().subscribe(on_completed=lambda job, value: print(job.id, "is", value))
    ...     async with Worker("sums", lambda job: sum(job.data), store=store) as worker:
    ...         await job.wait_until_finished()
    >>> asyncio.run(main())
    sums-1 is 6
    """

    job_of: ClassVar[Callable[[JobData, StoreInterface], Any]]
    """Makes the job that callbacks get: ``Job``, which says so itself, as it gives observables."""

    def __init__(
        self,
        store: StoreInterface,
        queue_name: str,
        job_id: str,
        *,
        known: JobData | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.queue_name = queue_name
        self.job_id = job_id
        self._store = store
        self._known = known
        self._logger = logger
        self._followers: list[_Follower] = []
        self._has_ended = False
        store.subscribe(queue_name, self._hear, job_id=job_id)

    @property
    def disposed(self) -> bool:
        """Whether the job has ended, or :meth:`dispose` was called."""
        return self._has_ended

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

        Each is given the ``Job`` as it is then, plain or async, and more:

        Args:
            on_active: called with ``(job)`` when a worker takes it.
            on_progress: called with ``(job, progress)``, in percent.
            on_completed: called with ``(job, result)``.
            on_failed: called with ``(job, reason)`` when it fails for good.
            on_cancelled: called with ``(job)`` when it ends because it was cancelled.

        Returns:
            A function that ends this subscription.

        Raises:
            TypeError: a callback can't be called.
            RuntimeError: no event loop is running.
        """
        observers = {
            "active": on_active,
            "progress": on_progress,
            "completed": on_completed,
            "failed": on_failed,
            "cancelled": on_cancelled,
        }
        for name, observer in observers.items():
            if observer is not None and not callable(observer):
                raise TypeError(f"on_{name} must be a function, not {shown(observer)}")
        follower = _Follower(self._store, self._base(), observers, self._leave, self._logger)
        self._followers.append(follower)
        if current_origin() is not None:
            self._replace_earlier(follower, observers)
        self._has_ended = False
        self._store.subscribe(self.queue_name, self._hear, job_id=self.job_id)  # it may have left
        return follower.close

    def _replace_earlier(self, follower: _Follower, observers: dict[str, Observer | None]) -> None:
        """In a notebook, end what an earlier run of the cell has subscribed to this job."""
        this = ref(follower)

        def drop() -> None:
            if (one := this()) is not None:
                one.close()

        for name, observer in observers.items():
            if observer is not None:
                place = (ref(self._store), self.queue_name, self.job_id, name)
                replace_earlier(place, observer, drop)

    async def cancel(self) -> None:
        """Cancel the job; of a settled job: no effect."""
        await self._store.cancel_job(self.queue_name, self.job_id)

    def dispose(self) -> None:
        """Call nobody back any more, and stop the async callbacks that are at work."""
        self._has_ended = True
        self._store.unsubscribe(self.queue_name, self._hear, job_id=self.job_id)
        for follower in tuple(self._followers):
            follower.close()

    def _base(self) -> JobData:
        return self._known or JobData(self.job_id, "", self.queue_name)

    def _hear(self, event: StoreEvent) -> None:
        if event.type == EventType.DISCONNECTED:
            self.dispose()
        elif event.type in JOB_ENDS:
            self._has_ended = True
            for follower in tuple(self._followers):
                if follower.is_lost:
                    self._followers.remove(follower)
            self._leave(None)

    def _leave(self, follower: _Follower | None) -> None:
        """Take no more events when the job has ended and no callback is at work any more."""
        if follower in self._followers:
            self._followers.remove(follower)
            self._has_ended = self._has_ended or follower.has_ended
        if self._has_ended and not self._followers:
            self._store.unsubscribe(self.queue_name, self._hear, job_id=self.job_id)


class _Follower:
    """One subscription to a job: calls back on the loop where it was made.

    Args:
        store: where the job is.
        known: what is known of the job.
        observers: what to call, by name.
        on_leave: called with this when the job has ended and no callback is at work any more.
        logger: where faults of the callbacks go.
    """

    def __init__(
        self,
        store: StoreInterface,
        known: JobData,
        observers: dict[str, Observer | None],
        on_leave: Callable[[_Follower], None],
        logger: logging.Logger | None,
    ) -> None:
        self.has_ended = False
        self._is_closed = False
        self._store = store
        self._known = known
        self._observers = observers
        self._on_leave = on_leave
        self._early: list[StoreEvent] | None = []
        """What was heard before the job was looked at."""
        self._bus = EventBus(_FOLLOWED, logger)
        for kind in ("active", "progress", "completed", "failed"):
            self._bus.on(kind, self._tell)
        self._job = JobFollower(store, known.queue_name, known.id, self._take)
        self._job.end.add_done_callback(self._note_end)
        self._tasks = BackgroundTasks()
        self._tasks.spawn(self._catch_up())

    @property
    def is_lost(self) -> bool:
        """Whether the loop where it would call back is closed."""
        return self._job.end.get_loop().is_closed()

    def close(self) -> None:
        """Call nobody back any more, and stop what is at work."""
        self._is_closed = True
        self._bus.close()
        self._job.close()
        self._tasks.cancel()
        self._on_leave(self)

    def _take(self, event: StoreEvent) -> None:
        if self._early is not None:
            self._early.append(event)
        elif not self._is_closed:
            self._known = as_told(self._known, event)
            self._bus.emit(event)

    async def _catch_up(self) -> None:
        """Look at the job, and tell of an end that was missed."""
        try:
            self._known = await self._job.look() or self._known
        finally:  # if the store fails now, what it tells is told all the same
            early, self._early = self._early or [], None
            for event in early:
                self._take(event)
            if self._job.end.done():
                self._note_end(self._job.end)

    def _note_end(self, end: asyncio.Future[JobEnd]) -> None:
        if end.cancelled() or self._early is not None or self.has_ended:
            return
        self.has_ended = True
        self._tasks.spawn(self._finish(end.result()))

    async def _finish(self, end: JobEnd) -> None:
        """Tell of the job's end."""
        if end.event.type not in GONE:
            self._known = as_told(self._known, end.event)
            found = end.record or await self._store.get_job(self._known.queue_name, self._known.id)
            self._known = found or self._known
            self._bus.emit(end.event)
        self._leave_when_idle()

    def _leave_when_idle(self, _: object = None) -> None:
        at_work = next(iter(self._bus.at_work), None)
        if at_work is not None:
            at_work.add_done_callback(self._leave_when_idle)
        else:
            self._on_leave(self)

    def _tell(self, event: StoreEvent) -> Awaitable[None] | None:
        """Call the observer of an event."""
        data = event.data
        name = event.type.partition(":")[2]
        more: tuple[Any, ...] = ()
        if name == "failed" and data["cancelled"]:
            name = "cancelled"
        elif name == "completed":
            more = (self._known.returnvalue,)
        elif name != "active":
            more = (data[_TOLD[name]],)
        observer = self._observers[name]
        if observer is None:
            return None
        return observer(JobObservable.job_of(self._known, self._store), *more)


_TOLD = {"progress": "progress", "failed": "reason"}
"""What an observer is told beside the job, by its key in the event's data."""
