"""A queue as the contract describes it, with plain lists and sorts: stores are compared with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from conveyor_nb.core.model import ALL_NAMES, JobData, JobState
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.options.keep import Keep

__all__ = ["ReferenceJob", "ReferenceQueue"]

_SETTLED = (JobState.COMPLETED, JobState.FAILED)


@dataclass(repr=False)
class ReferenceJob:
    """What matters about a job. ``takes`` counts how often a worker took it."""

    id: str
    name: str
    opts: JobOptions
    key: str | None
    group: str | None
    place: int
    created_at: datetime
    priority: float
    state: JobState = JobState.WAITING
    attempts_made: int = 0
    takes: int = 0
    worker: str | None = None
    lock_until: datetime | None = None
    delay_until: datetime | None = None
    settled_at: datetime | None = None
    settled_turn: int = 0
    cancelled: bool = False
    discarded: bool = False

    def __repr__(self) -> str:
        return f"<{self.id} {self.state}>"

    @property
    def is_settled(self) -> bool:
        """Whether the job has completed or failed."""
        return self.state in _SETTLED

    def is_due(self, now: datetime) -> bool:
        """Whether the time of a delayed job has come."""
        return self.delay_until is not None and self.delay_until <= now

    def is_settled_since(self, instant: datetime) -> bool:
        """Whether the job settled at ``instant`` or before."""
        return self.settled_at is not None and self.settled_at <= instant

    @property
    def order(self) -> tuple[float, int]:
        """Where the job stands in order of service."""
        return (self.priority, -self.place if self.opts.lifo else self.place)

    def holds_key(self, now: datetime) -> bool:
        """Whether the job keeps others of its deduplication key out."""
        rule = self.opts.deduplication
        if rule is None or self.is_settled:
            return False
        return rule.ttl is None or now < self.created_at + timedelta(seconds=rule.ttl)


class ReferenceQueue:
    """One queue; each method does what the contract says about the step of that name."""

    def __init__(self) -> None:
        self.jobs: dict[str, ReferenceJob] = {}
        self.paused: set[str] = set()
        self._places = 0
        self._turns = 0
        self._served: dict[str | None, int] = {}
        self._seen: list[str | None] = []

    # -- looking ------------------------------------------------------------------------------

    def in_state(self, *states: JobState) -> list[ReferenceJob]:
        """The jobs in these states, as they were added."""
        return [job for job in self.jobs.values() if job.state in states]

    def listed(self, state: JobState) -> list[str]:
        """The ids of the jobs in a state, in the order that a store lists them."""
        jobs = self.in_state(state)
        if state is JobState.WAITING:
            jobs.sort(key=lambda job: job.order)
        elif state is JobState.DELAYED:
            jobs.sort(key=lambda job: (job.delay_until, job.place))
        elif state in _SETTLED:
            jobs.sort(key=lambda job: job.settled_turn)
        return [job.id for job in jobs]

    def key_holders(self, key: str, now: datetime) -> list[str]:
        """The ids of the jobs of which one holds the key."""
        return [job.id for job in self.jobs.values() if job.key == key and job.holds_key(now)]

    # -- steps --------------------------------------------------------------------------------

    def add(self, data: JobData, now: datetime) -> None:
        """Add a job that is no duplicate."""
        self._places += 1
        job = ReferenceJob(
            data.id,
            data.name,
            data.opts,
            data.deduplication_key,
            data.group_id,
            self._places,
            now,
            data.opts.priority,
        )
        self._wait(job, now, job.opts.delay)  # its group may be new, or new again
        self.jobs[job.id] = job

    def fetch(
        self,
        now: datetime,
        *,
        lifo: bool = False,
        cap: int | None = None,
        group_cap: int | None = None,
    ) -> ReferenceJob | None:
        """The job that is to be served; it stays where it is."""
        self.promote(job for job in self.in_state(JobState.DELAYED) if job.is_due(now))
        active = self.in_state(JobState.ACTIVE)
        if ALL_NAMES in self.paused or (cap is not None and len(active) >= cap):
            return None
        busy: Counter[str | None] = Counter(job.group for job in active if job.group is not None)
        offered = [
            job
            for job in self.in_state(JobState.WAITING)
            if job.name not in self.paused and (group_cap is None or busy[job.group] < group_cap)
        ]
        if not offered:
            return None
        groups = {job.group for job in offered}
        group = min(groups, key=lambda one: (self._served.get(one, 0), self._seen.index(one)))
        line = [job for job in offered if job.group == group]
        if not lifo:
            return min(line, key=lambda job: job.order)
        best = min(job.priority for job in line)
        return max((job for job in line if job.priority == best), key=lambda job: job.place)

    def take(self, job: ReferenceJob, worker: str, until: datetime) -> None:
        """A worker takes a job."""
        self._turns += 1
        self._served[job.group] = self._turns
        job.state, job.worker, job.lock_until = JobState.ACTIVE, worker, until
        job.takes += 1

    def complete(self, job: ReferenceJob, now: datetime) -> None:
        """The handler of a job returned."""
        self._settle(job, JobState.FAILED if job.cancelled else JobState.COMPLETED, now)

    def fail(self, job: ReferenceJob, now: datetime, *, final: bool, stalled: bool = False) -> None:
        """An attempt failed."""
        if job.cancelled:
            self._settle(job, JobState.FAILED, now)
            return
        job.attempts_made += 1
        if final or job.discarded or job.attempts_made >= job.opts.attempts:
            self._settle(job, JobState.FAILED, now)
            return
        backoff = job.opts.backoff
        self._wait(job, now, backoff.delay if backoff and not stalled else 0)

    def put_back(self, job: ReferenceJob, now: datetime, delay: float = 0) -> None:
        """An attempt ended without counting."""
        if job.cancelled:
            self._settle(job, JobState.FAILED, now)
        else:
            self._wait(job, now, delay)

    def cancel(self, job: ReferenceJob, now: datetime) -> None:
        """Somebody cancelled a job."""
        if job.is_settled:
            return
        job.cancelled = True
        if job.state is not JobState.ACTIVE:
            self._settle(job, JobState.FAILED, now)

    def promote(self, jobs: Iterable[ReferenceJob]) -> int:
        """Delayed jobs wait, as they fall due; gives how many."""
        promoted = sorted(jobs, key=lambda job: (job.delay_until, job.place))
        for job in promoted:
            self._wait(job, job.created_at, 0)
        return len(promoted)

    def may_retry(self, job: ReferenceJob, now: datetime) -> bool:
        """Whether a settled job may start afresh: no other one has its deduplication key."""
        return job.key is None or not self.key_holders(job.key, now)

    def retry(self, jobs: Iterable[ReferenceJob], now: datetime) -> int:
        """Settled jobs start afresh, those that may; gives how many."""
        retried = 0
        for job in jobs:
            if self.may_retry(job, now):
                job.attempts_made, job.cancelled, job.discarded = 0, False, False
                job.settled_at = None
                self._wait(job, job.created_at, 0)
                retried += 1
        return retried

    def remove(self, jobs: Iterable[ReferenceJob]) -> int:
        """Jobs are removed; gives how many."""
        removed = list(jobs)
        for job in removed:
            del self.jobs[job.id]
        return len(removed)

    def expire(self, now: datetime) -> int:
        """Remove what was kept long enough; gives how many."""
        return self.remove(
            [
                job
                for job in self.jobs.values()
                if isinstance(keep := _keep_of(job), Keep)
                and keep.age is not None
                and job.is_settled_since(now - timedelta(seconds=keep.age))
            ]
        )

    # -- within -------------------------------------------------------------------------------

    def _wait(self, job: ReferenceJob, now: datetime, delay: float) -> None:
        self._forget_groups()
        job.worker = job.lock_until = None
        job.state = JobState.DELAYED if delay else JobState.WAITING
        job.delay_until = now + timedelta(seconds=delay) if delay else None
        if not delay and job.group not in self._seen:
            self._seen.append(job.group)

    def _forget_groups(self) -> None:
        """Forget the groups that have no job left, but for their turns."""
        alive = {job.group for job in self.in_state(JobState.WAITING, JobState.ACTIVE)}
        self._seen = [group for group in self._seen if group in alive]

    def _settle(self, job: ReferenceJob, state: JobState, now: datetime) -> None:
        self._turns += 1
        job.worker = job.lock_until = job.delay_until = None
        job.state, job.settled_at, job.settled_turn = state, now, self._turns
        keep = _keep_of(job)
        if keep is True:
            del self.jobs[job.id]
        elif isinstance(keep, Keep) and keep.count is not None:
            counted = [one for one in self.in_state(state) if _is_counted(one)]
            counted.sort(key=lambda one: one.settled_turn)
            self.remove(counted[: len(counted) - keep.count])


def _keep_of(job: ReferenceJob) -> bool | Keep:
    completed = job.state is JobState.COMPLETED
    return job.opts.remove_on_complete if completed else job.opts.remove_on_fail


def _is_counted(job: ReferenceJob) -> bool:
    keep = _keep_of(job)
    return isinstance(keep, Keep) and keep.count is not None
