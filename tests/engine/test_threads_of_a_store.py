"""A store that is used from the loops of several threads: each step is done at once, and whole."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from conveyor_nb import JobState, MemoryStore, Queue, StoreEvent, VirtualClock
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.slicing import SLICE

MANY = 4 * SLICE


class ImpatientClock(VirtualClock):
    """Always says that others should have a turn."""

    def overdue(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def many_switches() -> Iterator[None]:
    """Let threads take turns so often that what is not guarded breaks."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What ``work`` gives, called with 0 to ``count - 1`` at once; this loop stands still."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


@pytest.mark.asyncio
async def test_steps_of_many_threads_are_whole_and_their_events_in_order() -> None:
    def use(number: int) -> list[str]:
        async def steps() -> list[str]:
            queue = Queue("emails", store=store)
            taken: list[str] = []
            for n in range(50):
                await queue.add("send", n, priority=n % 3, job_id=f"{number}-{n}")
                if n % 2 and (job := await store.fetch_next_job("emails", f"w{number}", 30)):
                    taken.append(job.id)
                if n % 10 == 0:
                    await queue.add_bulk([{"name": "bulk", "delay": "1h"}] * 3)
                    await queue.promote_jobs()
            return taken

        return asyncio.run(steps())

    store = MemoryStore(clock=VirtualClock(), ids="sequential")
    told: list[StoreEvent] = []
    store.subscribe("emails", told.append)
    taken = [job_id for ids in in_threads(6, use) for job_id in ids]

    assert len(taken) == len(set(taken)), "no job was taken twice"
    counts = dict.fromkeys(JobState, 0)
    state_of: dict[str, JobState] = {}
    for event in told:
        assert event.job_id is not None
        before, after = state_of.get(event.job_id), JobState(event.type.partition(":")[2])
        if before is not None:
            counts[before] -= 1
        counts[after] += 1
        state_of[event.job_id] = after
    assert counts == await store.get_job_counts("emails")
    assert sum(counts.values()) == 6 * (50 + 5 * 3)


@pytest.mark.asyncio
async def test_a_step_goes_on_while_the_loop_that_takes_it_stands_still() -> None:
    """Such as that of a cell that computes, while a thread wants something of the store."""
    store = MemoryStore(clock=ImpatientClock())
    queue = Queue("emails", store=store)
    adding = asyncio.ensure_future(queue.add_bulk([{"name": "send"}] * MANY))
    while store._slices.under_way is None:
        await checkpoint()
    counted, job = in_threads(2, lambda n: asyncio.run(queue.add("x") if n else queue.count()))
    assert job.id
    assert counted in (MANY, MANY + 1), "all of the step is there, whoever came first"
    assert len(await adding) == MANY


@pytest.mark.asyncio
async def test_those_who_wait_on_several_loops_all_go_on_after_a_long_step() -> None:
    store = MemoryStore(clock=ImpatientClock())
    queue = Queue("emails", store=store)
    at_once = threading.Barrier(4)

    def use(_: int) -> int:
        async def steps() -> int:
            at_once.wait(30)
            await asyncio.gather(*(queue.add_bulk([{"name": "send"}] * MANY) for _ in range(3)))
            return await queue.count()

        return asyncio.run(steps())

    counted = in_threads(4, use)
    assert max(counted) == await queue.count() == 12 * MANY
    assert all(count % MANY == 0 for count in counted), "nobody saw half a step"


@pytest.mark.asyncio
async def test_a_step_is_finished_when_the_loop_that_takes_it_ends() -> None:
    store = MemoryStore(clock=ImpatientClock())
    queue = Queue("emails", store=store)

    def use(_: int) -> None:
        async def begin() -> None:
            step = asyncio.ensure_future(queue.add_bulk([{"name": "send"}] * MANY))
            while store._slices.under_way is None:
                await checkpoint()
            assert not step.done()

        asyncio.run(begin())  # which ends with the step under way

    in_threads(1, use)
    assert await queue.count() == MANY
