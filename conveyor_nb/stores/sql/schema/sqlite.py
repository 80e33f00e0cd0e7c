"""The schema of a file: made, or taken over from a program of Conveyor, in one transaction."""

from __future__ import annotations

import sqlite3

from conveyor_nb.stores.sql.schema.planning import (
    JOBS,
    MIGRATIONS,
    OWN_MIGRATIONS,
    Found,
    SchemaFacts,
    plan,
    stand_ins,
)

__all__ = ["make_readable", "migrate"]


def migrate(connection: sqlite3.Connection, *, may_migrate: bool) -> SchemaFacts:
    """See to it that a file has the tables. One that has them is only read.

    Args:
        connection: to the file; it is in no transaction, and begins none by itself.
        may_migrate: whether the file may be changed.

    Raises:
        SchemaError: the file is no queue's, too old, too new, or may not be changed.
        sqlite3.Error: the file can't be read or written.
    """
    made = False
    if plan(_find(connection), "sqlite", may_migrate=may_migrate):
        connection.execute("BEGIN IMMEDIATE")
        try:
            found = _find(connection)  # somebody else may have come first
            made = not found.version
            for statement in plan(found, "sqlite", may_migrate=may_migrate).statements:
                connection.execute(statement)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return SchemaFacts(fractional_priorities=True, made_by_us=made)


def make_readable(connection: sqlite3.Connection) -> None:
    """See to it that a file can be read as if it had our tables and columns, and leave it alone.

    What it lacks stands beside it for as long as the connection does.

    Args:
        connection: to the file, which is opened read-only.

    Raises:
        SchemaError: the file is no queue's, or too old.
        sqlite3.Error: the file can't be read.
    """
    for statement in stand_ins(_find(connection), "sqlite", "main"):
        connection.execute(statement)


def _find(connection: sqlite3.Connection) -> Found:
    columns: dict[str, set[str]] = {}
    for table, column in connection.execute(
        """
        SELECT made.name, its.name FROM sqlite_schema AS made, pragma_table_info(made.name) AS its
        WHERE made.type = 'table' AND made.name LIKE 'conveyor\\_%' ESCAPE '\\'
        """
    ):
        columns.setdefault(table, set()).add(column)
    indexes = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?", (JOBS,)
    )
    return Found(
        columns,
        _last(connection, MIGRATIONS, columns),
        _last(connection, OWN_MIGRATIONS, columns),
        {name for (name,) in indexes},
    )


def _last(connection: sqlite3.Connection, table: str, columns: dict[str, set[str]]) -> int:
    if "version" not in columns.get(table, ()):
        return 0
    (version,) = connection.execute(f"SELECT max(version) FROM {table}").fetchone()
    return version or 0
