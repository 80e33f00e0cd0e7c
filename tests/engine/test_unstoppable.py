"""What can't be stopped: threads, and handlers that catch their cancellation.

A job ends on time all the same, or waits for its handler to return; it never runs twice at once.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    Batch,
    InvalidJobStateError,
    Job,
    JobCancelledError,
    JobNotFoundError,
    JobState,
    LostLockError,
    MemoryStore,
    Queue,
    RetryRefusedError,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.actions import Complete

Start = Callable[..., Worker]

AT_WORK = "its handler is still at work"
HELD = "1 held by a handler that did not stop"


@pytest.fixture(autouse=True)
def _nothing_to_be_patient_for(clock: VirtualClock) -> None:
    clock.patience = 0.02  # threads are at rest until they are told to go on


class Crew:
    """What the handlers of a test have in common: how many are at work, and what lets them go on.

    Each stays until it is told to go on; ``begun`` has the job's attempt for each that began.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.told: list[bool] = []
        self.most = 0
        self.at_work = 0
        self.go_on = threading.Event()
        self.returned = asyncio.Event()
        self._started = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._may_return = asyncio.Event()

    async def has_begun(self) -> None:
        """Wait until a handler has begun."""
        await self._started.wait()

    def let_go(self) -> None:
        """Let those that are at work return, and those to come return at once."""
        self.go_on.set()
        self._may_return.set()

    @contextlib.contextmanager
    def _at_work(self, jobs: Any) -> Any:
        with self._lock:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            self.begun += [len(job.attempt_logs) for job in jobs]
        self._loop.call_soon_threadsafe(self._started.set)
        try:
            yield
        finally:
            self.told += [job.cancel_requested for job in jobs]
            with self._lock:
                self.at_work -= 1
            with contextlib.suppress(RuntimeError):  # nobody waits on a loop that is gone
                self._loop.call_soon_threadsafe(self.returned.set)

    def in_thread(self, job: Any) -> str:
        """A plain handler."""
        with self._at_work([job]):
            self.go_on.wait()
        return "done"

    def batch_in_thread(self, jobs: Any) -> list[str]:
        """A plain handler of batches."""
        with self._at_work(jobs):
            self.go_on.wait()
        return ["done"] * len(jobs)

    async def catching(self, job: Job) -> str:
        """Catches its cancellation, however often it comes."""
        with self._at_work([job]):
            while not self._may_return.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await self._may_return.wait()
        return "done"

    async def cleaning_up(self, job: Job) -> None:
        """Takes long to clean up."""
        with self._at_work([job]):
            try:
                await asyncio.shield(self._may_return.wait())
            finally:
                await self._may_return.wait()

    async def catching_all(self, job: Job) -> str:
        """Catches everything, and goes on waiting."""
        with self._at_work([job]):
            try:
                await asyncio.wait_for(self._may_return.wait(), 3_600)
            except BaseException:
                await self._may_return.wait()
        return "done"

    async def catching_groups(self, job: Job) -> str:
        """Catches the cancellation as a part of a group, and goes on in a group."""
        with self._at_work([job]):
            try:
                await self._may_return.wait()
            except* asyncio.CancelledError:
                pass
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._may_return.wait())
        return "done"

    async def forgetting(self, job: Job) -> str:
        """Says to its task that it was never cancelled."""
        task = asyncio.current_task()
        assert task is not None
        with self._at_work([job]):
            try:
                await self._may_return.wait()
            except asyncio.CancelledError:
                task.uncancel()
                await self._may_return.wait()
        return "done"


@pytest_asyncio.fixture
async def crew() -> AsyncIterator[Crew]:
    crew = Crew()
    yield crew
    crew.let_go()  # a test that fails leaves nobody waiting


HANDLERS = ["catching", "cleaning_up", "catching_all", "catching_groups", "forgetting"]
ALL = ["in_thread", *HANDLERS]
all_kinds = pytest.mark.parametrize("kind", ALL)


