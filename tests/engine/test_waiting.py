"""Waiting for a job or a whole queue; and that giving up the wait stops only the waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    Job,
    JobCancelledError,
    JobFailedError,
    JobKeywords,
    JobNotFoundError,
    JobState,
    Keep,
    MemoryStore,
    Queue,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.actions import Retry

Start = Callable[..., Worker]


async def work(job: Job) -> Any:
    """Does what the job's name says, after a second."""
    await job.sleep(1)
    if job.name == "fail":
        raise ValueError("bad address")
    return job.data


# -- wait_until_finished --------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_value_of_a_job(queue: Queue, clock: VirtualClock, start: Start) -> None:
    start(work)
    job = await queue.add("send", {"to": ["ada"]})
    waiting = asyncio.ensure_future(job.wait_until_finished())
    await clock.settle()
    assert not waiting.done()
    await clock.advance(1)

    assert waiting.done()
    assert await waiting == {"to": ["ada"]}
    assert (job.state, job.returnvalue) == (JobState.COMPLETED, {"to": ["ada"]})


@pytest.mark.asyncio
async def test_a_job_that_fails(queue: Queue, clock: VirtualClock, start: Start) -> None:
    start(work)
    job = await queue.add("fail", attempts=2)
    waiting = asyncio.ensure_future(job.wait_until_finished())
    await clock.advance(1)
    assert not waiting.done(), "an attempt is left"
    await clock.advance(1)

    with pytest.raises(JobFailedError, match="'emails-1' failed: ValueError: bad address") as told:
        await waiting
    assert not isinstance(told.value, JobCancelledError)
    assert (told.value.job_id, told.value.reason) == ("emails-1", "ValueError: bad address")


@pytest.mark.asyncio
async def test_a_job_that_is_cancelled(queue: Queue, clock: VirtualClock, start: Start) -> None:
    start(work)
    running = await queue.add("send")
    waits = await queue.add("send")
    both = [asyncio.ensure_future(job.wait_until_finished()) for job in (running, waits)]
    await clock.settle()
    for job in (running, waits):
        await job.cancel()
    await clock.settle()

    for one in both:
        with pytest.raises(JobCancelledError, match="cancelled"):
            await one


@pytest.mark.asyncio
async def test_a_job_that_takes_too_long(queue: Queue, clock: VirtualClock, start: Start) -> None:
    start(work)
    job = await queue.add("send", "value", delay=60)
    waiting = asyncio.ensure_future(job.wait_until_finished(timeout="30s"))
    await clock.advance(29)
    assert not waiting.done()
    await clock.advance(1)
    with pytest.raises(TimeoutError, match="'emails-1' has not finished within 30s"):
        await waiting

    await clock.advance("1 minute")
    assert await job.wait_until_finished(timeout=0) == "value", "only the waiting was given up"


@pytest.mark.asyncio
async def test_a_job_that_is_removed(queue: Queue) -> None:
    job = await queue.add("send")
    waiting = asyncio.ensure_future(job.wait_until_finished())
    await asyncio.sleep(0)
    await queue.drain()

    with pytest.raises(JobNotFoundError, match="no job 'emails-1'"):
        await waiting
    with pytest.raises(JobNotFoundError, match="no job 'emails-1'"):
        await job.wait_until_finished()


