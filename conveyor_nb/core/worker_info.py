"""A worker as its store lists it, what it may be doing, and what it may be told to do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from conveyor_nb.core.values.checks import check_choice, check_count
from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.text import Word, inline

__all__ = ["OBEYED_WITHIN", "WorkerCommand", "WorkerInfo", "WorkerStatus"]

OBEYED_WITHIN = 90.0
"""For how many seconds a command holds: three beats of an idle worker. Then whoever gave it may
have done something else about it."""


class WorkerStatus(Word):
    """What a worker is doing."""

    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    CLOSING = "closing"
    CLOSED = "closed"

    @property
    def is_at_work(self) -> bool:
        """Whether it takes jobs, or would if it were not paused."""
        return self in (WorkerStatus.RUNNING, WorkerStatus.PAUSED)

    @property
    def is_over(self) -> bool:
        """Whether it will never take jobs again: it is closed, or about to be."""
        return self in (WorkerStatus.CLOSING, WorkerStatus.CLOSED)

    @property
    def in_words(self) -> str:
        """What displays call it, for people who start and stop workers.

        >>> WorkerStatus.CLOSING.in_words, WorkerStatus.PAUSED.in_words
        ('stopping', 'paused')
        """
        return _IN_WORDS.get(self, self.value)


_IN_WORDS = {WorkerStatus.CLOSING: "stopping", WorkerStatus.CLOSED: "stopped"}

_TO_DO = {
    WorkerStatus.PAUSED: "pause",
    WorkerStatus.RUNNING: "go on",
    WorkerStatus.CLOSED: "stop",
}
"""What a worker may be told to become, and what it does then."""


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """What a worker is told through its store, from whatever process.

    Args:
        status: ``"paused"``: take no more jobs; ``"running"``: take them again; ``"closed"``:
            take no more, wait for those that run, and stop.
        concurrency: how many executions it is to run at once.
        timeout: a duration, with ``"closed"``: how long running jobs may take to finish, before
            they are put back. As the worker has it, if not given.
        given_at: when it was given, by the store's clock. The store notes it.

    Raises:
        TypeError, ValueError: one of them is something else.

    >>> str(WorkerCommand("paused")), str(WorkerCommand(concurrency=4))
    ('pause', 'run 4 jobs at once')
    """

    status: WorkerStatus | str | None = None
    concurrency: int | None = None
    timeout: Duration | None = None
    given_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.status is not None:
            status = check_choice(WorkerStatus, self.status, what="what a worker is told to be")
            if status not in _TO_DO:
                raise ValueError(
                    f"a worker is told to be 'paused', 'running' or 'closed', not {self.status!r}"
                )
            object.__setattr__(self, "status", status)
        if self.concurrency is not None:
            check_count(self.concurrency, what="concurrency")
        if self.timeout is not None:
            object.__setattr__(self, "timeout", to_seconds(self.timeout, what="timeout"))

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return self.status is not None or self.concurrency is not None

    def __str__(self) -> str:
        told = [] if self.status is None else [_TO_DO[WorkerStatus(self.status)]]
        if self.concurrency is not None:
            jobs = "1 job" if self.concurrency == 1 else f"{self.concurrency} jobs"
            told.append(f"run {jobs} at once")
        return " and ".join(told)

    def is_overdue(self, now: datetime) -> bool:
        """Whether it was given so long ago that it holds no more."""
        if self.given_at is None:
            return False
        return (now - self.given_at).total_seconds() > OBEYED_WITHIN

    def after(self, before: WorkerCommand | None) -> WorkerCommand:
        """This command, with what an earlier one says that it says nothing of."""
        if before is None:
            return self
        status, timeout = self.status, self.timeout
        if status is None:
            status, timeout = before.status, before.timeout
        concurrency = before.concurrency if self.concurrency is None else self.concurrency
        return WorkerCommand(status, concurrency, timeout, self.given_at)

    def left_for(self, status: WorkerStatus, concurrency: int) -> WorkerCommand | None:
        """What a worker that does this now has not done yet of it."""
        is_over = self.status is WorkerStatus.CLOSED and status.is_over
        left = replace(
            self,
            status=None if is_over or self.status is status else self.status,
            concurrency=None if self.concurrency == concurrency else self.concurrency,
        )
        return left if left else None


@dataclass(frozen=True, slots=True, repr=False)
class WorkerInfo:
    """A worker as the store lists it."""

    id: str
    name: str
    queue_name: str
    concurrency: int
    status: WorkerStatus
    started_at: datetime
    last_seen: datetime | None = field(default=None, compare=False)
    """When it last showed that it is there, by the store's clock. The store notes it."""
    command: WorkerCommand | None = None
    """What it was told through the store, and has not done yet. The store notes it."""

    def __repr__(self) -> str:
        doing = f"{self.status.in_words}, {self.concurrency} at a time"
        return f"<WorkerInfo {inline(self.id)} of {inline(self.queue_name)}: {doing}>"
