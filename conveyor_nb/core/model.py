"""The records of jobs, their attempts and events, as all pass them on. No rule lives here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec.structs
from msgspec import Struct

from conveyor_nb.core.freezing import peek, thaw_for
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.values.checks import check_choice
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import Word, inline, one_line, shown_fields, shown_list

__all__ = [
    "ACTIVE",
    "ALL_NAMES",
    "COMPLETED",
    "DELAYED",
    "FAILED",
    "WAITING",
    "WAITING_CHILDREN",
    "AttemptRecord",
    "AttemptStatus",
    "EventType",
    "JobData",
    "JobPage",
    "JobState",
    "Lock",
    "StoreEvent",
    "to_state",
]

ALL_NAMES = "__all__"
"""In a queue's set of paused job names: the whole queue is paused."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class JobState(Word):
    """Where a job is in its life; each job is in exactly one state."""

    WAITING = "waiting"
    WAITING_CHILDREN = "waiting-children"
    DELAYED = "delayed"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"


# each job is asked for its state dozens of times, and Python 3.11 takes ten times as long to find
# a member in its enum as a name in a module
WAITING: Final = JobState.WAITING
WAITING_CHILDREN: Final = JobState.WAITING_CHILDREN
DELAYED: Final = JobState.DELAYED
ACTIVE: Final = JobState.ACTIVE
COMPLETED: Final = JobState.COMPLETED
FAILED: Final = JobState.FAILED


def to_state(state: JobState | str | None) -> JobState | None:
    """The state that a text names; ``None`` stays ``None``.

    Raises:
        ValueError: there is no such state.

    >>> to_state("waiting")
    'waiting'
    """
    return None if state is None else check_choice(JobState, state, what="state")


