"""Waits of a handler that could never end are refused where they begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import (
    Batch,
    FlowJob,
    FlowProducer,
    Job,
    JobFailedError,
    MemoryStore,
    Queue,
    VirtualClock,
    Worker,
    current_job,
)
from conveyor_nb.context.deadlocks import _lines

Start = Callable[..., Worker]
Wait = Callable[[Job, Queue], Any]


async def by_another_object(job: Job, queue: Queue) -> Any:
    other = await queue.get_job(job.id)
    assert other is not None
    return await other.wait_until_finished(timeout="1 hour")


async def in_a_task(job: Job, queue: Queue) -> Any:
    return await asyncio.create_task(job.wait_until_finished())


async def by_progress(job: Job, queue: Queue) -> Any:
    from conveyor_nb import progress  # which needs what Pyodide has not

    return [one.id async for one in progress([job], disable=True)]


async def by_gather(job: Job, queue: Queue) -> Any:
    from conveyor_nb import progress  # which needs what Pyodide has not

    return await progress.gather([job], disable=True)


async def in_a_thread(job: Job, queue: Queue) -> Any:
    def wait() -> Any:
        own = current_job()
        assert own is not None
        return own.wait_until_finished()

    return await asyncio.to_thread(wait)


@pytest.mark.parametrize(
    "wait",
    [
        lambda job, queue: job.wait_until_finished(),
        lambda job, queue: job.wait_until_finished(timeout=5),
        by_another_object,
        in_a_task,
        by_progress,
        by_gather,
        in_a_thread,
        lambda job, queue: queue.join(),
        lambda job, queue: Queue(queue.name, store=queue.store).join(timeout="1 minute"),
    ],
)
@pytest.mark.asyncio
async def test_a_handler_that_waits_for_its_own_end_fails_at_once(
    wait: Wait, queue: Queue, start: Start, clock: VirtualClock
) -> None:
    async def handler(job: Job) -> Any:
        return await wait(job, queue)

    start(handler)
    began = clock.now()
    job = await queue.add("wait")
    with pytest.raises(JobFailedError, match="RuntimeError: job 'emails-1' waits"):
        await job.wait_until_finished()
    assert clock.now() == began


@pytest.mark.asyncio
async def test_a_plain_handler_that_waits_for_its_own_end(queue: Queue, start: Start) -> None:
    def handler(job: Any) -> None:
        if job.name == "wait":
            job.wait_until_finished()
        asyncio.run(queue.join())

    start(handler)
    for name in ("wait", "join"):
        job = await queue.add(name)
        with pytest.raises(JobFailedError, match=f"RuntimeError: job '{job.id}' waits"):
            await job.wait_until_finished()


@pytest.mark.asyncio
async def test_a_job_of_a_batch_is_waited_for_by_none_of_its_handler(
    queue: Queue, start: Start
) -> None:
    async def handler(jobs: list[Job]) -> None:
        await jobs[-1].wait_until_finished()

    jobs = await queue.add_bulk({"name": "send"} for _ in range(3))
    start(handler, batch=Batch(3))
    for job in jobs:
        with pytest.raises(JobFailedError, match="RuntimeError: job 'emails-3' waits"):
            await job.wait_until_finished()


@pytest.mark.asyncio
async def test_a_child_cant_wait_for_what_is_above_it(store: MemoryStore) -> None:
    leaf = FlowJob("leaf", "leaves")
    flow = FlowJob("root", "q", children=[FlowJob("branch", "q", children=[leaf])])
    root = (await FlowProducer(store=store).add(flow)).job
    told: list[str] = []

    async def wait(job: Job) -> None:
        branch = await job.get_parent()
        assert branch is not None
        for above in (branch, root):
            with pytest.raises(RuntimeError, match=f"job '{job.id}'.*job '{above.id}'") as error:
                await above.wait_until_finished()
            told.append(str(error.value))

    async def work(job: Job) -> None:
        for child in await job.get_dependencies():
            await child.wait_until_finished()

    async with Worker("leaves", wait, store=store), Worker("q", work, store=store):
        await root.wait_until_finished()
    assert len(told) == 2


# -- what waits behind oneself --------------------------------------------------------------------


async def parts_of(job: Job, queue: Queue) -> Any:
    """Add two parts to the job's own queue, and wait for them."""
    parts = await queue.add_bulk({"name": "part", "data": n} for n in range(2))
    return await asyncio.gather(*(part.wait_until_finished() for part in parts))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.asyncio
async def test_when_every_slot_waits_for_what_needs_one_the_last_to_do_so_is_refused(
    count: int, queue: Queue, start: Start, clock: VirtualClock
) -> None:
    async def handler(job: Job) -> Any:
        return job.data if job.name == "part" else await parts_of(job, queue)

    start(handler, concurrency=count)
    wholes = await queue.add_bulk({"name": "whole"} for _ in range(count))
    await clock.settle()
    for job in wholes:
        await job.refresh()
    *others, last = [job for job in wholes if job.state == "failed"] or wholes
    assert last.failed_reason is not None
    assert "is held by a job that waits like this" in last.failed_reason
    assert last.failed_reason.startswith(f"RuntimeError: job '{last.id}' waits for job")
    assert not others
    assert [job.returnvalue for job in wholes if job is not last] == [[0, 1]] * (count - 1)


