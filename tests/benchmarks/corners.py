"""Corners in which a queue may turn quadratic: each at two sizes, as the cost of one piece.

Nothing in them waits for anything, so they are measured in processor time, which other
programs on the machine do not change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from conveyor_nb import MemoryStore, Queue, Repeat, StoreEvent, VirtualClock, Worker
from conveyor_nb.core.model import EventType
from tests.benchmarks.engine import no_op
from tests.benchmarks.measuring import MICRO, PAYLOAD, Figure, Plan, Stopwatch, relative
from tests.benchmarks.peers import CONCURRENCY

__all__ = ["measure_corners"]

CORNER_TARGET_RATIO = 2.0
_NAME = "benchmark"
_EVENTS = 100
_SHRINK = 10
"""How many times smaller the small size is."""


def measure_corners(plan: Plan) -> Iterator[Figure]:
    """Each corner at a tenth of its size, and at its size."""
    figures: list[Figure] = []
    for name, (most, corner) in CORNERS.items():
        size = plan.up_to(most)
        for pieces in (size // _SHRINK, size):
            samples = tuple(
                asyncio.run(corner(pieces)) * MICRO for _ in plan.rounds(f"{name}: {pieces:,}")
            )
            figures.append(Figure("corners, a piece, processor time", name, pieces, "µs", samples))
    yield from relative(figures, at_most_ratio=CORNER_TARGET_RATIO)


async def subscribe(subscribers: int) -> float:
    """Seconds to subscribe and unsubscribe one of many."""
    async with MemoryStore() as store:
        callbacks = _callbacks(subscribers)
        with Stopwatch() as watch:
            for callback in callbacks:
                store.subscribe(_NAME, callback)
            for callback in callbacks:
                store.unsubscribe(_NAME, callback)
        return watch.sample.cpu / subscribers


async def tell(subscribers: int) -> float:
    """Seconds of one event for one of many subscribers."""
    async with MemoryStore() as store:
        for callback in _callbacks(subscribers):
            store.subscribe(_NAME, callback)
        event = StoreEvent(EventType.WAITING, _NAME, "an id", {}, store.clock.now())
        with Stopwatch() as watch:
            for _ in range(_EVENTS):
                await store.publish(event)
        return watch.sample.cpu / subscribers / _EVENTS


async def wait_for_one(waiters: int) -> float:
    """Seconds for one of many that wait for the same job."""
    async with MemoryStore() as store:
        queue = Queue(_NAME, store=store)
        job = await queue.add("send", PAYLOAD)
        with Stopwatch() as watch:
            waiting = asyncio.gather(*(job.wait_until_finished() for _ in range(waiters)))
            await asyncio.sleep(0)
            async with Worker(_NAME, no_op, store=store):
                assert await waiting == [1] * waiters
        return watch.sample.cpu / waiters


async def fall_due_at_once(jobs: int) -> float:
    """Seconds for one of many delayed jobs that fall due at one instant, to its end."""
    clock = VirtualClock()
    async with MemoryStore(clock=clock) as store:
        queue = Queue(_NAME, store=store)
        await queue.add_bulk([{"name": "send", "data": PAYLOAD, "delay": 60}] * jobs)
        async with Worker(_NAME, no_op, store=store, concurrency=CONCURRENCY):
            await clock.advance(59)
            with Stopwatch() as watch:
                await clock.advance(1)
            assert await queue.count("completed") == jobs
        return watch.sample.cpu / jobs


async def schedule(schedulers: int) -> float:
    """Seconds to create one of many schedulers."""
    async with MemoryStore(clock=VirtualClock()) as store:
        with Stopwatch() as watch:
            await _schedules(Queue(_NAME, store=store), schedulers)
        return watch.sample.cpu / schedulers


async def run_schedules(schedulers: int) -> float:
    """Seconds for one run of many schedulers, its next one planned."""
    clock = VirtualClock()
    async with MemoryStore(clock=clock) as store:
        queue = Queue(_NAME, store=store)
        await _schedules(queue, schedulers)
        async with Worker(_NAME, no_op, store=store, concurrency=CONCURRENCY):
            await clock.advance(1)  # the first runs
            with Stopwatch() as watch:
                await clock.advance(60)
            assert await queue.count("completed") == 2 * schedulers
        return watch.sample.cpu / schedulers


async def spread_over_queues(queues: int) -> float:
    """Seconds to add a job to one of many queues of a store."""
    async with MemoryStore() as store:
        with Stopwatch() as watch:
            for number in range(queues):
                await Queue(f"queue-{number}", store=store).add("send", PAYLOAD)
        return watch.sample.cpu / queues


CORNERS: dict[str, tuple[int, Callable[[int], Coroutine[Any, Any, float]]]] = {
    "one of many subscribers, subscribing": (1_000, subscribe),
    "one of many subscribers, an event": (1_000, tell),
    "one of many that wait for one job": (1_000, wait_for_one),
    "one of many jobs due at one instant": (10_000, fall_due_at_once),
    "one of many schedulers, created": (10_000, schedule),
    "one of many schedulers, a run": (10_000, run_schedules),
    "one of many queues, a job added": (10_000, spread_over_queues),
}
"""For each corner: its size, and the cost of one piece of it."""


def _callbacks(count: int) -> list[Callable[[StoreEvent], object]]:
    """As many functions as asked for, each of its own."""
    return [lambda event, number=number: number for number in range(count)]  # type: ignore[misc]


async def _schedules(queue: Queue, schedulers: int) -> None:
    for number in range(schedulers):
        await queue.upsert_job_scheduler(f"task-{number}", Repeat(every=60), "send", PAYLOAD)
