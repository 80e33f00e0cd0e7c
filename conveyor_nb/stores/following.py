"""Following a job to its end, or a queue, on one's own loop: subscribe first, then look.

So nothing that happens in between is missed. This is the one way for all who wait for a job or a
queue, and for all who follow one.

A result's whole way: the handler returns it to an ``Execution``, whose outcome is a ``Complete``
that the dispatcher applies through ``Job.apply`` and ``StoreInterface.apply``. There
``core.steps.changing`` has the rows freeze it, ``core.lifecycle`` puts it into the change of the
job, and ``core.steps.writing`` writes the row, and keeps a copy in ``Rows.results`` if somebody
follows the job. ``Subscriptions`` hands that copy to those alone; here a ``JobFollower`` takes the
event, and ``Job.take_end`` thaws the result by way of ``as_told``, or of the record read from the
store, and ``context.results.result_of``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from conveyor_nb.clocks.clock import REAL_TIME, resolve
from conveyor_nb.clocks.loops import call_on
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.freezing import freeze
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import EventType, JobData, JobState, StoreEvent
from conveyor_nb.stores.interface import StoreInterface

__all__ = ["GONE", "JOB_ENDS", "JobEnd", "JobFollower", "QueueChanges", "as_told"]

GONE = frozenset({EventType.REMOVED, EventType.DISCONNECTED})
"""The events after which a job, or all of its store, is there no more."""

JOB_ENDS = GONE | {EventType.COMPLETED, EventType.FAILED}
"""The events after which nothing more is to be expected of a job."""

_TOLD = JOB_ENDS | {EventType.MISSED}

_STATES = frozenset(JobState)

_NOT_ASKED = 1 << 60

_ON_ITS_WAY = 1.0
"""For how many real seconds an event is waited for that must come: its job is gone already."""


class JobEnd(Struct, frozen=True, gc=False):
    """How a job ended, for one who waited for that.

    Args:
        event: what told of it; its data may have the result, see ``StoreInterface.subscribe``.
        record: the job, if it was found to have ended; else it is still to be read.
    """

    event: StoreEvent
    record: JobData | None = None


class _Listener(ABC):
    """Takes events of a queue, or of one of its jobs, on the loop where it is made.

    Args:
        store, queue_name, job_id: whose events.
        kinds: of these types; ``None``: of all.
    """

    __slots__ = ("_is_open", "_job_id", "_loop", "_queue_name", "_store")

    def __init__(
        self,
        store: StoreInterface,
        queue_name: str,
        kinds: Collection[str] | None,
        job_id: str | None = None,
    ) -> None:
        self._store = store
        self._queue_name = queue_name
        self._job_id = job_id
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        store.subscribe(queue_name, self._hear, job_id=job_id, kinds=kinds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take no more events; may be called on any thread, and again."""
        if self._is_open:
            self._unsubscribe()

    def _unsubscribe(self) -> None:
        self._is_open = False
        self._store.unsubscribe(self._queue_name, self._hear, job_id=self._job_id)

    def _hear(self, event: StoreEvent) -> None:
        if not call_on(self._loop, self._take, event):
            self.close()  # the loop is gone, and those who waited on it

    @abstractmethod
    def _take(self, event: StoreEvent) -> None:
        """Take note of an event, on the loop."""


