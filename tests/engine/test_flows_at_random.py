"""Workers at flows while everything is done to these, in any order: seeded, in virtual time."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, suppress

import pytest

from conveyor_nb import (
    Deduplication,
    FlowJob,
    FlowProducer,
    Group,
    InvalidJobStateError,
    Job,
    JobKeywords,
    JobNotFoundError,
    MemoryStore,
    Queue,
    RetryRefusedError,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import JobData
from conveyor_nb.testing.events import StrictEventView

QUEUES = ("a", "b", "c")
STEPS = 120
REFUSALS = (RetryRefusedError, InvalidJobStateError, JobNotFoundError)


class Chance:
    """Picks what is done next, and what comes of it."""

    def __init__(self, store: MemoryStore, seed: int) -> None:
        self.random = random.Random(seed)
        self.flows = FlowProducer(store=store)
        self.queues = [Queue(name, store=store) for name in QUEUES]
        self.too_early: list[str] = []
        """Parents that ran while a child of theirs was unsettled."""

    async def handle(self, job: Job) -> int:
        children = await job.get_dependencies()
        if any(child.state not in SETTLED for child in children):
            self.too_early.append(job.id)
        await job.sleep(self.random.choice([0, 0.1, 1]))
        if self.random.random() < 0.3:
            raise ValueError("x" * self.random.randint(1, 3_000))
        return 1

    def tree(self, depth: int) -> FlowJob:
        options: JobKeywords = {
            "fail_parent_on_child_failure": self.random.choice(["fail", "ignore", "remove"]),
            "attempts": self.random.randint(1, 2),
            "remove_on_fail": self.random.random() < 0.2,
        }
        width = self.random.randint(1, 3) if depth and self.random.random() < 0.8 else 0
        children = [self.tree(depth - 1) for _ in range(width)]
        return FlowJob("node", self.random.choice(QUEUES), None, options, children)

    async def step(self) -> None:
        queue, luck = self.random.choice(self.queues), self.random.random()
        if luck < 0.35:
            await self.flows.add(self.tree(3))
        elif luck < 0.5:
            await queue.retry_jobs(self.random.choice(["failed", "completed"]))
        elif luck < 0.65:
            for job in await self._one_of(queue, "failed"):
                await job.retry(children=self.random.random() < 0.5)
        elif luck < 0.7:
            await queue.drain()
        elif luck < 0.75:
            await queue.clean(self.random.choice(["failed", "waiting-children", "completed"]))
        elif luck < 0.85:
            for job in await self._one_of(queue, None):
                await (job.cancel() if self.random.random() < 0.7 else job.remove())
        elif luck < 0.9:
            rule = Deduplication(hash=True, ttl="2s")
            group = Group(str(self.random.randint(1, 50)))
            await queue.add("own", self.random.randint(1, 3), deduplication=rule, group=group)
        else:
            await (queue.pause() if self.random.random() < 0.5 else queue.resume())

    async def _one_of(self, queue: Queue, state: str | None) -> list[Job]:
        found = await queue.get_jobs(state, 0, None)
        return [self.random.choice(found)] if found else []


async def all_jobs(store: MemoryStore) -> list[JobData]:
    return (await store.search_jobs(end=None)).jobs


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.asyncio
async def test_whatever_is_done_to_flows_each_parent_waits_for_its_children(seed: int) -> None:
    clock, faults, view = VirtualClock(), list[BaseException](), StrictEventView()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            MemoryStore(clock=clock, ids="sequential", on_event_handler_error=faults.append)
        )
        store.subscribe(None, view)
        chance = Chance(store, seed)
        for name in QUEUES:
            worker = Worker(name, chance.handle, store=store, concurrency=3)
            await stack.enter_async_context(worker)
        for _ in range(STEPS):
            with suppress(*REFUSALS):
                await chance.step()
            await clock.advance(chance.random.choice([0, 0.5, 3]))
            jobs = await all_jobs(store)
            assert view.states == {(job.queue_name, job.id): job.state for job in jobs}
            for job in jobs:
                if job.state in ("waiting", "delayed", "waiting-children"):
                    assert bool(job.pending_children_count) is (job.state == "waiting-children")
        for queue in chance.queues:
            await queue.resume()
        await clock.advance(600)
        left = {job.state for job in await all_jobs(store)}
        assert left <= {"completed", "failed", "waiting-children"}
    assert (faults, chance.too_early) == ([], [])
