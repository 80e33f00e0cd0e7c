"""The store that keeps everything in this process's memory.

No persistence, one process: ``disconnect`` or the end of the kernel loses the data. None of its
methods ever waits, so each is one atomic step of the event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from conveyor_nb import actions, lifecycle
from conveyor_nb.clock import Alarm, Clock, SystemClock
from conveyor_nb.display import Displayable
from conveyor_nb.errors import InvalidJobStateError
from conveyor_nb.model import (
    EventType,
    FetchOptions,
    JobData,
    JobState,
    Lock,
    StoreEvent,
    WorkerInfo,
    WorkerStatus,
)
from conveyor_nb.payload import freeze, thaw
from conveyor_nb.stores.interface import EventCallback, StoreInterface
from conveyor_nb.stores.memory_state import MemoryState
from conveyor_nb.stores.queue_index import QueueIndex
from conveyor_nb.stores.subscriptions import EventHandlerErrorCallback, Subscriptions

__all__ = ["MemoryStore"]

_NO_OPTIONS = FetchOptions()
_WORKER_EVENTS = {
    WorkerStatus.RUNNING: EventType.WORKER_STARTED,
    WorkerStatus.PAUSED: EventType.WORKER_PAUSED,
    WorkerStatus.CLOSED: EventType.WORKER_CLOSED,
}
_UPDATES: Mapping[str, Any] = {
    "data": actions.UpdateData,
    "progress": actions.SetProgress,
    "priority": actions.ChangePriority,
}


class MemoryStore(Displayable, StoreInterface):
    """Keeps jobs in memory, for as long as the process lives.

    Args:
        clock: the source of time; a ``SystemClock`` if not given.
        ids: ``"sequential"`` for ids such as ``emails-1``; UUID4s if not given.
        seed: fixes the jitter of backoffs.
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
        return (await self.save_bulk([job]))[0]

    async def save_bulk(self, jobs: Sequence[JobData]) -> list[JobData]:
        saved = self._state.save(jobs, self.clock.now())
        copies = [_copy(job) for job in saved]
        self._flush()
        return copies

    # -- look-ups -----------------------------------------------------------------------------

    async def get_job(self, queue_name: str, job_id: str) -> JobData | None:
        job = self._state.look(queue_name).jobs.get(job_id)
        return _copy(job) if job else None

    async def find_job_by_id(self, job_id: str) -> JobData | None:
        for index in self._state.queues.values():
            if (job := index.jobs.get(job_id)) is not None:
                return _copy(job)
        return None

    async def find_by_deduplication_key(self, queue_name: str, key: str) -> JobData | None:
        job = self._state.look(queue_name).holder_of(key, self.clock.now())
        return _copy(job) if job else None

    async def list_jobs(
        self, queue_name: str, state: JobState | None = None, start: int = 0, end: int | None = None
    ) -> list[JobData]:
        return self.snapshot(queue_name, state, start, end)

    async def count_jobs(self, queue_name: str, state: JobState | None = None) -> int:
        return self._state.look(queue_name).count(state)

    async def get_job_counts(self, queue_name: str) -> dict[JobState, int]:
        return self.counts(queue_name)

    async def get_active_count(self, queue_name: str) -> int:
        return len(self._state.look(queue_name).active)

    async def get_group_active_count(self, queue_name: str, group_id: str | None) -> int:
        return self._state.look(queue_name).waiting.active_in_group(group_id)

    async def get_waiting_group_count(self, queue_name: str, group_id: str | None) -> int:
        return self._state.look(queue_name).waiting.count_in_group(group_id)

    async def list_queues(self) -> list[str]:
        return self.queue_names()

    # -- the same for views, which can't wait -------------------------------------------------

    def snapshot(
        self,
        queue_name: str,
        state: JobState | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        payloads: bool = True,
    ) -> list[JobData]:
        """What :meth:`list_jobs` gives, without waiting.

        Without ``payloads``, which may be large, ``data`` and ``returnvalue`` are ``None``.
        """
        copy = _copy if payloads else _copy_without_payloads
        return [copy(job) for job in self._state.look(queue_name).page(state, start, end)]

    def counts(self, queue_name: str) -> dict[JobState, int]:
        """What :meth:`get_job_counts` gives, without waiting."""
        index = self._state.look(queue_name)
        return {state: index.count(state) for state in JobState}

    def paused_names(self, queue_name: str) -> frozenset[str]:
        """What :meth:`get_paused_job_names` gives, without waiting."""
        return frozenset(self._state.look(queue_name).waiting.paused_names)

    def queue_names(self) -> list[str]:
        """What :meth:`list_queues` gives, without waiting."""
        return sorted(self._state.queues)

    def workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        """What :meth:`list_workers` gives, without waiting."""
        workers = self._state.workers.values()
        return [one for one in workers if queue_name in (None, one.queue_name)]

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
        self._state.promote_due(index, now)
        job_id = index.waiting.next_id(options, now) if _may_start(index, options, now) else None
        taken = None
        if job_id is not None:
            job = index.jobs[job_id]
            self._state.commit(job, lifecycle.take(job, worker_id, lock_duration, now), now)
            taken = _copy(job)
        self._flush()
        return taken

    async def next_fetch_at(
        self, queue_name: str, options: FetchOptions | None = None
    ) -> datetime | None:
        index = self._state.look(queue_name)
        instants = [index.next_due()]
        if index.waiting:
            instants.append(index.waiting.next_opening())
            if options and options.limiter:
                instants.append(index.starts.opens_at(options.limiter))
        return min((one for one in instants if one is not None), default=None)

    async def apply(
        self, queue_name: str, job_id: str, action: actions.Action, *, lock: Lock | None = None
    ) -> JobData:
        job = self._state.find(queue_name, job_id)
        now = self.clock.now()
        self._commit(job, action, lock, now)
        after = _copy(job)
        self._flush()
        return after

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
        for name, value in changes.items():
            self._commit(job, _UPDATES[name](value), None, now)
        self._flush()
        return _copy(job)

    async def remove_job(self, queue_name: str, job_id: str) -> bool:
        job = self._state.look(queue_name).jobs.get(job_id)
        if job is not None:
            self._state.remove([job], self.clock.now())
            self._flush()
        return job is not None

    async def get_next_delayed_timestamp(self, queue_name: str) -> datetime | None:
        return self._state.look(queue_name).next_due()

    async def promote_delayed_jobs(self, queue_name: str) -> int:
        promoted = self._state.promote_due(self._state.look(queue_name), self.clock.now())
        self._flush()
        return promoted

    async def get_stalled_jobs(self, queue_name: str) -> list[JobData]:
        now = self.clock.now()
        active = self._state.look(queue_name).active.values()
        return [_copy(job) for job in active if job.lock_until and job.lock_until <= now]

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

    async def get_paused_job_names(self, queue_name: str) -> frozenset[str]:
        return self.paused_names(queue_name)

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
            job = next(iter(index.active.values()))
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
        if worker.status is WorkerStatus.CLOSED:
            self._state.workers.pop(worker.id, None)
        else:
            self._state.queue(worker.queue_name)
            self._state.workers[worker.id] = worker
        kind = _WORKER_EVENTS[worker.status]
        self._tell_queue(kind, worker.queue_name, worker_id=worker.id, name=worker.name)

    async def list_workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        return self.workers(queue_name)

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
        return MemoryState(sequential_ids=self._sequential_ids, seed=self._seed)

    def _commit(
        self, job: JobData, action: actions.Action, lock: Lock | None, now: datetime
    ) -> None:
        """Decide what an action changes, and change it; payloads are copied on the way in."""
        frozen: dict[str, Any] = {}
        if isinstance(action, actions.Complete):
            frozen["returnvalue"] = freeze(action.returnvalue, "the job's result")
            action = actions.Complete(thaw(frozen["returnvalue"]))
        elif isinstance(action, actions.UpdateData):
            frozen["data"] = freeze(action.data, "data")
        change = lifecycle.decide(job, action, now=now, lock=lock, random=self._state.random)
        kept = {name: value for name, value in frozen.items() if name in change.updates}
        if kept:
            change = lifecycle.Change({**change.updates, **kept}, change.events)
        self._state.commit(job, change, now)

    def _apply_to_all(self, queue_name: str, state: JobState, action: actions.Action) -> int:
        jobs = self._state.look(queue_name).page(state, 0, None)
        now = self.clock.now()
        for job in jobs:
            self._commit(job, action, None, now)
        self._flush()
        return len(jobs)

    def _tell_queue(self, kind: EventType, queue_name: str, **data: object) -> None:
        self._state.note(kind, queue_name, None, self.clock.now(), **data)
        self._flush()

    def _flush(self) -> None:
        """Publish what the step noted, now that the whole of it can be seen."""
        state = self._state
        events, state.outbox = state.outbox, []
        for event in events:
            self._subscriptions.publish(event)
        self._expiry_alarm.set(state.retention.next_expiry())

    def _remove_expired(self) -> None:
        """Remove what has been kept long enough."""
        now = self.clock.now()
        expired = self._state.retention.expired(now)
        self._state.remove([self._state.find(*key) for key in expired], now)
        self._flush()


def _may_start(index: QueueIndex, options: FetchOptions, now: datetime) -> bool:
    """Whether the limits that hold for the whole queue let one more job start."""
    most = options.max_global_concurrency
    if most is not None and len(index.active) >= most:
        return False
    opens = index.starts.opens_at(options.limiter) if options.limiter else None
    return opens is None or opens <= now


def _copy(job: JobData) -> JobData:
    """What leaves the store: nothing of it is shared with the record that stays."""
    copy = job.copy()
    copy.data = thaw(copy.data)
    copy.returnvalue = thaw(copy.returnvalue)
    return copy


def _copy_without_payloads(job: JobData) -> JobData:
    copy = job.copy()
    copy.data = copy.returnvalue = None
    return copy
