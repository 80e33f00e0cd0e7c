"""What a worker asks a store for, and what it gets: jobs, or when to ask again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct

from conveyor_nb.core.model import JobData
from conveyor_nb.core.options.worker_options import GroupLimits, Limiter

__all__ = ["FetchOptions", "Fetched"]


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """What a worker asks of the next job it takes.

    Args:
        lifo: take the newest job of the best priority first.
        limiter: the queue's rate limit.
        max_global_concurrency: at most so many active jobs in the queue, over all workers.
        group: limits for each group.
        slot: in which of its slots the worker will run what it takes, counted from 1; ``None``:
            nobody knows. It is kept with the attempt, and says nothing about which job is next,
            so that requests for other slots count as equal.
    """

    lifo: bool = False
    limiter: Limiter | None = None
    max_global_concurrency: int | None = None
    group: GroupLimits | None = None
    slot: int | None = field(default=None, compare=False)


class Fetched(Struct, frozen=True, gc=False):
    """What a worker is given that asks for jobs: some, or when to ask again.

    Args:
        jobs: the jobs, active and locked by it, in order of service.
        next_at: with no job: the first instant at which there may be one without any event
            before that, as a delayed job falls due or a rate-limit window opens. ``None``: there
            is no such instant.
    """

    jobs: Sequence[JobData] = ()
    next_at: datetime | None = None
