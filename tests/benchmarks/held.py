"""Queues that hold many jobs in one condition, and the steps whose cost must not grow with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from conveyor_nb import (
    BulkJob,
    Deduplication,
    Group,
    GroupLimits,
    JobState,
    MemoryStore,
    Queue,
    StoreInterface,
)
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import JobData, Lock
from tests.benchmarks.measuring import PAYLOAD

__all__ = [
    *("CONDITIONS", "LOCK_SECONDS", "OPS", "STEPS", "WORKER"),
    *("Held", "complete", "fill", "restore"),
]

OPS = 100
"""How often a step is taken in a row."""

_NAME = "benchmark"
WORKER = "worker"
LOCK_SECONDS = 3_600.0
_CHUNK = 10_000
_GROUP_SIZE = 10


@dataclass(slots=True)
class Held:
    """A queue with its held jobs, and what one round of steps hands from one to the next."""

    queue: Queue
    known: list[str]
    taken: list[JobData] = field(default_factory=list)
    fetch_options: FetchOptions = field(default_factory=FetchOptions)


async def add(held: Held) -> None:
    """Add jobs, which have what the held ones have not: nothing."""
    for _ in range(OPS):
        await held.queue.add("send", PAYLOAD)


async def fetch(held: Held) -> None:
    """Take jobs."""
    store, options = held.queue.store, held.fetch_options
    taken = [await store.fetch_next_job(_NAME, WORKER, LOCK_SECONDS, options) for _ in range(OPS)]
    held.taken = [data for data in taken if data is not None]
    assert len(held.taken) == OPS


async def settle(held: Held) -> None:
    """Complete the jobs taken."""
    for data in held.taken:
        lock = Lock(WORKER, len(data.attempt_logs))
        await held.queue.store.apply(_NAME, data.id, Complete(1), lock=lock)


async def count(held: Held) -> None:
    """Count the waiting jobs."""
    for _ in range(OPS):
        await held.queue.count(JobState.WAITING)


async def look_up(held: Held) -> None:
    """Get jobs by id."""
    for job_id in held.known:
        assert await held.queue.get_job(job_id) is not None


async def find_duplicate(held: Held) -> None:
    """Find jobs by their deduplication keys."""
    for number in range(OPS):
        assert await held.queue.store.find_by_deduplication_key(_NAME, f"known-{number}")


async def add_duplicate(held: Held) -> None:
    """Add jobs whose keys are taken."""
    for number in range(OPS):
        rule = Deduplication(key=f"known-{number}")
        await held.queue.add("send", PAYLOAD, deduplication=rule)


async def restore(held: Held) -> None:
    """Remove what was completed, so that as many jobs are held as before."""
    await asyncio.gather(*(held.queue.store.remove_job(_NAME, data.id) for data in held.taken))
    held.taken = []


STEPS: dict[str, Callable[[Held], Awaitable[None]]] = {
    "add": add,
    "fetch_next_job": fetch,
    "settle": settle,
    "count": count,
    "get by id": look_up,
    "find by key": find_duplicate,
    "add a duplicate": add_duplicate,
}
"""In the order of a round: what is added is taken, what is taken is settled, then removed."""


CONDITIONS: dict[str, Callable[[int], BulkJob]] = {
    "waiting": lambda number: {"name": "send"},
    "delayed": lambda number: {"name": "send", "delay": 3_600 + number % 1_000},
    "completed": lambda number: {"name": "send"},
    "priorities": lambda number: {"name": "send", "priority": number % 100},
    "groups": lambda number: {"name": "send", "group": Group(f"group-{number // _GROUP_SIZE}")},
    "a paused name": lambda number: {"name": "paused"},
    "own keys": lambda number: {
        "name": "send",
        "deduplication": Deduplication(key=f"key-{number}"),
    },
}
"""What the held jobs have, by the name of the condition that makes them."""


async def fill(condition: str, jobs: int, store: StoreInterface | None = None) -> Held:
    """A queue that holds this many jobs in a condition, and a few that the look-ups find."""
    queue = Queue(_NAME, store=store or MemoryStore())
    options = CONDITIONS[condition]
    for chunk in _chunks(jobs):
        await queue.add_bulk([{"data": PAYLOAD, **options(number)} for number in chunk])
    if condition == "completed":
        await complete(queue, jobs)
    elif condition == "a paused name":
        await queue.pause("paused")
    # these are paused, so that they are in nobody's way
    await queue.pause("known")
    known = await queue.add_bulk(
        {"name": "known", "deduplication": Deduplication(key=f"known-{number}")}
        for number in range(OPS)
    )
    held = Held(queue, [job.id for job in known])
    if condition == "groups":
        held.fetch_options = FetchOptions(group=GroupLimits(concurrency=2))
    return held


async def complete(queue: Queue, jobs: int) -> None:
    """Take and complete this many of a queue's jobs."""
    store = queue.store
    for start in range(0, jobs, OPS):
        most = min(OPS, jobs - start)
        taken = (await store.fetch_jobs(queue.name, WORKER, LOCK_SECONDS, limit=most)).jobs
        assert len(taken) == most
        locks = [Lock(WORKER, len(data.attempt_logs)) for data in taken]
        await asyncio.gather(
            *(
                store.apply(queue.name, data.id, Complete(1), lock=lock)
                for data, lock in zip(taken, locks, strict=True)
            )
        )


def _chunks(jobs: int) -> Iterator[range]:
    for start in range(0, jobs, _CHUNK):
        yield range(start, min(start + _CHUNK, jobs))