def kinds_of(events: list[StoreEvent], job: Job) -> list[str]:
    return [event.type.partition(":")[2] for event in events if event.job_id == job.id]


async def returned(crew: Crew, clock: VirtualClock) -> None:
    """Let the handlers return, and all that follows from it happen."""
    crew.let_go()
    await crew.returned.wait()
    clock.patience = 60
    await clock.settle()


# -- the last attempt -----------------------------------------------------------------------


@all_kinds
@pytest.mark.parametrize("how", ["times out", "is cancelled"])
@pytest.mark.asyncio
async def test_the_last_attempt_ends_on_time(
    how: str,
    kind: str,
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    events: list[StoreEvent],
) -> None:
    worker = start(getattr(crew, kind), concurrency=2)
    attempts = 3 if how == "is cancelled" else 1
    job = await queue.add("send", timeout=5, attempts=attempts)
    await crew.has_begun()
    if how == "is cancelled":
        await job.cancel()
    else:
        await clock.advance(5)
    await clock.advance(1)

    await job.refresh()
    reason = "cancelled" if how == "is cancelled" else "timed out after 5s"
    assert (job.state, job.failed_reason) == (JobState.FAILED, reason)
    assert repr(job).endswith(f"failed, {reason}; {AT_WORK}>")
    assert repr(worker).endswith(f"running, 1 of 2 slots in use, {HELD}>")
    assert (worker.slots_in_use, worker.slots_held, worker.running) == (1, 1, [])
    await returned(crew, clock)
    assert (await job.refresh()).failed_reason == reason, "what it gives now is not heard"
    assert (job.returnvalue, len(job.attempt_logs)) == (None, 1)
    assert crew.told == [True]
    assert repr(worker).endswith("running, 0 of 2 slots in use>")
    assert [kind for kind in kinds_of(events, job) if kind != "cancelled"] == [
        *("waiting", "active", "held", "failed", "freed")
    ]
    assert "error" not in kinds_of(events, job)