class AttemptStatus(Word):
    """How one attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"


class EventType(Word):
    """The type of a :class:`StoreEvent`; ``event_data`` says what each of them tells."""

    WAITING = "job:waiting"
    WAITING_CHILDREN = "job:waiting-children"
    DELAYED = "job:delayed"
    ACTIVE = "job:active"
    COMPLETED = "job:completed"
    FAILED = "job:failed"
    PROGRESS = "job:progress"
    LOG = "job:log"
    RETRYING = "job:retrying"
    STALLED = "job:stalled"
    HELD = "job:held"
    FREED = "job:freed"
    CANCELLED = "job:cancelled"
    REMOVED = "job:removed"
    DRAINED = "queue:drained"
    PAUSED = "queue:paused"
    RESUMED = "queue:resumed"
    ERROR = "queue:error"
    WORKER_STARTED = "worker:started"
    WORKER_PAUSED = "worker:paused"
    WORKER_CLOSED = "worker:closed"
    WORKER_COMMANDED = "worker:commanded"
    DISCONNECTED = "store:disconnected"
    MISSED = "stream:missed"


class StoreEvent(Struct, frozen=True):
    """One thing that happened in a store; published after the change is visible there.

    ``data`` holds more about it: ``event_data`` says what, by type. It is shared by all
    subscribers: read it, don't change it.
    """

    type: str
    queue_name: str
    job_id: str | None
    data: Mapping[str, Any]
    timestamp: datetime

    def __repr__(self) -> str:
        whose = f"{inline(self.queue_name)} {inline(self.job_id or '')}".rstrip()
        told = ", ".join(
            f"{one_line(name, 40)}: {one_line(value, 60)}" for name, value in self.data.items()
        )
        return f"<StoreEvent {one_line(self.type)} of {whose}{f': {told}' if told else ''}>"


class Lock(Struct, frozen=True, gc=False):
    """Proof that a worker took a job, and for which attempt: what fences late reports off."""

    worker_id: str
    attempt: int


class AttemptRecord(Struct, frozen=True, gc=False):
    """One time that a worker took a job; ``attempt`` counts from 1.

    ``put_back``: it ended before its handler did, and was not counted: the worker was closed, or
    the handler put its job off. Its status is ``failed`` then, as there are no others, and
    ``outcome`` tells all four ends apart. ``slot``: in which slot of its worker it ran, counted
    from 1; ``None``: that was not told.
    """

    attempt: int
    worker_id: str
    started_at: datetime
    ended_at: datetime | None = None
    status: AttemptStatus | None = None
    error: str | None = None
    stacktrace: str | None = None
    logs: tuple[str, ...] = ()
    put_back: bool = False
    slot: int | None = None

    @property
    def outcome(self) -> str:
        """How it ended: ``completed``, ``failed``, ``put back``; or ``running``, which has not.

        >>> AttemptRecord(1, "w1", EPOCH).outcome
        'running'
        """
        return "put back" if self.put_back else str(self.status or "running")

    def __repr__(self) -> str:
        told = self.outcome
        if self.ended_at is not None:
            told += f" after {format_seconds((self.ended_at - self.started_at).total_seconds())}"
        error = f": {one_line(self.error, 300)}" if self.error else ""
        return (
            f"<AttemptRecord {self.attempt} by {one_line(self.worker_id, 80)}, "
            f"{self.started_at:%Y-%m-%d %H:%M:%S} UTC: {told}{error}>"
        )


class _JobFields(Struct, frozen=True, gc=False):
    id: str
    name: str
    queue_name: str
    data: Any = None
    state: JobState = JobState.WAITING
    attempts_made: int = 0
    progress: float = 0
    returnvalue: Any = None
    failed_reason: str | None = None
    opts: JobOptions = JobOptions()
    deduplication_key: str | None = None
    logs: tuple[str, ...] = ()
    stacktrace: tuple[str, ...] = ()
    created_at: datetime = EPOCH
    processed_at: datetime | None = None
    completed_at: datetime | None = None
    failed_at: datetime | None = None
    delay_until: datetime | None = None
    lock_until: datetime | None = None
    locked_by: str | None = None
    parent_id: str | None = None
    parent_queue_name: str | None = None
    pending_children_count: int = 0
    cancelled_at: datetime | None = None
    group_id: str | None = None
    discarded: bool = False
    children_ids: tuple[str, ...] = ()
    attempt_logs: tuple[AttemptRecord, ...] = ()
    priority: float = 0
    sequence: int = 0
    scheduler_id: str | None = None
    planned_at: datetime | None = None


_TOLD = (
    *("id", "name", "queue_name", "state", "data", "returnvalue", "failed_reason", "progress"),
    *("attempts_made", "delay_until", "group_id", "parent_id", "opts"),
)
"""The fields of a job that its repr shows, if they are set."""


class JobData(_JobFields, frozen=True, gc=False):
    """All that a store keeps of a job.

    ``attempts_made`` counts the attempts that failed or stalled; ``attempt_logs`` has a record
    for each time a worker took the job: of very many the first and the newest, see ``bounds``.
    ``sequence`` is the store's insertion counter: it gives a job its place among others of its
    priority, and the job keeps it for life.

    It can't be changed: a store hands out its own record, and replaces it by another one when
    the job changes (``msgspec.structs.replace``). A payload that is kept frozen, see ``payload``,
    is thawed anew each time that ``data`` or ``returnvalue`` is read.

    >>> from conveyor_nb.core.freezing import freeze
    >>> job = JobData("emails-1", "send", "emails", freeze({"to": "ada"}, "data"))
    >>> job.data["to"] = "eve"
    >>> job.data
    {'to': 'ada'}
    """

    def __repr__(self) -> str:
        told = [(name, peek(self, name)) for name in _TOLD]
        return shown_fields(self, [(name, value) for name, value in told if _is_set(name, value)])

    @property  # type: ignore[misc]  # it reads the field of this name
    def data(self) -> Any:
        """The payload; raises ``UnreadablePayloadError`` if it can't be thawed."""
        return thaw_for(self.id, "data", self.kept_data)

    @property  # type: ignore[misc]  # as above
    def returnvalue(self) -> Any:
        """What the handler returned; raises as ``data`` does."""
        return thaw_for(self.id, "returnvalue", self.kept_returnvalue)

    @property
    def attempts_left_out(self) -> int:
        """How many attempts have no record any more: those between the first and the others."""
        attempts = self.attempt_logs
        return attempts[-1].attempt - len(attempts) if attempts else 0

    kept_data = _JobFields.data
    """The payload as it is kept: the field itself, and so below."""

    kept_returnvalue = _JobFields.returnvalue
    """What the handler returned, as it is kept."""


_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(_JobFields)}


def _is_set(name: str, value: object) -> bool:
    if name in ("data", "returnvalue"):  # which may not be comparable
        return value is not None
    return name == "state" or value != _DEFAULTS.get(name)


class JobPage(NamedTuple):
    """A page of what a search found, and how many jobs it found in all."""

    jobs: list[JobData]
    total: int

    def __repr__(self) -> str:
        return f"JobPage(jobs={shown_list(self.jobs, len(self.jobs))}, total={self.total})"
