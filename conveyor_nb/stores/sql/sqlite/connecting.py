"""How a file is opened, and how statements are sent to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, TypeVar

from conveyor_nb.stores.sql.asking import Asking, Many
from conveyor_nb.stores.sql.sqlite.faults import in_one_sentence

__all__ = ["MEMORY", "ask", "connect"]

T = TypeVar("T")

MEMORY = ":memory:"

_PATIENCE = 5.0
"""For how many seconds one waits for a lock that another process has."""

_LOG_PAGES = 4_000
"""How long the log of writes may grow, in pages of 4 KB, before it is put into the file: each time
one waits for the disk."""

_CACHE_KB = 32_000

_STATEMENTS = 512
"""How many statements are kept prepared."""


def connect(path: str, *, is_durable: bool = False, read_only: bool = False) -> sqlite3.Connection:
    """A connection to a file, in no transaction; it begins none by itself.

    Args:
        path: the file, made if it does not exist; ``":memory:"``: none.
        is_durable: whether a commit is to outlast a loss of power, and not only the process.
        read_only: whether the file is never to be changed.

    Raises:
        ConveyorError: it can't be opened; the message says why.
    """
    try:
        connection = _open(path, read_only=read_only)
    except sqlite3.Error as error:
        raise in_one_sentence(error, path) from error
    try:
        if path != MEMORY and not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute(f"PRAGMA cache_size = {-_CACHE_KB}")
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise in_one_sentence(error, path) from error
    return connection


def _open(path: str, *, read_only: bool) -> sqlite3.Connection:
    target, is_uri = path, False
    if read_only and path != MEMORY:
        target, is_uri = f"{Path(path).absolute().as_uri()}?mode=ro", True
    return sqlite3.connect(
        target,
        timeout=_PATIENCE,
        isolation_level=None,
        cached_statements=_STATEMENTS,
        check_same_thread=False,
        uri=is_uri,
    )


def ask(connection: sqlite3.Connection, asking: Asking[T]) -> T:
    """Send statements one after the other; returns the answer."""
    execute = connection.execute
    try:
        statement = next(asking)
        while True:
            rows: list[Any] = []
            if type(statement) is tuple:
                rows = execute(*statement).fetchall()
            else:
                assert isinstance(statement, Many)
                connection.executemany(*statement)
            statement = asking.send(rows)
    except StopIteration as end:
        answer: T = end.value
        return answer
