"""What is over costs nothing: after many lives, a store holds what it held after a few of them."""

from __future__ import annotations

import gc
import types
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from conveyor_nb import (
    Deduplication,
    FlowJob,
    FlowProducer,
    Group,
    GroupLimits,
    Job,
    Keep,
    Limiter,
    MemoryStore,
    Queue,
    Repeat,
    VirtualClock,
    Worker,
)

ROUNDS = 400
"""More than the 256 of anything that is remembered for a while."""

SLACK = 40
"""How many objects more or less are no leak: lists that are sorted in pieces, heaps, caches."""

_NOT_HELD = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, VirtualClock)


@dataclass
class World:
    """What a life has at hand."""

    store: MemoryStore
    clock: VirtualClock
    queue: Queue
    worker: Worker


async def handle(job: Job) -> str:
    if job.name == "fail":
        raise ValueError("it does")
    return "done"


@asynccontextmanager
async def make_world(*, metrics: bool = False) -> AsyncIterator[World]:
    clock = VirtualClock()
    async with (
        MemoryStore(clock=clock, ids="sequential", metrics=metrics) as store,
        Queue("emails", store=store) as queue,
        Worker("emails", handle, store=store, stalled_interval="10 days") as worker,
    ):
        yield World(store, clock, queue, worker)


def books(store: MemoryStore) -> Counter[str]:
    """The objects in a store's books, by type; neither its clock nor code is looked into."""
    seen: dict[int, Any] = {}
    todo: list[Any] = [store._state, store._subscriptions]
    while todo:
        one = todo.pop()
        if id(one) not in seen and not isinstance(one, _NOT_HELD):
            seen[id(one)] = one
            todo += gc.get_referents(one)
            if isinstance(one, dict):  # the collector passes over its keys that are text
                todo += one
    return Counter(type(one).__name__ for one in seen.values())


Life = Callable[[World, int], Awaitable[object]]
"""Something that comes and goes; its number makes its names its own."""


async def a_job(world: World, number: int) -> None:
    await world.queue.add("send", job_id=f"job-{number}", remove_on_complete=True)


async def a_group(world: World, number: int) -> None:
    await world.queue.add("send", group=Group(f"group-{number}"), remove_on_complete=True)


async def a_group_whose_job_is_cancelled(world: World, number: int) -> None:
    job = await world.queue.add("send", group=Group(f"g-{number}"), delay=5, remove_on_fail=True)
    await job.promote()
    await job.cancel()


async def a_group_with_limits(world: World, number: int) -> None:
    queue = Queue("limited", store=world.store)
    limits = GroupLimits(concurrency=1, limiter=Limiter(2, "1m"))
    async with Worker("limited", handle, store=world.store, group=limits) as worker:
        for group in (f"group-{number}", "always"):
            await queue.add("send", group=Group(group), remove_on_complete=True)
        await worker.run_until_idle()
        await world.clock.advance("3 minutes")


async def a_start_that_a_rate_counts(world: World, number: int) -> None:
    queue, limiter = Queue("rated", store=world.store), Limiter(100_000, "1m")
    limits = GroupLimits(limiter=limiter)
    async with Worker("rated", handle, store=world.store, limiter=limiter, group=limits) as worker:
        await queue.add("send", group=Group("always"), remove_on_complete=True)
        await worker.run_until_idle()
        await world.clock.advance("20 seconds")


async def a_turn_of_a_group_that_stays(world: World, number: int) -> None:
    """The second of two jobs of a group with a cap keeps the group on the shelves."""
    queue, store = Queue("capped", store=world.store), world.store
    if not number:
        await queue.add("send", group=Group("stays"), remove_on_complete=True)
    await queue.add("send", group=Group("stays"), remove_on_complete=True)
    limits = GroupLimits(concurrency=1)
    async with Worker("capped", handle, store=store, group=limits, auto_start=False) as worker:
        await worker.run_once()


