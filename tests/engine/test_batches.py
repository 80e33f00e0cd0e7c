"""Handlers that take several jobs at a time: what holds for one job holds for each of a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import Batch, Job, JobOptions, JobState, Queue, StoreEvent, VirtualClock, Worker

Start = Callable[..., Worker]


async def add(queue: Queue, *data: Any, **options: Any) -> list[Job]:
    return await queue.add_bulk(
        {"name": "send", "data": one, "opts": JobOptions(**options)} for one in data
    )


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.asyncio
async def test_each_job_gets_its_own_result(
    plain: bool, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    sizes: list[int] = []

    def double(jobs: list[Any]) -> list[Any]:
        sizes.append(len(jobs))
        return [job.data * 2 for job in jobs]

    async def double_async(jobs: list[Any]) -> list[Any]:
        return double(jobs)

    jobs = await add(queue, 1, 2, 3, 4, 5)
    start(double if plain else double_async, batch=Batch(2))
    await clock.settle()

    assert [(await job.refresh()).returnvalue for job in jobs] == [2, 4, 6, 8, 10]
    assert sizes == [2, 2, 1]


@pytest.mark.asyncio
async def test_an_exception_fails_its_own_job_only(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(jobs: list[Job]) -> list[Any]:
        results: list[Any] = []
        for job in jobs:
            try:
                results.append(1 / job.data)
            except ZeroDivisionError as error:
                results.append(error)
        return results

    jobs = await add(queue, 1, 0, 2, attempts=2)
    start(send, batch=Batch(3))
    await clock.settle()

    for job in jobs:
        await job.refresh()
    assert [job.state for job in jobs] == ["completed", "failed", "completed"]
    assert jobs[1].failed_reason == "ZeroDivisionError: division by zero"
    assert "1 / job.data" in jobs[1].stacktrace[0]
    assert [len(job.attempt_logs) for job in jobs] == [1, 2, 1], "only the failed one is retried"


@pytest.mark.parametrize(
    ("results", "got"),
    [
        ([], "not 0"),
        ([1], "not 1"),
        ((1, 2, 3), "not 3"),
        (None, "not a NoneType"),
        ("ab", "not a str"),
        ({1: 2, 3: 4}, "not a dict"),
    ],
)
@pytest.mark.asyncio
async def test_a_wrong_number_of_results_fails_them_all(
    results: Any, got: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(jobs: list[Job]) -> Any:
        return results

    jobs = await add(queue, 1, 2)
    start(send, batch=Batch(2))
    await clock.settle()

    for job in jobs:
        await job.refresh()
        assert job.state is JobState.FAILED
        assert (job.failed_reason or "").startswith("ValueError: a batch handler returns a list")
        assert (job.failed_reason or "").endswith(got)


@pytest.mark.asyncio
async def test_cancelling_one_leaves_the_others_alone(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(jobs: list[Job]) -> list[Any]:
        await jobs[0].sleep(10)
        return [job.cancel_requested for job in jobs]

    jobs = await add(queue, 1, 2, 3)
    start(send, batch=Batch(3))
    await clock.advance(1)
    await jobs[1].cancel()
    await clock.advance(10)

    for job in jobs:
        await job.refresh()
    assert [job.state for job in jobs] == ["completed", "failed", "completed"]
    assert jobs[1].failed_reason == "cancelled"
    assert jobs[0].returnvalue is False


@pytest.mark.asyncio
async def test_cancelling_all_stops_the_handler_at_once(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    stopped = False

    async def send(jobs: list[Job]) -> None:
        nonlocal stopped
        try:
            await asyncio.Event().wait()
        finally:
            stopped = True

    jobs = await add(queue, 1, 2)
    start(send, batch=Batch(2))
    await clock.settle()
    await jobs[0].cancel()
    await clock.settle()
    assert not stopped
    await jobs[1].cancel()
    await clock.settle()

    assert stopped
    assert [(await job.refresh()).failed_reason for job in jobs] == ["cancelled"] * 2


@pytest.mark.asyncio
async def test_each_job_has_its_own_timeout(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(jobs: list[Job]) -> list[str]:
        await jobs[0].sleep(10)
        return ["sent"] * len(jobs)

    short = await queue.add("send", timeout=5)
    long = await queue.add("send", timeout=60)
    start(send, batch=Batch(2))
    await clock.advance(10)

    assert (await short.refresh()).failed_reason == "timed out after 5s"
    assert (await long.refresh()).returnvalue == "sent"


@pytest.mark.asyncio
async def test_a_batch_whose_jobs_all_time_out_is_stopped(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def hang(jobs: list[Job]) -> None:
        await asyncio.Event().wait()

    jobs = await add(queue, 1, 2, timeout=5)
    worker = start(hang, batch=Batch(2))
    await clock.advance(5)

    assert [(await job.refresh()).failed_reason for job in jobs] == ["timed out after 5s"] * 2
    assert worker.running == []


@pytest.mark.asyncio
async def test_locks_of_a_long_batch_are_renewed(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    async def send(jobs: list[Job]) -> list[None]:
        await jobs[0].sleep("10 minutes")
        return [None] * len(jobs)

    jobs = await add(queue, 1, 2, 3)
    for _ in range(2):
        start(send, batch=Batch(3))
    await clock.advance("10 minutes")

    assert [len((await job.refresh()).attempt_logs) for job in jobs] == [1, 1, 1]
    assert not {event.type for event in events} & {"job:stalled", "queue:error"}


@pytest.mark.asyncio
async def test_a_job_that_the_handler_moved_is_not_looked_after_any_more(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    async def send(jobs: list[Job]) -> list[str]:
        await jobs[0].move_to_failed("no such address")
        await jobs[1].sleep("1 minute")
        return ["ignored", "sent"]

    bad, good = await add(queue, 1, 2, attempts=3)
    start(send, batch=Batch(2))
    await clock.advance("1 minute")

    assert (await bad.refresh()).failed_reason == "no such address"
    assert (await good.refresh()).returnvalue == "sent"
    assert "queue:error" not in {event.type for event in events}


@pytest.mark.asyncio
async def test_each_job_has_its_own_log_and_record(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(jobs: list[Job]) -> list[None]:
        for number, job in enumerate(jobs):
            await job.log(f"job {number}")
            await job.update_progress(number * 10)
        return [None] * len(jobs)

    jobs = await add(queue, 1, 2)
    start(send, batch=Batch(2))
    await clock.settle()

    for number, job in enumerate(jobs):
        await job.refresh()
        assert (job.logs, job.progress) == ((f"job {number}",), number * 10)
        assert job.attempt_logs[0].logs == job.logs


@pytest.mark.asyncio
async def test_closing_puts_the_whole_batch_back(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def hang(jobs: list[Job]) -> None:
        await asyncio.Event().wait()

    jobs = await add(queue, 1, 2)
    worker = start(hang, batch=Batch(2))
    await clock.settle()
    await worker.close(timeout=1)

    for job in jobs:
        await job.refresh()
        assert (job.state, job.attempts_made) == (JobState.WAITING, 0)


@pytest.mark.asyncio
async def test_a_batch_takes_one_slot(queue: Queue, clock: VirtualClock, start: Start) -> None:
    batches: list[int] = []
    go_on = asyncio.Event()

    async def send(jobs: list[Job]) -> list[None]:
        batches.append(len(jobs))
        await go_on.wait()
        return [None] * len(jobs)

    worker = start(send, batch=Batch(3), concurrency=2)
    await add(queue, *range(8))
    await clock.settle()
    assert batches == [3, 3]
    assert "2 of 2 slots" in repr(worker)
    assert len(worker.running) == 6
    go_on.set()
    await clock.settle()
    assert batches == [3, 3, 2]
