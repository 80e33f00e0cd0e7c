"""How a worker takes jobs: at once, never too many, in order, and only while it may."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import (
    Job,
    JobState,
    LostLockError,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)

Start = Callable[..., Worker]

A_HANDFUL = 5
"""Turns of the loop, not milliseconds: a poll or a timer would never come within them."""


class Gate:
    """A handler that holds its jobs until it is opened, and knows how many it held at once."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.now = self.most = 0
        self._opened = asyncio.Semaphore(0)

    async def __call__(self, job: Job) -> Any:
        self.started.append(job.data)
        self.now += 1
        self.most = max(self.most, self.now)
        await self._opened.acquire()
        self.now -= 1
        return job.data

    def let_out(self, count: int = 1) -> None:
        for _ in range(count):
            self._opened.release()


async def turns_until(condition: Callable[[], object]) -> int:
    """How many turns of the loop it takes; stops counting at a thousand."""
    for turn in range(1_000):
        if condition():
            return turn
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


@pytest.mark.asyncio
async def test_an_idle_worker_starts_a_job_at_once(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    gate = Gate()
    start(gate)
    await clock.settle()

    await queue.add("send")
    assert await turns_until(lambda: gate.started) <= A_HANDFUL


@pytest.mark.asyncio
async def test_a_free_slot_takes_the_next_job_at_once(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    gate = Gate()
    start(gate)
    await queue.add_bulk([{"name": "send", "data": number} for number in range(3)])
    await clock.settle()
    assert gate.started == [0]

    gate.let_out()
    assert await turns_until(lambda: gate.started == [0, 1]) <= 2 * A_HANDFUL


@pytest.mark.parametrize("wake", ["promote", "resume", "resume worker", "retry"])
@pytest.mark.asyncio
async def test_whatever_makes_a_job_ready_wakes_the_worker(
    wake: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    gate = Gate()
    worker = start(gate)
    if wake == "retry":
        job = await queue.add("send", 1)
        await clock.settle()
        gate.let_out()
        await clock.settle()
        del gate.started[:]
    elif wake == "promote":
        job = await queue.add("send", 1, delay=60)
    else:
        await queue.pause() if wake == "resume" else worker.pause()
        job = await queue.add("send", 1)
    await clock.settle()
    assert gate.started == []

    match wake:
        case "promote":
            await job.promote()
        case "resume":
            await queue.resume()
        case "resume worker":
            worker.resume()
        case "retry":
            await job.retry()
    assert await turns_until(lambda: gate.started) <= A_HANDFUL


@pytest.mark.asyncio
async def test_an_idle_worker_sets_no_timer_but_its_watch(
    clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    start(Gate())
    await clock.advance("1 day")

    assert [event.type for event in events] == ["worker:started"]


@pytest.mark.parametrize("concurrency", [1, 2, 5])
@pytest.mark.asyncio
async def test_concurrency_is_used_and_never_exceeded(
    concurrency: int, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    gate = Gate()
    worker = start(gate, concurrency=concurrency)
    await queue.add_bulk([{"name": "send", "data": number} for number in range(12)])
    for _ in range(12):
        await clock.settle()
        assert gate.now == min(concurrency, 12 - len(gate.started) + gate.now)
        assert len(worker.running) == gate.now
        gate.let_out()
    await clock.settle()

    assert gate.most == concurrency
    assert gate.started == list(range(12))
    assert await queue.count("completed") == 12


@pytest.mark.asyncio
async def test_a_paused_queue_starts_nothing_and_lets_running_jobs_finish(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    gate = Gate()
    start(gate)
    first = await queue.add("send", 1)
    await clock.settle()
    await queue.pause()
    second = await queue.add("send", 2)
    gate.let_out(2)
    await clock.settle()

    assert await queue.is_paused()
    assert await first.is_completed()
    assert (await second.refresh()).state is JobState.WAITING
    await queue.resume()
    await clock.settle()
    assert not await queue.is_paused()
    assert await second.is_completed()


@pytest.mark.asyncio
async def test_a_paused_name_is_skipped(queue: Queue, clock: VirtualClock, start: Start) -> None:
    gate = Gate()
    gate.let_out(10)
    start(gate)
    await queue.pause("slow")
    await queue.add_bulk([{"name": "slow", "data": 1}, {"name": "fast", "data": 2}])
    await clock.settle()

    assert gate.started == [2]
    assert await queue.is_paused("slow")
    assert not await queue.is_paused("fast")
    assert not await queue.is_paused()
    await queue.resume("slow")
    await clock.settle()
    assert gate.started == [2, 1]


@pytest.mark.asyncio
async def test_a_paused_worker_leaves_the_jobs_to_another(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    paused, other = Gate(), Gate()
    other.let_out(10)
    worker = start(paused)
    worker.pause()
    start(other)
    await queue.add("send", 1)
    await clock.settle()

    assert worker.status == "paused"
    assert (paused.started, other.started) == ([], [1])
    worker.start()
    assert worker.status == "running"


@pytest.mark.asyncio
async def test_a_worker_that_waits_for_start(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    gate = Gate()
    gate.let_out(10)
    worker = start(gate, auto_start=False)
    await queue.add("send", 1)
    await clock.settle()
    assert (worker.status, gate.started) == ("stopped", [])
    assert [event.type for event in events] == ["job:waiting"]

    worker.start()
    worker.start()
    await clock.settle()
    assert (worker.status, gate.started) == ("running", [1])


@pytest.mark.asyncio
async def test_run_once_takes_exactly_one_job(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    gate = Gate()
    gate.let_out(10)
    worker = start(gate, auto_start=False, concurrency=3)
    assert await worker.run_once() is None
    jobs = await queue.add_bulk([{"name": "send", "data": number} for number in range(2)])
    await queue.add("later", delay=60)

    done = await worker.run_once()
    assert done is not None
    assert (done.id, done.state, done.returnvalue) == (jobs[0].id, JobState.COMPLETED, 0)
    assert gate.started == [0]
    await clock.advance(30)
    assert gate.started == [0], "it goes on with nothing by itself"
    assert (await worker.run_once()) is not None
    assert await worker.run_once() is None
    await clock.advance(30)
    assert (done := await worker.run_once()) is not None
    assert done.name == "later"


@pytest.mark.asyncio
async def test_run_once_gives_a_failed_job_and_one_put_back(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def fail(job: Job) -> None:
        raise ValueError(job.name)

    worker = start(fail, auto_start=False)
    await queue.add("first", attempts=2)
    once = await worker.run_once()
    assert once is not None
    assert (once.state, once.attempts_made) == (JobState.WAITING, 1)
    twice = await worker.run_once()
    assert twice is not None
    assert (twice.id, twice.state) == (once.id, JobState.FAILED)


@pytest.mark.asyncio
async def test_run_once_is_for_a_paused_worker_not_a_running_one(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    gate = Gate()
    gate.let_out(10)
    worker = start(gate)
    with pytest.raises(RuntimeError, match="is running by itself; run_once is for"):
        await worker.run_once()
    worker.pause()
    await queue.add_bulk([{"name": "send", "data": number} for number in range(2)])
    await clock.settle()

    assert (await worker.run_once()) is not None
    assert gate.started == [0]
    await worker.close()
    with pytest.raises(RuntimeError, match=r"is closed; worker.successor\(\)"):
        await worker.run_once()


@pytest.mark.asyncio
async def test_run_once_skips_what_is_paused(queue: Queue, start: Start) -> None:
    worker = start(lambda job: job.name, auto_start=False)
    await queue.add_bulk([{"name": "a"}, {"name": "b"}])
    await queue.pause("a")

    assert (done := await worker.run_once()) is not None
    assert done.returnvalue == "b"
    await queue.pause()
    assert await worker.run_once() is None


@pytest.mark.asyncio
async def test_several_run_once_keep_to_the_concurrency(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    gate = Gate()
    worker = start(gate, auto_start=False, concurrency=2)
    await queue.add_bulk([{"name": "send", "data": number} for number in range(3)])
    runs = [asyncio.ensure_future(worker.run_once()) for _ in range(3)]
    for _ in range(3):
        await clock.settle()
        gate.let_out()
    await asyncio.wait(runs)

    assert gate.most == 2


@pytest.mark.parametrize("auto_start", [True, False])
@pytest.mark.asyncio
async def test_run_until_idle(
    auto_start: bool, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    gate = Gate()
    gate.let_out(100)
    worker = start(gate, auto_start=auto_start, concurrency=2)
    await queue.add_bulk([{"name": "send", "data": number} for number in range(5)])
    await queue.add("later", delay=60)

    assert await worker.run_until_idle() == 5
    assert await queue.count("completed") == 5
    assert await worker.run_until_idle() == 0
    status = worker.status
    assert status == ("running" if auto_start else "stopped")
    await queue.add("send", 5)
    await clock.settle()
    assert len(gate.started) == (6 if auto_start else 5)


@pytest.mark.asyncio
async def test_run_until_idle_takes_retries_in_and_jobs_that_jobs_add(
    queue: Queue, start: Start
) -> None:
    async def send(job: Job) -> None:
        if job.data > 0:
            await queue.add("send", job.data - 1)
        if not job.attempts_made:
            raise ValueError("once")

    worker = start(send, auto_start=False)
    await queue.add("send", 3, attempts=2)

    assert await worker.run_until_idle() >= 4
    assert await queue.count("waiting") == 0


@pytest.mark.asyncio
async def test_a_worker_started_during_run_until_idle_stays(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(lambda job: job.sleep(5))
    await queue.add("send")
    idle = asyncio.create_task(worker.run_until_idle())
    await clock.advance(1)
    worker.start()
    await clock.advance(5)
    assert await idle == 1
    assert worker.status == "running"
    job = await queue.add("send")
    await clock.advance(5)
    assert (await job.refresh()).state == "completed"


@pytest.mark.asyncio
async def test_a_worker_whose_store_is_disconnected_says_that_it_stopped(
    store: MemoryStore, queue: Queue, clock: VirtualClock
) -> None:
    """It would not be told of new ones; and these may have the ids of those before."""
    went_on: list[str] = []
    go_on = asyncio.Event()

    async def handler(job: Job) -> Any:
        if job.data == "before":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await go_on.wait()
            with pytest.raises(LostLockError):
                await job.log("late")
            went_on.append(job.id)
        else:
            await job.sleep(5)
        return job.data

    worker = Worker("emails", handler, store=store, concurrency=2)
    await queue.add("send", "before", job_id="a")
    await clock.settle()
    await store.disconnect()
    assert worker.status == "stopped"
    job = await queue.add("send", "after", job_id="a")
    await clock.settle()
    assert (await job.refresh()).state == "waiting"
    worker.start()
    await clock.settle()
    go_on.set()
    await clock.advance(4)
    assert went_on == ["a"]
    assert (await job.refresh()).state == "active"
    await clock.advance(1)
    assert (await job.refresh()).returnvalue == "after"
    assert job.logs == ()
    await worker.close()


@pytest.mark.asyncio
async def test_run_until_idle_of_a_paused_worker_or_queue(queue: Queue, start: Start) -> None:
    worker = start(Gate())
    await queue.pause()
    await queue.add("send")
    assert await worker.run_until_idle() == 0
    worker.pause()
    assert await worker.run_until_idle() == 0
    await worker.close()
    with pytest.raises(RuntimeError, match="is closed"):
        await worker.run_until_idle()


@pytest.mark.parametrize("own", [True, False], ids=["lifo worker", "lifo jobs"])
@pytest.mark.asyncio
async def test_lifo_takes_the_newest_first_within_a_priority(
    own: bool, queue: Queue, start: Start
) -> None:
    gate = Gate()
    gate.let_out(10)
    worker = start(gate, lifo=own, auto_start=False)
    for number, priority in enumerate([0, 0, -1, 0, -1]):
        await queue.add("send", number, priority=priority, lifo=not own)
    await worker.run_until_idle()

    assert gate.started == [4, 2, 3, 1, 0]


@pytest.mark.asyncio
async def test_order_is_by_priority_and_then_by_age(queue: Queue, start: Start) -> None:
    gate = Gate()
    gate.let_out(10)
    worker = start(gate, auto_start=False)
    for number, priority in enumerate([5, 0, -2.5, 0, 5]):
        await queue.add("send", number, priority=priority)
    await worker.run_until_idle()

    assert gate.started == [2, 1, 3, 0, 4]


@pytest.mark.asyncio
async def test_the_store_lists_the_workers_that_run(
    clock: VirtualClock, store: MemoryStore, start: Start
) -> None:
    worker = start(Gate(), name="anna", concurrency=3)
    start(Gate(), auto_start=False)
    await clock.settle()

    [info] = await store.list_workers("emails")
    assert (info.id, info.name, info.concurrency, info.status) == (worker.id, "anna", 3, "running")
    assert repr(worker) == "<Worker anna of emails: running, 0 of 3 slots in use>"
    worker.pause()
    await clock.settle()
    assert [info.status for info in await store.list_workers()] == ["paused"]
    await worker.close()
    assert await store.list_workers() == []