@pytest.mark.asyncio
async def test_a_handler_that_stops_in_a_second_holds_nothing(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    async def send(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await job.sleep(1)

    worker = start(send)
    job = await queue.add("send", timeout=5)
    await clock.advance(5.5)
    assert (await job.refresh()).state is JobState.ACTIVE
    assert repr(worker).endswith("1 of 1 slots in use>")
    await clock.advance(0.5)
    assert kinds_of(events, job) == ["waiting", "active", "failed"]


@all_kinds
@pytest.mark.asyncio
async def test_the_slot_is_not_free_before_the_handler_returns(
    kind: str, crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(getattr(crew, kind))
    first, second = [await queue.add("send", timeout=5) for _ in range(2)]
    await crew.has_begun()
    await clock.advance(7)
    assert (await first.refresh()).state is JobState.FAILED
    assert (await second.refresh()).state is JobState.WAITING
    await returned(crew, clock)

    assert (await second.refresh()).state is JobState.COMPLETED
    assert crew.most == 1


@all_kinds
@pytest.mark.asyncio
async def test_a_job_that_ended_before_its_handler_can_be_retried_when_that_has_returned(
    kind: str, crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(getattr(crew, kind), concurrency=2, lock_duration=10)
    job = await queue.add("send", timeout=5)
    await crew.has_begun()
    await clock.advance("1 minute")
    with pytest.raises(RetryRefusedError, match=AT_WORK):
        await job.retry()
    assert await queue.retry_jobs() == 0
    assert (await job.refresh()).state is JobState.FAILED
    await returned(crew, clock)
    await job.retry()
    await clock.settle()

    assert (await job.refresh()).state is JobState.COMPLETED
    assert (crew.most, crew.begun) == (1, [1, 2])


@all_kinds
@pytest.mark.parametrize("keep", [False, True], ids=["kept", "removed"])
@pytest.mark.asyncio
async def test_a_job_that_is_removed_holds_a_slot_and_nothing_else(
    keep: bool,
    kind: str,
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    events: list[StoreEvent],
) -> None:
    worker = start(getattr(crew, kind), concurrency=2, lock_duration=10)
    job = await queue.add("send", timeout=5, remove_on_fail=keep)
    await crew.has_begun()
    if not keep:
        await job.remove()
    await clock.advance("1 minute")
    assert (worker.slots_held, worker.running) == (1, [])
    assert await queue.count() == 0
    await returned(crew, clock)

    assert worker.slots_in_use == 0
    assert "queue:error" not in {event.type for event in events}
    assert await worker.run_until_idle() == 0


# -- attempts that are left -----------------------------------------------------------------


@all_kinds
@pytest.mark.asyncio
async def test_a_retry_waits_for_the_handler_of_the_attempt_that_timed_out(
    kind: str,
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    events: list[StoreEvent],
) -> None:
    workers = [start(getattr(crew, kind), concurrency=2, lock_duration=10) for _ in range(2)]
    job = await queue.add("send", timeout=5, attempts=2)
    await crew.has_begun()
    await clock.advance("5 minutes")  # many times as long as a lock

    await job.refresh()
    assert (job.state, job.attempts_made) == (JobState.ACTIVE, 0)
    assert job.lock_until is not None
    assert job.lock_until > clock.now()
    [record] = job.attempt_logs
    assert (record.error, record.ended_at) == (f"timed out after 5s; {AT_WORK}", None)
    assert repr(job).endswith(f"active, timed out after 5s; {AT_WORK}>")
    assert sum(worker.slots_held for worker in workers) == 1
    await returned(crew, clock)

    await job.refresh()
    assert (job.state, job.attempts_made) == (JobState.COMPLETED, 1)
    assert [record.error for record in job.attempt_logs] == ["timed out after 5s", None]
    assert (crew.most, crew.begun) == (1, [1, 2])
    assert kinds_of(events, job) == [
        *("waiting", "active", "held", "retrying", "waiting", "freed", "active", "completed")
    ]


@pytest.mark.parametrize("kind", ["in_thread", "catching"])
@pytest.mark.parametrize("then", ["cancelled", "removed", "discarded"])
@pytest.mark.asyncio
async def test_what_is_done_to_a_job_that_waits_for_its_handler(
    then: str, kind: str, crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(getattr(crew, kind))
    job = await queue.add("send", timeout=5, attempts=2)
    await crew.has_begun()
    await clock.advance(10)
    match then:
        case "cancelled":
            await job.cancel()
            await clock.settle()
            assert (await job.refresh()).failed_reason == "cancelled", "at once"
        case "removed":
            await job.remove()
        case "discarded":
            await job.discard()
    await clock.settle()
    assert worker.slots_held == 1
    await returned(crew, clock)

    assert crew.begun == [1]
    if then == "discarded":
        assert (await job.refresh()).failed_reason == "timed out after 5s"


@pytest.mark.asyncio
async def test_cancelling_a_job_whose_handler_caught_its_timeout_cancels_that_once_more(
    crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(crew.cleaning_up)
    job = await queue.add("send", timeout=5, attempts=2)
    await crew.has_begun()
    await clock.advance(10)
    await job.cancel()
    await clock.settle()

    assert (await job.refresh()).failed_reason == "cancelled"
    assert worker.slots_in_use == 0


@pytest.mark.asyncio
async def test_running_until_idle_waits_for_jobs_and_for_no_handler_whose_job_has_ended(
    crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(crew.in_thread, auto_start=False, concurrency=2)
    job = await queue.add("send", timeout=5)
    idle = asyncio.ensure_future(worker.run_until_idle())
    await crew.has_begun()
    await clock.advance(5)
    assert (await idle, worker.slots_held) == (1, 1)
    assert (await job.refresh()).state is JobState.FAILED

    again = await queue.add("send", timeout=5, attempts=2)
    idle = asyncio.ensure_future(worker.run_until_idle())
    await clock.advance(5)
    await returned(crew, clock)
    assert await idle == 2, "both its attempts"
    assert (await again.refresh()).state is JobState.COMPLETED


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.asyncio
async def test_run_once_comes_back_when_its_job_has_ended(
    attempts: int, crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(crew.in_thread, auto_start=False)
    await queue.add("send", timeout=5, attempts=attempts)
    once = asyncio.ensure_future(worker.run_once())
    await crew.has_begun()
    await clock.advance(5)
    assert once.done() == (attempts == 1), "with an attempt left, it waits for the thread"
    await returned(crew, clock)
    job = await once
    assert job is not None
    assert job.state is (JobState.FAILED if attempts == 1 else JobState.WAITING)


# -- batches --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_of_a_batch_in_a_thread_each_job_ends_on_its_time(
    crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(crew.batch_in_thread, batch=Batch(3), auto_start=False)
    last = await queue.add("last", timeout=5)
    again = await queue.add("again", timeout=5, attempts=2)
    other = await queue.add("other")
    worker = start(crew.batch_in_thread, batch=Batch(3))
    await crew.has_begun()
    await clock.advance("1 minute")
    states = [(await job.refresh()).state for job in (last, again, other)]
    assert states == [JobState.FAILED, JobState.ACTIVE, JobState.ACTIVE]
    assert f"timed out after 5s; {AT_WORK}" in repr(again)
    assert (worker.slots_in_use, worker.slots_held) == (1, 0), "it is at work on the other one"
    await returned(crew, clock)

    assert last.failed_reason == "timed out after 5s"
    assert [(await job.refresh()).returnvalue for job in (again, other)] == ["done", "done"]
    assert crew.begun == [1, 1, 1, 2]
    assert crew.most == 1


@pytest.mark.asyncio
async def test_a_job_that_ended_before_its_batch_is_no_trouble_for_the_others(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    async def send(jobs: list[Job]) -> list[str]:
        await jobs[0].sleep(10)
        for job in jobs:
            await job.log("sent")
            await job.update_progress(50)
        return ["sent"] * len(jobs)

    gone, other = [await queue.add("send") for _ in range(2)]
    start(send, batch=Batch(2))
    await clock.settle()
    await gone.cancel()
    await clock.settle()
    assert (await gone.refresh()).failed_reason == "cancelled", "at once"
    await clock.advance(10)

    assert (await other.refresh()).returnvalue == "sent"
    assert (await gone.refresh()).logs == ()
    assert "queue:error" not in {event.type for event in events}


# -- closing --------------------------------------------------------------------------------


@all_kinds
@pytest.mark.asyncio
async def test_a_job_stays_active_after_its_worker_closed_until_its_handler_returns(
    kind: str,
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    events: list[StoreEvent],
) -> None:
    worker = start(getattr(crew, kind), lock_duration=10)
    job = await queue.add("send")
    await crew.has_begun()
    await worker.close(timeout=0)
    other = start(getattr(crew, kind), lock_duration=10, stalled_interval=5)
    await clock.advance("1 minute")

    await job.refresh()
    assert (job.state, job.locked_by) == (JobState.ACTIVE, worker.id)
    assert repr(job).endswith(f"active, the worker was closed; {AT_WORK}>")
    assert repr(worker).endswith(f"stopped, 1 of 1 slots in use, {HELD}>")
    await returned(crew, clock)

    await job.refresh()
    assert (job.state, job.attempts_made) == (JobState.COMPLETED, 0), "no attempt was spent"
    assert [record.error for record in job.attempt_logs] == ["the worker was closed", None]
    assert [record.worker_id for record in job.attempt_logs] == [worker.id, other.id]
    assert crew.most == 1
    assert "job:stalled" not in {event.type for event in events}


@pytest.mark.asyncio
async def test_a_worker_that_is_closed_hears_of_what_is_done_to_the_jobs_it_holds(
    crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(crew.in_thread, concurrency=2)
    cancelled, late = await queue.add("send"), await queue.add("send", timeout="1 hour")
    await crew.has_begun()
    await worker.close(timeout=0)
    await cancelled.cancel()
    await clock.advance("1 hour")

    assert (await cancelled.refresh()).failed_reason == "cancelled"
    assert (await late.refresh()).failed_reason == "timed out after 1h"


@pytest.mark.asyncio
async def test_a_handler_that_ended_is_not_named_when_its_worker_closes(
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    worker = start(crew.catching, concurrency=2)
    late, job = await queue.add("late", timeout=5), await queue.add("send")
    await crew.has_begun()
    await clock.advance(10)
    assert caplog.text.count("did not stop when cancelled") == 1
    await worker.close(timeout=0)

    assert caplog.text.count("did not stop when cancelled") == 2
    assert late.id in caplog.text
    assert job.id in caplog.text


@all_kinds
@pytest.mark.parametrize("first", ["closed", "disconnected"])
@pytest.mark.asyncio
async def test_nothing_is_renewed_and_nothing_is_left_once_the_store_is_disconnected(
    first: str, kind: str, clock: VirtualClock, crew: Crew
) -> None:
    async with MemoryStore(clock=clock) as store:
        queue = Queue("emails", store=store)
        before = asyncio.all_tasks()
        worker = Worker("emails", getattr(crew, kind), store=store, lock_duration=10)
        await queue.add("send", timeout=5)
        await queue.add("send")
        await crew.has_begun()
        await clock.advance(10)
        if first == "closed":
            await worker.close(timeout=0)
            await store.disconnect()
        else:
            await store.disconnect()
            await worker.close(timeout=0)
        await clock.settle()
        if kind == "in_thread":
            assert asyncio.all_tasks() == before
        else:
            await returned(crew, clock)
            assert asyncio.all_tasks() == before
    crew.let_go()


@pytest.mark.asyncio
async def test_after_the_last_handler_a_closed_worker_leaves_no_trace(
    crew: Crew, queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    before = asyncio.all_tasks(), len(store._subscriptions)
    worker = Worker("emails", crew.in_thread, store=store)
    await queue.add("send", timeout=5)
    await crew.has_begun()
    await clock.advance(6)
    await worker.close(timeout=0)
    assert asyncio.all_tasks() != before[0], "there is something to be left"
    await returned(crew, clock)

    assert (asyncio.all_tasks(), len(store._subscriptions)) == before


def run_and_leave(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, and throw away what is left as it is."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()


@pytest.mark.parametrize("run", [asyncio.run, run_and_leave])
def test_a_thread_outlives_its_loop_and_its_job_waits_for_it(run: Callable[..., Any]) -> None:
    store = MemoryStore()
    queue = Queue("emails", store=store)
    go_on, begun, at_work = threading.Event(), threading.Event(), []

    def send(job: Any) -> str:
        if job.name == "send":
            at_work.append(len(job.attempt_logs))
            begun.set()
            if len(at_work) == 1:
                go_on.wait()
            at_work.append(0)
        return "done"

    async def begin() -> Worker:
        worker = Worker("emails", send, store=store, lock_duration=0.1)
        await queue.add("send")
        while not begun.is_set():
            await checkpoint()
        return worker

    async def go_on_elsewhere() -> Job:
        async with Worker("emails", send, store=store, lock_duration=0.1, stalled_interval=0.05):
            await queue.add("another")  # the worker whose loop is gone hears of it
            [job, _] = await queue.get_jobs()
            while job.held is None:
                await checkpoint()
                await job.refresh()
            for _ in range(3):  # each time that its lock is renewed
                lock_until = job.lock_until
                while (await job.refresh()).lock_until == lock_until:
                    await checkpoint()
            assert repr(job).endswith(f"active, the event loop of its worker ended; {AT_WORK}>")
            go_on.set()
            await job.wait_until_finished()
        return await job.refresh()

    left = run(begin())
    job = asyncio.run(go_on_elsewhere())
    assert at_work == [1, 0, 2, 0], "one after the other"
    assert (job.returnvalue, job.attempts_made) == ("done", 0)
    del left


class Silent(MemoryStore):
    """Can't be reached by those who settle jobs, for as long as it is told so."""

    is_silent = False

    async def apply(self, *args: Any, **options: Any) -> Any:
        if self.is_silent:
            raise OSError("no route")
        return await super().apply(*args, **options)


@all_kinds
@pytest.mark.asyncio
async def test_a_store_that_fails_holds_up_no_close(
    kind: str, crew: Crew, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with Silent(clock=clock) as store:
        worker = Worker("emails", getattr(crew, kind), store=store)
        job = await Queue("emails", store=store).add("send")
        await crew.has_begun()
        store.is_silent = True
        await worker.close(timeout=0)
        assert worker.status == "closed"
        crew.let_go()
        await crew.returned.wait()
        clock.patience = 60
        await clock.advance(5)
        assert (await job.refresh()).state is JobState.ACTIVE
        store.is_silent = False
        await clock.advance(5)
        assert (await job.refresh()).state is JobState.WAITING


@pytest.mark.asyncio
async def test_a_job_whose_end_the_store_could_not_keep_goes_back_when_its_worker_closes(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(MemoryStore):
        async def apply(self, *args: Any, **options: Any) -> Any:
            if isinstance(args[2], Complete):
                raise OSError("disk full")
            return await super().apply(*args, **options)

    async def send(job: Job) -> str:
        return "sent"

    caplog.set_level(logging.CRITICAL)
    async with Full(clock=clock) as store:
        worker = Worker("emails", send, store=store)
        job = await Queue("emails", store=store).add("send")
        await clock.settle()
        assert (await job.refresh()).state is JobState.ACTIVE
        await worker.close(timeout=0)
        await job.refresh()
        assert (job.state, job.attempts_made) == (JobState.WAITING, 0)


@pytest.mark.asyncio
async def test_a_new_job_with_the_id_of_one_whose_handler_goes_on_can_be_stopped(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    go_on, cancelled = asyncio.Event(), asyncio.Event()

    async def send(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if job.name == "new":
                cancelled.set()
                raise
            await go_on.wait()

    start(send, concurrency=2)
    old = await queue.add("old", job_id="same")
    await clock.settle()
    await old.remove()
    await clock.advance(2)  # past its second of grace
    new = await queue.add("new", job_id="same")
    await clock.settle()
    assert (await new.refresh()).state is JobState.ACTIVE
    go_on.set()
    await clock.settle()  # the old one has ended
    await new.cancel()
    await clock.settle()

    assert cancelled.is_set()
    assert (await new.refresh()).failed_reason == "cancelled"


@pytest.mark.asyncio
async def test_what_a_thread_gives_to_be_awaited_is_not_begun_after_it_was_told_to_stop(
    queue: Queue, clock: VirtualClock, start: Start, go_on: threading.Event
) -> None:
    begun: list[str] = []
    loop = asyncio.get_running_loop()
    started = asyncio.Event()

    async def rest(job: Any) -> None:
        begun.append(job.id)

    def send(job: Any) -> Any:
        loop.call_soon_threadsafe(started.set)
        go_on.wait()
        return rest(job)

    worker = start(send)
    job = await queue.add("send", timeout=5)
    await started.wait()
    await clock.advance(5)
    go_on.set()
    clock.patience = 60
    await clock.settle()

    assert (await job.refresh()).failed_reason == "timed out after 5s"
    assert (begun, worker.slots_held) == ([], 0)


# -- what is said of it ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancelled", "timed out after 5s", "the worker was closed"])
@pytest.mark.asyncio
async def test_a_thread_that_asks_is_told_why_it_is_to_stop(
    how: str, queue: Queue, clock: VirtualClock, start: Start, go_on: threading.Event
) -> None:
    loop, started, over = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    raised: list[BaseException] = []

    def send(job: Any) -> None:
        loop.call_soon_threadsafe(started.set)
        go_on.wait()
        try:
            job.raise_if_cancelled()
        except JobCancelledError as error:
            raised.append(error)
            raise
        finally:
            loop.call_soon_threadsafe(over.set)

    worker = start(send)
    job = await queue.add("send", timeout=5)
    await started.wait()
    match how:
        case "cancelled":
            await job.cancel()
        case "the worker was closed":
            await worker.close(timeout=0)
        case _:
            await clock.advance(5)
    go_on.set()
    await over.wait()
    assert [str(error) for error in raised] == [f"job {job.id!r} failed: {how}"]


def test_the_job_of_a_process_goes_back_when_its_loop_ends() -> None:
    store = MemoryStore()
    queue = Queue("emails", store=store)

    def send(job: Any) -> None:
        job.log("here")
        while True:
            pass

    async def begin() -> None:
        begun = asyncio.Event()

        def listen(event: StoreEvent) -> None:
            if event.type == "job:log":
                begun.set()

        store.subscribe("emails", listen)
        Worker("emails", send, store=store, executor="process")
        await queue.add("send")
        await begun.wait()

    asyncio.run(begin())
    [job] = asyncio.run(queue.get_jobs())
    assert (job.state, job.attempts_made) == (JobState.WAITING, 0)
    assert job.attempt_logs[0].error == "the event loop of its worker ended"


# -- whatever is done -----------------------------------------------------------------------


class Watched:
    """Handlers of all kinds, and how many of them are at work on one job."""

    def __init__(self, seed: int, clock: VirtualClock) -> None:
        self.random = random.Random(seed)
        self.clock = clock
        self.at_work: collections.Counter[str] = collections.Counter()
        self.runs = 0
        self.twice: list[str] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def watching(self, jobs: Any) -> Iterator[int]:
        with self._lock:
            self.runs += 1
            for job in jobs:
                self.at_work[job.id] += 1
                if self.at_work[job.id] > 1:
                    self.twice.append(job.id)
            seconds = self.random.randint(1, 20)
        try:
            yield seconds
        finally:
            with self._lock:
                self.at_work.subtract(job.id for job in jobs)

    async def _stay(self, seconds: int) -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        while (left := (until - self.clock.now()).total_seconds()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await self.clock.sleep(left)

    async def obeying(self, job: Job) -> None:
        with self.watching([job]) as seconds:
            await job.sleep(seconds)

    async def catching(self, job: Job) -> None:
        with self.watching([job]) as seconds:
            await self._stay(seconds)

    async def catching_in_batches(self, jobs: list[Job]) -> list[None]:
        with self.watching(jobs) as seconds:
            await self._stay(seconds)
        return [None] * len(jobs)

    def in_thread(self, job: Any) -> None:
        with self.watching([job]) as seconds:
            job.sleep(seconds)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.asyncio
async def test_whatever_is_done_no_job_runs_twice_at_once(
    seed: int, queue: Queue, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # many a handler is named
    clock.patience = 60
    watched, dice = Watched(seed, clock), random.Random(seed)
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (watched.obeying, {}),
        (watched.catching, {}),
        (watched.catching_in_batches, {"batch": Batch(3)}),
        (watched.in_thread, {}),
    ]

    def hire() -> Worker:
        handler, options = dice.choice(kinds)
        return Worker(
            "emails",
            handler,
            store=queue.store,
            concurrency=dice.randint(1, 3),
            lock_duration=4,
            stalled_interval=3,
            **options,
        )

    crew = [hire() for _ in range(3)]
    gone: list[Worker] = []
    for _ in range(120):
        jobs = [job for job in await queue.get_jobs() if dice.random() < 0.1]
        with contextlib.suppress(RetryRefusedError, InvalidJobStateError, JobNotFoundError):
            match dice.randrange(7):
                case 0 | 1:
                    await queue.add(
                        "send", attempts=dice.randint(1, 3), timeout=dice.choice([None, 2, 6])
                    )
                case 2:
                    gone.append(crew.pop(dice.randrange(len(crew))))
                    closing = asyncio.ensure_future(gone[-1].close(timeout=0))
                    await clock.advance(dice.random())
                    await closing
                    crew.append(hire())
                case 3:
                    for job in jobs:
                        await job.cancel()
                case 4:
                    for job in jobs:
                        await job.retry()
                case 5:
                    for job in jobs[:1]:
                        await job.remove()
                case 6:
                    await queue.retry_jobs()
        await clock.advance(dice.random() * 3)
    await clock.advance("2 minutes")

    assert watched.runs > 30
    assert watched.twice == []
    assert not await queue.count("active")
    assert not await queue.count("waiting")
    assert [worker.slots_in_use for worker in gone] == [0] * len(gone)
    for worker in crew:
        await worker.close(timeout=0)


SCRIPT = """
import asyncio, threading
from conveyor_nb import MemoryStore, Queue, Worker

begun = threading.Event()

def stuck(job):
    begun.set()
    threading.Event().wait()

async def main():
    store = MemoryStore()
    queue = Queue("emails", store=store)
    worker = Worker("emails", stuck, store=store, concurrency=2)
    await queue.add("send", timeout="10ms")
    await queue.add("send")
    await asyncio.to_thread(begun.wait)
    if CLOSE:
        await worker.close(timeout=0)
    print(worker, flush=True)

asyncio.run(main())
print("over")
"""


@pytest.mark.parametrize("close", [False, True], ids=["left", "closed"])
def test_a_thread_that_can_not_be_stopped_keeps_no_program_from_ending(
    close: bool, tmp_path: Path, checkout: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("CLOSE", str(close)))
    result = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.endswith("over\n")
    assert ("stopped, 2 of 2 slots in use, 2 held" in result.stdout) == close
    assert (result.stderr, result.returncode) == ("", 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("how", ["remove", "obliterate"])
async def test_who_runs_a_job_that_is_gone_does_nothing_to_another_one_of_its_id(
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    go_on: threading.Event,
    is_async: bool,
    how: str,
) -> None:
    may_go_on = asyncio.Event()
    refused: list[type[Exception]] = []
    actions: list[Callable[[Any], Any]] = [
        lambda job: job.log("late"),
        lambda job: job.update_progress(99),
        lambda job: job.update_data("late"),
        lambda job: job.move_to_failed("late"),
    ]

    def in_thread(job: Any) -> str:
        if job.data == "new":
            job.sleep(5)
            return "done"
        assert go_on.wait(30)
        for act in actions:
            with contextlib.suppress(LostLockError):
                act(job)
                continue
            refused.append(LostLockError)
        return "late"

    async def on_loop(job: Job) -> str:
        if job.data == "new":
            await job.sleep(5)
            return "done"
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await may_go_on.wait()
        for act in actions:
            with contextlib.suppress(LostLockError):
                await act(job)
                continue
            refused.append(LostLockError)
        return "late"

    start(on_loop if is_async else in_thread, concurrency=2)
    old = await queue.add("send", "old", job_id="a")
    await clock.settle()
    await (old.remove() if how == "remove" else queue.obliterate(force=True))
    new = await queue.add("send", "new", job_id="a")
    await clock.advance(2)
    go_on.set()
    may_go_on.set()
    clock.patience = 1
    await clock.advance(4)
    await new.refresh()
    assert (new.state, new.returnvalue, new.data, new.logs, new.progress) == (
        "completed",
        "done",
        "new",
        (),
        0,
    )
    assert refused == [LostLockError] * 4
