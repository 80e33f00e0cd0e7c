"""What a ``MemoryStore`` holds, and the atomic steps that change it.

Each step does what ``lifecycle`` and ``schedule`` decided, with all that follows from it for
parents, schedules and retention, and notes the events in an outbox. A step never waits and
never raises halfway: whatever may be refused is refused before anything changes.
"""

from __future__ import annotations

import itertools
import os
import random
import uuid
from collections import OrderedDict, deque
from collections.abc import Collection
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from conveyor_nb.core import flow_rules, lifecycle, schedule
from conveyor_nb.core.actions import Action, Complete, Retry, UpdateData
from conveyor_nb.core.errors import GroupFullError, JobNotFoundError, RetryRefusedError
from conveyor_nb.core.freezing import freeze
from conveyor_nb.core.keep import Keep
from conveyor_nb.core.model import (
    EventType,
    JobData,
    JobScheduler,
    Lock,
    StoreEvent,
    WorkerInfo,
)
from conveyor_nb.core.text import shown
from conveyor_nb.stores.memory.families import ChildOutcome, Families, Key, key_of, parent_key_of
from conveyor_nb.stores.memory.metrics import Metrics
from conveyor_nb.stores.memory.queue_index import QueueIndex, held_key
from conveyor_nb.stores.memory.retention import Retention, keep_of

__all__ = ["MemoryState"]


