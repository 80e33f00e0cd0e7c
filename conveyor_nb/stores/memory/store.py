"""The store that keeps everything in this process's memory.

No persistence, one process: ``disconnect`` or the end of the kernel loses the data. Its methods are
atomic steps, under a lock, so that any thread's loop may call them. Those that take on very many
jobs are done in slices, and are the only thing that the others ever wait for.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import datetime
from typing import Any, TypeVar, TypeVarTuple

from conveyor_nb.clocks.clock import Clock, check_clock
from conveyor_nb.clocks.timer import Timer
from conveyor_nb.core.actions import Action
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState, Lock, StoreEvent
from conveyor_nb.core.steps import changing, schedulers, serving, workers
from conveyor_nb.core.steps.looking import scheduler_out
from conveyor_nb.core.steps.many import remove_expired
from conveyor_nb.core.steps.saving import save
from conveyor_nb.core.steps.serving import fetch
from conveyor_nb.core.values.checks import (
    MOST,
    check_count,
    check_flag,
    check_logger,
)
from conveyor_nb.core.values.ids import are_sequential
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo
from conveyor_nb.stores.interface import EventCallback
from conveyor_nb.stores.memory.bulk import MemoryBulk
from conveyor_nb.stores.memory.retention import Retention
from conveyor_nb.stores.memory.slices import Slices, in_turn
from conveyor_nb.stores.memory.state import MemoryState
from conveyor_nb.stores.subscriptions import EventHandlerErrorCallback, Subscriptions

__all__ = ["MemoryStore"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_NO_OPTIONS = FetchOptions()


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

    tells_at_once: bool = True
    """It publishes the events of a step within that step."""
    idle_beat: float | None = None
    """It sees that a worker is there by its event loop, which it does not wake for that."""

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
        self.clock = check_clock(clock)
        self._sequential_ids = are_sequential(ids)
        self._seed = None if seed is None else check_count(seed, what="seed", least=-MOST)
        self._collects_metrics = check_flag(metrics, what="metrics")
        self._subscriptions = Subscriptions(check_logger(logger), on_event_handler_error)
        self._state = self._empty_state()
        self._homes = {}
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
        self._homes.clear()
        self._expiry_timer.cancel()
        self._subscriptions.disconnect(self.clock.now())

    # -- jobs in ------------------------------------------------------------------------------

    def new_worker_id(self, name: str) -> str:
        with self._lock:
            return self._state.new_worker_id(name)

    async def save_job(self, job: JobData) -> JobData:
        while True:
            self._acquire()  # this and the next two do as in_turn does, without its cost
            try:
                if self._slices.under_way is None:
                    saved = save(self._state, job, self.clock.now())
                    self._flush()
                    return saved
            finally:
                self._release()
            await self._slices.all_over()

    @in_turn
    def notify_child_completed(self, queue_name: str, child_id: str) -> bool:
        return self._step(changing.tell_of_child, queue_name, child_id, JobState.COMPLETED)

    @in_turn
    def fail_parent_on_child_failure(self, queue_name: str, child_id: str) -> bool:
        return self._step(changing.tell_of_child, queue_name, child_id, JobState.FAILED)

    # -- schedulers ---------------------------------------------------------------------------

    @in_turn
    def upsert_job_scheduler(self, scheduler: JobScheduler) -> JobScheduler:
        return scheduler_out(self._step(schedulers.save_scheduler, scheduler))

    @in_turn
    def pause_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return self._step(schedulers.pause_scheduler, queue_name, scheduler_id)

    @in_turn
    def resume_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return self._step(schedulers.resume_scheduler, queue_name, scheduler_id)

    @in_turn
    def remove_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return self._step(schedulers.remove_scheduler, queue_name, scheduler_id)

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
        if limit != 1:
            check_count(limit, what="limit")
        while True:
            self._acquire()
            try:
                index, now = self._state.queues.get(queue_name), self.clock.now()
                due = None if index is None else index.next_due
                first: Coroutine[Any, Any, object]
                if self._slices.under_way is not None:
                    first = self._slices.all_over()
                elif due is not None and due <= now:
                    first = self.promote_delayed_jobs(queue_name)
                else:
                    fetched = fetch(
                        self._state, queue_name, worker_id, lock_duration, options, limit, now
                    )
                    self._flush()
                    return fetched
            finally:
                self._release()
            await first

    @in_turn
    def next_jobs(
        self, queue_name: str, count: int, options: FetchOptions | None = None
    ) -> list[JobData]:
        return self.upcoming(queue_name, count, options)

    @in_turn
    def renew_locks(
        self, queue_name: str, worker_id: str, attempts: Mapping[str, int], lock_duration: float
    ) -> list[str]:
        return self._step(serving.renew_locks, queue_name, worker_id, attempts, lock_duration)

    async def apply(
        self, queue_name: str, job_id: str, action: Action, *, lock: Lock | None = None
    ) -> JobData:
        while True:
            self._acquire()
            try:
                if self._slices.under_way is None:
                    now = self.clock.now()
                    changed = changing.apply(self._state, queue_name, job_id, action, lock, now)
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
        return self._step(changing.update, queue_name, job_id, changes, expected_state)

    @in_turn
    def remove_job(self, queue_name: str, job_id: str) -> bool:
        return self._step(changing.remove_job, queue_name, job_id)

    # -- paused names -------------------------------------------------------------------------

    @in_turn
    def pause_job_name(self, queue_name: str, name: str) -> None:
        self._step(serving.pause_name, queue_name, name)

    @in_turn
    def resume_job_name(self, queue_name: str, name: str) -> None:
        self._step(serving.resume_name, queue_name, name)

    # -- workers ------------------------------------------------------------------------------

    @in_turn
    def save_worker(self, worker: WorkerInfo) -> None:
        self._step(workers.save_worker, worker)
        if worker.id not in self._state.workers:  # the worker is gone
            self._homes.pop(worker.id, None)
        elif (loop := asyncio._get_running_loop()) is not None:
            self._homes[worker.id] = weakref.ref(loop)

    @in_turn
    def command_worker(self, worker_id: str, command: WorkerCommand) -> WorkerInfo:
        return self._step(workers.command_worker, worker_id, command)

    # -- events -------------------------------------------------------------------------------

    async def publish(self, event: StoreEvent) -> None:
        with self._lock:
            self._subscriptions.publish([event])

    def subscribe(
        self,
        queue_name: str | None,
        callback: EventCallback,
        *,
        job_id: str | None = None,
        kinds: Collection[str] | None = None,
    ) -> None:
        with self._lock:
            self._subscriptions.add(queue_name, callback, job_id, kinds)

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
            unheard=self._subscriptions.unheard,
        )

    def _step(self, step: Callable[[MemoryState, *Ts, datetime], T], *args: *Ts) -> T:
        """Take a step, now, and publish what it noted."""
        result = step(self._state, *args, self.clock.now())
        self._flush()
        return result

    def _flush(self) -> None:
        """Publish what the step noted, now that the whole of it can be seen."""
        state = self._state
        if state.outbox:
            events, state.outbox = state.outbox, []
            if results := state.results:
                state.results = {}
            self._subscriptions.publish(events, results)
        if state.retention.has_expiries:
            self._set_expiry_timer(state.retention)

    def _set_expiry_timer(self, retention: Retention) -> None:
        timer = self._expiry_timer
        if retention.has_changed or timer.is_lost:
            retention.has_changed = False
            timer.set(retention.next_expiry())
            retention.has_expiries = timer.when is not None

    def _remove_expired(self) -> None:
        """Remove what has been kept long enough; of much of it a part, as the timer fires again."""
        with self._lock:
            if self._slices.under_way is None:
                remove_expired(self._state, self.clock.now())
            self._state.retention.has_changed = True  # the timer rang, perhaps a little early
            self._flush()