@pytest.mark.asyncio
async def test_a_plain_handler_is_refused_alike(queue: Queue, start: Start) -> None:
    def handler(job: Any) -> Any:
        if job.name == "whole":
            part = asyncio.run(queue.add("part"))
            asyncio.run(part.wait_until_finished())

    start(handler)
    job = await queue.add("whole")
    with pytest.raises(JobFailedError, match="waits for job 'emails-2', which can't begin"):
        await job.wait_until_finished()


@pytest.mark.parametrize("way", ["a slot", "another worker", "a timeout", "a job's timeout"])
@pytest.mark.asyncio
async def test_as_long_as_something_can_move_it_is_waited_for(
    way: str, queue: Queue, store: MemoryStore, start: Start, clock: VirtualClock
) -> None:
    async def handler(job: Job) -> Any:
        if job.name == "part":
            return job.data
        part = await queue.add("part", 5)
        return await part.wait_until_finished(timeout=10 if way == "a timeout" else None)

    start(handler, concurrency=2 if way == "a slot" else 1)
    if way == "another worker":
        start(handler, concurrency=1)
    job = await queue.add("whole", timeout=10 if way == "a job's timeout" else None)
    await clock.advance(20)
    await job.refresh()
    if "timeout" in way:
        assert job.failed_reason is not None
        assert "within 10s: it is waiting" in job.failed_reason or "timed out" in job.failed_reason
    else:
        assert job.returnvalue == 5


@pytest.mark.asyncio
async def test_one_whose_wait_is_over_holds_up_nobody(
    queue: Queue, start: Start, clock: VirtualClock
) -> None:
    async def handler(job: Job) -> Any:
        if job.name == "part":
            if job.id == "emails-2":  # it is next in this slot, before anybody else has a turn
                await queue.add("whole")
            return job.data
        return await (await queue.add("part", job.id)).wait_until_finished()

    start(handler, concurrency=2)
    await queue.add("whole")
    await clock.settle()
    jobs = [(job.name, job.returnvalue) for job in await queue.get_jobs("completed")]
    assert ("whole", "emails-1") in jobs
    assert ("whole", "emails-3") in jobs
    assert not _lines.get(queue.store), "nothing is kept of waits that are over"


@pytest.mark.asyncio
async def test_a_job_of_another_queue_may_be_waited_for(queue: Queue, store: MemoryStore) -> None:
    parts = Queue("parts", store=store)

    async def handler(job: Job) -> Any:
        return await (await parts.add("part", 5)).wait_until_finished()

    async def part(job: Job) -> Any:
        return job.data

    async with Worker("emails", handler, store=store), Worker("parts", part, store=store):
        assert await (await queue.add("whole")).wait_until_finished() == 5


@pytest.mark.asyncio
async def test_what_can_end_may_be_waited_for(
    queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    others = Queue("others", store=store)
    followed: list[str] = []

    async def handler(job: Job) -> Any:
        if job.name == "step":
            return job.data
        job.observe().subscribe(on_completed=lambda *told: followed.append(job.id))
        step = await queue.add("step", 5)
        await others.join(timeout=0)
        return await step.wait_until_finished()

    async def when_done(event: Any) -> None:
        if event.job_id == "emails-1":
            job = await queue.get_job("emails-1")
            assert job is not None
            followed.append(await job.wait_until_finished())
            await queue.join()

    queue.on("completed", when_done)
    start(handler, concurrency=2)
    job = await queue.add("all")
    assert await job.wait_until_finished() == 5
    await clock.settle()
    assert followed == [5, "emails-1"] or followed == ["emails-1", 5]


@pytest.mark.parametrize("way", ["close", "run_until_idle", "run_once"])
@pytest.mark.asyncio
async def test_a_handler_cant_wait_for_its_own_worker(
    way: str, queue: Queue, store: MemoryStore
) -> None:
    async def handler(job: Job) -> None:
        await getattr(worker, way)()

    job = await queue.add("send")
    worker = Worker("emails", handler, store=store, auto_start=False)
    await worker.run_once()
    await job.refresh()
    assert job.failed_reason is not None
    assert f"job '{job.id}' waits for worker 'emails'" in job.failed_reason
    assert worker.status == "stopped", "nothing was begun"
    await worker.close()


@pytest.mark.asyncio
async def test_a_handler_may_let_its_worker_close_once_it_is_done(
    queue: Queue, store: MemoryStore
) -> None:
    async def handler(job: Job) -> str:
        worker.retire()
        return "the last one"

    worker = Worker("emails", handler, store=store)
    job = await queue.add("send")
    assert await job.wait_until_finished() == "the last one"
    await worker.close()


# -- what a timeout tells -------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_timeout_tells_the_state_of_now(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def handler(job: Job) -> None:
        await job.sleep("1 hour")

    start(handler)
    job = await queue.add("send")
    late = await queue.add("send", delay="1 minute")
    waits = [asyncio.ensure_future(one.wait_until_finished(timeout=5)) for one in (job, late)]
    joined = asyncio.ensure_future(queue.join(timeout=5))
    await clock.advance(4)
    await late.promote()
    await clock.advance(1)

    for wait, state in zip(waits, ("active", "waiting"), strict=True):
        with pytest.raises(TimeoutError, match=f"not finished within 5s: it is {state}"):
            await wait
    with pytest.raises(TimeoutError, match="1 waiting, 1 active> still has work"):
        await joined
