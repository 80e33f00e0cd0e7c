"""What programs of Conveyor do to a database and tell of it, with nothing of ours.

Each statement here is what one of its calls sends: they take no lock of ours, know no column of
ours, and tell of little of what they do.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest_asyncio

from conveyor_nb import PgStore
from conveyor_nb.stores.sql.schema import original
from tests.postgres import new_schema

__all__ = ["Conveyor", "store", "theirs"]


class Conveyor:
    """What a program of Conveyor does to its tables.

    Args:
        connection: its connection.
        schema: where its tables are.
    """

    def __init__(self, connection: Any, schema: str) -> None:
        self.connection, self.schema = connection, schema

    async def make_tables(self) -> None:
        await self.connection.execute(f"CREATE SCHEMA {self.schema}")
        types = {**original.TYPES["postgres"], "number": "INTEGER"}
        for statement in original.TABLES:
            await self.connection.execute(statement.format(**types))
        names = list(enumerate(original.MIGRATION_NAMES, 1))
        record = "INSERT INTO conveyor_migrations (version, name) VALUES ($1, $2)"
        await self.connection.executemany(record, names)

    async def add(self, job_id: str, data: Any = None, **columns: Any) -> None:
        row = {
            "id": job_id,
            "queue_name": "emails",
            "name": "send",
            "data": json.dumps(data),
            "opts": "{}",
            **columns,
        }
        marks = ", ".join(f"${place}" for place in range(1, len(row) + 1))
        text = f"INSERT INTO conveyor_jobs ({', '.join(row)}) VALUES ({marks})"
        await self.connection.execute(text, *row.values())
        await self.tell("job:waiting", job_id)

    async def do(self, text: str, *values: Any) -> None:
        """Do something of which they tell nobody."""
        await self.connection.execute(text, *values)

    async def tell(self, kind: str, job_id: str, **more: Any) -> None:
        told = {
            "type": kind,
            "queueName": "emails",
            "jobId": job_id,
            "timestamp": datetime.now(UTC).isoformat(),
            **more,
            "_src": "a program of Conveyor",
        }
        await self.connection.execute("SELECT pg_notify('conveyor:emails', $1)", json.dumps(told))

    async def take(self, worker_id: str = "worker-00c0ffee", seconds: float = 30) -> str | None:
        now = datetime.now(UTC)
        job_id: str | None = await self.connection.fetchval(
            """
            WITH next AS (
                SELECT id FROM conveyor_jobs WHERE queue_name = 'emails' AND state = 'waiting'
                ORDER BY priority, seq LIMIT 1 FOR UPDATE SKIP LOCKED
            )
            UPDATE conveyor_jobs SET state = 'active', processed_at = $1, lock_until = $2,
                locked_by = $3 FROM next
            WHERE queue_name = 'emails' AND conveyor_jobs.id = next.id RETURNING conveyor_jobs.id
            """,
            now,
            now + timedelta(seconds=seconds),
            worker_id,
        )
        return job_id

    async def complete(self, job_id: str, result: Any) -> None:
        await self.connection.execute(
            "UPDATE conveyor_jobs SET state = 'completed', returnvalue = $2, completed_at = now(),"
            " lock_until = NULL, locked_by = NULL WHERE queue_name = 'emails' AND id = $1",
            job_id,
            json.dumps(result),
        )
        await self.tell("job:completed", job_id)

    async def row(self, job_id: str) -> Any:
        text = "SELECT * FROM conveyor_jobs WHERE id = $1"
        return await self.connection.fetchrow(text, job_id)


@pytest_asyncio.fixture
async def theirs(postgres_dsn: str) -> AsyncIterator[Conveyor]:
    schema = new_schema()
    settings = {"search_path": schema}
    connection = await asyncpg.connect(postgres_dsn, server_settings=settings)
    made = Conveyor(connection, schema)
    await made.make_tables()
    yield made
    await connection.close()


@pytest_asyncio.fixture
async def store(postgres_dsn: str, theirs: Conveyor) -> AsyncIterator[PgStore]:
    async with PgStore(postgres_dsn, schema=theirs.schema) as store:
        yield store
