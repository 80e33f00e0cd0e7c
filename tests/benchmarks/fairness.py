"""How long another task of the loop waits, at the longest, while a queue is at work.

The other task is what a kernel needs of the loop: every millisecond it asks for a turn, and
notes how late it gets it, and how much of that this thread was at work. The collector's longest
pause is noted beside it, and how often it was at work at all.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from conveyor_nb import Job, JobState, MemoryStore, Queue, Worker
from tests.benchmarks.engine import no_op
from tests.benchmarks.held import complete
from tests.benchmarks.measuring import PAYLOAD, Figure, Plan
from tests.benchmarks.peers import CONCURRENCY

__all__ = ["WORK", "Watch", "measure_fairness", "watched"]

WAIT_TARGET = 50.0
"""Milliseconds."""
_GROUP = "the longest wait of another task, during"
_PAUSES = "the longest pause of the collector, during"
_MOST = 100_000
_TURN = 0.001
_MILLI = 1e3
_NAME = "benchmark"


Step = Callable[[Queue, Any], Awaitable[Any]]


class Watch:
    """A task that asks for a turn again and again, for the time of an ``async with``."""

    def __init__(self) -> None:
        self.longest_wait = 0.0
        self.longest_turn = 0.0
        """In time of the processor, which other programs do not lengthen."""
        self.longest_pause = 0.0
        self.collections: Counter[int] = Counter()
        """How often the collector was at work, by generation."""
        self._pause_began = 0.0

    async def __aenter__(self) -> Watch:
        gc.collect()
        gc.callbacks.append(self._note_collection)
        self._due, self._began = time.perf_counter(), time.thread_time()
        self._task = asyncio.get_running_loop().create_task(self._watch())
        await asyncio.sleep(2 * _TURN)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._note()  # what is left of the wait that goes on now
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        gc.callbacks.remove(self._note_collection)

    async def _watch(self) -> None:
        while True:
            self._due, self._began = time.perf_counter() + _TURN, time.thread_time()
            await asyncio.sleep(_TURN)
            self._note()

    def _note(self) -> None:
        self.longest_wait = max(self.longest_wait, time.perf_counter() - self._due)
        self.longest_turn = max(self.longest_turn, time.thread_time() - self._began)

    def _note_collection(self, phase: str, about: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._pause_began = now
            self.collections[about["generation"]] += 1
        else:
            self.longest_pause = max(self.longest_pause, now - self._pause_began)


def measure_fairness(plan: Plan) -> Iterator[Figure]:
    """The longest wait in each kind of work, over the largest size that is not above 100,000."""
    jobs = plan.up_to(_MOST)
    pauses = []
    for name in WORK:
        watched(name, 10)  # what is loaded on first use is loaded now
        waits, turns, collections = [], [], []
        for _ in plan.rounds(f"fairness of {name}"):
            watch = watched(name, jobs)
            waits.append(watch.longest_wait * _MILLI)
            turns.append(watch.longest_turn * _MILLI)
            collections.append(watch.longest_pause * _MILLI)
        cpu = statistics.median(turns)
        yield Figure(_GROUP, name, jobs, "ms", tuple(waits), cpu, at_most=WAIT_TARGET)
        pauses.append(Figure(_PAUSES, name, jobs, "ms", tuple(collections)))
    yield from pauses


def watched(name: str, jobs: int) -> Watch:
    """What was noted while so many jobs were worked on in one of the kinds of ``WORK``."""
    return asyncio.run(_watched(*WORK[name], jobs))


async def _watched(prepare: Step, work: Step, jobs: int) -> Watch:
    async with MemoryStore() as store:
        queue = Queue(_NAME, store=store)
        prepared = await prepare(queue, jobs)
        async with Watch() as watch:
            await work(queue, prepared)
        return watch


async def _nothing(_: Queue, jobs: int) -> int:
    return jobs


async def _waiting(queue: Queue, jobs: int) -> list[Job]:
    return await queue.add_bulk([{"name": "send", "data": PAYLOAD}] * jobs)


async def _delayed(queue: Queue, jobs: int) -> None:
    await queue.add_bulk([{"name": "send", "data": PAYLOAD, "delay": 3_600}] * jobs)


async def _completed(queue: Queue, jobs: int) -> None:
    await _waiting(queue, jobs)
    await complete(queue, jobs)


async def _flow(queue: Queue, added: list[Job]) -> None:
    async with Worker(_NAME, no_op, store=queue.store, concurrency=CONCURRENCY):
        for job in added:
            await job.wait_until_finished()


async def _add_one_by_one(queue: Queue, jobs: int) -> None:
    for _ in range(jobs):
        await queue.add("send", PAYLOAD)


async def _to_frame(queue: Queue, _: object) -> None:
    queue.to_frame()


WORK: dict[str, tuple[Step, Step]] = {
    "the flow of the jobs, each awaited": (_waiting, _flow),
    "add, one after the other": (_nothing, _add_one_by_one),
    "add_bulk": (_nothing, _waiting),
    "clean": (_completed, lambda queue, _: queue.clean(JobState.COMPLETED)),
    "drain": (_waiting, lambda queue, _: queue.drain()),
    "obliterate": (_waiting, lambda queue, _: queue.obliterate()),
    "retry_jobs": (_completed, lambda queue, _: queue.retry_jobs(JobState.COMPLETED)),
    "promote_jobs": (_delayed, lambda queue, _: queue.promote_jobs()),
    "get_jobs, all": (_completed, lambda queue, _: queue.get_jobs(end=None)),
    "to_frame": (_completed, _to_frame),
}
"""For each kind of work: what is there before, and what is watched."""
