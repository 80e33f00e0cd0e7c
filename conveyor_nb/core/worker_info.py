"""A worker as its store lists it, and what it may be doing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from conveyor_nb.core.values.text import Word, inline

__all__ = ["WorkerInfo", "WorkerStatus"]


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

    def __repr__(self) -> str:
        doing = f"{self.status.in_words}, {self.concurrency} at a time"
        return f"<WorkerInfo {inline(self.id)} of {inline(self.queue_name)}: {doing}>"
