"""The port between the rules of a queue and whatever keeps its rows.

A *step* is one atomic call of a store: a job is added, taken, settled, retried, a schedule is
paused. Each stands once, in ``core.steps``, as a plain function over :class:`Rows`: it reads rows,
decides, writes rows and notes events, and never waits. A store opens a step, hands in its rows,
and then publishes what was noted, when the whole of it can be seen.

What a store may count on:

- All that a step refuses, it refuses before its first write.
- A step keeps nothing outside of its rows, so it may be taken twice. A read of something that has
  to be loaded first may raise an exception of the store's own, derived from ``BaseException`` so
  that no rule catches it; the store loads it, drops what was written and noted so far, and takes
  the step again from its start.
- Each read is a look-up by key, a short list or a number, never "all of it", but for the steps
  that are about all jobs of a queue.
- Indexes are the store's own affair. What follows from a row (the state that a job is listed in,
  who holds a deduplication key, which settled jobs are kept by count) it derives from the row.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from msgspec import Struct

from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState, StoreEvent
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.core.worker_info import WorkerInfo

__all__ = [
    "PENDING",
    "ChildRow",
    "HeldKey",
    "Key",
    "Rows",
    "held_key",
    "holds_still",
    "key_of",
    "parent_key_of",
]

Key = tuple[str, str]
"""Queue name and job id."""

HeldKey = str | tuple[str, str]
"""What an unfinished job keeps others from having: a key, or a job name and the payload's hash."""


class ChildRow(Struct, frozen=True, gc=False):
    """What a parent knows of one of its children. It outlives the child, if that is removed.

    Args:
        settled: whether the parent was told how the child settled, or that it is gone.
        why: why it failed; ``None``: it completed, or has not settled.
        returnvalue: what it returned, as the store keeps it.
        awaited: it failed, and the parent, which was retried, waits for it again.
    """

    settled: bool = False
    why: str | None = None
    returnvalue: Any = None
    awaited: bool = False

    @property
    def is_waited_for(self) -> bool:
        """Whether the parent's ``pending_children_count`` counts it."""
        return self.awaited or not self.settled


PENDING = ChildRow()
"""A child that has not settled."""


def key_of(job: JobData) -> Key:
    """The job's address."""
    return (job.queue_name, job.id)


def parent_key_of(job: JobData) -> Key | None:
    """The address of the job's parent, if it has one."""
    if job.parent_id is None or job.parent_queue_name is None:
        return None
    return (job.parent_queue_name, job.parent_id)


def held_key(job: JobData) -> HeldKey | None:
    """What a job holds while it is unfinished, if it has a deduplication key."""
    key = job.deduplication_key
    if key is None:
        return None
    rule = job.opts.deduplication
    return (job.name, key) if rule is not None and rule.hash else key


def holds_still(job: JobData, now: datetime) -> bool:
    """Whether an unfinished job that took a deduplication key is younger than the key's ttl."""
    rule = job.opts.deduplication
    ttl = None if rule is None else rule.ttl
    return ttl is None or job.created_at + timedelta(seconds=ttl) > now


