"""Who is cancelled while a call is under way: what it took for them is given back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from conveyor_nb import JobState, Queue, SqliteStore
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.model import Lock

pytestmark = pytest.mark.asyncio


@pytest.fixture(params=["in a file", "in memory"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "queue.db") if request.param == "in a file" else ":memory:"


async def test_the_next_job_of_a_settle_that_was_cancelled_runs_no_attempt(path: str) -> None:
    async with SqliteStore(path) as store, Queue("emails", store=store) as queue:
        first, second = await queue.add("send"), await queue.add("send")
        await store.fetch_jobs("emails", "w", 30)
        settling = asyncio.create_task(
            store.apply_and_fetch("emails", first.id, Complete("sent"), "w", 30, lock=Lock("w", 1))
        )
        await checkpoint()
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        await queue.add("after")  # what was asked before this is done
        assert (await first.refresh()).returnvalue == "sent"
        await second.refresh()
        assert (second.state, second.attempts_made) == (JobState.WAITING, 0)
        assert len(second.attempt_logs) == 1, "it was taken"


async def test_the_jobs_of_a_fetch_that_was_cancelled_wait_again(path: str) -> None:
    async with SqliteStore(path) as store, Queue("emails", store=store) as queue:
        await queue.add_bulk([{"name": "send"}] * 3)
        fetching = asyncio.create_task(store.fetch_jobs("emails", "w", 30, limit=2))
        await checkpoint()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await queue.add("after")
        assert await queue.count("active") == 0
        assert await queue.count("waiting") == 4
