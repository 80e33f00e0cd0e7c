"""What a step has changed: the rows that a store is to write, and what follows from them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import JobData, JobState, StoreEvent
from conveyor_nb.core.rows import ChildRow, HeldKey, Key, held_key
from conveyor_nb.core.worker_info import WorkerInfo

__all__ = ["Changes", "Overlay"]

_BUSY = frozenset({JobState.WAITING, JobState.ACTIVE})


@dataclass
class Changes:
    """What a step changed, to be written in one go."""

    jobs: dict[Key, JobData | None] = field(default_factory=dict)
    """The jobs as they are now, ``None``: removed, in the order in which they came to that state.

    What is known of the children of one that was removed goes with it.
    """
    before: dict[Key, JobData | None] = field(default_factory=dict)
    """The same jobs as the store gave them; ``None``: there was none."""
    children: dict[Key, dict[Key, ChildRow]] = field(default_factory=dict)
    """What parents know of their children, by parent."""
    schedulers: dict[Key, JobScheduler | None] = field(default_factory=dict)
    """Schedulers by queue name and id; ``None``: removed."""
    paused: dict[Key, bool] = field(default_factory=dict)
    """Whether a name is paused now, by queue name and job name."""
    workers: dict[str, tuple[WorkerInfo, bool]] = field(default_factory=dict)
    """Workers by id, and whether they are kept."""
    seen: dict[str, datetime] = field(default_factory=dict)
    """When workers were seen, by id; those that are not known are none."""
    forgotten: list[str] = field(default_factory=list)
    """Queues of which nothing is kept."""
    new_ids: dict[str, list[str]] = field(default_factory=dict)
    """The ids that are used up, by queue."""
    started: list[JobData] = field(default_factory=list)
    """The jobs that became active: rate limits and the turns of groups count them."""
    settled: list[tuple[JobData, datetime]] = field(default_factory=list)
    """The jobs to be counted in the metrics."""
    events: list[StoreEvent] = field(default_factory=list)
    """What is to be published when this is written."""
    results: dict[Key, Any] = field(default_factory=dict)
    """What jobs returned, for those who follow them."""

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))


class Overlay:
    """What follows from the jobs that a step has changed, found without looking at them all."""

    def __init__(self) -> None:
        self.counts: defaultdict[tuple[str, JobState], int] = defaultdict(int)
        """How many more jobs there are in a state than in the store."""
        self.in_groups: defaultdict[tuple[str, str | None], int] = defaultdict(int)
        """How many more jobs of a group wait."""
        self.awaited: defaultdict[Key, int] = defaultdict(int)
        """How many more children a parent waits for again."""
        self.added: defaultdict[str, int] = defaultdict(int)
        self.touched: dict[str, dict[str, None]] = defaultdict(dict)
        """The jobs of a queue that were changed, in the order of ``Changes.jobs``."""
        self.busy: dict[str, set[str]] = defaultdict(set)
        """The jobs that are waiting or active now."""
        self.were_busy: dict[str, set[str]] = defaultdict(set)
        """The jobs that are waiting or active in the store."""
        self.with_key: dict[tuple[str, HeldKey], dict[str, JobData]] = defaultdict(dict)
        """The jobs that are unfinished and have a deduplication key."""

    def put(
        self, key: Key, loaded: JobData | None, before: JobData | None, after: JobData | None
    ) -> None:
        """Take in a change of a job, ``loaded`` from the store and now ``before`` and ``after``."""
        queue_name, job_id = key
        touched = self.touched[queue_name]
        if before is None or after is None or before.state is not after.state:
            touched.pop(job_id, None)
        touched[job_id] = None
        if loaded is not None and loaded.state in _BUSY:
            self.were_busy[queue_name].add(job_id)
        if before is not None:
            self._count(before, -1)
            self.busy[queue_name].discard(job_id)
            if (held := held_key(before)) is not None:
                self.with_key[queue_name, held].pop(job_id, None)
        if after is not None:
            self._count(after, 1)
            if after.state in _BUSY:
                self.busy[queue_name].add(job_id)
            if after.state not in SETTLED and (held := held_key(after)) is not None:
                self.with_key[queue_name, held][job_id] = after

    def _count(self, job: JobData, by: int) -> None:
        self.counts[job.queue_name, job.state] += by
        if job.state is JobState.WAITING:
            self.in_groups[job.queue_name, job.group_id] += by
