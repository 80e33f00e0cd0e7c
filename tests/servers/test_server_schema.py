"""The tables of a server: made once, or taken over while programs of Conveyor are at work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from conveyor_nb.core.errors import SchemaError
from conveyor_nb.stores.sql.postgres.store import PgStore
from conveyor_nb.stores.sql.schema import original, own
from conveyor_nb.stores.sql.schema.planning import SchemaFacts
from conveyor_nb.stores.sql.schema.postgres import migrate
from tests.postgres import new_schema

INSERT = "INSERT INTO conveyor_jobs (id, queue_name, name, priority) VALUES ($1, 'q', 'send', $2)"
OWN_INDEXES = {name for step in own.STEPS for name in step.indexes}


class Place:
    """A schema of a server, and connections to it."""

    def __init__(self, dsn: str) -> None:
        self.dsn, self.schema = dsn, new_schema()
        self._open: list[Any] = []

    async def connect(self) -> Any:
        connection = await asyncpg.connect(self.dsn, server_settings={"search_path": self.schema})
        self._open.append(connection)
        return connection

    async def migrate(self, *, may_migrate: bool = True) -> SchemaFacts:
        connection = await self.connect()
        logger = logging.getLogger("conveyor_nb")
        return await migrate(connection, may_migrate=may_migrate, schema=self.schema, logger=logger)

    async def make_original(self) -> Any:
        """The tables as a program of Conveyor makes them; returns its connection."""
        connection = await self.connect()
        await connection.execute(f"CREATE SCHEMA {self.schema}")
        types = {**original.TYPES["postgres"], "number": "INTEGER"}
        for statement in original.TABLES:
            await connection.execute(statement.format(**types))
        names = list(enumerate(original.MIGRATION_NAMES, 1))
        record = "INSERT INTO conveyor_migrations (version, name) VALUES ($1, $2)"
        await connection.executemany(record, names)
        return connection

    async def close(self) -> None:
        for connection in self._open:
            await connection.close()


@pytest_asyncio.fixture
async def place(postgres_dsn: str) -> AsyncIterator[Place]:
    made = Place(postgres_dsn)
    yield made
    await made.close()


@pytest.mark.asyncio
async def test_an_empty_schema_is_made_once_however_many_come(place: Place) -> None:
    made = await asyncio.gather(*(place.migrate() for _ in range(4)))
    assert sorted(one.made_by_us for one in made) == [False, False, False, True]
    assert all(one.fractional_priorities for one in made)
    connection = await place.connect()
    applied = await connection.fetch("SELECT version, name FROM conveyor_migrations ORDER BY 1")
    assert [tuple(row) for row in applied] == list(enumerate(original.MIGRATION_NAMES, 1))
    await connection.execute(INSERT, "a", 0.5)
    assert await place.migrate(may_migrate=False) == (True, False)


@pytest.mark.asyncio
async def test_a_schema_of_conveyor_is_taken_over_under_its_programs(place: Place) -> None:
    theirs = await place.make_original()
    insert = await theirs.prepare(INSERT)
    await insert.fetch("a", 1)
    listed = await theirs.prepare("SELECT * FROM conveyor_jobs")
    assert len(await listed.fetch()) == 1
    assert await place.migrate() == (False, False)
    await insert.fetch("b", 2)  # a statement from before the take-over
    rows = await theirs.fetch("SELECT id, conveyor_nb_fence, seq FROM conveyor_jobs ORDER BY seq")
    assert [tuple(row) for row in rows] == [("a", 0, 1), ("b", 0, 2)]
    indexes = await theirs.fetch(
        "SELECT indexname FROM pg_indexes WHERE schemaname = $1", place.schema
    )
    assert {row[0] for row in indexes} >= OWN_INDEXES
    assert await place.migrate(may_migrate=False) == (False, False)


@pytest.mark.asyncio
async def test_an_index_that_was_left_half_made_is_made_anew(place: Place) -> None:
    theirs = await place.make_original()
    await place.migrate()
    name = min(OWN_INDEXES)
    await theirs.execute(
        "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = $1::regclass", name
    )
    await place.migrate()
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = $1::regclass"
    assert await theirs.fetchval(valid, name)


@pytest.mark.asyncio
async def test_a_server_that_is_too_old_is_left_as_it_is(place: Place) -> None:
    theirs = await place.make_original()
    await theirs.execute("DELETE FROM conveyor_migrations WHERE version > 8")
    with pytest.raises(SchemaError, match="of version 8 of Conveyor's schema"):
        await place.migrate()
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = $1"
    assert await theirs.fetchval(tables, place.schema) == 6


@pytest.mark.asyncio
async def test_a_schema_may_have_any_name(postgres_dsn: str) -> None:
    name = f'{new_schema()} of "Ours"'
    for _ in range(2):  # it is made, and then found
        async with PgStore(postgres_dsn, schema=name) as store:
            await store.pause_job_name("emails", "send")
            assert await store.get_paused_job_names("emails") == {"send"}
