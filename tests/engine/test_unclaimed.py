"""Who is cancelled while a call is under way: what it took for them is given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from conveyor_nb import Job, JobState, Queue, StoreEvent, StoreInterface
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.model import Lock
from tests.stores import STORES

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "sqlite-memory", "postgres"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Queue]:
    """One in a store whose answers take time."""
    async with STORES[request.param]() as store, Queue("emails", store=store) as queue:
        yield queue


async def jobs_in(queue: Queue, count: int) -> list[Job]:
    return [await queue.add("send", number) for number in range(count)]


async def cancelled(running: asyncio.Task[object]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def given_back(store: StoreInterface, jobs: list[Job]) -> asyncio.Event:
    """Set when jobs that were taken wait again."""
    missing, all_are = {job.id for job in jobs}, asyncio.Event()

    def note(event: StoreEvent) -> None:
        missing.discard(event.job_id or "")
        if not missing:
            all_are.set()

    store.subscribe("emails", note, kinds=["job:waiting"])
    return all_are


async def test_the_next_job_of_a_settle_that_was_cancelled_runs_no_attempt(
    queue: Queue,
) -> None:
    store = queue.store
    first, second = await jobs_in(queue, 2)
    await store.fetch_jobs("emails", "w", 30)
    back = given_back(store, [second])
    settling = asyncio.create_task(
        store.apply_and_fetch("emails", first.id, Complete("sent"), "w", 30, lock=Lock("w", 1))
    )
    await checkpoint()
    await cancelled(settling)
    await back.wait()
    assert (await first.refresh()).returnvalue == "sent"
    await second.refresh()
    assert (second.state, second.attempts_made) == (JobState.WAITING, 0)
    assert len(second.attempt_logs) == 1, "it was taken"


async def test_the_jobs_of_a_fetch_that_was_cancelled_wait_again(queue: Queue) -> None:
    jobs = await jobs_in(queue, 3)
    await queue.store.fetch_jobs("emails", "w", 30)  # so that the next one is no mere look
    back = given_back(queue.store, jobs[1:])
    fetching = asyncio.create_task(queue.store.fetch_jobs("emails", "w", 30, limit=2))
    await checkpoint()
    await cancelled(fetching)
    await back.wait()
    assert await queue.count("active") == 1
    assert await queue.count("waiting") == 2
