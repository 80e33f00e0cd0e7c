"""What the data of an event holds, by the event's type: the one table of it.

``event.data`` is a mapping of the keys that its class here names; those that are ``NotRequired``
may be missing. The conformance suite checks each event that a store publishes against this.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from conveyor_nb.core.model import EventType, JobState, StoreEvent

__all__ = ["EVENT_DATA", "HandlerErrorData", "keys_of"]


class _Job(TypedDict):
    name: str
    """The job's name."""


class _Moved(_Job):
    previous: JobState | None
    """The state it was in; ``None``: it is new."""


class WaitingData(_Moved):
    """A job waits for its turn."""

    worker_id: NotRequired[str]
    """The worker that gave it back, if one did."""
    reason: NotRequired[str]
    """Why it was given back."""


class WaitingChildrenData(_Moved):
    """A job waits for its children."""

    reason: NotRequired[str]
    """Which failed children it waits for, as it was retried."""


class DelayedData(WaitingData):
    """A job waits for its time."""

    delay_until: datetime
    """When that is."""


class ActiveData(_Moved):
    """A worker took a job."""

    worker_id: str
    attempt: int
    """How many times it was taken, this time included."""


class CompletedData(_Moved):
    """A job completed. Its record has the result."""

    worker_id: str
    returnvalue: NotRequired[Any]
    """Only for who subscribed to this one job, as the store keeps it; see ``subscribe``."""
    lost: NotRequired[bool]
    """That the record is gone, and with it the result: nobody can have it any more."""


class FailedData(_Moved):
    """A job failed for good."""

    worker_id: NotRequired[str | None]
    """The worker that had it, if any; a parent may fail without one."""
    reason: str
    cancelled: bool
    """Whether that is because it was cancelled."""


class ProgressData(_Job):
    """A job got on."""

    worker_id: str | None
    progress: float
    """In percent."""


class LogData(_Job):
    """A line was added to a job's log, or the log was cleared."""

    worker_id: NotRequired[str | None]
    line: NotRequired[str]
    cleared: NotRequired[bool]


class RetryingData(_Job):
    """An attempt failed, and there will be another one."""

    worker_id: str | None
    attempts_made: int
    """How many attempts failed, this one included."""
    attempts: int
    """How many there may be."""
    reason: str
    delay: float
    """Seconds until the next one may start."""


class StalledData(_Job):
    """A job's worker did not renew its lock."""

    worker_id: str | None
    reason: str


class HeldData(_Job):
    """A job's run was told to stop and goes on: it holds a slot, and maybe the job."""

    worker_id: str | None
    reason: str
    """Why it is to stop."""


class FreedData(_Job):
    """The run has ended, and its slot is free."""

    worker_id: str


class CancelledData(_Moved):
    """A job is to stop; its end is told by an event of its own."""

    worker_id: str | None


class RemovedData(_Moved):
    """A job is gone."""

    worker_id: str | None
    reason: NotRequired[str]
    """Why, if a failed child took it away."""


class DrainedData(TypedDict):
    """Nothing waits in a queue and nothing is active, or it was emptied."""


class PausedData(TypedDict):
    """A queue, or one job name in it, was paused or resumed."""

    job_name: str
    """``"__all__"``: the whole queue."""


class ErrorData(TypedDict):
    """Something went wrong that nobody waits for."""

    error: str
    name: NotRequired[str]
    """The name of the job that it is about."""
    worker_id: NotRequired[str]
    """The worker that met with it."""


class WorkerData(TypedDict):
    """A worker started, was paused or was closed."""

    worker_id: str
    name: str


class CommandedData(WorkerData):
    """A worker is told through the store what to do; what it does is told by other events."""

    status: NotRequired[str]
    """What it is to become: ``"paused"``, ``"running"`` or ``"closed"``."""
    concurrency: NotRequired[int]
    """How many executions it is to run at once."""
    timeout: NotRequired[float]
    """Seconds that running jobs may take to finish, if it is to close."""


class DisconnectedData(TypedDict):
    """The store was disconnected: no other event comes."""


class MissedData(TypedDict):
    """A stream had no room for so many events, and goes on after them."""

    missed: int


class HandlerErrorData(TypedDict):
    """The data of an event ``error`` that an ``EventBus`` makes by itself: a handler raised."""

    error: BaseException
    event: StoreEvent
    """The event that the handler was called with."""
    reason: str


EVENT_DATA: Mapping[EventType, type] = {
    EventType.WAITING: WaitingData,
    EventType.WAITING_CHILDREN: WaitingChildrenData,
    EventType.DELAYED: DelayedData,
    EventType.ACTIVE: ActiveData,
    EventType.COMPLETED: CompletedData,
    EventType.FAILED: FailedData,
    EventType.PROGRESS: ProgressData,
    EventType.LOG: LogData,
    EventType.RETRYING: RetryingData,
    EventType.STALLED: StalledData,
    EventType.HELD: HeldData,
    EventType.FREED: FreedData,
    EventType.CANCELLED: CancelledData,
    EventType.REMOVED: RemovedData,
    EventType.DRAINED: DrainedData,
    EventType.PAUSED: PausedData,
    EventType.RESUMED: PausedData,
    EventType.ERROR: ErrorData,
    EventType.WORKER_STARTED: WorkerData,
    EventType.WORKER_PAUSED: WorkerData,
    EventType.WORKER_CLOSED: WorkerData,
    EventType.WORKER_COMMANDED: CommandedData,
    EventType.DISCONNECTED: DisconnectedData,
    EventType.MISSED: MissedData,
}


def keys_of(kind: EventType) -> frozenset[str]:
    """The keys that the data of an event of this type may have.

    >>> sorted(keys_of(EventType.WORKER_STARTED))
    ['name', 'worker_id']
    """
    return frozenset(EVENT_DATA[kind].__annotations__)
