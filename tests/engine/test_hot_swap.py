"""Decorating again: the new code takes over, nothing runs twice and nothing is left behind."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import cloudpickle
import pytest
import pytest_asyncio

from conveyor_nb import Job, JobState, MemoryStore, PayloadError, Queue, VirtualClock, Worker
from conveyor_nb.registry import install_worker, named_workers
from tests.named_workers import close_named_workers


@pytest_asyncio.fixture(autouse=True)
async def _no_named_workers_left(store: MemoryStore) -> AsyncIterator[None]:
    yield
    await close_named_workers(store)


def version(name: str, seconds: float = 1) -> Callable[[Job], Any]:
    async def send(job: Job) -> str:
        await job.sleep(seconds)
        return name

    return send


@pytest.mark.parametrize("options", [None, {}, {"concurrency": 2}])
@pytest.mark.asyncio
async def test_the_decorated_function_stays_one_and_has_its_worker(
    options: dict[str, Any] | None, queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    async def plain(job: Job) -> str:
        """Say what was sent."""
        return f"sent {job.data}"

    send = queue.worker(plain) if options is None else queue.worker(**options)(plain)
    assert send is plain
    assert isinstance(send.worker, Worker)
    wanted = ("emails", "emails", (options or {}).get("concurrency", 1))
    assert (send.worker.name, send.worker.queue_name, send.worker.concurrency) == wanted
    assert named_workers(store) == {"emails": send.worker}
    job = await queue.add("send", 5)
    await clock.settle()
    assert (await job.refresh()).returnvalue == "sent 5"
    assert await send(job) == "sent 5"


@pytest.mark.asyncio
async def test_a_decorated_function_can_be_a_handler_elsewhere_too(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    other = Queue("other", store=store)

    @other.worker(concurrency=3)
    @queue.worker
    async def send(job: Job) -> str:
        return job.queue_name

    async with Worker("third", send, store=store):
        for name in ("emails", "other", "third"):
            job = await Queue(name, store=store).add("send")
            assert await job.wait_until_finished() == name
    assert send.worker is named_workers(store)["other"]
    assert named_workers(store)["emails"].status == "running"


class Mailer:
    worker = "of the mailer itself"

    async def send(self, job: Job) -> str:
        return "sent"

    def __call__(self, job: Job) -> str:
        return "called"


@pytest.mark.parametrize("handler", [Mailer().send, Mailer(), print])
@pytest.mark.asyncio
async def test_what_takes_no_attribute_is_given_back_in_a_partial(
    handler: Any, queue: Queue, store: MemoryStore
) -> None:
    given = queue.worker(handler)
    assert given.worker is named_workers(store)["emails"]
    assert isinstance(given, functools.partial)
    assert given.func is handler
    assert inspect.iscoroutinefunction(given) == inspect.iscoroutinefunction(handler)
    assert getattr(handler, "worker", "of the mailer itself") == "of the mailer itself"
    await (await queue.add("send")).wait_until_finished()


@pytest.mark.parametrize("given", [(2,), ("send",), (None,), (version("a"), version("b"))])
@pytest.mark.asyncio
async def test_options_that_are_given_by_place_are_refused(
    given: tuple[Any, ...], queue: Queue, store: MemoryStore
) -> None:
    with pytest.raises(TypeError, match="nothing but options, by name, such as concurrency=2"):
        queue.worker(*given)
    assert named_workers(store) == {}


def in_another_process(function: bytes) -> str:
    program = """if True:
        import sys, types, cloudpickle
        function = cloudpickle.load(sys.stdin.buffer)
        print(function.worker, function(types.SimpleNamespace(data=5)))
    """
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, input=function, stdout=subprocess.PIPE, check=True
    ).stdout.decode()


@pytest.mark.asyncio
async def test_a_decorated_function_goes_to_other_processes_without_its_worker(
    queue: Queue,
) -> None:
    @queue.worker
    def work(job: Any) -> Any:
        return job.data

    there = await asyncio.to_thread(in_another_process, cloudpickle.dumps(work))
    assert there.split() == ["None", "5"]

    @queue.worker(executor="process")
    def twice(job: Any) -> Any:
        return 2 * work(job)

    queue.worker(executor="process")(twice)
    assert await (await queue.add("work", 5)).wait_until_finished() == 10
    with pytest.raises(TypeError, match="worker 'emails' can't be copied"):
        copy.copy(twice.worker)
    with pytest.raises(PayloadError, match=r"data\['by'\].*worker 'emails' can't be copied"):
        await queue.add("work", {"by": twice.worker})


@pytest.mark.asyncio
async def test_running_jobs_finish_with_the_old_code_and_the_next_run_with_the_new(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    old = queue.worker(concurrency=2)(version("old")).worker
    jobs = await queue.add_bulk([{"name": "send"}] * 5)
    await clock.advance(0.5)
    new = queue.worker(concurrency=2)(version("new")).worker
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
async def test_a_thread_that_was_left_behind_holds_up_no_swap(
    queue: Queue, store: MemoryStore, clock: VirtualClock, go_on: threading.Event
) -> None:
    clock.patience = 0.02  # the thread is at rest
    started, loop = asyncio.Event(), asyncio.get_running_loop()

    def stuck(job: Any) -> None:
        loop.call_soon_threadsafe(started.set)
        go_on.wait()

    queue.worker(stuck)
    old = named_workers(store)["emails"]
    failed = await queue.add("send", timeout=5)
    await started.wait()
    await clock.advance(5)
    queue.worker(version("new"))
    job = await queue.add("send")
    await clock.advance(1)

    assert (await failed.refresh()).failed_reason == "timed out after 5s"
    assert (await job.refresh()).returnvalue == "new"
    told = "stopped, 1 of 1 slots in use, 1 held by a handler that did not stop>"
    assert repr(old).endswith(told)
    go_on.set()
    clock.patience = 60
    await clock.settle()
    assert old.slots_in_use == 0


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
    old = queue.worker()(version("old")).worker
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
    first = queue.worker(name="first")(version("first")).worker
    second = queue.worker(name="second")(version("second")).worker
    third = queue.worker(name="second")(version("third")).worker

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
    workers = [queue.worker(name=n)(version(n, 1_000)).worker for n in ("one", "two")]
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
    await job.cancel()  # otherwise one that was left behind would stay for ever
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


@pytest.mark.asyncio
async def test_a_store_that_nobody_has_goes_with_its_named_workers() -> None:
    async def use() -> weakref.ref[MemoryStore]:
        async with MemoryStore() as store, Queue("emails", store=store) as queue:

            @queue.worker
            async def send(job: Job) -> str:
                return "sent"

            await (await queue.add("send")).wait_until_finished()
            await send.worker.close()
        return weakref.ref(store)

    left = await use()
    gc.collect()
    assert left() is None
