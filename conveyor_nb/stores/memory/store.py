"""The store that keeps everything in this process's memory.

No persistence, one process: ``disconnect`` or the end of the kernel loses the data. Its methods are
atomic steps, under a lock, so that any thread's loop may call them. Those that take on very many
jobs are done in slices, and are the only thing that the others ever wait for.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any

from conveyor_nb.clocks.clock import SLICE, Clock, SystemClock
from conveyor_nb.clocks.timer import Timer
from conveyor_nb.core import actions, lifecycle
from conveyor_nb.core.checks import (
    MOST,
    check_choice,
    check_count,
    check_flag,
    check_logger,
    check_number,
    check_percent,
)
from conveyor_nb.core.errors import InvalidJobStateError
from conveyor_nb.core.model import (
    EventType,
    Fetched,
    FetchOptions,
    JobData,
    JobScheduler,
    JobState,
    Lock,
    StoreEvent,
    WorkerInfo,
    WorkerStatus,
    to_state,
)
from conveyor_nb.core.text import shown
from conveyor_nb.stores.interface import EventCallback
from conveyor_nb.stores.memory.bulk import MemoryBulk
from conveyor_nb.stores.memory.queue_index import QueueIndex
from conveyor_nb.stores.memory.reads import scheduler_out
from conveyor_nb.stores.memory.schedulers import (
    pause_scheduler,
    remove_scheduler,
    resume_scheduler,
    save_scheduler,
)
from conveyor_nb.stores.memory.slices import Slices, in_turn
from conveyor_nb.stores.memory.state import MemoryState
from conveyor_nb.stores.subscriptions import EventHandlerErrorCallback, Subscriptions

__all__ = ["MemoryStore"]

_NO_OPTIONS = FetchOptions()
_NOTHING = Fetched()
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


class MemoryStore(MemoryBulk):
    """Keeps jobs in memory, for as long as the process lives.

    Args:
        clock: the source of time; a ``SystemClock`` if not given.
        ids: ``"sequential"`` for ids such as ``emails-1``; UUID4s if not given.
        seed: fixes the jitter of backoffs.
        metrics: collect metrics of settled jobs, by minute and hour.
        logger: where faults of subscribers are reported.
        on_event_handler_error: called with the error, instead of logging it; the error's notes
            say which event it was for. Until the store disconnects.
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
            raise TypeError(
                f"clock must be a Clock, for instance VirtualClock(), not {shown(clock)}"
            )
        if ids not in (None, "sequential"):
            raise ValueError(f"ids must be 'sequential' or None (UUID4), not {shown(ids)}")
        self.clock = clock or SystemClock()
        self._sequential_ids = ids is not None
        self._seed = None if seed is None else check_count(seed, what="seed", least=-MOST)
        self._collects_metrics = check_flag(metrics, what="metrics")
        self._subscriptions = Subscriptions(check_logger(logger), on_event_handler_error)
        self._state = self._empty_state()
        self._lock = threading.RLock()
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._slices = Slices(self.clock, self._lock, self._flush)
        self._expiry_timer = Timer(self.clock, self._remove_expired)

    # -- life ---------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Nothing to do: memory is always there."""

    @in_turn
    def disconnect(self) -> None:
        """Forget every job, counter, paused name, worker and subscriber."""
        self._state = self._empty_state()
        self._expiry_timer.cancel()
        self._subscriptions.disconnect(self.clock.now())

    # -- jobs in ------------------------------------------------------------------------------

    def new_job_id(self, queue_name: str) -> str:
        with self._lock:
            return self._state.new_id(queue_name)

    def new_worker_id(self, name: str) -> str:
        with self._lock:
            return self._state.new_worker_id(name)

    async def save_job(self, job: JobData) -> JobData:
        while True:
            self._acquire()  # this and the next two do as in_turn does, without its cost
            try:
                if self._slices.under_way is None:
                    saved = self._state.save_one(job, self.clock.now())
                    self._flush()
                    return saved
            finally:
                self._release()
            await self._slices.all_over()

    @in_turn
    def notify_child_completed(self, queue_name: str, child_id: str) -> bool:
        return self._tell_parent(queue_name, child_id, JobState.COMPLETED)

    @in_turn
    def fail_parent_on_child_failure(self, queue_name: str, child_id: str) -> bool:
        return self._tell_parent(queue_name, child_id, JobState.FAILED)

    # -- schedulers ---------------------------------------------------------------------------

    @in_turn
    def upsert_job_scheduler(self, scheduler: JobScheduler) -> JobScheduler:
        saved = save_scheduler(self._state, scheduler, self.clock.now())
        self._flush()
        return scheduler_out(saved)

    @in_turn
    def pause_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return self._with_scheduler(queue_name, scheduler_id, pause_scheduler)

    @in_turn
    def resume_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return self._with_scheduler(queue_name, scheduler_id, resume_scheduler)

    @in_turn
    def remove_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return self._with_scheduler(queue_name, scheduler_id, remove_scheduler)

    # -- work ---------------------------------------------------------------------------------

    async def fetch_jobs(
        self,
        queue_name: str,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions | None = None,
        *,
        limit: int = 1,
    ) -> Fetched:
        options = options or _NO_OPTIONS
        if limit < 1:
            raise ValueError(f"limit must be 1 or more, not {shown(limit)}")
        while True:
            self._acquire()
            try:
                index = self._state.queues.get(queue_name)
                if index is None:
                    return _NOTHING
                now = self.clock.now()
                first: Coroutine[Any, Any, object]
                if self._slices.under_way is not None:
                    first = self._slices.all_over()
                elif index.next_due is not None and index.next_due <= now:
                    first = self.promote_delayed_jobs(queue_name)
                else:
                    taken: list[JobData] = []
                    while len(taken) < limit and _may_start(index, options, now):
                        job_id = index.waiting.next_id(options, now)
                        if job_id is None:
                            break
                        job = index.jobs[job_id]
                        change = lifecycle.take(job, worker_id, lock_duration, now)
                        taken.append(self._state.commit(job, change, now))
                    if not taken:
                        return Fetched(next_at=_next_fetch_at(index, options, now))
                    self._flush()
                    return Fetched(taken)
            finally:
                self._release()
            await first

    async def apply(
        self, queue_name: str, job_id: str, action: actions.Action, *, lock: Lock | None = None
    ) -> JobData:
        while True:
            self._acquire()
            try:
                if self._slices.under_way is None:
                    job = self._state.find(queue_name, job_id)
                    now = self.clock.now()
                    change = self._state.decide(job, action, lock, now)
                    changed = self._state.commit(job, change, now)
                    self._flush()
                    return changed
            finally:
                self._release()
            await self._slices.all_over()

    @in_turn
    def update_job(
        self,
        queue_name: str,
        job_id: str,
        changes: Mapping[str, Any],
        *,
        expected_state: JobState | str | None = None,
    ) -> JobData:
        if not isinstance(changes, Mapping):
            raise TypeError(f"changes must be a mapping, not {shown(changes)}")
        if unknown := changes.keys() - _UPDATES.keys():
            raise ValueError(
                f"update_job changes {', '.join(_UPDATES)}, not {shown(sorted(unknown)[0])}; "
                "the state of a job is changed by apply"
            )
        expected = to_state(expected_state)
        job = self._state.find(queue_name, job_id)
        if expected is not None and job.state is not expected:
            raise InvalidJobStateError(job_id, job.state, [expected])
        now = self.clock.now()
        wanted = [_UPDATES[name](value) for name, value in changes.items()]
        decided = [self._state.decide(job, action, None, now) for action in wanted]
        for change in decided:
            job = self._state.commit(job, change, now)
        self._flush()
        return job

    @in_turn
    def remove_job(self, queue_name: str, job_id: str) -> bool:
        job = self._state.look(queue_name).jobs.get(job_id)
        if job is not None:
            now = self.clock.now()
            self._state.remove(queue_name, job_id, now)
            self._state.follow_up(now)
            self._flush()
        return job is not None

    # -- paused names -------------------------------------------------------------------------

    @in_turn
    def pause_job_name(self, queue_name: str, name: str) -> None:
        waiting = self._state.queue(queue_name).waiting
        if name not in waiting.paused_names:
            waiting.pause(name)
            self._tell_queue(EventType.PAUSED, queue_name, job_name=name)

    @in_turn
    def resume_job_name(self, queue_name: str, name: str) -> None:
        waiting = self._state.look(queue_name).waiting
        if name in waiting.paused_names:
            waiting.resume(name)
            self._tell_queue(EventType.RESUMED, queue_name, job_name=name)

    # -- workers ------------------------------------------------------------------------------

    @in_turn
    def save_worker(self, worker: WorkerInfo) -> None:
        status = check_choice(WorkerStatus, worker.status, what="worker status")
        if status in (WorkerStatus.CLOSED, WorkerStatus.STOPPED):
            self._state.forget_worker(worker)
        else:
            self._state.queue(worker.queue_name)
            self._state.workers[worker.id] = dataclasses.replace(worker, status=status)
        kind = _WORKER_EVENTS[status]
        self._tell_queue(kind, worker.queue_name, worker_id=worker.id, name=worker.name)

    # -- events -------------------------------------------------------------------------------

    async def publish(self, event: StoreEvent) -> None:
        with self._lock:
            self._subscriptions.publish([event])

    def subscribe(
        self, queue_name: str | None, callback: EventCallback, *, job_id: str | None = None
    ) -> None:
        with self._lock:
            self._subscriptions.add(queue_name, callback, job_id)

    def unsubscribe(
        self,
        queue_name: str | None,
        callback: EventCallback | None = None,
        *,
        job_id: str | None = None,
    ) -> None:
        with self._lock:
            self._subscriptions.remove(queue_name, callback, job_id)

    # -- within -------------------------------------------------------------------------------

    def _empty_state(self) -> MemoryState:
        return MemoryState(
            sequential_ids=self._sequential_ids,
            seed=self._seed,
            metrics=self._collects_metrics,
            followed=self._subscriptions.of_jobs,
        )

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
        step: Callable[[MemoryState, JobScheduler, datetime], None],
    ) -> bool:
        scheduler = self._state.schedulers.get((queue_name, scheduler_id))
        if scheduler is not None:
            step(self._state, scheduler, self.clock.now())
            self._flush()
        return scheduler is not None

    def _tell_queue(self, kind: EventType, queue_name: str, **data: object) -> None:
        self._state.note(kind, queue_name, None, self.clock.now(), **data)
        self._flush()

    def _flush(self) -> None:
        """Publish what the step noted, now that the whole of it can be seen."""
        state = self._state
        if state.outbox:
            events, state.outbox = state.outbox, []
            if results := state.results:
                state.results = {}
            self._subscriptions.publish(events, results)
        timer = self._expiry_timer
        if state.retention.has_changed or (timer.when is not None and timer.is_lost):
            state.retention.has_changed = False
            timer.set(state.retention.next_expiry())

    def _remove_expired(self) -> None:
        """Remove what has been kept long enough; of much of it a part, as the timer fires again."""
        with self._lock:
            retention, now = self._state.retention, self.clock.now()
            if self._slices.under_way is None:
                for queue_name, job_id in retention.expired(now, SLICE):
                    self._state.remove(queue_name, job_id, now)
                self._state.follow_up(now)
            retention.has_changed = True  # it rang, perhaps a little early
            self._flush()


def _may_start(index: QueueIndex, options: FetchOptions, now: datetime) -> bool:
    """Whether the limits that hold for the whole queue let one more job start."""
    if options.limiter is None and options.max_global_concurrency is None:
        return True
    most = options.max_global_concurrency
    if most is not None and len(index.active) >= most:
        return False
    opens = index.starts.opens_at(options.limiter) if options.limiter else None
    return opens is None or opens <= now


def _next_fetch_at(index: QueueIndex, options: FetchOptions, now: datetime) -> datetime | None:
    """When there may be a job to fetch, if there is none now and nothing else happens."""
    instants = [index.next_due]
    if index.waiting:
        instants.append(index.waiting.next_opening())
        if options.limiter is not None:
            instants.append(index.starts.opens_at(options.limiter))
    return min((one for one in instants if one is not None and one > now), default=None)
