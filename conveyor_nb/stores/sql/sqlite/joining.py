"""Jobs that are added as a part of a transaction of the caller's own, over a connection of theirs.

It is the caller's thread that does it, and at once: their statements stand before and after. Other
connections, those of the store among them, see nothing of it until the caller commits.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.core.errors import SchemaError
from conveyor_nb.core.model import JobData
from conveyor_nb.core.rows import Key
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.capabilities import Capability
from conveyor_nb.stores.sql.sqlite.batches import keep
from conveyor_nb.stores.sql.sqlite.faults import in_one_sentence
from conveyor_nb.stores.sql.sqlite.session import Session, Step
from conveyor_nb.stores.working_set.saving import SteppedSaving

__all__ = ["JoinedSaving"]

_BEGIN = "connection.execute('BEGIN IMMEDIATE')"
_TABLE = "SELECT 1 FROM sqlite_schema WHERE name = 'conveyor_nb_counters'"


class JoinedSaving(SteppedSaving):
    """Takes jobs in, within the transaction that is under way on a connection.

    Args:
        connection: the caller's.
        path: the store's file.
        source: what tells others of what is done.
        capabilities: what the store can do.
        take_payload: the store's.
        new_session: makes what takes steps.

    Raises:
        TypeError, ValueError: no connection, one to another file, or one that commits by itself.
    """

    def __init__(
        self,
        connection: object,
        path: str,
        source: str,
        capabilities: Collection[Capability],
        take_payload: Callable[[Any, str], Any],
        new_session: Callable[[], Session],
    ) -> None:
        if not isinstance(connection, sqlite3.Connection):
            raise TypeError(
                "connection must be a sqlite3.Connection to the file of the store, "
                f"not {shown(connection)}"
            )
        self.capabilities = capabilities
        self._connection, self._path, self._source = connection, path, source
        self._take_payload, self._new_session = take_payload, new_session
        with self._in_words(), _plainly(connection):
            _check_file(connection, path)

    def take_payload(self, value: Any, what: str) -> Any:
        return self._take_payload(value, what)

    async def take_step(self, step: Step, about: Sequence[JobData | Key] = ()) -> Any:
        connection = self._connection
        _require_transaction(connection)
        with self._in_words(), _plainly(connection), _all_or_nothing(connection):
            session = self._new_session()
            session.connection, session.may_write = connection, True
            result = session.take(step, about)
            session.ask(session.writing.finish())
            if session.told:
                codec = session.answers.codec
                keep(connection, self._source, REAL_TIME.now(), session.told, {}, codec)
            return result

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:  # it is closed, or another thread's
            raise
        except sqlite3.Error as error:
            raise in_one_sentence(error, self._path) from error


def _check_file(connection: sqlite3.Connection, path: str) -> None:
    files = {name: file for _, name, file in connection.execute("PRAGMA database_list")}
    if not files["main"] or not os.path.exists(path) or not os.path.samefile(files["main"], path):
        raise ValueError(
            f"connection is one to {shown(files['main'] or ':memory:')}, "
            f"and the store is in {shown(path)}: a transaction is of one file"
        )
    if not connection.execute(_TABLE).fetchone():
        raise SchemaError(
            f"{shown(path)} has no tables of queues yet: connect() the store before the transaction"
        )


def _require_transaction(connection: sqlite3.Connection) -> None:
    """Refuse a connection that is in no transaction, and lets no change begin one."""
    commits_at_once = getattr(connection, "autocommit", None) is True  # from Python 3.12 on
    if not connection.in_transaction and (commits_at_once or connection.isolation_level is None):
        raise ValueError(
            f"connection is in no transaction, and begins none by itself: {_BEGIN} before"
        )


@contextlib.contextmanager
def _plainly(connection: sqlite3.Connection) -> Iterator[None]:
    """Get rows and texts as they are, and not as the caller likes them."""
    rows, texts = connection.row_factory, connection.text_factory
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        connection.row_factory, connection.text_factory = rows, texts


@contextlib.contextmanager
def _all_or_nothing(connection: sqlite3.Connection) -> Iterator[None]:
    """Let what fails leave the caller's transaction as it was; begin it, as a change would."""
    begins = not connection.in_transaction
    if begins:
        connection.execute("BEGIN IMMEDIATE")
    connection.execute("SAVEPOINT conveyor_nb")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself where the disk is full
            connection.execute("ROLLBACK TO conveyor_nb")
            connection.execute("RELEASE conveyor_nb")
            if begins:  # it would keep all others from writing
                connection.execute("ROLLBACK")
        raise
    connection.execute("RELEASE conveyor_nb")
