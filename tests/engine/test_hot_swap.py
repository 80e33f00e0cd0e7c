"""Decorating again: the new code takes over, nothing runs twice and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import Job, JobState, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.registry import close_named_workers, install_worker, named_workers


@pytest_asyncio.fixture(autouse=True)
async def _no_named_workers_left(store: MemoryStore) -> AsyncIterator[None]:
    yield
    await close_named_workers(store)


def version(name: str, seconds: float = 1) -> Callable[[Job], Any]:
    async def send(job: Job) -> str:
        await job.sleep(seconds)
        return name

    return send


@pytest.mark.asyncio
async def test_the_decorator_makes_the_function_a_worker(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    @queue.worker(concurrency=2)
    async def send(job: Job) -> str:
        return "sent"

    assert isinstance(send, Worker)
    assert (send.name, send.queue_name, send.concurrency) == ("emails", "emails", 2)
    assert named_workers(store) == {"emails": send}
    job = await queue.add("send")
    await clock.settle()
    assert (await job.refresh()).returnvalue == "sent"


@pytest.mark.asyncio
async def test_running_jobs_finish_with_the_old_code_and_the_next_run_with_the_new(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    old = queue.worker(concurrency=2)(version("old"))
    jobs = await queue.add_bulk([{"name": "send"}] * 5)
    await clock.advance(0.5)
    new = queue.worker(concurrency=2)(version("new"))
    assert (old.status, new.status) == ("closing", "running")
    await clock.advance(10)

    for job in jobs:
        await job.refresh()
    assert [job.returnvalue for job in jobs] == ["old", "old", "new", "new", "new"]
    assert [len(job.attempt_logs) for job in jobs] == [1] * 5, "none ran twice"
    assert {job.attempts_made for job in jobs} == {0}
    assert jobs[2].processed_at == jobs[0].created_at + timedelta(seconds=0.5)
    assert (old.status, new.status) == ("closed", "running")
    assert named_workers(store) == {"emails": new}
    assert [info.id for info in await store.list_workers("emails")] == [new.id]


@pytest.mark.asyncio
async def test_the_next_job_does_not_wait_for_the_old_one(
    queue: Queue, clock: VirtualClock
) -> None:
    queue.worker()(version("old", seconds=100))
    slow = await queue.add("send")
    await clock.settle()
    queue.worker()(version("new"))
    quick = await queue.add("send")
    await clock.advance(1)

    assert (await quick.refresh()).returnvalue == "new"
    assert (await slow.refresh()).state is JobState.ACTIVE


@pytest.mark.asyncio
async def test_swapping_many_times_leaves_one_worker_and_no_task(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    await clock.settle()
    before = asyncio.all_tasks()
    for number in range(10):
        queue.worker()(version(f"version {number}"))
        await queue.add("send")
    await clock.advance(10)

    assert len(named_workers(store)) == 1
    assert len(await store.list_workers()) == 1
    assert await queue.count("completed") == 10
    assert len(asyncio.all_tasks() - before) == 1, "the dispatcher of the last one"


@pytest.mark.asyncio
async def test_a_retry_after_the_swap_runs_the_new_code(queue: Queue, clock: VirtualClock) -> None:
    @queue.worker()
    async def broken(job: Job) -> None:
        raise ValueError("a mistake in the cell")

    job = await queue.add("send", attempts=2, backoff=10)
    await clock.settle()
    queue.worker()(version("mended"))
    await clock.advance(11)

    assert (await job.refresh()).returnvalue == "mended"


@pytest.mark.parametrize(
    ("options", "handler"),
    [
        ({"concurrency": 0}, version("bad")),
        ({"concurency": 2}, version("bad")),
        ({"lock_duration": "soon"}, version("bad")),
        ({}, None),
        ({}, lambda: 0),
    ],
)
@pytest.mark.asyncio
async def test_a_new_one_that_cant_be_made_leaves_the_old_one_running(
    options: dict[str, Any], handler: Any, queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    old = queue.worker()(version("old"))
    await clock.settle()
    with pytest.raises((TypeError, ValueError)):
        queue.worker(**options)(handler)
    job = await queue.add("send")
    await clock.advance(1)

    assert old.status == "running"
    assert named_workers(store) == {"emails": old}
    assert (await job.refresh()).returnvalue == "old"


@pytest.mark.asyncio
async def test_other_names_stay_as_they_are(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    first = queue.worker(name="first")(version("first"))
    second = queue.worker(name="second")(version("second"))
    third = queue.worker(name="second")(version("third"))

    assert named_workers(store) == {"first": first, "second": third}
    await clock.settle()
    assert (first.status, second.status, third.status) == ("running", "closed", "running")


@pytest.mark.asyncio
async def test_each_store_has_its_own_names(store: MemoryStore, clock: VirtualClock) -> None:
    async with MemoryStore(clock=clock) as other:
        here = install_worker("emails", version("here"), store=store)
        there = install_worker("emails", version("there"), store=other)
        assert named_workers(store) == {"emails": here}
        assert named_workers(other) == {"emails": there}
        await close_named_workers(other)
        assert named_workers(other) == {}
        assert (here.status, there.status) == ("running", "closed")


@pytest.mark.asyncio
async def test_what_is_given_out_can_be_changed_without_harm(
    queue: Queue, store: MemoryStore
) -> None:
    queue.worker()(version("one"))
    named_workers(store).clear()

    assert list(named_workers(store)) == ["emails"]


@pytest.mark.asyncio
async def test_close_named_workers_puts_back_what_they_run(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    workers = [queue.worker(name=name)(version(name, 1_000)) for name in ("one", "two")]
    jobs = await queue.add_bulk([{"name": "send"}] * 2)
    await clock.settle()
    await close_named_workers(store)

    assert named_workers(store) == {}
    assert {worker.status for worker in workers} == {"closed"}
    assert [(await job.refresh()).state for job in jobs] == ["waiting"] * 2


@pytest.mark.asyncio
async def test_close_named_workers_closes_those_that_gave_way_too(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    stopped: list[str] = []

    @queue.worker()
    async def old(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(job.id)

    job = await queue.add("send")
    await clock.settle()
    queue.worker()(version("new"))
    await clock.settle()
    await close_named_workers(store)
    await clock.settle()
    put_back = (await job.refresh()).state
    await job.cancel()  # else one that was left behind would stay for ever
    await clock.settle()

    assert put_back is JobState.WAITING
    assert stopped == [job.id]


@pytest.mark.asyncio
async def test_close_named_workers_of_all_stores(store: MemoryStore, clock: VirtualClock) -> None:
    async with MemoryStore(clock=clock) as other:
        workers = [install_worker("emails", version("x"), store=one) for one in (store, other)]
        await close_named_workers()

        assert {worker.status for worker in workers} == {"closed"}
        assert named_workers(store) == named_workers(other) == {}


@pytest.mark.asyncio
async def test_a_successor_has_the_same_options(queue: Queue, clock: VirtualClock) -> None:
    first = Worker(
        "emails", version("first"), store=queue.store, concurrency=3, lifo=True, name="anna"
    )
    await first.close()
    second = first.successor()
    third = second.successor(version("third"))
    jobs = await queue.add_bulk([{"name": "send"}] * 6)
    await clock.advance(1)

    assert (second.name, second.concurrency, second.store) == ("anna", 3, queue.store)
    assert second.handler is first.handler
    assert second.id != first.id
    assert (
        sorted([(await job.refresh()).returnvalue for job in jobs]) == ["first"] * 3 + ["third"] * 3
    )
    await second.close()
    await third.close()
