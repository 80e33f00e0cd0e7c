"""Watching from outside: one job through an observable, a queue or a store through a stream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    Job,
    JobNotFoundError,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.errors import StoreUnavailableError
from conveyor_nb.stores import following

Start = Callable[..., Worker]


class Witness:
    """Takes every callback of an observable, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.jobs: list[tuple[str, float]] = []
        """The state and the progress of the job with which each was called."""
        self.callbacks: dict[str, Callable[..., None]] = {
            "on_active": lambda job: self.tell(job, "active"),
            "on_progress": lambda job, percent: self.tell(job, percent),
            "on_completed": lambda job, value: self.tell(job, ("completed", value)),
            "on_failed": lambda job, reason: self.tell(job, ("failed", reason)),
            "on_cancelled": lambda job: self.tell(job, "cancelled"),
        }

    def tell(self, job: Job, what: Any) -> None:
        self.told.append(what)
        self.jobs.append((str(job.state), job.progress))


@pytest.fixture
def witness() -> Witness:
    return Witness()


async def obey(job: Job) -> Any:
    """Do what the payload says."""
    await job.update_progress(50)
    match job.data:
        case "fail":
            raise ValueError("no such address")
        case "hang":
            await job.sleep("1 day")
    return job.data


# -- an observable --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "end"),
    [("fine", ("completed", "fine")), ("fail", ("failed", "ValueError: no such address"))],
)
@pytest.mark.parametrize("of_the_queue", [True, False])
@pytest.mark.asyncio
async def test_an_observer_is_told_of_a_life(
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    witness: Witness,
    data: str,
    end: tuple[str, str],
    of_the_queue: bool,
) -> None:
    job = await queue.add("send", data)
    await queue.add("send", "fine")
    observable = queue.observe(job.id) if of_the_queue else job.observe()
    observable.subscribe(**witness.callbacks)
    start(obey)
    await clock.settle()
    assert witness.told == ["active", 50, end]
    # a store may tell of a start a little later than the first progress was made
    begun = 0 if queue.store.tells_at_once else witness.jobs[0][1]
    assert witness.jobs == [("active", begun), ("active", 50), (end[0], 50)]
    assert observable.disposed


@pytest.mark.asyncio
async def test_a_retry_is_no_end(
    queue: Queue, clock: VirtualClock, start: Start, witness: Witness
) -> None:
    job = await queue.add("send", "fail", attempts=2, backoff=5)
    observable = job.observe()
    observable.subscribe(**witness.callbacks)
    start(obey)
    await clock.settle()
    assert witness.told == ["active", 50]
    assert not observable.disposed
    await clock.advance(5)
    assert witness.told[2:] == ["active", 50, ("failed", "ValueError: no such address")]


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.asyncio
async def test_cancelling_tells_of_no_failure(
    queue: Queue, clock: VirtualClock, start: Start, witness: Witness, running: bool
) -> None:
    job = await queue.add("send", "hang")
    observable = job.observe()
    observable.subscribe(**witness.callbacks)
    if running:
        start(obey)
        await clock.settle()
        witness.told.clear()
    await observable.cancel()
    await clock.settle()
    assert witness.told == ["cancelled"]
    assert (await job.refresh()).failed_reason == "cancelled"
    assert observable.disposed
    await observable.cancel()
    assert witness.told == ["cancelled"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("fine", [("completed", "fine")]),
        ("fail", [("failed", "ValueError: no such address")]),
        ("hang", ["cancelled"]),
    ],
)
@pytest.mark.asyncio
async def test_a_late_subscriber_is_told_of_the_end_at_once(
    queue: Queue, clock: VirtualClock, start: Start, witness: Witness, data: str, told: list[Any]
) -> None:
    job = await queue.add("send", data)
    early = job.observe()
    early.subscribe()
    start(obey)
    await clock.settle()
    await job.cancel()
    await clock.settle()
    for observable in (job.observe(), early):
        observable.subscribe(**witness.callbacks)
        await clock.settle()
        assert witness.told == told
        assert observable.disposed
        witness.told.clear()


@pytest.mark.asyncio
async def test_a_reason_that_reads_like_a_cancellation_is_none(
    queue: Queue, clock: VirtualClock, start: Start, witness: Witness
) -> None:
    async def refuse(job: Job) -> None:
        await job.move_to_failed("cancelled")

    job = await queue.add("send")
    job.observe().subscribe(**witness.callbacks)
    start(refuse)
    await clock.settle()
    assert witness.told == ["active", ("failed", "cancelled")]
    job.observe().subscribe(**witness.callbacks)
    await clock.settle()
    assert witness.told[2:] == [("failed", "cancelled")]


@pytest.mark.asyncio
async def test_an_end_in_the_same_turn_is_told_once(
    queue: Queue, clock: VirtualClock, witness: Witness
) -> None:
    job = await queue.add("send")
    job.observe().subscribe(**witness.callbacks)
    await job.cancel()
    await clock.settle()
    assert witness.told == ["cancelled"]


