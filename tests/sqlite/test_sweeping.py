"""What programs of Conveyor leave undone in a file, and who looks for stalled jobs puts right."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path

import pytest

from conveyor_nb import Queue, SqliteStore, VirtualClock

pytestmark = pytest.mark.asyncio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def do(path: Path, *statements: str) -> None:
    """Do what another program does without a word."""
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        for statement in statements:
            other.execute(statement)


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
