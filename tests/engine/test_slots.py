"""The task of a slot serves one job after the other, and none of them notices the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from conveyor_nb import Job, JobState, Queue, VirtualClock, Worker

Start = Callable[..., Worker]

pytestmark = pytest.mark.asyncio

language: ContextVar[str] = ContextVar("language", default="unset")


class Unequal:
    """A value that can't be compared, as an array can't."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("it is ambiguous")

    __hash__ = None  # type: ignore[assignment]


async def test_jobs_that_leave_it_as_it_was_share_a_task(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    tasks: set[asyncio.Task[Any] | None] = set()

    async def send(job: Job) -> None:
        tasks.add(asyncio.current_task())

    jobs = [await queue.add("send") for _ in range(5)]
    start(send)
    await clock.settle()
    assert {(await job.refresh()).state for job in jobs} == {JobState.COMPLETED}
    assert len(tasks) == 1


@pytest.mark.parametrize("value", ["french", Unequal()], ids=["text", "not comparable"])
async def test_what_a_handler_sets_in_its_context_is_gone_for_the_next(
    value: Any, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    found: list[Any] = []

    async def send(job: Job) -> None:
        found.append(language.get())
        language.set(value)

    for _ in range(3):
        await queue.add("send")
    start(send)
    await clock.settle()
    assert found == ["unset"] * 3


async def test_a_handler_sees_the_context_that_the_worker_was_started_in(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    found: list[str] = []

    async def send(job: Job) -> None:
        found.append(language.get())
        if job.name == "first":
            language.set("of the first job")
            await queue.add("second")

    language.set("of the worker")
    start(send)
    await clock.settle()
    language.set("of whoever adds")
    await queue.add("first")
    await clock.settle()
    assert found == ["of the worker"] * 2


@pytest.mark.parametrize("waits", [False, True], ids=["returns", "waits"])
async def test_a_handler_that_cancels_itself_harms_no_other(
    waits: bool, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> str:
        task = asyncio.current_task()
        assert task is not None
        if job.name == "bad":
            task.cancel()
            task.cancel()
        if waits:
            await job.sleep(1)
        assert not task.cancelling() or job.name == "bad"
        return "sent"

    jobs = [await queue.add(name) for name in ("bad", "good", "bad", "good")]
    start(send)
    await clock.advance(10)
    ends = [(job.state, job.failed_reason) for job in [await job.refresh() for job in jobs]]
    failed = (JobState.FAILED, "the handler cancelled itself, or what it awaited was cancelled")
    assert ends == [failed, (JobState.COMPLETED, None)] * 2


async def test_a_job_that_is_cancelled_at_its_very_end_is_no_trouble_for_the_next(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> str:
        if job.name == "bad":
            await job.cancel()  # its own task is cancelled, and it waits for nothing any more
        return "sent"

    jobs = [await queue.add(name) for name in ("bad", "good")]
    start(send)
    await clock.settle()
    ends = [(await job.refresh()).state for job in jobs]
    assert ends == [JobState.FAILED, JobState.COMPLETED]


async def test_tasks_are_there_only_while_there_is_something_to_do(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def nap(job: Job) -> None:
        await job.sleep(1)

    start(nap, concurrency=5)
    await clock.settle()
    idle = asyncio.all_tasks()
    for _ in range(3):
        await queue.add("send")
    await clock.settle()
    assert len(asyncio.all_tasks() - idle) == 3
    await clock.advance(5)
    assert asyncio.all_tasks() == idle


async def test_programs_that_end_without_closing_end(queue: Queue, clock: VirtualClock) -> None:
    """Cancelling every task, as ``asyncio.run`` does at the end, starts no new one."""
    begun: list[str] = []

    async def send(job: Job) -> None:
        begun.append(job.id)
        await job.sleep("1 day")

    before = asyncio.all_tasks()
    for _ in range(4):
        await queue.add("send")
    worker = Worker("emails", send, store=queue.store, concurrency=2)
    await clock.settle()
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await clock.settle()
    assert asyncio.all_tasks() == before
    assert len(begun) == 2
    await worker.close()


async def test_a_worker_that_is_resumed_while_it_runs_a_single_job_goes_on_after_it(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> None:
        await job.sleep("1 minute")

    worker = start(send)
    worker.pause()
    await queue.add_bulk([{"name": "send"}] * 2)
    once = asyncio.create_task(worker.run_once())
    await clock.settle()
    worker.resume()
    await clock.advance("1 minute")
    await once
    await clock.settle()
    assert len(worker.running) == 1