async def a_pause(world: World, number: int) -> None:
    await world.queue.pause(f"name-{number}")
    await world.queue.resume(f"name-{number}")


async def a_pause_of_a_name_that_waits(world: World, number: int) -> None:
    queue = Queue("paused", store=world.store)
    if not number:
        await queue.add("first", priority=-1)
        await queue.add("second")
    await queue.pause("second")
    await queue.resume("second")


async def a_job_cancelled_behind_others(world: World, number: int) -> None:
    queue = Queue("waiting", store=world.store)
    if not number:
        await queue.add("first", priority=-1)
    job = await queue.add(f"name-{number}", remove_on_fail=True)
    await job.cancel()


async def a_key(world: World, number: int) -> None:
    rule = Deduplication(key=f"key-{number}", ttl="1m" if number % 2 else None)
    for _ in range(2):
        await world.queue.add("send", deduplication=rule, remove_on_complete=True)


async def a_hash(world: World, number: int) -> None:
    rule = Deduplication(hash=True)
    await world.queue.add("send", number, deduplication=rule, remove_on_complete=True)


async def a_family(world: World, number: int) -> None:
    gone: Any = {"remove_on_complete": True}
    children = [FlowJob("part", "emails", number, gone) for _ in range(2)]
    await FlowProducer(store=world.store).add(FlowJob("all", "emails", None, gone, children))


async def a_family_that_fails(world: World, number: int) -> None:
    policy = ("fail", "ignore", "remove")[number % 3]
    gone: Any = {"remove_on_fail": True, "remove_on_complete": True}
    own: Any = {**gone, "fail_parent_on_child_failure": policy}
    children = [FlowJob(name, "emails", None, gone) for name in ("fail", "part")]
    await FlowProducer(store=world.store).add(FlowJob("all", "emails", None, own, children))


async def a_family_that_is_retried(world: World, number: int) -> None:
    producer = FlowProducer(store=world.store)
    root = await producer.add(FlowJob("all", "emails", children=[FlowJob("fail", "emails")]))
    await world.clock.settle()
    await root.job.retry()
    await root.children[0].job.retry()
    await world.clock.settle()
    await world.queue.clean("failed")


async def a_family_that_is_drained(world: World, number: int) -> None:
    queue = Queue("drained", store=world.store)
    producer = FlowProducer(store=world.store)
    await producer.add(FlowJob("all", "drained", children=[FlowJob("part", "drained")]))
    await queue.drain()


async def a_job_that_is_kept_for_a_while(world: World, number: int) -> None:
    await world.queue.add("send", remove_on_complete="1m")
    await world.queue.add("fail", remove_on_fail=Keep(count=3))
    await world.clock.advance("2 minutes")


async def a_queue(world: World, number: int) -> None:
    queue = Queue(f"queue-{number}", store=world.store)
    keep = Keep(age="1 hour", count=2)
    async with Worker(queue.name, handle, store=world.store) as worker:
        await queue.add("send", remove_on_complete=keep, group=Group("x"))
        await queue.add("send", deduplication=Deduplication(key="x"))
        await queue.pause("other")
        await queue.every("1h", "send")
        await worker.run_until_idle()
    await queue.obliterate()


async def a_queue_that_nobody_listens_to(world: World, number: int) -> None:
    queue = Queue(f"queue-{number}", store=world.store)
    await queue.add("send")
    await queue.obliterate()


async def a_look_at_an_unknown_queue(world: World, number: int) -> None:
    store, name = world.store, f"unknown-{number}"
    await store.fetch_next_job(name, "w", 30)
    await store.resume_job_name(name, "send")
    for look in (store.list_jobs, store.get_job_counts, store.get_next_delayed_timestamp):
        await look(name)
    await store.drain(name)
    await store.obliterate(name)


async def a_worker(world: World, number: int) -> None:
    async with Worker("emails", handle, store=world.store, name="mailer"):
        await world.clock.settle()


