"""What the queue's steps cost as it grows, counted in function calls, which no machine changes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import pytest

from conveyor_nb import (
    Deduplication,
    FlowJob,
    FlowProducer,
    Group,
    GroupLimits,
    JobState,
    Limiter,
    MemoryStore,
    Queue,
    VirtualClock,
)
from conveyor_nb.core.actions import Complete, Fail, Retry
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import Lock

FEW, MANY = 100, 10_000

Step = Callable[[Queue], Awaitable[object]]


async def calls(step: Callable[[], Awaitable[object]]) -> int:
    """How many functions, of Python or of C, a step calls."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    gc.disable()  # what a collection destroys may call functions as well
    sys.setprofile(note)
    try:
        await step()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


async def filled(jobs: int, state: str) -> Queue:
    """A queue that holds so many jobs in a state, and three that wait besides."""
    store = MemoryStore(clock=VirtualClock(), ids="sequential")
    queue = Queue("emails", store=store)
    options: dict[str, dict[str, Any]] = {
        "delayed": {"delay": 60},
        "grouped": {"group": Group("one")},
        "groups": {},
        "priorities": {},
    }
    for number in range(jobs):
        own = dict(options.get(state, {}))
        if state == "groups":
            own["group"] = Group(f"group {number}")
        elif state == "priorities":
            own["priority"] = number % 50
        await queue.add("paused" if state == "paused" else "send", **own)
        if state in ("active", "completed"):
            taken = await store.fetch_next_job("emails", "worker", 3_600)
            assert taken is not None
            if state == "completed":
                await store.apply("emails", taken.id, Complete(1), lock=Lock("worker", 1))
    if state == "paused":
        await queue.pause("paused")
    await queue.add_bulk(
        [{"name": "send", "data": {"to": "ada"}, "job_id": f"x{n}"} for n in "abc"]
    )
    return queue


async def fetch(queue: Queue) -> None:
    assert await queue.store.fetch_next_job("emails", "worker", 30) is not None


async def fetch_with_limits(queue: Queue) -> None:
    options = FetchOptions(group=GroupLimits(concurrency=1), max_global_concurrency=1_000_000)
    assert await queue.store.fetch_next_job("emails", "worker", 30, options) is not None


async def fetch_newest(queue: Queue) -> None:
    options = FetchOptions(lifo=True)
    assert await queue.store.fetch_next_job("emails", "worker", 30, options) is not None


async def look_ahead(queue: Queue) -> None:
    assert len(await queue.next_jobs(3)) == 3


async def look_ahead_with_limits(queue: Queue) -> None:
    limits = GroupLimits(concurrency=2, limiter=Limiter(2, 10))
    assert len(await queue.next_jobs(3, max_global_concurrency=1_000_000, group=limits)) == 3


async def look_ahead_newest_first(queue: Queue) -> None:
    assert len(await queue.next_jobs(3, lifo=True)) == 3


async def add(queue: Queue) -> None:
    await queue.add("send", {"to": "grace"}, priority=2)


async def add_deduplicated(queue: Queue) -> None:
    await queue.add("send", {"to": "grace"}, deduplication=Deduplication(key="daily"))


async def fetch_and_settle(queue: Queue) -> None:
    taken = await queue.store.fetch_next_job("emails", "worker", 30)
    assert taken is not None
    await queue.store.apply("emails", taken.id, Complete(1), lock=Lock("worker", 1))


async def look_up(queue: Queue) -> None:
    assert await queue.get_job("xb") is not None
    assert await queue.count(JobState.WAITING) >= 1
    await queue.get_job_counts()


async def cancel(queue: Queue) -> None:
    await queue.store.cancel_job("emails", "xb")