@pytest.mark.asyncio
async def test_a_job_that_has_settled_already(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(work, concurrency=2)
    good = await queue.add("send", 5)
    bad = await queue.add("fail")
    await clock.advance(1)

    assert await good.wait_until_finished() == 5
    with pytest.raises(JobFailedError, match="bad address"):
        await bad.wait_until_finished()


@pytest.mark.parametrize("name", ["send", "fail"])
@pytest.mark.asyncio
async def test_a_job_that_is_removed_at_its_end_still_tells_how_it_ended(
    name: str, queue: Queue, clock: VirtualClock, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    start(work)
    job = await queue.add(name, [1, 2], remove_on_complete=True, remove_on_fail=True)
    first, second = [asyncio.ensure_future(job.wait_until_finished()) for _ in range(2)]
    await clock.advance(1)

    assert await queue.get_job(job.id) is None
    if name == "fail":
        for waiting in (first, second):
            with pytest.raises(JobFailedError, match="bad address"):
                await waiting
    else:
        (await first).append(3)
        assert await second == [1, 2], "each has a copy of its own"
    assert caplog.text == "", "the removal that follows is no trouble"


@pytest.mark.parametrize("keep", [True, Keep(count=0), Keep(count=1)], ids=repr)
@pytest.mark.asyncio
async def test_all_results_are_had_if_a_jobs_end_removes_another_job(
    keep: bool | Keep, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    told: list[Any] = []
    jobs = [await queue.add("send", [n], remove_on_complete=keep) for n in range(10)]
    for job in jobs:
        job.observe().subscribe(on_completed=lambda job, result: told.append((job.id, result)))
    waiting = [asyncio.ensure_future(job.wait_until_finished()) for job in jobs]
    await clock.settle()
    start(work, concurrency=10)
    await clock.advance(1)

    assert await asyncio.gather(*waiting) == [[n] for n in range(10)]
    assert sorted(told) == sorted((job.id, [n]) for n, job in enumerate(jobs))
    assert len(await queue.get_jobs()) == (keep == Keep(count=1))


@pytest.mark.asyncio
async def test_many_may_wait_and_leave_no_subscription(
    queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    job = await queue.add("send", 5)
    before = len(store._subscriptions)
    waits = [asyncio.ensure_future(job.wait_until_finished()) for _ in range(10)]
    late = asyncio.ensure_future(job.wait_until_finished(timeout=0.5))
    await clock.settle()
    assert len(store._subscriptions) > before
    waits.pop().cancel()
    async with Worker("emails", work, store=store):
        await clock.advance(1)

    assert await asyncio.gather(*waits) == [5] * 9
    assert isinstance(late.exception(), TimeoutError)
    assert len(store._subscriptions) == before


# -- join -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_join_waits_for_what_waits_and_runs_and_is_due(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    await queue.join()
    start(work, concurrency=2)
    await queue.add_bulk([{"name": "send"}, {"name": "fail", "attempts": 2}, {"name": "send"}])
    await queue.add("later", delay="1 hour")
    joined = asyncio.ensure_future(queue.join())
    await clock.advance(1.5)
    assert not joined.done()
    await clock.advance(1)

    assert joined.done()
    assert await queue.count("delayed") == 1


@pytest.mark.parametrize("way", ["drain", "obliterate", "remove", "cancel"])
@pytest.mark.asyncio
async def test_join_ends_when_the_work_is_taken_away(
    way: str, queue: Queue, clock: VirtualClock
) -> None:
    jobs = await queue.add_bulk([{"name": "send"}] * 3)
    joined = asyncio.ensure_future(queue.join())
    await clock.settle()
    assert not joined.done()
    match way:
        case "drain":
            await queue.drain()
        case "obliterate":
            await queue.obliterate()
        case "remove":
            for job in jobs:
                await job.remove()
        case "cancel":
            for job in jobs:
                await job.cancel()
    await clock.settle()

    assert joined.done()


@pytest.mark.asyncio
async def test_join_does_not_wait_for_a_parent_that_goes_back_to_wait_for_a_child(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(work)
    child = FlowJob("fail", queue.name, job_id="child")
    options: JobKeywords = {"fail_parent_on_child_failure": "ignore"}
    await FlowProducer(store=queue.store).add(
        FlowJob("sum", "sums", opts=options, children=[child])
    )
    await clock.advance(1)
    worker.pause()
    joined = asyncio.ensure_future(Queue("sums", store=queue.store).join())
    await clock.settle()
    assert not joined.done()
    await queue.store.apply(queue.name, "child", Retry())
    await clock.settle()

    assert joined.done()


@pytest.mark.asyncio
async def test_join_asks_now_and_then_however_many_jobs_there_are(
    queue: Queue, clock: VirtualClock, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked = queue.store, 0
    count = store.count_busy_jobs

    async def count_and_tell(queue_name: str, most: int) -> int:
        nonlocal asked
        asked += 1
        return await count(queue_name, most)

    monkeypatch.setattr(store, "count_busy_jobs", count_and_tell)
    start(work, concurrency=50)
    await queue.add_bulk([{"name": "send"}] * 200)
    joined = asyncio.ensure_future(queue.join())
    await clock.advance(4)

    assert joined.done()
    assert asked < 10


@pytest.mark.asyncio
async def test_join_does_not_wait_for_a_retry_that_is_not_due(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(work)
    await queue.add("fail", attempts=2, backoff=60)
    joined = asyncio.ensure_future(queue.join())
    await clock.advance(1)

    assert joined.done()


@pytest.mark.asyncio
async def test_join_for_so_long(queue: Queue, clock: VirtualClock, start: Start) -> None:
    worker = start(work, auto_start=False)
    await queue.add_bulk([{"name": "send"}] * 3)
    joined = asyncio.ensure_future(queue.join(timeout=2))
    await clock.settle()
    worker.start()
    await clock.advance(1.9)
    assert not joined.done(), "each job that ends does not start the time anew"
    await clock.advance(0.1)

    with pytest.raises(TimeoutError, match="still has work after 2"):
        await joined


# -- giving up ------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["wait_until_finished", "join", "run_once", "run_until_idle"])
@pytest.mark.asyncio
async def test_interrupting_a_wait_stops_no_job(
    what: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(work, auto_start=not what.startswith("run_"))
    job = await queue.add("send", 5)
    calls: dict[str, Callable[[], Any]] = {
        "wait_until_finished": job.wait_until_finished,
        "join": queue.join,
        "run_once": worker.run_once,
        "run_until_idle": worker.run_until_idle,
    }
    waiting = asyncio.ensure_future(calls[what]())
    await clock.settle()
    assert (await job.refresh()).state is JobState.ACTIVE
    waiting.cancel()
    await clock.settle()
    assert waiting.cancelled()
    await clock.advance(1)

    await job.refresh()
    assert (job.state, job.returnvalue, job.attempts_made) == (JobState.COMPLETED, 5, 0)
    assert len(job.attempt_logs) == 1
    assert worker.running == []


@pytest.mark.asyncio
async def test_an_interrupted_run_until_idle_takes_no_further_job(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(work, auto_start=False)
    first, second = await queue.add_bulk([{"name": "send", "data": 1}, {"name": "send", "data": 2}])
    waiting = asyncio.ensure_future(worker.run_until_idle())
    await clock.settle()
    waiting.cancel()
    await clock.advance(10)

    assert await first.is_completed()
    assert (await second.refresh()).state is JobState.WAITING
    assert worker.status == "stopped"
    done = asyncio.ensure_future(worker.run_once())
    await clock.advance(1)
    assert done.done(), "the worker can be used again"
    assert await second.is_completed()


@pytest.mark.asyncio
async def test_an_interrupted_close_goes_on(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(work)
    job = await queue.add("send", 5)
    await clock.settle()
    closing = asyncio.ensure_future(worker.close(timeout=None))
    await clock.settle()
    closing.cancel()
    await clock.settle()
    assert closing.cancelled()
    assert worker.status == "closing"
    await clock.advance(1)

    assert worker.status == "closed"
    await worker.close(timeout=None)
    assert (await job.refresh()).returnvalue == 5
