"""In which slot of its worker a job runs, as the record of its attempt tells."""

from __future__ import annotations

import pytest

from conveyor_nb import Batch, Job, Queue, VirtualClock, Worker
from conveyor_nb.running.slots import Slots
from conveyor_nb.testing.events import all_told

pytestmark = pytest.mark.asyncio


async def slots_of(queue: Queue) -> list[list[int | None]]:
    """The slots of each job's attempts, in the order in which the jobs were added."""
    jobs = await queue.store.list_jobs(queue.name)
    return [[record.slot for record in job.attempt_logs] for job in jobs]


async def test_each_job_is_in_the_first_slot_that_is_free(
    queue: Queue, clock: VirtualClock
) -> None:
    async def work(job: Job) -> None:
        await job.sleep(job.data)
        if job.data == 2 and job.attempts_made == 0:
            raise ValueError("once more")

    async with Worker(queue.name, work, store=queue.store, concurrency=3):
        for seconds in (5, 2, 3, 1, 1):
            await queue.add("send", seconds, attempts=2)
        await clock.advance("20s")
        await all_told(queue.store)
        # the second job is tried again at once, in the slot that it leaves; at 3 s the third slot
        # is free, at 4 s the second one
        assert await slots_of(queue) == [[1], [2, 2], [3], [3], [2]]


async def test_jobs_of_a_batch_share_a_slot(queue: Queue, clock: VirtualClock) -> None:
    async def work(jobs: list[Job]) -> list[None]:
        await jobs[0].sleep(1)
        return [None] * len(jobs)

    await queue.add_bulk([{"name": "send"} for _ in range(5)])
    async with Worker(queue.name, work, store=queue.store, concurrency=2, batch=Batch(2)):
        await clock.advance("5s")
        await all_told(queue.store)
        assert await slots_of(queue) == [[1], [1], [2], [2], [1]]


async def test_one_step_is_in_the_first_slot(queue: Queue) -> None:
    await queue.add("send")
    async with Worker(
        queue.name, lambda job: None, store=queue.store, auto_start=False, concurrency=4
    ) as worker:
        await worker.run_once()
        assert await slots_of(queue) == [[1]]


async def test_a_number_is_used_again_and_none_twice() -> None:
    slots = Slots(2)
    tasks = [object() for _ in range(4)]
    for one in tasks[:3]:
        slots.take(one)  # type: ignore[arg-type]  # anything will do
    slots.leave(tasks[1])  # type: ignore[arg-type]
    slots.leave(tasks[0])  # type: ignore[arg-type]
    slots.take(tasks[3])  # type: ignore[arg-type]
    assert list(slots.numbers.values()) == [3, 1]