class MemoryState:
    """Jobs, flows, schedulers and workers of a store, without any time or subscriber.

    Args:
        sequential_ids: ids are counted for each queue, and are not random.
        seed: fixes what chance has a say in.
        metrics: collect them.
        followed: the jobs that somebody follows by themselves, and is to be told the results of.
    """

    def __init__(
        self,
        *,
        sequential_ids: bool,
        seed: int | None,
        metrics: bool,
        followed: Collection[Key] = (),
    ) -> None:
        self.queues: dict[str, QueueIndex] = {}
        self.families = Families()
        self.retention = Retention()
        self.metrics = Metrics() if metrics else None
        self.schedulers: dict[Key, JobScheduler] = {}
        self.workers: dict[str, WorkerInfo] = {}
        self.outbox: list[StoreEvent] = []
        self.results: dict[Key, Any] = {}
        """What the jobs returned that the outbox tells the end of, for who follows one of them."""
        self.random = random.Random(seed)
        self._settled: deque[JobData] = deque()
        self._removed: deque[tuple[JobData, str | None]] = deque()
        self._followed = followed
        self._sequential_ids = sequential_ids
        self._numbers = _Numbers()
        self._worker_numbers = _Numbers()

    def queue(self, name: str) -> QueueIndex:
        """The queue, made if there is none yet."""
        index = self.queues.get(name)
        if index is None:
            index = self.queues[name] = QueueIndex(name)
        return index

    def look(self, name: str) -> QueueIndex:
        """The queue, or an empty one that is not kept."""
        return self.queues.get(name) or QueueIndex(name)

    def forget_queue(self, name: str) -> None:
        """Keep nothing of a queue that has no jobs, but for a while the next of its numbers."""
        self.queues.pop(name, None)
        if self.metrics is not None:
            self.metrics.forget(name)
        self._numbers.let_go(name)

    def forget_worker(self, worker: WorkerInfo) -> None:
        """Keep nothing of a worker that is closed, but for a while the next number of its name."""
        self.workers.pop(worker.id, None)
        self._worker_numbers.let_go(worker.name)

    def find(self, queue_name: str, job_id: str) -> JobData:
        """The store's own record of a job; raises ``JobNotFoundError``."""
        index = self.queues.get(queue_name)
        job = index.jobs.get(job_id) if index else None
        if job is None:
            raise JobNotFoundError(job_id, queue_name)
        return job

    def new_id(self, queue_name: str) -> str:
        """An id that no job of the queue has."""
        if not self._sequential_ids:
            return _uuid4()
        taken = self.look(queue_name).jobs
        numbers = self._numbers.of(queue_name)
        return next(name for n in numbers if (name := f"{queue_name}-{n}") not in taken)

    def new_worker_id(self, name: str) -> str:
        """An id that no worker has."""
        if not self._sequential_ids:
            return f"{name}-{uuid.uuid4().hex[:8]}"
        return f"{name}-worker-{next(self._worker_numbers.of(name))}"

    def note(
        self, kind: EventType, queue_name: str, job_id: str | None, now: datetime, **data: object
    ) -> None:
        """Put an event into the outbox."""
        self.outbox.append(StoreEvent(kind, queue_name, job_id, data, now))

    # -- steps --------------------------------------------------------------------------------

    def save_one(self, job: JobData, now: datetime) -> JobData:
        """Take in a copy of a job, and return the store's own record.

        If its id or its deduplication key is taken, that is the record of the one that has it.
        """
        if job.parent_id is not None or job.children_ids or job.pending_children_count:
            flow_rules.refuse_family(job)
        existing = self.existing(job, now)
        if existing is not None:
            return existing
        data = freeze(job.kept_data, "data")
        if job.opts.group is not None:
            self.take_room(job, {})
        index = self.queue(job.queue_name)
        return self._admit(index, job, job.id or self.new_id(job.queue_name), data, now)

    def existing(self, job: JobData, now: datetime) -> JobData | None:
        """The job in the store that has the id or the deduplication key of a new one."""
        index = self.queues.get(job.queue_name)
        if index is None:
            return None
        existing = index.jobs.get(job.id)
        if existing is None and job.deduplication_key is not None:
            existing = index.holder_of(held_key(job), now)
        return existing

    def admit(self, job: JobData, now: datetime) -> JobData:
        """Take in a new job that has an id and a frozen payload; returns the record of it."""
        return self._admit(self.queue(job.queue_name), job, job.id, job.kept_data, now)

    def _admit(
        self, index: QueueIndex, job: JobData, job_id: str, data: Any, now: datetime
    ) -> JobData:
        change = lifecycle.admit(job, now)
        record = replace(
            job,
            id=job_id,
            data=data,
            priority=job.opts.priority,
            sequence=next(index.sequence),
            **change.updates,
        )
        index.add(record)
        for kind, data in change.events:
            self.outbox.append(StoreEvent(kind, record.queue_name, job_id, data, now))
        return record

    def commit(self, job: JobData, change: lifecycle.Change, now: datetime) -> JobData:
        """Make a decided change of a job, and all that follows from it; returns its record."""
        changed = self._change(job, change, now)
        if self._settled or self._removed:
            self.follow_up(now)
        return changed

    def decide(
        self, job: JobData, action: Action, lock: Lock | None, now: datetime
    ) -> lifecycle.Change:
        """Decide what an action changes; payloads are frozen on the way in."""
        field, frozen = "", None
        if isinstance(action, Complete):
            field, frozen = "returnvalue", freeze(action.returnvalue, "the job's result")
        elif isinstance(action, UpdateData):
            field, frozen = "data", freeze(action.data, "data")
        change = lifecycle.decide(job, action, now=now, lock=lock, random=self.random)
        if field in change.updates:
            change.updates[field] = frozen
        elif isinstance(action, Retry):
            change = self._retried(job, change, now)
        return change

    def _retried(self, job: JobData, change: lifecycle.Change, now: datetime) -> lifecycle.Change:
        """What retrying a job changes, with regard to its key and its children.

        Raises:
            RetryRefusedError: another one holds its key, or a child of its can't come any more.
        """
        holder = self.queues[job.queue_name].holder_of(held_key(job), now)
        if holder is not None and holder.id != job.id:
            raise RetryRefusedError(
                job.id,
                f"job {shown(holder.id)} has its deduplication key and is {holder.state!s}",
                holder.id,
            )
        if not (job.children_ids and flow_rules.awaits_failed_children(job)):
            return change
        failed = self.families.failed(key_of(job))
        if not failed:
            return change
        gone = next((key for key in failed if self.child_of(job, key) is None), None)
        again = len(failed) - len(self.families.awaited(key_of(job)))
        return flow_rules.retried(
            job, change, failed, pending=job.pending_children_count + again, gone=gone
        )

    def child_of(self, parent: JobData, key: Key) -> JobData | None:
        """A child of a parent, if it is still there."""
        job = self.look(key[0]).jobs.get(key[1])
        # another job may have its id by now
        return job if job is not None and parent_key_of(job) == key_of(parent) else None

    def tell_parent(self, child: JobData, now: datetime) -> bool:
        """Tell the parent how a child settled; returns whether that was news to it."""
        parent_key = parent_key_of(child)
        if parent_key is None or self.families.knows(parent_key, key_of(child)):
            return False
        self._tell(child, now)
        self.follow_up(now)
        return True

    def plan_run(
        self, scheduler: JobScheduler, planned: datetime | None, now: datetime
    ) -> JobScheduler:
        """Create a run of a scheduler, if one is planned; keep and return the scheduler."""
        limit = scheduler.repeat.limit
        if planned is None or (limit is not None and scheduler.runs >= limit):
            return self.keep_scheduler(replace(scheduler, next_run=None, pending_job_id=None))
        job = JobData(
            id=self.new_id(scheduler.queue_name),
            name=scheduler.name,
            queue_name=scheduler.queue_name,
            data=scheduler.data,
            opts=scheduler.opts,
            group_id=scheduler.opts.group.id if scheduler.opts.group else None,
            scheduler_id=scheduler.id,
            planned_at=planned,
        )
        self.admit(job, now)
        return self.keep_scheduler(
            replace(scheduler, runs=scheduler.runs + 1, next_run=planned, pending_job_id=job.id)
        )

    def keep_scheduler(self, scheduler: JobScheduler) -> JobScheduler:
        """Keep a scheduler as it is now; returns it."""
        self.schedulers[(scheduler.queue_name, scheduler.id)] = scheduler
        return scheduler

    def pending_run(self, scheduler: JobScheduler) -> JobData | None:
        """The run of a scheduler that is to come, or is active."""
        if scheduler.pending_job_id is None:
            return None
        return self.queues[scheduler.queue_name].jobs.get(scheduler.pending_job_id)

    # -- what follows from a step -------------------------------------------------------------

    def _change(self, job: JobData, change: lifecycle.Change, now: datetime) -> JobData:
        was_settled = job.state in lifecycle.SETTLED
        if was_settled and "state" in change.updates:
            self.retention.forget(job)
        changed = self.queues[job.queue_name].change(job, change.updates)
        for kind, data in change.events:
            self.outbox.append(StoreEvent(kind, job.queue_name, job.id, data, now))
        if (changed.state in lifecycle.SETTLED) is not was_settled:
            if was_settled:
                self._after_restart(changed, now)
            else:
                self._settled.append(changed)
                if self._followed and (result := change.updates.get("returnvalue")) is not None:
                    self.results[job.queue_name, job.id] = result
        return changed

    def remove(
        self, queue_name: str, job_id: str, now: datetime, *, reason: str | None = None
    ) -> None:
        """Remove a job, as it is now. To be followed by :meth:`follow_up`.

        For its parent, a child that is removed before it has completed has failed.
        """
        index = self.queues[queue_name]
        job = index.jobs[job_id]
        index.remove(job)
        self.families.forget(key_of(job))
        data = {"name": job.name, "previous": job.state, "worker_id": job.locked_by}
        if reason is not None:
            data["reason"] = reason
        self.note(EventType.REMOVED, job.queue_name, job.id, now, **data)
        if job.state in lifecycle.SETTLED:
            self.retention.forget(job)
        if job.parent_id is not None or job.scheduler_id is not None:
            self._removed.append((job, reason))

    def follow_up(self, now: datetime) -> None:
        """Do what follows from jobs that ended; a loop, for a flow may be any number deep."""
        while self._settled or self._removed:
            while self._removed:
                job, reason = self._removed.popleft()
                self._tell(job, now, reason)
                if job.state not in lifecycle.SETTLED:
                    self._plan_next_run(job, now)
            if not self._settled:
                return
            job = self._settled.popleft()
            index = self.queues[job.queue_name]
            if self.metrics is not None:
                self.metrics.record(job, now)
            if job.parent_id is not None:
                self._tell(job, now)
            if job.scheduler_id is not None:
                self._plan_next_run(job, now)
            if (keep := keep_of(job)) is not False:
                self._clear_away(job, keep, now)
            if not index.active and not index.waiting:
                self.note(EventType.DRAINED, index.name, None, now)

    def _clear_away(self, job: JobData, keep: bool | Keep, now: datetime) -> None:
        """Remove what is not kept, or no longer, as a job has settled."""
        if isinstance(keep, Keep):
            for job_id in self.retention.note_settled(job, keep):
                self.remove(job.queue_name, job_id, now)
        else:
            self.remove(job.queue_name, job.id, now)

    def _tell(self, child: JobData, now: datetime, reason: str | None = None) -> None:
        """Tell the parent how a child settled, or that it is gone, if it is to know."""
        parent_key = parent_key_of(child)
        if parent_key is None:
            return
        outcome = Families.outcome_of(child) if reason is None else ChildOutcome(reason)
        pending = self.families.settle(parent_key, key_of(child), outcome)
        if pending is None:
            return
        parent = self.find(*parent_key)
        change = flow_rules.child_settled(parent, child.id, outcome.why, pending=pending, now=now)
        changed = self._change(parent, change, now)
        if change.removes:
            self.remove(*parent_key, now, reason=changed.failed_reason)

    def _after_restart(self, job: JobData, now: datetime) -> None:
        """A settled job starts afresh: its parent is to wait for it, and it for its children."""
        if job.children_ids and flow_rules.awaits_failed_children(job):
            self.families.await_failed(key_of(job))
        parent_key = parent_key_of(job)
        if parent_key is None:
            return
        pending = self.families.restart(parent_key, key_of(job))
        if pending is None:
            return
        parent, awaited = self.find(*parent_key), self.families.awaited(parent_key)
        self._change(parent, flow_rules.child_restarted(parent, pending, awaited), now)

    def _plan_next_run(self, job: JobData, now: datetime) -> None:
        """Create the run after this one, if the job is its schedule's latest."""
        if job.scheduler_id is None:
            return
        scheduler = self.schedulers.get((job.queue_name, job.scheduler_id))
        if scheduler is None or scheduler.pending_job_id != job.id:
            return
        assert job.planned_at is not None, "every run of a scheduler is planned"
        scheduler = replace(scheduler, last_run=job.planned_at)
        planned = None
        if not scheduler.paused:
            # one that never started, as it was taken away, stands for what was due by now
            started = job.attempt_logs[0].started_at if job.attempt_logs else now
            planned = schedule.next_run(
                scheduler.repeat, job.planned_at, now, scheduler.runs, started
            )
        self.plan_run(scheduler, planned, now)

    def take_room(self, job: JobData, room: dict[Key, int]) -> None:
        """Check that a job's group has room for it, beside what was promised in ``room``.

        Raises:
            GroupFullError: it has none.
        """
        group = job.opts.group
        if group is None or group.max_size is None:
            return
        key = (job.queue_name, group.id)
        taken = room.get(key, self.look(job.queue_name).waiting.count_in_group(group.id))
        if taken >= group.max_size:
            raise GroupFullError(group.id, group.max_size)
        room[key] = taken + 1