@pytest.mark.parametrize("how", ["removed", "unknown"])
@pytest.mark.asyncio
async def test_a_job_that_is_gone_ends_the_observation(
    queue: Queue,
    clock: VirtualClock,
    witness: Witness,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "_ON_ITS_WAY", 0)  # nothing is
    job = await queue.add("send")
    observable = queue.observe(job.id if how == "removed" else "nobody")
    observable.subscribe(**witness.callbacks)
    end = observable._followers[0]._job.end
    if how == "removed":
        await clock.settle()
        assert not observable.disposed
        await job.remove()
    await end
    await clock.settle()
    assert observable.disposed
    assert witness.told == []


@pytest.mark.asyncio
async def test_who_unsubscribes_is_told_no_more(
    queue: Queue, clock: VirtualClock, start: Start, witness: Witness
) -> None:
    job = await queue.add("send", "fine")
    observable = job.observe()
    other = Witness()
    unsubscribe = observable.subscribe(**witness.callbacks)
    observable.subscribe(**other.callbacks)
    unsubscribe()
    unsubscribe()
    start(obey)
    await clock.settle()
    assert witness.told == []
    assert other.told == ["active", 50, ("completed", "fine")]


@pytest.mark.asyncio
async def test_who_unsubscribes_at_once_is_not_told_of_an_old_end(
    queue: Queue, clock: VirtualClock, witness: Witness
) -> None:
    job = await queue.add("send")
    await job.cancel()
    job.observe().subscribe(**witness.callbacks)()
    await clock.settle()
    assert witness.told == []


@pytest.mark.asyncio
async def test_nobody_is_told_after_dispose(
    queue: Queue, clock: VirtualClock, start: Start, witness: Witness
) -> None:
    job = await queue.add("send", "fine")
    observable = job.observe()
    observable.subscribe(**witness.callbacks)
    observable.dispose()
    observable.dispose()
    start(obey)
    await clock.settle()
    assert witness.told == []
    assert await job.is_completed()


@pytest.mark.asyncio
async def test_an_ended_observation_hears_no_second_run(
    queue: Queue, clock: VirtualClock, start: Start, witness: Witness
) -> None:
    job = await queue.add("send", "fine")
    job.observe().subscribe(**witness.callbacks)
    start(obey)
    await clock.settle()
    await job.retry()
    await clock.settle()
    assert witness.told == ["active", 50, ("completed", "fine")]


