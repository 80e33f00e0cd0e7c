"""One schema, one store of ours, one program of Conveyor."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import PgStore, Queue
from conveyor_nb.clocks.clock import REAL_TIME
from tests.postgres import new_schema
from tests.with_original.program import Program, checkout, node, running

asyncpg = pytest.importorskip("asyncpg")


@dataclass
class Shared:
    """A database that both work on."""

    dsn: str
    schema: str
    ours: PgStore
    theirs: Program
    connection: Any

    def queue(self, name: str = "emails") -> Queue:
        return Queue(name, store=self.ours)

    async def row(self, job_id: str) -> Any:
        return await self.connection.fetchrow("SELECT * FROM conveyor_jobs WHERE id = $1", job_id)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until something is so that nobody tells of."""
    while not await condition():
        await REAL_TIME.sleep(0.02)


@pytest.fixture
def original() -> None:
    """Skips the test where Conveyor, or what it runs on, is not at hand."""
    checkout()
    node()


@pytest_asyncio.fixture(params=["theirs", "ours"])
async def shared(
    request: pytest.FixtureRequest, original: None, postgres_dsn: str
) -> AsyncIterator[Shared]:
    schema = new_schema()
    async with contextlib.AsyncExitStack() as open_until_the_end:
        settings = {"search_path": schema}
        connection = await asyncpg.connect(postgres_dsn, server_settings=settings)
        open_until_the_end.push_async_callback(connection.close)
        await connection.execute(f"CREATE SCHEMA {schema}")
        ours = PgStore(postgres_dsn, schema=schema, metrics=True)
        if request.param.startswith("ours"):
            await open_until_the_end.enter_async_context(ours)
        theirs = await open_until_the_end.enter_async_context(running(postgres_dsn, schema))
        if request.param.startswith("theirs"):
            await open_until_the_end.enter_async_context(ours)
        yield Shared(postgres_dsn, schema, ours, theirs, connection)