class JobFollower(_Listener):
    """Follows one job to its end.

    Args:
        store, queue_name, job_id: the job.
        tell: called with each event of it before the end.

    >>> from conveyor_nb import MemoryStore, Queue
    >>> async def main():
    ...     store = MemoryStore()
    ...     job = await Queue("emails", store=store).add("send")
    ...     with JobFollower(store, "emails", job.id) as follower:
    ...         await job.cancel()
    ...         return str((await follower.wait()).event.type)
    >>> asyncio.run(main())
    'job:failed'
    """

    __slots__ = ("_checks", "_id", "_tell", "_told", "end")

    def __init__(
        self,
        store: StoreInterface,
        queue_name: str,
        job_id: str,
        tell: Callable[[StoreEvent], object] | None = None,
    ) -> None:
        self.end: asyncio.Future[JobEnd] = asyncio.get_running_loop().create_future()
        """Done when the job has ended; cancelled when it is followed no more."""
        self._tell = tell
        self._told: StoreEvent | None = None
        """An end that was told late, and is of this run unless the record says otherwise."""
        self._checks: BackgroundTasks | None = None
        self._id = job_id
        super().__init__(store, queue_name, _TOLD if tell is None else None, job_id)

    async def wait(self, timeout: float | None = None) -> JobEnd | None:
        """Wait for the end of a job that was there, for so many seconds on the store's clock.

        Returns:
            Its end; ``None``: that takes longer.
        """
        await self.look(was_there=True)
        if timeout is None:
            return await self.end
        if not await self._store.clock.wait(self.end, timeout):
            await self.look(was_there=True)  # the job may have ended at the last moment
        return self.end.result() if self.end.done() else None

    async def look(self, *, was_there: bool = False) -> JobData | None:
        """Read the job; if it has settled or is gone, and nobody tells of that, it has ended.

        Args:
            was_there: it was when this began to follow it: so if it is gone, what tells of its
                end, and may have its result, is on its way, and is waited for. If not, that may
                be so where the store tells late.
        """
        record = await self._store.get_job(self._queue_name, self._id)
        if record is None and was_there:
            await self._end_soon()
        elif record is None and not self._store.tells_at_once:
            self._spawn(self._end_soon())
        elif record is None or record.state in SETTLED:
            self._end(JobEnd(self._event_of(record), record))
        return record

    def close(self) -> None:
        """Follow it no more."""
        if self._is_open:
            self._unsubscribe()
        if self._checks is not None:
            self._checks.cancel()
        if not self.end.done():
            call_on(self._loop, self.end.cancel)

    def _take(self, event: StoreEvent) -> None:
        if event.type == EventType.MISSED:
            self._spawn(self._see())
        elif event.type not in JOB_ENDS:
            if self._tell is not None and not self.end.done():
                self._tell(event)
        elif self._store.tells_at_once:
            self._end(JobEnd(event))
        elif event.type in GONE:
            self._end(JobEnd(self._told or event))
        elif not self.end.done():
            self._told = event
            self._spawn(self._check(event))

    async def _check(self, event: StoreEvent) -> None:
        """Take what was told late for the job's end, unless the job has started afresh since."""
        try:
            record = await self._store.get_job(self._queue_name, self._id)
        except Exception:  # who reads the record of its end is told why that can't be had
            self._end(JobEnd(event))
            return
        if record is None:
            await self._end_soon()
        elif record.state in SETTLED:
            self._end(JobEnd(self._event_of(record), record))
        elif self._told is event:
            self._told = None

    async def _see(self) -> None:
        """Look whether the end was among the events that were missed."""
        await self.look(was_there=True)

    async def _end_soon(self) -> None:
        """End with a job that is gone: what tells of that, or of its last end, may be under way."""
        await REAL_TIME.wait(self.end, _ON_ITS_WAY)
        self._end(JobEnd(self._told or self._event_of(None)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._checks is None:
            self._checks = BackgroundTasks()
        self._checks.spawn(work)

    def _end(self, end: JobEnd) -> None:
        if not self.end.done():
            self.end.set_result(end)
        if self._is_open:
            self._unsubscribe()

    def _event_of(self, record: JobData | None) -> StoreEvent:
        """The event that was missed."""
        kind, data = EventType.REMOVED, dict[str, Any]()
        if record is not None:
            completed = record.state is JobState.COMPLETED
            kind = EventType.COMPLETED if completed else EventType.FAILED
            cancelled = record.cancelled_at is not None
            data = {"reason": record.failed_reason, "cancelled": cancelled}
        now = self._store.clock.now()
        return StoreEvent(kind, self._queue_name, self._id, data, now)


class QueueChanges(_Listener):
    """Notices changes in a queue, for those who check after each whether it was the awaited one.

    Args:
        store, queue_name: the queue.
        kinds: the types of event that may be it; that the store is disconnected always is.
    """

    __slots__ = ("_change", "_count", "_first", "_wanted")

    def __init__(self, store: StoreInterface, queue_name: str, kinds: Collection[str]) -> None:
        self._change: asyncio.Future[StoreEvent] = asyncio.get_running_loop().create_future()
        self._first: StoreEvent | None = None
        self._count, self._wanted = 0, _NOT_ASKED
        super().__init__(store, queue_name, {*kinds, EventType.DISCONNECTED, EventType.MISSED})

    async def next(self, timeout: float | None = None, *, count: int = 1) -> StoreEvent | None:
        """The first change since the one that this gave before, once there are ``count`` of them.

        One that is not of a single job counts as any number, and is given in place of the first.
        ``None``: there were not so many for so many seconds.
        """
        self._wanted = count
        self._resolve()
        if not await self._store.clock.wait(self._change, timeout):
            self._wanted = _NOT_ASKED
            return None
        change = self._change.result()
        self._change = self._loop.create_future()
        self._first, self._count, self._wanted = None, 0, _NOT_ASKED
        return change

    def _take(self, event: StoreEvent) -> None:
        first = self._first
        if first is None or (first.job_id is not None and event.job_id is None):
            self._first = event
        self._count += 1
        self._resolve()

    def _resolve(self) -> None:
        first = self._first
        if first is not None and (first.job_id is None or self._count >= self._wanted):
            resolve(self._change, first)


def as_told(job: JobData, event: StoreEvent) -> JobData:
    """A job as it is after an event of it, as far as that tells."""
    data, name = event.data, event.type.partition(":")[2]
    updates: dict[str, Any] = {"state": JobState(name)} if name in _STATES else {}
    if event.type == EventType.PROGRESS:
        updates["progress"] = data["progress"]
    elif event.type == EventType.COMPLETED and "returnvalue" in data:
        updates["returnvalue"] = freeze(data.get("returnvalue"), "returnvalue")
    elif event.type == EventType.FAILED:
        updates["failed_reason"] = data.get("reason")
    return replace(job, **updates)
