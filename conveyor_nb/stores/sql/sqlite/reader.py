"""The thread that reads: what is only looked at never waits for who writes, nor keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.stores.sql.sqlite.lane import Call
from conveyor_nb.stores.sql.sqlite.session import Session
from conveyor_nb.stores.sql.sqlite.writer import look

__all__ = ["Reader"]


class Reader:
    """Does calls that only look, each as of one moment.

    Args:
        path: the file, for messages.
        connect: opens a connection; raises ``ConveyorError``.
        session: what the calls are given.
    """

    def __init__(
        self, path: str, connect: Callable[[], sqlite3.Connection], session: Session
    ) -> None:
        self._path, self._connect, self._session = path, connect, session
        self._connection: sqlite3.Connection | None = None

    def serve(self, calls: list[Call[Any]]) -> None:
        """Do what is to be done, and keep with each call what came of it."""
        try:
            if self._connection is None:
                self._connection = self._session.connection = self._connect()
        except ConveyorError as error:
            for call in calls:
                call.error = error
            return
        for call in calls:
            self._session.answers.forget()
            if not look(call, self._session, self._path):
                call.error = AssertionError("a look has something to write")

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()
