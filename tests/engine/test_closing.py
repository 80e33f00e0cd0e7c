"""Closing a worker: what becomes of its jobs, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import (
    Job,
    JobState,
    MemoryStore,
    Queue,
    StoreEvent,
    StoreUnavailableError,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus

Start = Callable[..., Worker]


async def nap(job: Job) -> str:
    await job.sleep(1)
    return "done"


async def hang(job: Job) -> None:
    await asyncio.Event().wait()


class Stubborn:
    """A handler that does not stop when it is cancelled, but when it is told to."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.cancels = 0

    async def __call__(self, job: Job) -> str:
        while not self.told.is_set():
            try:
                await self.told.wait()
            except asyncio.CancelledError:
                self.cancels += 1
        return "at last"


@pytest.mark.asyncio
async def test_close_waits_for_running_jobs_and_takes_no_more(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(nap)
    running, waiting = await queue.add_bulk([{"name": "send"}] * 2)
    await clock.settle()
    closing = asyncio.ensure_future(worker.close(timeout=None))
    await clock.settle()
    assert not closing.done()
    assert worker.status == "closing"
    await clock.advance(1)

    assert closing.done()
    assert worker.status == "closed"
    assert (await running.refresh()).returnvalue == "done"
    assert (await waiting.refresh()).state is JobState.WAITING


@pytest.mark.asyncio
async def test_close_puts_back_what_does_not_end_in_time(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    worker = start(hang)
    job = await queue.add("send", attempts=1)
    await clock.settle()
    await worker.close(timeout=5)

    await job.refresh()
    assert (job.state, job.attempts_made, job.failed_reason) == (JobState.WAITING, 0, None)
    assert (job.locked_by, job.lock_until) == (None, None)
    assert job.attempt_logs[0].error == "the worker was closed"
    assert [event.type for event in events][-2:] == ["job:waiting", "worker:closed"]
    start(nap)
    await clock.advance(1)
    assert (await job.refresh()).returnvalue == "done"


@pytest.mark.asyncio
async def test_a_job_that_is_put_back_runs_in_another_worker_with_its_own_place(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    order: list[str] = []

    async def note(job: Job) -> None:
        order.append(job.name)

    worker = start(hang)
    await queue.add_bulk([{"name": "first"}, {"name": "second"}])
    await clock.settle()
    await worker.close(timeout=0)
    start(note)
    await clock.settle()

    assert order == ["first", "second"]


@pytest.mark.asyncio
async def test_a_handler_may_clean_up_when_its_worker_is_closed(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await job.log("cleaned up")

    worker = start(send)
    job = await queue.add("send")
    await clock.settle()
    await worker.close(timeout=0)

    assert (await job.refresh()).logs == ("cleaned up",)
    assert job.state is JobState.WAITING


@pytest.mark.asyncio
async def test_close_is_idempotent(start: Start, clock: VirtualClock, events: list[Any]) -> None:
    worker = start(nap)
    await clock.settle()
    for _ in range(3):
        await worker.close()

    kinds = [event.type for event in events]
    assert (kinds[0], kinds[-1]) == ("worker:started", "worker:closed")
    assert kinds.count("worker:closed") == 1
    for call in (worker.start, worker.pause, worker.resume):
        with pytest.raises(RuntimeError, match=r"is closed; worker.successor\(\)"):
            call()


@pytest.mark.asyncio
async def test_several_may_close_at_once(queue: Queue, clock: VirtualClock, start: Start) -> None:
    workers = [start(hang) for _ in range(3)]
    jobs = await queue.add_bulk([{"name": "send"}] * 3)
    await clock.settle()
    await asyncio.gather(*(worker.close(timeout=1) for worker in workers * 2))

    assert [(await job.refresh()).state for job in jobs] == ["waiting"] * 3


@pytest.mark.parametrize("first", ["retire", "close"])
@pytest.mark.asyncio
async def test_a_later_close_with_less_patience_is_heard(
    first: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(hang)
    job = await queue.add("send")
    await clock.settle()
    if first == "retire":
        worker.retire()
    else:
        patient = asyncio.ensure_future(worker.close(timeout=None))
    await clock.settle()
    assert (await job.refresh()).state is JobState.ACTIVE
    closing = asyncio.ensure_future(worker.close(timeout=0))
    await clock.settle()
    in_time = closing.done()
    await job.cancel()  # otherwise a worker that did not listen would keep this test for ever
    await closing

    assert in_time
    assert [record.error for record in (await job.refresh()).attempt_logs] == [
        "the worker was closed"
    ]
    if first == "close":
        await patient


@pytest.mark.asyncio
async def test_a_worker_that_never_started(start: Start, events: list[StoreEvent]) -> None:
    worker = start(nap, auto_start=False)
    await worker.close()

    assert worker.status == "closed"
    assert events == []


@pytest.mark.asyncio
async def test_close_while_the_worker_looks_into_a_stall(
    queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    job = await queue.add("send", attempts=2)
    await store.fetch_next_job("emails", "ghost", 1)
    before = asyncio.all_tasks()
    worker = start(nap, stalled_interval=5)
    await clock.advance(5)
    assert len(asyncio.all_tasks() - before) == 2, "the dispatcher, and one that waits for a sign"
    closing = asyncio.ensure_future(worker.close())
    await clock.settle()

    assert closing.done()
    assert asyncio.all_tasks() == before
    await clock.advance("1 hour")
    assert (await job.refresh()).locked_by == "ghost", "a closed worker judges nobody"


@pytest.mark.asyncio
async def test_a_worker_that_is_closed_before_its_first_turn(queue: Queue, start: Start) -> None:
    job = await queue.add("send")
    worker = start(nap)
    await worker.close()

    assert (await job.refresh()).state is JobState.WAITING
    assert job.attempt_logs == ()


@pytest.mark.asyncio
async def test_close_during_run_once(queue: Queue, clock: VirtualClock, start: Start) -> None:
    worker = start(nap, auto_start=False)
    job = await queue.add("send")
    once = asyncio.ensure_future(worker.run_once())
    await clock.settle()
    closing = asyncio.ensure_future(worker.close(timeout=None))
    await clock.settle()
    assert not closing.done()
    await clock.advance(1)

    assert closing.done()
    done = await once
    assert done is not None
    assert (done.id, done.returnvalue) == (job.id, "done")


@pytest.mark.asyncio
async def test_close_during_a_run_once_that_hangs(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(hang, auto_start=False)
    job = await queue.add("send")
    once = asyncio.ensure_future(worker.run_once())
    await clock.settle()
    await worker.close(timeout=0)

    done = await once
    assert done is not None
    assert (await job.refresh()).state is done.state is JobState.WAITING


@pytest.mark.asyncio
async def test_a_run_once_that_waits_for_a_slot_takes_no_job_after_close(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(nap, auto_start=False)
    jobs = await queue.add_bulk([{"name": "send"}] * 2)
    first, second = [asyncio.ensure_future(worker.run_once()) for _ in range(2)]
    await clock.settle()
    closing = asyncio.ensure_future(worker.close(timeout=None))
    await clock.advance(5)

    assert closing.done()
    assert (await first) is not None
    await asyncio.wait([second])
    assert [(await job.refresh()).state for job in jobs] == ["completed", "waiting"]


@pytest.mark.parametrize("once", [False, True], ids=["dispatcher", "run_once"])
@pytest.mark.asyncio
async def test_a_handler_that_does_not_stop_does_not_hold_up_close(
    once: bool,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stubborn = Stubborn()
    worker = start(stubborn, auto_start=not once)
    job = await queue.add("send")
    if once:
        running = asyncio.ensure_future(worker.run_once())
    await clock.settle()
    await worker.close(timeout=0)
    state, told, held = (await job.refresh()).state, repr(job), repr(worker)
    cancels = stubborn.cancels
    if once:
        await clock.settle()
        assert running.done()
        assert not running.cancelled(), "nobody cancelled the one who awaits run_once"
    stubborn.told.set()
    await clock.settle()

    assert cancels == 1
    assert state is JobState.ACTIVE, "it would run twice at once, were it given back"
    assert told.endswith("active, the worker was closed; its handler is still at work>")
    assert held.endswith("stopped, 1 of 1 slots in use, 1 held by a handler that did not stop>")
    assert f"the handler of job {job.id!r} did not stop" in caplog.text
    assert (await job.refresh()).state is JobState.WAITING, "what it says later is not heard"
    assert (job.attempts_made, job.attempt_logs[0].error) == (0, "the worker was closed")
    assert repr(worker).endswith("stopped, 0 of 1 slots in use>")


@pytest.mark.asyncio
async def test_close_leaves_the_job_of_a_thread_until_that_returns(
    queue: Queue, clock: VirtualClock, start: Start, go_on: threading.Event
) -> None:
    clock.patience = 0.05
    loop = asyncio.get_running_loop()
    started = asyncio.Event()

    def send(job: Any) -> str:
        loop.call_soon_threadsafe(started.set)
        go_on.wait()
        return "too late"

    worker = start(send)
    job = await queue.add("send")
    await started.wait()
    await worker.close(timeout=0)
    assert (await job.refresh()).state is JobState.ACTIVE
    clock.patience = 60
    go_on.set()
    await clock.settle()

    assert (await job.refresh()).state is JobState.WAITING
    assert (job.attempts_made, job.returnvalue) == (0, None)


@pytest.mark.asyncio
async def test_nothing_is_left_after_close_and_disconnect() -> None:
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    started = asyncio.Semaphore(0)

    def in_thread(job: Any) -> str:
        return str(job.sleep(0))

    async def in_task(job: Job) -> None:
        started.release()
        await asyncio.Event().wait()

    async def on_event(event: StoreEvent) -> None:
        await asyncio.Event().wait()

    store = MemoryStore()
    queue, other = Queue("plain", store=store), Queue("emails", store=store)
    workers = [Worker("plain", in_thread, store=store, concurrency=3)]
    workers += [Worker("emails", in_task, store=store, lock_duration=0.02) for _ in range(2)]
    queue.on("completed", on_event)
    workers[0].on("completed", on_event)
    await queue.add_bulk([{"name": "send"}] * 5)
    await other.add_bulk([{"name": "send"}] * 3)
    await queue.add("later", delay=1_000, remove_on_complete="1 hour")
    await queue.join()
    for _ in range(2):
        await started.acquire()
    assert asyncio.all_tasks() > tasks, "there is something to be left"
    for worker in workers:
        await worker.close(timeout=0)
    for one in (queue, other):
        await one.close()
    await store.disconnect()

    for _ in range(2):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
    for thread in threading.enumerate():
        if thread.name.startswith("conveyor_nb"):
            thread.join()
    assert threading.active_count() == threads


class UnsureStore(MemoryStore):
    """Can't note that a worker is closed."""

    async def save_worker(self, worker: WorkerInfo) -> None:
        if worker.status is WorkerStatus.CLOSED:
            raise OSError("disk full")
        await super().save_worker(worker)


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.asyncio
async def test_a_worker_that_does_not_close_as_it_should_is_told_of(
    waits: bool, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with UnsureStore(clock=clock) as store:
        worker = Worker("emails", lambda job: None, store=store)
        await clock.settle()
        if waits:
            with pytest.raises(OSError, match="disk full"):
                await worker.close()
        else:
            worker.retire()
            await clock.settle()

    assert worker.status is WorkerStatus.CLOSED, "it takes no jobs all the same"
    assert "worker 'emails' did not close as it should" in caplog.text


class LeavingStore(MemoryStore):
    """Refuses what comes from when it is about to be disconnected, as one with a file does."""

    leaves = False

    async def apply(self, *given: Any, **options: Any) -> Any:
        if self.leaves:
            raise StoreUnavailableError("the store is disconnected")
        return await super().apply(*given, **options)


@pytest.mark.asyncio
async def test_an_outcome_that_comes_as_the_store_goes_is_waited_for_no_more(
    clock: VirtualClock,
) -> None:
    before = asyncio.all_tasks()
    handler = Stubborn()
    async with LeavingStore(clock=clock) as store:
        worker = Worker("emails", handler, store=store)
        await Queue("emails", store=store).add("send")
        await clock.settle()
        await worker.close(timeout=0)
        store.leaves = True
        handler.told.set()
        await clock.settle()
        assert asyncio.all_tasks() - before, "its report is to be made yet"
    await clock.settle()
    assert asyncio.all_tasks() == before
