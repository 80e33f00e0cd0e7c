"""What ``store.check()`` finds in a database: each fault is made by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    PgStore,
    Queue,
    SqliteStore,
    VirtualClock,
    Worker,
    open_store,
)
from conveyor_nb.core.finding import Severity
from conveyor_nb.stores.sql.postgres.statements import numbered
from tests.postgres import new_schema

pytestmark = pytest.mark.asyncio


class Database:
    """A store, and a way to spoil what it keeps.

    Args:
        store: the store.
        clock: its clock.
        do: sends a statement by another connection.
        dialect: ``"sqlite"`` or ``"postgres"``.
    """

    def __init__(self, store: Any, clock: VirtualClock, do: Any, dialect: str) -> None:
        self.store, self.clock, self.do, self.dialect = store, clock, do, dialect
        self.queue = Queue("emails", store=store)

    def at(self, seconds: float) -> Any:
        """An instant as the database has it, from now."""
        when = self.clock.now() + timedelta(seconds=seconds)
        return when if self.dialect == "postgres" else int(when.timestamp() * 1000)

    async def found(self) -> dict[str, tuple[str, str | None, str | None, str]]:
        """What is found, by its kind: how serious, where, of which job, and what."""
        rows = self.store.check()
        assert list(rows.columns) == [
            *("what", "severity", "queue_name", "job_id", "detail", "advice")
        ]
        assert all(rows["advice"])
        return {
            one.what: (str(one.severity), one.queue_name, one.job_id, one.detail)
            for one in await self.store.findings()
        }


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    clock = VirtualClock()
    if request.param == "sqlite":
        path = tmp_path / "queue.db"
        async with SqliteStore(path, clock=clock, ids="sequential") as store:

            async def do(text: str, *values: Any) -> None:
                with sqlite3.connect(path) as connection:
                    connection.execute(text, values)
                connection.close()

            yield Database(store, clock, do, "sqlite")
        return
    dsn: str = request.getfixturevalue("postgres_dsn")
    schema = new_schema()
    async with PgStore(dsn, schema=schema, clock=clock, ids="sequential") as server_store:
        connection = await asyncpg.connect(dsn, server_settings={"search_path": schema})

        async def send(text: str, *values: Any) -> None:
            await connection.execute(numbered(text), *values)

        yield Database(server_store, clock, send, "postgres")
        await connection.close()


async def test_what_is_as_it_should_be_is_not_odd(database: Database) -> None:
    queue = database.queue
    async with Worker("emails", lambda job: "text", store=database.store) as worker:
        await queue.add_bulk({"name": "send", "data": "text"} for _ in range(3))
        await queue.every("1 hour", "report")
        tree = FlowJob(
            "sum", "emails", children=[FlowJob("part", "emails"), FlowJob("x", "emails")]
        )
        await FlowProducer(store=database.store).add(tree)
        await queue.add("later", delay="1 hour")
        await worker.run_until_idle()
        assert await database.found() == {}
        assert database.store.check().empty


@pytest.mark.parametrize(
    ("spoil", "what", "severity", "detail"),
    [
        ("state = 'paused'", "unknown state", "error", "its state is 'paused'"),
        (
            "state = 'active', locked_by = 'w-1', lock_until = {past}",
            "lock over",
            "warning",
            "'w-1' holds it, by a lock that was over 2m ago",
        ),
        (
            "state = 'active', locked_by = 'w-1'",
            "lock over",
            "warning",
            "'w-1' holds it, without a lock",
        ),
        (
            "state = 'delayed', cancelled_at = {past}",
            "cancelled and waiting",
            "warning",
            "it waits for its turn, and its row says that it was cancelled",
        ),
        (
            "state = 'delayed', parent_id = 'p', parent_queue_name = 'sums'",
            "child without parent",
            "warning",
            "its parent 'p' in queue 'sums' is gone",
        ),
        (
            "state = 'waiting-children', pending_children_count = 2",
            "parent waits for nothing",
            "error",
            "it waits for 2 children, and none is unsettled",
        ),
    ],
)
async def test_rows_that_are_stuck(
    database: Database, spoil: str, what: str, severity: str, detail: str
) -> None:
    job = await database.queue.add("send", delay="1 hour")
    values = [database.at(-120)] if "{past}" in spoil else []
    await database.do(f"UPDATE conveyor_jobs SET {spoil.format(past='?')}", *values)
    assert await database.found() == {what: (severity, "emails", job.id, detail)}


async def test_what_can_not_be_read(database: Database) -> None:
    job = await database.queue.add("send", delay="1 hour")
    await database.do("UPDATE conveyor_jobs SET opts = '7'")
    found = await database.found()
    assert found == {"unreadable": ("error", "emails", job.id, "its options can't be read")}
    if database.dialect == "sqlite":
        await database.do("UPDATE conveyor_jobs SET opts = '{}', data = '{'")
        found = await database.found()
        assert found == {"unreadable": ("error", "emails", job.id, "its payload can't be read")}


async def test_texts_that_make_programs_of_conveyor_fail(database: Database) -> None:
    texts = ("plain", '"quoted"', "1", "", "null")
    jobs = [await database.queue.add("send", text, delay="1 hour") for text in texts]
    assert await database.found() == {}  # we have written them so that they can read them
    if database.dialect == "sqlite":
        return
    await database.do("UPDATE conveyor_jobs SET data = ? WHERE id = ?", '"plain"', jobs[0].id)
    await database.do("UPDATE conveyor_jobs SET returnvalue = ? WHERE id = ?", '"7"', jobs[1].id)
    found = await database.found()
    detail = "its payload is the plain text 'plain', at which every program of Conveyor fails"
    assert found == {"poisoned": ("error", "emails", jobs[0].id, detail)}
    (one,) = await database.store.findings()
    remedy, _, _ = one.advice.partition(" for this row")
    await database.do(f"{remedy} WHERE id = ?", jobs[0].id)
    assert await database.found() == {}
    assert (await jobs[0].refresh()).data == "plain"


async def test_schedules_without_a_run(database: Database) -> None:
    await database.queue.every("1 hour", "report", job_id="hourly")
    await database.do("DELETE FROM conveyor_jobs")
    found = await database.found()
    detail = "schedule 'hourly' has no run to come: its last one, 'emails-1', is gone"
    assert found == {"schedule without run": ("error", "emails", None, detail)}
    await database.store.get_stalled_jobs("emails")
    assert "schedule without run" not in await database.found()


async def test_rows_of_ours_that_others_have_left_behind(database: Database) -> None:
    tree = FlowJob("sum", "sums", children=[FlowJob("part", "emails"), FlowJob("part", "emails")])
    await FlowProducer(store=database.store).add(tree)
    await database.do("DELETE FROM conveyor_jobs")
    detail = "the job is gone, and what it knew of 2 children is still kept"
    assert await database.found() == {"rows of nobody": ("info", "sums", "sums-1", detail)}


async def test_two_unfinished_jobs_of_one_key(database: Database) -> None:
    for name in ("a", "b"):
        await database.queue.add("send", job_id=name, delay="1 hour")
    await database.do("UPDATE conveyor_jobs SET deduplication_key = 'k'")
    detail = "2 unfinished jobs have the deduplication key 'k'"
    assert await database.found() == {"two of one key": ("warning", "emails", None, detail)}


async def test_clocks_that_are_ahead(database: Database) -> None:
    await database.queue.add("send", delay="1 hour")
    await database.do("UPDATE conveyor_jobs SET created_at = ?", database.at(90))
    detail = "1 job is said to be added up to 1.5m from now"
    assert await database.found() == {"clock ahead": ("warning", "emails", None, detail)}


async def test_queues_that_nobody_serves_and_workers_that_fell_silent(database: Database) -> None:
    async with Worker("emails", lambda job: None, store=database.store, name="w") as worker:
        await worker.run_until_idle()
        await database.do("UPDATE conveyor_nb_workers SET last_seen = ?", database.at(-600))
        detail = f"worker {worker.id!r} was seen last 10m ago"
        expected = {"worker not heard of": ("warning", "emails", None, detail)}
        assert await database.found() == expected
    await database.queue.add("send")
    detail = "1 job is waiting, the first for 0s, and no worker is there"
    assert (await database.found())["nobody serves it"] == ("warning", "emails", None, detail)
    await database.queue.pause()
    assert "nobody serves it" not in await database.found()


async def test_queues_that_programs_of_conveyor_serve(database: Database) -> None:
    for name in ("a", "b"):
        await database.queue.add("send", job_id=name, delay="1 hour")
    await database.do("UPDATE conveyor_jobs SET conveyor_nb_moved = NULL")
    held = "state = 'active', locked_by = 'worker-00c0ffee', lock_until = ?"
    await database.do(f"UPDATE conveyor_jobs SET {held} WHERE id = 'a'", database.at(20))
    detail = "programs of Conveyor have added 2 of its jobs and are at work on 1"
    assert await database.found() == {"served by Conveyor": ("info", "emails", None, detail)}


async def test_names_too_long_for_programs_of_conveyor(database: Database) -> None:
    await Queue("q" * 55, store=database.store).add("send", delay="1 hour")
    expected = ["long name"] if database.dialect == "postgres" else []
    assert list(await database.found()) == expected


async def test_the_most_serious_comes_first_and_many_are_cut_short(database: Database) -> None:
    await database.queue.add_bulk({"name": "send", "delay": 60} for _ in range(150))
    await database.queue.add("send", job_id="stuck")
    await database.do("UPDATE conveyor_jobs SET cancelled_at = ?", database.at(0))
    await database.do("UPDATE conveyor_jobs SET state = 'odd' WHERE id = 'stuck'")
    found = await database.store.findings()
    assert [one.severity for one in found] == [Severity.ERROR, *[Severity.WARNING] * 101]
    assert found[-1].detail == "there are more than these 100"


async def test_a_check_of_what_is_opened_read_only_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with SqliteStore(path) as store:
        await Queue("emails", store=store).add("send")
    before = path.read_bytes()
    async with open_store(f"sqlite:///{path}", read_only=True) as store:
        assert list(store.check()["what"]) == ["nobody serves it"]
    assert path.read_bytes() == before
