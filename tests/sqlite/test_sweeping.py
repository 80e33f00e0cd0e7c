"""What programs of Conveyor leave undone in a file, and who looks for stalled jobs puts right."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path

import pytest

from conveyor_nb import FlowJob, FlowProducer, JobState, Queue, SqliteStore, VirtualClock
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.model import Lock

pytestmark = pytest.mark.asyncio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def do(path: Path, *statements: str) -> None:
    """Do what another program does without a word."""
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        for statement in statements:
            other.execute(statement)


async def complete(store: SqliteStore, queue_name: str) -> None:
    """Complete the next job of a queue."""
    (job,) = (await store.fetch_jobs(queue_name, "w", 30)).jobs
    await store.apply(queue_name, job.id, Complete(None), lock=Lock("w", 1))


async def test_a_schedule_that_can_not_be_read_keeps_no_stalled_job_from_being_found(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    async with SqliteStore(path, clock=clock) as store:
        queue = Queue("emails", store=store)
        await queue.every("1 hour", "spoilt", job_id="spoilt")
        await queue.every("1 hour", "good", job_id="good")
        do(
            path,
            "DELETE FROM conveyor_jobs",
            """UPDATE conveyor_nb_schedulers SET repeat = '{"cron": "0 9 * * *", "tz": "Mars"}'"""
            " WHERE id = 'spoilt'",
        )
        job = await queue.add("send")
        await store.fetch_jobs("emails", "w", 30)
        await clock.advance("31s")
        with caplog.at_level(logging.ERROR, "conveyor_nb"):
            for _ in range(2):
                assert [one.id for one in await store.get_stalled_jobs("emails")] == [job.id]
        assert [one.name for one in await queue.get_jobs("delayed")] == ["good"]
    (told,) = caplog.messages
    assert told.startswith("what was left undone of 'spoilt' in queue 'emails' can't be put right")


async def test_a_child_that_is_gone_counts_as_failed_however_many_were_told_before(
    path: Path,
) -> None:
    async with SqliteStore(path) as store:
        children = [FlowJob("send", "emails") for _ in range(3)]
        flow = FlowJob("sum", "sums", children=children)
        node = await FlowProducer(store=store).add(flow)
        for _ in range(2):
            await complete(store, "emails")
        assert (await node.job.refresh()).state is JobState.WAITING_CHILDREN
        do(path, "DELETE FROM conveyor_jobs WHERE queue_name = 'emails' AND state = 'waiting'")
        await store.get_stalled_jobs("sums")
        assert (await node.job.refresh()).state is JobState.FAILED