class Rows(Protocol):
    """What a step reads and writes. Every name of a queue is good: an unknown one has no rows."""

    # -- what a step notes --------------------------------------------------------------------

    outbox: list[StoreEvent]
    """The events of the step, in order. The store publishes them when it can be seen."""

    results: dict[Key, Any]
    """What jobs returned that the outbox tells the end of, for who follows one of them."""

    @property
    def followed(self) -> Collection[Key]:
        """The jobs that somebody here follows by themselves, and is told the results of."""

    @property
    def unheard(self) -> Mapping[str, Collection[str]]:
        """By queue, the types of event that nobody wants but perhaps who follows the one job.

        A step may leave them out. A store that other processes hear of names none.
        """

    @property
    def random(self) -> random_module.Random:
        """What chance has a say in; a store with a seed gives the same again."""

    @property
    def collects_metrics(self) -> bool:
        """Whether :meth:`record` is to be called."""

    def record(self, job: JobData, now: datetime) -> None:
        """Count a job that has just settled in the metrics."""

    # -- payloads -----------------------------------------------------------------------------

    def freeze(self, value: Any, what: str, /) -> Any:
        """Turn a payload or a result into what rows hold of it; what they hold stays as it is.

        ``core.freezing.freeze`` does so for any picklable object, and what it makes is thawed as
        it is read. All else that a store puts in its place is given out as it is.

        Raises:
            PayloadError: it can't be kept; the message names ``what`` and where in it.
        """

    # -- jobs ---------------------------------------------------------------------------------

    def job(self, queue_name: str, job_id: str) -> JobData | None:
        """The job, as it is now."""

    def holders(self, queue_name: str, key: HeldKey) -> Sequence[JobData]:
        """The unfinished jobs with this key, see :func:`held_key`, however old.

        At most one of them holds it now, the others are past their ``ttl``: a store may leave
        out those.
        """

    def new_id(self, queue_name: str) -> str:
        """An id that no job of the queue has, and that was not given before in this step."""

    def add(self, job: JobData, values: Mapping[str, Any]) -> JobData:
        """Take in ``job`` with other ``values`` of some fields; returns its row.

        The store sets ``sequence``: the next number of the queue's insertion counter.
        """

    def change(self, job: JobData, values: Mapping[str, Any]) -> JobData:
        """Give some fields of a row new values; returns the row after. ``job`` is it before.

        A job that becomes active has started: its group has had its turn, and rate limits count
        it, at its ``processed_at``.
        """

    def remove(self, job: JobData) -> None:
        """Remove a row, and all rows of its children. ``job`` is it before."""

    # -- families -----------------------------------------------------------------------------

    def child(self, parent: Key, child: Key) -> ChildRow | None:
        """What a parent knows of a child; ``None``: it has no such child, or is gone."""

    def children(self, parent: Key) -> Mapping[Key, ChildRow]:
        """What a parent knows of all its children, in the order of the flow; for who looks."""

    def put_child(self, parent: Key, child: Key, row: ChildRow) -> None:
        """Keep what a parent knows of a child. New ones are listed after all others."""

    def failed_children(self, parent: Key) -> Sequence[Key]:
        """The children of a parent whose row says that they failed, in the order of the flow."""

    def awaited_children(self, parent: Key, most: int) -> tuple[Sequence[Key], int]:
        """The first ``most`` children that are ``awaited``, and how many there are in all.

        In the order of the flow.
        """

    # -- schedulers ---------------------------------------------------------------------------

    def scheduler(self, queue_name: str, scheduler_id: str) -> JobScheduler | None:
        """The scheduler, its payload as the store keeps it."""

    def schedulers(self, queue_name: str) -> Sequence[JobScheduler]:
        """All schedulers of a queue."""

    def put_scheduler(self, scheduler: JobScheduler) -> None:
        """Keep a scheduler, in place of the one with its id if there is one."""

    def remove_scheduler(self, scheduler: JobScheduler) -> None:
        """Remove a scheduler."""

    # -- queues -------------------------------------------------------------------------------

    def is_idle(self, queue_name: str) -> bool:
        """Whether no job of the queue is waiting, and none is active."""

    def listed(
        self, queue_name: str, state: JobState | None = None, *, since: datetime | None = None
    ) -> list[JobData]:
        """All jobs of a queue in a state, in the order of ``list_jobs``; for steps on them all.

        Args:
            queue_name: the queue.
            state: the state; ``None``: all of them.
            since: only those whose ``entered_at``, see ``retention``, is no later.
        """

    def surplus(self, queue_name: str, state: JobState, most: int) -> Sequence[JobData]:
        """The settled jobs that are kept by count, but for the ``most`` that settled last.

        Those are kept by count that settled in ``state`` and whose option for that state is a
        ``Keep`` with a ``count``. The oldest comes first.
        """

    def expired(self, now: datetime, most: int) -> Sequence[JobData]:
        """Settled jobs of any queue that were kept by age, for long enough; at most so many."""

    def paused_names(self, queue_name: str) -> Collection[str]:
        """The paused job names; has ``ALL_NAMES`` if the whole queue is paused."""

    def pause(self, queue_name: str, name: str) -> None:
        """Keep a name as paused. The queue is listed from then on."""

    def resume(self, queue_name: str, name: str) -> None:
        """Keep a name as paused no more."""

    def forget_queue(self, queue_name: str) -> None:
        """Keep nothing of a queue that has no jobs and no schedulers any more."""

    # -- serving ------------------------------------------------------------------------------

    def due(self, queue_name: str, now: datetime) -> Sequence[JobData]:
        """The delayed jobs whose time has come, the earliest first."""

    def next_due(self, queue_name: str) -> datetime | None:
        """When the next delayed job falls due."""

    def has_waiting(self, queue_name: str) -> bool:
        """Whether a job is waiting, be it of a paused name."""

    def next_opening(self, queue_name: str) -> datetime | None:
        """When the first of the groups that a rate limit holds back may be served again."""

    def active_count(self, queue_name: str) -> int:
        """How many jobs are active."""

    def waiting_in_group(self, queue_name: str, group_id: str) -> int:
        """How many jobs of a group wait."""

    def opens_at(self, queue_name: str, limiter: Limiter) -> datetime | None:
        """When one more job of the queue may start by a rate limit; ``None``: at any time."""

    def next_in_turn(self, queue_name: str, options: FetchOptions, now: datetime) -> JobData | None:
        """The waiting job whose turn it is, by paused names, groups, priority and place."""

    def in_turn(self, queue_name: str, options: FetchOptions, now: datetime) -> Iterable[JobData]:
        """The waiting jobs in the order of ``core.turns.in_turn``; only the first are asked for."""

    def room(self, queue_name: str, limiter: Limiter, now: datetime) -> int:
        """How many more jobs of the queue may start now by a rate limit."""

    # -- workers ------------------------------------------------------------------------------

    def worker(self, worker_id: str) -> WorkerInfo | None:
        """The worker, as it is listed."""

    def put_worker(self, worker: WorkerInfo) -> None:
        """Keep a worker, in place of what was known of it. Its queue is listed from then on."""

    def see_worker(self, worker_id: str, now: datetime) -> None:
        """Keep that a worker was seen now; of one that is not known, nothing."""

    def remove_worker(self, worker: WorkerInfo) -> None:
        """Keep nothing of a worker."""
