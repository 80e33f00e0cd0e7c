"""A worker as its store lists it, and what it may be doing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from conveyor_nb.core.text import Word, inline

__all__ = ["WorkerInfo", "WorkerStatus"]


class WorkerStatus(Word):
    """What a worker is doing."""

    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    CLOSING = "closing"
    CLOSED = "closed"


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
        doing = f"{self.status}, {self.concurrency} at a time"
        return f"<WorkerInfo {inline(self.id)} of {inline(self.queue_name)}: {doing}>"
