"""Keeping the locks of running jobs, and finding jobs whose worker is gone.

A blocked event loop is not a stall. In one process a job that a worker is at work on is left to it,
whatever its lock says. Elsewhere, when a loop that was blocked goes on, all its timers are overdue
at once; whoever finds a lock that ran out gives its holder a moment to renew it, and a holder that
is alive does so in that moment, for its timer fell due first. Only a lock that was not renewed in
that moment is a stall, even if the loop was blocked again meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any
from weakref import WeakSet

from conveyor_nb.clocks.clock import TimerHandle
from conveyor_nb.core.actions import Action, Hold, Stall
from conveyor_nb.core.errors import JobNotFoundError, LostLockError
from conveyor_nb.core.model import Lock, StoreEvent
from conveyor_nb.job import Job
from conveyor_nb.running.execution import Execution
from conveyor_nb.stores import StoreInterface

__all__ = ["LockKeeper", "see_out"]

_MOST_GRACE = 1.0
"""Seconds, at most, in which a worker that seems gone may show that it is there."""

_keepers: WeakSet[LockKeeper] = WeakSet()
"""All that keep locks, on whatever loops of this process."""
_keepers_lock = threading.Lock()


class LockKeeper:
    """Renews a worker's locks at half their duration, and looks for stalled jobs of its queue.

    Both timers run only while there is something for them to do. A store that does not see by
    itself that a worker is there is told so from time to time.

    Args:
        store, queue_name: where the jobs are.
        worker_id: whose locks they are.
        lock_duration: seconds that a lock holds.
        stalled_interval: seconds between looks for stalled jobs.
        running: gives the jobs that the worker holds the locks of now.
        on_lost: called with a job whose lock was lost.
        spawn: runs a coroutine as a task that the worker looks after.
        on_watch: called with whether it looks for stalled jobs from now on; while it does, it need
            not be told of jobs that become active.
        on_loop_gone: called when another worker finds that the loop of this one is closed.
        on_beat: awaited after each beat.
    """

    def __init__(
        self,
        store: StoreInterface,
        queue_name: str,
        worker_id: str,
        *,
        lock_duration: float,
        stalled_interval: float,
        running: Callable[[], Iterable[Job]],
        on_lost: Callable[[Job], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        on_watch: Callable[[bool], object],
        on_loop_gone: Callable[[], None],
        on_beat: Callable[[], Coroutine[Any, Any, object]],
    ) -> None:
        self._store = store
        self._queue_name = queue_name
        self._worker_id = worker_id
        self._lock_duration = lock_duration
        self._stalled_interval = stalled_interval
        self._running = running
        self._on_lost = on_lost
        self._spawn = spawn
        self._on_watch = on_watch
        self._on_loop_gone = on_loop_gone
        self._on_beat = on_beat
        self._renewal: TimerHandle | None = None
        self._watch: TimerHandle | None = None
        self._beat: TimerHandle | None = None
        self._watches = True
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def keep(self) -> None:
        """Renew locks from now on, until none is held."""
        if self._renewal is None and not self._closed:
            self._loop = asyncio.get_running_loop()
            with _keepers_lock:
                _keepers.add(self)
            self._renewal = self._store.clock.call_later(
                self._lock_duration / 2, lambda: self._spawn(self._renew())
            )

    def watch(self, _: StoreEvent | None = None) -> None:
        """Look for stalled jobs from now on, until no job of the queue is active."""
        if self._watch is None and self._watches:
            self._watch = self._store.clock.call_later(
                self._stalled_interval, lambda: self._spawn(self._look())
            )
            self._on_watch(True)

    def stop_watching(self) -> None:
        """Look for stalled jobs no more."""
        self._watches = False
        if self._watch is not None:
            self._watch.cancel()

    def start_beat(self) -> None:
        """Send a beat from time to time, so that a store that asks for it sees the worker."""
        often = self._store.idle_beat
        if often is not None:
            self._beat = self._store.clock.call_at_leisure(
                often, lambda: self._spawn(self._send_beat(often))
            )

    def stop_beat(self) -> None:
        """Send no more beats."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def close(self) -> None:
        """Stop renewing, watching and the beat."""
        self.stop_watching()
        self.stop_beat()
        self._closed = True
        with _keepers_lock:
            _keepers.discard(self)
        if self._renewal is not None:
            self._renewal.cancel()

    async def _renew(self) -> None:
        try:
            if any(True for _ in self._running()):
                await self._renew_now()
        finally:  # whatever the store's fault was, it is asked again
            self._renewal = None
            if any(True for _ in self._running()):
                self.keep()

    async def _renew_now(self) -> None:
        held = list(self._running())
        lost = await self._store.renew_locks(
            self._queue_name, self._worker_id, _attempts(held), self._lock_duration
        )
        if lost:  # some of them may have ended before the answer came
            for job in [job for job in self._running() if job.id in lost]:
                if any(job is one for one in held):
                    self._on_lost(job)

    async def _send_beat(self, often: float) -> None:
        beat = self._beat
        try:
            if self._renewal is None or self._lock_duration / 2 > often:
                await self._renew_now()
            await self._on_beat()
        finally:  # whatever the store's fault was, the next beat is sent
            if self._beat is beat:
                self.start_beat()

    async def _look(self) -> None:
        go_on = True
        try:
            await self._look_now()
            self._on_watch(False)  # it hears of a job that another thread starts after it counted
            go_on = await self._store.get_active_count(self._queue_name) > 0
        finally:  # whatever the store's fault was, it is looked at again
            self._watch = None
            self._on_watch(False)
            if go_on:
                self.watch()

    def _here(self) -> tuple[list[LockKeeper], list[LockKeeper]]:
        """All of the queue in this process: those whose loop is there, and those whose is not."""
        with _keepers_lock:
            keepers = list(_keepers)
        there, gone = list[LockKeeper](), list[LockKeeper]()
        for keeper in keepers:
            if keeper._store is self._store and keeper._queue_name == self._queue_name:
                is_gone = keeper._loop is None or keeper._loop.is_closed()
                (gone if is_gone else there).append(keeper)
        return there, gone

    def _kept_here(self) -> set[str]:
        """The jobs of the queue that this process is at work on, on loops that are blocked too."""
        there, _ = self._here()
        return {job.id for keeper in there for job in keeper._running()}

    async def _look_now(self) -> None:
        for keeper in self._here()[1]:
            keeper._on_loop_gone()  # it may have heard of nothing since: its jobs go back now
        stalled = await self._store.get_stalled_jobs(self._queue_name)
        if stalled and (suspects := {job.id: job for job in stalled}.keys() - self._kept_here()):
            await self._store.clock.sleep(min(self._lock_duration / 2, _MOST_GRACE))
            for job in stalled:
                if job.id not in suspects:
                    continue
                try:
                    await self._store.apply(self._queue_name, job.id, Stall(job.lock_until))
                except JobNotFoundError:  # removed meanwhile
                    continue


async def see_out(execution: Execution, store: StoreInterface, lock_duration: float) -> None:
    """Keep the jobs of a thread whose loop is gone until it returns, and report then.

    Args:
        execution: what the thread is at work on.
        store: where the jobs are.
        lock_duration: seconds that a lock holds.
    """
    for job, end in execution.overruns():
        await _tell(job, Hold(end))
    while not await execution.wait_for_thread(store.clock, lock_duration / 2):
        if held := execution.locked_jobs():
            worker_id = _lock_of(held[0]).worker_id
            await store.renew_locks(held[0].queue_name, worker_id, _attempts(held), lock_duration)
    for job, action in execution.outcomes():
        await _tell(job, action)


def _attempts(held: Iterable[Job]) -> dict[str, int]:
    return {job.id: _lock_of(job).attempt for job in held}


def _lock_of(job: Job) -> Lock:
    assert job.lock is not None, "it is at work"
    return job.lock


async def _tell(job: Job, action: Action) -> None:
    with contextlib.suppress(LostLockError, JobNotFoundError):  # nothing is left of this job
        await job.apply(action)