STATES = ["waiting", "delayed", "active", "completed", "paused", "grouped", "groups", "priorities"]
STEPS: list[Step] = [
    look_ahead,
    look_ahead_with_limits,
    look_ahead_newest_first,
    fetch,
    fetch_with_limits,
    fetch_newest,
    add,
    add_deduplicated,
    fetch_and_settle,
    look_up,
    cancel,
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.asyncio
async def test_steps_cost_at_most_twice_as_much_with_a_hundred_times_as_many_jobs(
    state: str,
) -> None:
    small, large = await filled(FEW, state), await filled(MANY, state)
    for queue in (small, large):
        for step in STEPS:  # what is made on first use is made before anything is counted
            await step(queue)
        await queue.add("send", job_id="xb")
        await queue.add_bulk([{"name": "send"}] * 3)
    costs = {
        step.__name__: [await calls(lambda step=step, q=q: step(q)) for q in (small, large)]  # type: ignore[misc]
        for step in STEPS
    }

    assert all(few > 10 for few, _ in costs.values()), "something was counted"
    too_dear = {name: cost for name, cost in costs.items() if cost[1] > 2 * cost[0]}
    assert not too_dear


@pytest.mark.asyncio
async def test_promoting_costs_as_much_as_there_are_jobs_due() -> None:
    clocks = []
    for held in (FEW, MANY):
        queue = await filled(held, "waiting")
        await queue.add("later", delay=5)
        assert isinstance(queue.store.clock, VirtualClock)
        await queue.store.clock.advance(5)
        clocks.append(await calls(lambda q=queue: q.store.promote_delayed_jobs("emails")))  # type: ignore[misc]

    assert clocks[1] <= 2 * clocks[0]


@pytest.mark.asyncio
async def test_a_worker_that_finds_all_groups_held_back_finds_out_when_to_look_again() -> None:
    options = FetchOptions(group=GroupLimits(limiter=Limiter(1, "1 hour")))
    counted = []
    for groups in (FEW, MANY):
        store = MemoryStore(clock=VirtualClock())
        queue = Queue("emails", store=store)
        for number in range(groups):
            await queue.add_bulk([{"name": "send", "group": Group(f"group {number}")}] * 2)
            assert await store.fetch_next_job("emails", "worker", 3_600, options) is not None
        assert await store.fetch_next_job("emails", "worker", 3_600, options) is None

        async def look(store: MemoryStore = store) -> None:
            fetched = await store.fetch_jobs("emails", "worker", 3_600, options)
            assert not fetched.jobs
            assert fetched.next_at is not None

        counted.append(await calls(look))

    assert counted[1] <= 2 * counted[0]


@pytest.mark.asyncio
async def test_adding_costs_the_same_however_many_had_the_key_before() -> None:
    counted = []
    for holders in (FEW, 20 * FEW):
        clock = VirtualClock()
        queue = Queue("emails", store=MemoryStore(clock=clock))
        rule = Deduplication(key="daily", ttl="1s")
        for _ in range(holders):  # each is unfinished, and has the key no more
            await queue.add("send", deduplication=rule)
            await clock.advance(1)
        assert await queue.count("waiting") == holders

        async def add(queue: Queue = queue, rule: Deduplication = rule) -> None:
            await queue.add("send", deduplication=rule)

        counted.append(await calls(add))

    assert counted[1] <= 1.5 * counted[0]


@pytest.mark.asyncio
async def test_a_child_costs_the_same_however_many_sisters_it_has() -> None:
    counted = []
    for sisters in (FEW, 20 * FEW):
        store = MemoryStore(clock=VirtualClock(), ids="sequential")
        children = [FlowJob("part", "parts") for _ in range(sisters)]
        root = await FlowProducer(store=store).add(FlowJob("all", "all", children=children))
        while (job := await store.fetch_next_job("parts", "worker", 30)) is not None:
            await store.apply("parts", job.id, Fail("boom"), lock=Lock("worker", 1))
        await root.job.retry()
        assert root.job.pending_children_count == sisters

        async def retry(store: MemoryStore = store) -> None:
            await store.apply("parts", "parts-7", Retry())
            job = await store.fetch_next_job("parts", "worker", 30)
            assert job is not None
            await store.apply("parts", "parts-7", Complete(1), lock=Lock("worker", 2))

        counted.append(await calls(retry))

    assert counted[1] <= 1.5 * counted[0]