async def some_subscribers(world: World, number: int) -> None:
    store, queue = world.store, world.queue
    seen: list[Any] = []
    store.subscribe("emails", seen.append)
    store.unsubscribe("emails", seen.append)
    queue.on("completed", seen.append)
    queue.off("completed", seen.append)
    job = await queue.add("send", remove_on_complete=True)
    job.observe().subscribe(on_completed=lambda job, result: None)
    async with queue.events() as events:
        await job.wait_until_finished()
        assert (await anext(events)).queue_name == "emails"


async def an_hour_of_metrics(world: World, number: int) -> None:
    """All together take more than the month that is kept."""
    await world.queue.add("send", remove_on_complete=True)
    await world.clock.advance("2 hours")


async def a_queue_with_metrics(world: World, number: int) -> None:
    await a_queue(world, number)


async def a_schedule(world: World, number: int) -> None:
    name = f"schedule-{number}"
    await world.queue.upsert_job_scheduler(
        name, Repeat(every="1h"), "send", remove_on_complete=True
    )
    await world.clock.settle()
    await world.queue.remove_job_scheduler(name)


async def a_retry(world: World, number: int) -> None:
    job = await world.queue.add("fail", job_id="always")
    await world.clock.settle()
    await job.log(f"line {number} of many")
    await job.retry()


LIVES: list[Life] = [
    a_job,
    a_group,
    a_group_whose_job_is_cancelled,
    a_group_with_limits,
    a_start_that_a_rate_counts,
    a_turn_of_a_group_that_stays,
    a_pause,
    a_pause_of_a_name_that_waits,
    a_job_cancelled_behind_others,
    a_key,
    a_hash,
    a_family,
    a_family_that_fails,
    a_family_that_is_retried,
    a_family_that_is_drained,
    a_job_that_is_kept_for_a_while,
    a_queue,
    a_queue_that_nobody_listens_to,
    a_look_at_an_unknown_queue,
    a_worker,
    some_subscribers,
    an_hour_of_metrics,
    a_queue_with_metrics,
    a_schedule,
]
WITH_METRICS = (an_hour_of_metrics, a_queue_with_metrics)


async def _live(world: World, life: Life, rounds: range) -> Counter[str]:
    for number in rounds:
        await life(world, number)
        await world.clock.settle()
    return books(world.store)


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
@pytest.mark.asyncio
async def test_what_is_over_is_given_back(life: Life) -> None:
    async with make_world(metrics=life in WITH_METRICS) as world:
        few = await _live(world, life, range(ROUNDS))
        many = await _live(world, life, range(ROUNDS, 2 * ROUNDS))
    assert many.total() - few.total() < SLACK, (many - few).most_common(5)


@pytest.mark.asyncio
async def test_what_one_job_piles_up_is_bounded() -> None:
    async with make_world() as world:
        few = await _live(world, a_retry, range(1_100))
        many = await _live(world, a_retry, range(1_100, 1_500))
        assert many.total() - few.total() < SLACK, (many - few).most_common(5)
        [job] = await world.queue.get_jobs()
        assert job.attempts_left_out > 1_000


@pytest.mark.asyncio
async def test_a_queue_that_is_idle_lets_go_of_old_metrics_too() -> None:
    async with make_world(metrics=True) as world:
        other = Queue("other", store=world.store)
        async with Worker("other", handle, store=world.store) as worker:
            for _ in range(50):
                await other.add("send", remove_on_complete=True)
                await worker.run_until_idle()
                await world.clock.advance("1 minute")
        before = books(world.store)["Bucket"]
        await world.clock.advance("31 days")
        await world.queue.add("send", remove_on_complete=True)
        await world.clock.settle()
        assert (before, books(world.store)["Bucket"]) == (51, 2)


@pytest.mark.asyncio
async def test_the_books_would_tell() -> None:
    async with make_world() as world:
        few = books(world.store)
        await world.queue.add_bulk({"name": "send", "delay": 60} for _ in range(ROUNDS))
        assert books(world.store).total() - few.total() >= ROUNDS