_IDS_AT_ONCE = 64
"""For how many ids the system is asked for random bytes: each time is a system call."""

_spare: list[str] = []
if hasattr(os, "register_at_fork"):  # a process and its child must not make the same ids
    os.register_at_fork(after_in_child=_spare.clear)


def _uuid4() -> str:
    """A random UUID as text; a tenth of the time of ``str(uuid.uuid4())``, and one for each job."""
    try:
        digits = _spare.pop()
    except IndexError:
        block = os.urandom(16 * _IDS_AT_ONCE).hex()
        digits, *more = (block[at : at + 32] for at in range(0, len(block), 32))
        _spare.extend(more)
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


_MOST_NAMES_OVER = 256

_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


class _Numbers:
    """A counter for each name, so that no id comes twice; also when a name is over, for a while."""

    def __init__(self) -> None:
        self._counters: dict[str, itertools.count[int]] = {}
        self._over: OrderedDict[str, itertools.count[int]] = OrderedDict()

    def of(self, name: str) -> itertools.count[int]:
        """The counter of a name, from 1."""
        counter = self._counters.get(name)
        if counter is None:
            counter = self._over.pop(name) if name in self._over else itertools.count(1)
            self._counters[name] = counter
        return counter

    def let_go(self, name: str) -> None:
        """Keep the counter only for as long as it is among the latest few of this kind."""
        counter = self._counters.pop(name, None)
        if counter is not None:
            self._over[name] = counter
            if len(self._over) > _MOST_NAMES_OVER:
                self._over.popitem(last=False)
