"""The schema of a server: made, or taken over while programs of Conveyor are at work on it."""

from __future__ import annotations

import logging
from typing import Any

from conveyor_nb.stores.sql.schema.planning import (
    JOBS,
    MIGRATIONS,
    OWN_MIGRATIONS,
    Found,
    SchemaFacts,
    plan,
    stand_ins,
)

__all__ = ["LOCK", "make_readable", "migrate"]

LOCK = 2_147_483_647
"""The number of the advisory lock that Conveyor takes for its migrations."""

_LOCK_NOT_AVAILABLE = "55P03"

_PATIENCE = "5s"
"""For how long a step waits for a table that others use, who wait behind it meanwhile."""

# from the catalogue itself: the views of the standard read all of a server that has many schemas
_HERE = "relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
_COLUMNS = f"""
    SELECT its.relname::text, attname::text FROM pg_class AS its
    JOIN pg_attribute ON attrelid = its.oid AND attnum > 0 AND NOT attisdropped
    WHERE {_HERE} AND its.relname LIKE 'conveyor\\_%' AND its.relkind IN ('r', 'p', 'v', 'f')
    """
_INDEXES = f"""
    SELECT its.relname::text FROM pg_class AS jobs
    JOIN pg_index AS found ON found.indrelid = jobs.oid AND found.indisvalid
    JOIN pg_class AS its ON its.oid = found.indexrelid
    WHERE jobs.{_HERE} AND jobs.relname = $1
    """
_HAS_FRACTIONS = f"""
    SELECT atttypid = 'float8'::regtype FROM pg_class AS jobs
    JOIN pg_attribute ON attrelid = jobs.oid AND attname = 'priority'
    WHERE jobs.{_HERE} AND jobs.relname = $1
    """


async def migrate(
    connection: Any, *, may_migrate: bool, schema: str | None, logger: logging.Logger
) -> SchemaFacts:
    """See to it that a server has the tables. One that has them is only read.

    Columns of ours are added in an instant, and indexes without holding anybody up.

    Args:
        connection: one of ``asyncpg``, whose ``search_path`` begins with the schema; it is in no
            transaction.
        may_migrate: whether anything may be changed.
        schema: the name of the schema, to be made if it does not exist; ``None``: that which the
            ``search_path`` leads to.
        logger: told if an index can't be had for now.

    Raises:
        SchemaError: the tables are no queue's, too old, too new, or may not be changed.
        asyncpg.PostgresError: the server refuses.
    """
    made = False
    wanted = plan(await _find(connection), "postgres", may_migrate=may_migrate)
    if wanted.statements:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
            await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            if schema is not None:
                quoted = await connection.fetchval("SELECT quote_ident($1)", schema)
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted}")
            found = await _find(connection)  # somebody else may have come first
            made = not found.version
            for statement in plan(found, "postgres", may_migrate=may_migrate).statements:
                await connection.execute(statement)
    if wanted.indexes:
        await _make_indexes(connection, logger)
    return SchemaFacts(await _has_fractions(connection), made)


async def make_readable(connection: Any) -> None:
    """See to it that tables can be read as if ours were there, and that nothing is ever changed.

    What they lack stands beside them for as long as the connection does.

    Raises:
        SchemaError: they are no queue's, or too old.
        asyncpg.PostgresError: the server refuses.
    """
    source = await connection.fetchval("SELECT quote_ident(current_schema())")
    for statement in stand_ins(await _find(connection), "postgres", source):
        await connection.execute(statement)
    await connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")


async def _make_indexes(connection: Any, logger: logging.Logger) -> None:
    await connection.execute(f"SELECT pg_advisory_lock({LOCK})")
    try:
        # no other connection makes one now, so one that can't be used is left from one that died
        wanted = plan(await _find(connection), "postgres", may_migrate=True)
        await connection.execute(f"SET lock_timeout = '{_PATIENCE}'")
        for statement in wanted.indexes:
            name = statement.split()[2]
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            await connection.execute(
                statement.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
            )
    except Exception as error:
        if getattr(error, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        logger.warning("an index is not made for now, and some looks take longer: %s", error)
    finally:
        await connection.execute("RESET lock_timeout")
        await connection.execute(f"SELECT pg_advisory_unlock({LOCK})")


async def _find(connection: Any) -> Found:
    columns: dict[str, set[str]] = {}
    for table, column in await connection.fetch(_COLUMNS):
        columns.setdefault(table, set()).add(column)
    return Found(
        columns,
        await _last(connection, MIGRATIONS, columns),
        await _last(connection, OWN_MIGRATIONS, columns),
        {name for (name,) in await connection.fetch(_INDEXES, JOBS)},
    )


async def _last(connection: Any, table: str, columns: dict[str, set[str]]) -> int:
    if "version" not in columns.get(table, ()):
        return 0
    return await connection.fetchval(f"SELECT max(version) FROM {table}") or 0


async def _has_fractions(connection: Any) -> bool:
    return bool(await connection.fetchval(_HAS_FRACTIONS, JOBS))
