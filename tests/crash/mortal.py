"""Death at a certain commit: right before it is sent, or right after it has been answered."""

from __future__ import annotations

import functools
import os
import re
import sqlite3
from collections.abc import Callable
from typing import Any

import asyncpg

__all__ = ["DIED", "Death"]

DIED = 9
"""The exit code of a process that died so."""

_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|CREATE|ALTER)\b")


class Death:
    """Ends the process at so many commits, over all its connections.

    Args:
        number: at which one, from 1.
        before: right before it, and not right after.
    """

    def __init__(self, number: int, *, before: bool) -> None:
        self._left, self._before = number, before
        self.is_near = False
        """Whether commits count by now."""

    def come_to_files(self) -> None:
        """Count the commits of SQLite from now on."""
        death, plain = self, sqlite3.connect

        class Mortal(sqlite3.Connection):
            def execute(self, text: str, *given: Any) -> sqlite3.Cursor:
                return death._commit(lambda: super(Mortal, self).execute(text, *given), text)

        made = functools.partial(plain, factory=Mortal)
        sqlite3.connect = made  # type: ignore[assignment]

    def come_to_servers(self) -> None:
        """Count the commits of PostgreSQL: of transactions, and of statements by themselves."""
        for name in ("execute", "executemany", "fetch", "fetchrow", "fetchval"):
            setattr(asyncpg.Connection, name, self._counting(getattr(asyncpg.Connection, name)))

    def _counting(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        async def call(connection: Any, text: str, *given: Any, **options: Any) -> Any:
            is_alone = not connection.is_in_transaction() and "BEGIN" not in text
            commits = "COMMIT" in text or (is_alone and _WRITES.search(text) is not None)
            if commits:
                self._come(before=True)
            result = await plain(connection, text, *given, **options)
            if commits:
                self._come(before=False)
            return result

        return call

    def _commit(self, execute: Callable[[], sqlite3.Cursor], text: str) -> sqlite3.Cursor:
        if text != "COMMIT":
            return execute()
        self._come(before=True)
        cursor = execute()
        self._come(before=False)
        return cursor

    def _come(self, *, before: bool) -> None:
        if not self.is_near:
            return
        self._left -= before
        if not self._left and before is self._before:
            os._exit(DIED)
