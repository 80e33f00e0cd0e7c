"""A server that is only read: nothing in it is changed, be it ours or Conveyor's."""

from __future__ import annotations

import asyncpg
import pytest

from conveyor_nb import JobState, PgStore, StoreUnavailableError, open_store
from conveyor_nb.core.errors import SchemaError
from conveyor_nb.stores.sql.schema import original
from tests.postgres import new_schema
from tests.read_only import look_and_change_nothing

pytestmark = pytest.mark.asyncio


async def test_a_server_that_is_only_read_is_not_changed(postgres_dsn: str) -> None:
    schema = new_schema()
    view = open_store(postgres_dsn, read_only=True, schema=schema)
    assert isinstance(view, PgStore)
    async with PgStore(postgres_dsn, schema=schema) as store, view:
        await look_and_change_nothing(store, view)


async def test_a_server_of_conveyor_is_read_as_it_is(postgres_dsn: str) -> None:
    schema = new_schema()
    theirs = await asyncpg.connect(postgres_dsn, server_settings={"search_path": schema})
    await theirs.execute(f"CREATE SCHEMA {schema}")
    for statement in original.TABLES:
        await theirs.execute(
            statement.format(**{**original.TYPES["postgres"], "number": "INTEGER"})
        )
    names = list(enumerate(original.MIGRATION_NAMES, 1))
    record = "INSERT INTO conveyor_migrations (version, name) VALUES ($1, $2)"
    await theirs.executemany(record, names)
    await theirs.execute(
        "INSERT INTO conveyor_jobs (id, queue_name, name, data)"
        """ VALUES ('a', 'emails', 'send', '{"to": "ada"}')"""
    )
    tables = "SELECT table_name, column_name FROM information_schema.columns"
    tables += f" WHERE table_schema = '{schema}' ORDER BY 1, 2"
    before = await theirs.fetch(tables)
    async with PgStore(postgres_dsn, schema=schema, read_only=True) as view:
        found = await view.get_job("emails", "a")
        assert found is not None
        assert (found.data, found.name) == ({"to": "ada"}, "send")
        assert await view.list_queues() == ["emails"]
        assert (await view.get_job_counts("emails"))[JobState.WAITING] == 1
        assert await view.get_job_schedulers("emails") == []
        with pytest.raises(StoreUnavailableError, match="was opened read-only"):
            await view.remove_job("emails", "a")
    assert await theirs.fetch(tables) == before
    await theirs.close()


async def test_a_server_without_a_queue_is_not_made_to_be_read(postgres_dsn: str) -> None:
    with pytest.raises(SchemaError, match="no tables of a queue"):
        await PgStore(postgres_dsn, schema=new_schema(), read_only=True).connect()