@pytest.mark.asyncio
async def test_async_observers_run_to_their_end(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    told: list[Any] = []

    async def slowly(job: Job, *more: Any) -> None:
        await clock.sleep(10)
        told.extend(more or ["active"])

    job = await queue.add("send", "fine")
    observable = job.observe()
    observable.subscribe(on_active=slowly, on_progress=slowly, on_completed=slowly)
    start(obey)
    await clock.settle()
    assert (told, observable.disposed) == ([], True)
    await clock.advance(10)
    assert told == ["active", 50, "fine"]


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.asyncio
async def test_an_observer_that_raises_stops_nobody(
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    witness: Witness,
    caplog: pytest.LogCaptureFixture,
    is_async: bool,
) -> None:
    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError

    async def fail_later(*arguments: Any) -> None:
        raise ZeroDivisionError

    job = await queue.add("send", "fine")
    observable = job.observe()
    bad = fail_later if is_async else fail
    observable.subscribe(on_active=bad, on_progress=bad, on_completed=bad)
    observable.subscribe(**witness.callbacks)
    start(obey)
    await clock.settle()
    assert witness.told == ["active", 50, ("completed", "fine")]
    assert await job.is_completed()
    faults = [record.exc_info for record in caplog.records]
    assert [fault[0] for fault in faults if fault] == [ZeroDivisionError] * 3


@pytest.mark.asyncio
async def test_a_job_that_is_removed_at_its_end_is_shown_as_it_ended(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    seen: list[tuple[Any, ...]] = []
    job = await queue.add("send", "fine", remove_on_complete=True)
    queue.observe(job.id).subscribe(
        on_completed=lambda job, value: seen.append((job.name, job.state, job.returnvalue, value))
    )
    start(obey)
    await clock.settle()
    assert seen == [("send", "completed", "fine", "fine")]


@pytest.mark.asyncio
async def test_a_late_subscriber_to_a_second_run_is_told_of_its_end(
    queue: Queue, clock: VirtualClock, start: Start, witness: Witness
) -> None:
    job = await queue.add("send", "hang")
    observable = job.observe()
    observable.subscribe()
    start(obey)
    await clock.settle()
    await job.cancel()
    await clock.settle()
    assert observable.disposed
    await job.retry()
    observable.subscribe(**witness.callbacks)
    assert not observable.disposed
    await clock.settle()
    await job.cancel()
    await clock.settle()
    assert witness.told == ["active", 50, "cancelled"]
    assert observable.disposed


@pytest.mark.asyncio
async def test_a_callback_that_can_not_be_called_is_refused(queue: Queue) -> None:
    job = await queue.add("send")
    with pytest.raises(TypeError, match="on_failed must be a function, not 'print'"):
        job.observe().subscribe(on_failed="print")  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_a_misspelt_callback_is_an_error(queue: Queue) -> None:
    job = await queue.add("send")
    with pytest.raises(TypeError, match="on_complete"):
        job.observe().subscribe(on_complete=print)  # type: ignore[call-arg]


# -- nothing is left ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_after_close_and_disconnect_no_task_and_no_thread_is_left() -> None:
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    clock = VirtualClock()
    store = MemoryStore(clock=clock, metrics=True)
    queue = Queue("emails", store=store)
    told: list[StoreEvent | Job] = []

    async def tell(event: StoreEvent | Job, *more: object) -> None:
        told.append(event)
        await clock.sleep("1 day")

    queue.on("completed", tell)
    workers = [
        Worker("emails", obey, store=store, concurrency=3),
        Worker("emails", lambda job: job.data, store=store, concurrency=3),
        Worker("sums", obey, store=store, auto_start=False),
    ]
    await queue.every("1 minute", "report", "fine")
    await queue.cron("0 3 * * *", "backup", "fail", attempts=3, backoff="1 hour")
    jobs = await queue.add_bulk([{"name": "send", "data": "hang"}] * 5)
    jobs.append(await queue.add("send", "fail"))
    await FlowProducer(store=store).add(FlowJob("a", "sums", children=[FlowJob("b", "emails")]))
    stream = queue.events()
    late = asyncio.create_task(anext(stream))
    for job in jobs:
        job.observe().subscribe(on_failed=tell)
    await clock.advance("4 hours")
    await workers[2].run_once()
    tomorrow = await queue.add("send", delay="1 day")
    waiting = asyncio.create_task(tomorrow.wait_until_finished(timeout="400 days"))
    await clock.settle()
    assert told
    assert len(asyncio.all_tasks()) > len(tasks) + 2

    for worker in workers:
        await worker.close(timeout=0)
    await queue.close()
    await store.disconnect()
    with pytest.raises(JobNotFoundError):
        await waiting
    await late
    assert [event.type async for event in stream], "what was not read yet"
    await clock.settle()
    assert asyncio.all_tasks() == tasks
    for thread in set(threading.enumerate()) - threads:
        thread.join(2)
        assert not thread.is_alive()


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["close", "disconnect"])
async def test_callbacks_at_work_finish_when_the_job_ends_and_stop_with_the_queue_or_store(
    how: str, queue: Queue, clock: VirtualClock
) -> None:
    began: list[str] = []
    ended: list[str] = []

    def teller(name: str, delay: str) -> Callable[[Job, str], Awaitable[None]]:
        async def tell(job: Job, reason: str) -> None:
            began.append(name)
            await clock.sleep(delay)
            ended.append(name)

        return tell

    before = asyncio.all_tasks()
    async with Worker("emails", obey, store=queue.store):
        job = await queue.add("send", "fail")
        observable = queue.observe(job.id)
        observable.subscribe(on_failed=teller("short", "1 hour"))
        observable.subscribe(on_failed=teller("long", "1 day"))
        done = queue.observe(job.id)
        done.subscribe(on_failed=lambda job, reason: None)
        await clock.advance("2 hours")
        assert observable.disposed
        observable.subscribe(on_failed=teller("late", "1 day"))
        done.subscribe(on_failed=teller("later", "1 day"))
        await clock.settle()
    await (queue.close() if how == "close" else queue.store.disconnect())
    await clock.settle()
    if not queue.store.tells_at_once:  # each reads the job for itself, and answers may overtake
        began = [*sorted(began[:2], reverse=True), *sorted(began[2:])]
    assert (began, ended) == (["short", "long", "late", "later"], ["short"])
    assert asyncio.all_tasks() == before


@pytest.mark.asyncio
async def test_nobody_waits_for_a_store_that_is_disconnected(
    queue: Queue, clock: VirtualClock
) -> None:
    job = await queue.add("send", "hang")
    stream = queue.events()
    result = asyncio.create_task(job.wait_until_finished())
    joined = asyncio.create_task(queue.join())
    event = asyncio.create_task(anext(stream))
    await clock.settle()
    await queue.store.disconnect()
    with suppress(StoreUnavailableError):  # one that lasts is to be connected first
        await queue.add("send", "nobody is told of this one")
    await clock.settle()
    assert all(task.done() for task in (result, joined, event))
    with pytest.raises((JobNotFoundError, StoreUnavailableError)):
        await result
    await joined
    with pytest.raises(StopAsyncIteration):
        await event
