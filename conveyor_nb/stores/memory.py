"""The store that keeps everything in this process's memory.

No persistence, one process: ``disconnect`` or the end of the kernel loses the data. None of its
methods ever waits, so each is one atomic step of the event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from conveyor_nb import actions, lifecycle
from conveyor_nb.alarm import Alarm
from conveyor_nb.checks import check_flag, check_number, check_percent
from conveyor_nb.clock import Clock, SystemClock
from conveyor_nb.display import Displayable
from conveyor_nb.errors import InvalidJobStateError
from conveyor_nb.model import (
    EventType,
    FetchOptions,
    JobData,
    JobScheduler,
    JobState,
    Lock,
    StoreEvent,
    WorkerInfo,
    WorkerStatus,
)
from conveyor_nb.payload import freeze, thaw
from conveyor_nb.stores.interface import EventCallback
from conveyor_nb.stores.memory_reads import MemoryReads, scheduler_out
from conveyor_nb.stores.memory_state import MemoryState
from conveyor_nb.stores.queue_index import QueueIndex
from conveyor_nb.stores.subscriptions import EventHandlerErrorCallback, Subscriptions

__all__ = ["MemoryStore"]

_NO_OPTIONS = FetchOptions()
_WORKER_EVENTS = {
    WorkerStatus.RUNNING: EventType.WORKER_STARTED,
    WorkerStatus.PAUSED: EventType.WORKER_PAUSED,
    WorkerStatus.CLOSING: EventType.WORKER_PAUSED,  # it takes no more jobs
    WorkerStatus.STOPPED: EventType.WORKER_CLOSED,
    WorkerStatus.CLOSED: EventType.WORKER_CLOSED,
}
_UPDATES: Mapping[str, Callable[[Any], actions.Action]] = {
    "data": actions.UpdateData,
    "progress": lambda value: actions.SetProgress(check_percent(value)),
    "priority": lambda value: actions.ChangePriority(check_number(value, what="priority")),
}


class MemoryStore(Displayable, MemoryReads):
    """Keeps jobs in memory, for as long as the process lives.

    Args:
        clock: the source of time; a ``SystemClock`` if not given.
        ids: ``"sequential"`` for ids such as ``emails-1``; UUID4s if not given.
        seed: fixes the jitter of backoffs.
        metrics: collect metrics of settled jobs, by minute and hour.
        logger: where faults of subscribers are reported.
        on_event_handler_error: called with (error, event) for such a fault, instead of logging.
        auto_migrate: no effect; there is nothing to migrate.

    >>> import asyncio
    >>> async def main():
    ...     async with MemoryStore(ids="sequential") as store:
    ...         saved = await store.save_job(JobData("", "send", "emails", {"to": "ada"}))
    ...         return saved.id, await store.count_jobs("emails", JobState.WAITING)
    >>> asyncio.run(main())
    ('emails-1', 1)
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        ids: str | None = None,
        seed: int | None = None,
        metrics: bool = False,
        logger: logging.Logger | None = None,
        on_event_handler_error: EventHandlerErrorCallback | None = None,
        auto_migrate: bool = True,
    ) -> None:
        if clock is not None and not isinstance(clock, Clock):
            raise TypeError(f"clock must be a Clock, for instance VirtualClock(), not {clock!r}")
        if ids not in (None, "sequential"):
            raise ValueError(f"ids must be 'sequential' or None (UUID4), not {ids!r}")
        self.clock = clock or SystemClock()
        self._sequential_ids = ids is not None
        self._seed = seed
        self._collects_metrics = check_flag(metrics, what="metrics")
        self._subscriptions = Subscriptions(
            logger or logging.getLogger("conveyor_nb"), on_event_handler_error
        )
        self._state = self._empty_state()
        self._expiry_alarm = Alarm(self.clock, self._remove_expired)

    def __repr__(self) -> str:
        queues = self._state.queues.values()
        jobs = sum(queue.count(None) for queue in queues)
        return f"<MemoryStore: {jobs} jobs in {len(queues)} queues>"

    # -- life ---------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Nothing to do: memory is always there."""

    async def disconnect(self) -> None:
        """Forget every job, counter, paused name, worker and subscriber."""
        self._state = self._empty_state()
        self._subscriptions.clear()
        self._expiry_alarm.cancel()

    # -- jobs in ------------------------------------------------------------------------------

    def new_job_id(self, queue_name: str) -> str:
        return self._state.new_id(queue_name)

    def new_worker_id(self, name: str) -> str:
        return self._state.new_worker_id(name)

    async def save_job(self, job: JobData) -> JobData:
        saved = self._state.save_one(job, self.clock.now())
        self._flush()
        return saved

    async def save_bulk(self, jobs: Sequence[JobData]) -> list[JobData]:
        saved = self._state.save_all(jobs, self.clock.now())
        self._flush()
        return saved

    async def save_flow(self, jobs: Sequence[JobData]) -> list[JobData]:
        saved = self._state.save_flow(jobs, self.clock.now())
        self._flush()
        return saved

    async def notify_child_completed(self, queue_name: str, child_id: str) -> bool:
        return self._tell_parent(queue_name, child_id, JobState.COMPLETED)

    async def fail_parent_on_child_failure(self, queue_name: str, child_id: str) -> bool:
        return self._tell_parent(queue_name, child_id, JobState.FAILED)

    # -- schedulers ---------------------------------------------------------------------------

    async def upsert_job_scheduler(self, scheduler: JobScheduler) -> JobScheduler:
        saved = self._state.save_scheduler(scheduler, self.clock.now())
        self._flush()
        return scheduler_out(saved)

    async def pause_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return self._with_scheduler(queue_name, scheduler_id, self._state.pause_scheduler)

    async def resume_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return self._with_scheduler(queue_name, scheduler_id, self._state.resume_scheduler)

    async def remove_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return self._with_scheduler(queue_name, scheduler_id, self._state.remove_scheduler)

    # -- work ---------------------------------------------------------------------------------

    async def fetch_next_job(
        self,
        queue_name: str,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions | None = None,
    ) -> JobData | None:
        index = self._state.queues.get(queue_name)
        if index is None:
            return None
        now = self.clock.now()
        options = options or _NO_OPTIONS
        state = self._state
        if index.next_due is not None:
            state.promote_due(index, now)
        taken = None
        if _may_start(index, options, now):
            job_id = index.waiting.next_id(options, now)
            if job_id is not None:
                job = index.jobs[job_id]
                change = lifecycle.take(job, worker_id, lock_duration, now)
                taken = state.commit(job, change, now)
        self._flush()
        return taken

    async def apply(
        self, queue_name: str, job_id: str, action: actions.Action, *, lock: Lock | None = None
    ) -> JobData:
        job = self._state.find(queue_name, job_id)
        now = self.clock.now()
        changed = self._state.commit(job, self._decide(job, action, lock, now), now)
        self._flush()
        return changed

    async def update_job(
        self,
        queue_name: str,
        job_id: str,
        changes: Mapping[str, Any],
        *,
        expected_state: JobState | None = None,
    ) -> JobData:
        if unknown := changes.keys() - _UPDATES.keys():
            raise ValueError(
                f"update_job changes {', '.join(_UPDATES)}, not {sorted(unknown)[0]!r}; "
                "the state of a job is changed by apply"
            )
        job = self._state.find(queue_name, job_id)
        if expected_state is not None and job.state is not expected_state:
            raise InvalidJobStateError(job_id, job.state, [expected_state])
        now = self.clock.now()
        wanted = [_UPDATES[name](value) for name, value in changes.items()]
        decided = [self._decide(job, action, None, now) for action in wanted]
        for change in decided:
            job = self._state.commit(job, change, now)
        self._flush()
        return job

    async def remove_job(self, queue_name: str, job_id: str) -> bool:
        job = self._state.look(queue_name).jobs.get(job_id)
        if job is not None:
            self._state.remove([job], self.clock.now())
            self._flush()
        return job is not None

    async def promote_delayed_jobs(self, queue_name: str) -> int:
        promoted = self._state.promote_due(self._state.look(queue_name), self.clock.now())
        self._flush()
        return promoted

    # -- whole queues -------------------------------------------------------------------------

    async def pause_job_name(self, queue_name: str, name: str) -> None:
        waiting = self._state.queue(queue_name).waiting
        if name not in waiting.paused_names:
            waiting.pause(name)
            self._tell_queue(EventType.PAUSED, queue_name, job_name=name)

    async def resume_job_name(self, queue_name: str, name: str) -> None:
        waiting = self._state.queue(queue_name).waiting
        if name in waiting.paused_names:
            waiting.resume(name)
            self._tell_queue(EventType.RESUMED, queue_name, job_name=name)

    async def promote_jobs(self, queue_name: str) -> int:
        return self._apply_to_all(queue_name, JobState.DELAYED, actions.Promote())

    async def retry_jobs(self, queue_name: str, state: JobState = JobState.FAILED) -> int:
        return self._apply_to_all(queue_name, state, actions.Retry())

    async def drain(self, queue_name: str) -> int:
        index = self._state.look(queue_name)
        now = self.clock.now()
        jobs = index.page(JobState.WAITING, 0, None) + index.page(JobState.DELAYED, 0, None)
        removed = self._state.remove(jobs, now)
        self._state.note(EventType.DRAINED, queue_name, None, now)
        self._flush()
        return removed

    async def clean(self, queue_name: str, state: JobState, grace: float = 0.0) -> int:
        now = self.clock.now()
        jobs = self._state.look(queue_name).since(state, now - timedelta(seconds=grace))
        removed = self._state.remove(jobs, now)
        self._flush()
        return removed

    async def obliterate(self, queue_name: str, *, force: bool = False) -> int:
        index = self._state.look(queue_name)
        if index.active and not force:
            [job] = index.page(JobState.ACTIVE, 0, 1)
            raise InvalidJobStateError(job.id, job.state, sorted(set(JobState) - {job.state}))
        now = self.clock.now()
        for key in [key for key in self._state.schedulers if key[0] == queue_name]:
            del self._state.schedulers[key]
        removed = self._state.remove(index.page(None, 0, None), now)
        for name in sorted(index.waiting.paused_names):
            self._state.note(EventType.RESUMED, queue_name, None, now, job_name=name)
        self._state.queues.pop(queue_name, None)
        self._flush()
        return removed

    # -- workers ------------------------------------------------------------------------------

    async def save_worker(self, worker: WorkerInfo) -> None:
        if worker.status in (WorkerStatus.CLOSED, WorkerStatus.STOPPED):
            self._state.workers.pop(worker.id, None)
        else:
            self._state.queue(worker.queue_name)
            self._state.workers[worker.id] = worker
        kind = _WORKER_EVENTS[worker.status]
        self._tell_queue(kind, worker.queue_name, worker_id=worker.id, name=worker.name)

    # -- events -------------------------------------------------------------------------------

    async def publish(self, event: StoreEvent) -> None:
        self._subscriptions.publish(event)

    def subscribe(
        self, queue_name: str | None, callback: EventCallback, *, job_id: str | None = None
    ) -> None:
        self._subscriptions.add(queue_name, callback, job_id)

    def unsubscribe(
        self,
        queue_name: str | None,
        callback: EventCallback | None = None,
        *,
        job_id: str | None = None,
    ) -> None:
        self._subscriptions.remove(queue_name, callback, job_id)

    # -- within -------------------------------------------------------------------------------

    def _empty_state(self) -> MemoryState:
        return MemoryState(
            sequential_ids=self._sequential_ids, seed=self._seed, metrics=self._collects_metrics
        )

    def _decide(
        self, job: JobData, action: actions.Action, lock: Lock | None, now: datetime
    ) -> lifecycle.Change:
        """Decide what an action changes; payloads are copied on the way in."""
        field, frozen = "", None
        if isinstance(action, actions.Complete):
            field, frozen = "returnvalue", freeze(action.returnvalue, "the job's result")
            if frozen is not action.returnvalue:  # the event tells of a copy as well
                action = actions.Complete(thaw(frozen))
        elif isinstance(action, actions.UpdateData):
            field, frozen = "data", freeze(action.data, "data")
        change = lifecycle.decide(job, action, now=now, lock=lock, random=self._state.random)
        if field in change.updates:
            change.updates[field] = frozen
        return change

    def _tell_parent(self, queue_name: str, child_id: str, state: JobState) -> bool:
        child = self._state.find(queue_name, child_id)
        if child.state is not state:
            raise InvalidJobStateError(child_id, child.state, [state])
        told = self._state.tell_parent(child, self.clock.now())
        self._flush()
        return told

    def _with_scheduler(
        self,
        queue_name: str,
        scheduler_id: str,
        step: Callable[[JobScheduler, datetime], None],
    ) -> bool:
        scheduler = self._state.schedulers.get((queue_name, scheduler_id))
        if scheduler is not None:
            step(scheduler, self.clock.now())
            self._flush()
        return scheduler is not None

    def _apply_to_all(self, queue_name: str, state: JobState, action: actions.Action) -> int:
        jobs = self._state.look(queue_name).page(state, 0, None)
        now = self.clock.now()
        for listed in jobs:
            # as it is now: what was done to one of a flow may have changed another
            job = self._state.find(queue_name, listed.id)
            self._state.commit(job, self._decide(job, action, None, now), now)
        self._flush()
        return len(jobs)

    def _tell_queue(self, kind: EventType, queue_name: str, **data: object) -> None:
        self._state.note(kind, queue_name, None, self.clock.now(), **data)
        self._flush()

    def _flush(self) -> None:
        """Publish what the step noted, now that the whole of it can be seen."""
        state = self._state
        if state.outbox:
            events, state.outbox = state.outbox, []
            publish = self._subscriptions.publish
            for event in events:
                publish(event)
        if state.retention.has_changed:
            state.retention.has_changed = False
            self._expiry_alarm.set(state.retention.next_expiry())

    def _remove_expired(self) -> None:
        """Remove what has been kept long enough."""
        now = self.clock.now()
        expired = self._state.retention.expired(now)
        self._state.remove([self._state.find(*key) for key in expired], now)
        self._state.retention.has_changed = True  # it rang, perhaps a little early
        self._flush()


def _may_start(index: QueueIndex, options: FetchOptions, now: datetime) -> bool:
    """Whether the limits that hold for the whole queue let one more job start."""
    most = options.max_global_concurrency
    if most is not None and len(index.active) >= most:
        return False
    opens = index.starts.opens_at(options.limiter) if options.limiter else None
    return opens is None or opens <= now
