"""The thread that writes: all calls that wait are done in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.core.errors import ConveyorError, StoreUnavailableError
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.rows import Key
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.sql.sqlite.batches import keep, read
from conveyor_nb.stores.sql.sqlite.faults import in_one_sentence
from conveyor_nb.stores.sql.sqlite.lane import Call
from conveyor_nb.stores.sql.sqlite.session import HasToWriteError, Session

__all__ = ["Writer", "look"]

_KEPT = timedelta(minutes=1)
"""For how long events are kept for other processes."""

_TIDIED_EVERY = timedelta(seconds=10)

_STATE = "SELECT state FROM conveyor_jobs WHERE queue_name = ? AND id = ?"

Tell = Callable[[Sequence[StoreEvent], Mapping[Key, Any]], object]


class Writer:
    """Takes calls in transactions, and learns what other processes wrote in between.

    All of it is called in one thread.

    Args:
        path: the file, for messages.
        source: what this store is called among those that write to the file; ``""``: nobody else
            can, so that nothing is kept for others.
        read_only: whether nothing may be written.
        open: opens the connection; raises ``ConveyorError``.
        session: takes the steps.
        tell: told what has happened, in the order of the transactions, whoever's they were.
    """

    def __init__(
        self,
        path: str,
        source: str,
        read_only: bool,
        open: Callable[[], sqlite3.Connection],
        session: Session,
        tell: Tell,
    ) -> None:
        self.next_expiry: datetime | None = None
        """When the next job has been kept long enough."""
        self.others_wrote = False
        """Whether others have, told of or not, since this was last set to ``False``."""
        self._path, self._source, self._read_only = path, source, read_only
        self._open = open
        self._session = session
        self._tell = tell
        self._connection: sqlite3.Connection | None = None
        self._version = 0
        self._seen = 0
        self._newest = 0
        """The number of the newest row of a job, as far as somebody has told of it."""
        self._has_strangers = False
        """Whether another program has added jobs, of which nobody tells."""
        self._tidied = REAL_TIME.now()

    # -- life ---------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open the file if it is not open; raises ``ConveyorError``."""
        if self._connection is not None:
            return
        connection = self._open()
        try:
            rows = connection.execute("SELECT max(id) FROM conveyor_nb_events").fetchall()
            self._seen = rows[0][0] or 0
            self._newest = _newest_row(connection)
            self._version = _data_version(connection)
        except sqlite3.Error as error:
            connection.close()
            raise in_one_sentence(error, self._path) from error
        self._connection = self._session.connection = connection
        self._session.writing.forget()
        self._session.writing.expiries_changed = True

    def close(self) -> None:
        """Let go of the file."""
        self.others_wrote = False
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    # -- calls --------------------------------------------------------------------------------

    def serve(self, calls: list[Call[Any]]) -> None:
        """Do what is to be done, and keep with each call what came of it."""
        try:
            self.connect()
        except ConveyorError as error:
            for call in calls:
                call.error = error
            return
        if self._read_only or all(call.looks_first for call in calls):
            calls = self._look(calls)
        if not self._read_only:
            if calls:
                self._write(calls)
            return
        for call in calls:
            call.error = StoreUnavailableError(
                f"{shown(self._path)} was opened read-only, and this would change it"
            )

    def _look(self, calls: list[Call[Any]]) -> list[Call[Any]]:
        """Do what only has to look; returns the others."""
        self._session.writing.forget()
        found_more = [call for call in calls if not look(call, self._session, self._path)]
        self._session.writing.forget()
        return found_more

    def _write(self, calls: list[Call[Any]]) -> None:
        session = self._session
        try:
            session.connection.execute("BEGIN IMMEDIATE")
            session.may_write = True
            self.catch_up()
            if self._has_strangers:
                session.ask(session.writing.take_in())
            for call in calls:
                _do(call, session)
            session.ask(session.writing.finish())
            seen = self._keep_events(session.told, session.lost_results)
            newest = _newest_row(session.connection) if seen else self._newest
            session.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_up(calls, error)
            return
        finally:
            session.may_write = False
        self._seen, self._newest, self._has_strangers = seen or self._seen, newest, False
        told, session.told = session.told, []
        results, session.results, session.lost_results = session.results, {}, {}
        if told:
            self._tell(told, results)
        self._see_expiries()

    def _give_up(self, calls: list[Call[Any]], error: sqlite3.Error) -> None:
        """Undo the transaction; if it was of many calls, take them one by one."""
        session = self._session
        _end(session.connection, "ROLLBACK")
        session.told, session.results, session.lost_results = [], {}, {}
        session.writing.forget()
        if len(calls) == 1:
            calls[0].error = in_one_sentence(error, self._path)
            return
        for call in calls:
            call.error = None
            self._write([call])

    # -- what others wrote --------------------------------------------------------------------

    def catch_up(self) -> None:
        """Tell what others have written since the last time, if they have."""
        connection = self._session.connection
        version = _data_version(connection)
        if version == self._version:
            return
        self._version = version
        self.others_wrote = True
        self._session.writing.forget()
        self._session.writing.expiries_changed = True
        text = "SELECT id, events FROM conveyor_nb_events WHERE id > ? ORDER BY id"
        rows = connection.execute(text, (self._seen,)).fetchall()
        newest = _newest_row(connection)
        if rows and (missed := rows[0][0] - self._seen - 1):
            self._tell_of_missed(missed)
        elif not rows and newest > self._newest and not self._read_only:
            self._has_strangers = True
            self._tell_of_missed(0)
        self._newest = newest
        for seen, written in rows:
            self._seen = seen
            self._tell(*read(written, self._session.answers.codec))

    def _tell_of_missed(self, missed: int) -> None:
        """Tell that there are events which this process has not seen.

        It stood still for so long that they are gone, or they are those of another program, which
        tells of none: nobody knows then how many.
        """
        now = self._session.now()
        about = {"missed": missed}
        names = self._session.ask(self._session.answers.queue_names())
        events = [StoreEvent(EventType.MISSED, name, None, about, now) for name in names]
        for queue_name, job_id in tuple(self._session.followed):
            events.append(StoreEvent(EventType.MISSED, queue_name, job_id, about, now))
        self._tell(events, {})

    def over(self, jobs: Iterable[Key]) -> list[Key]:
        """Those of some jobs that have settled, or are gone; none while the file is not open."""
        connection = self._connection
        if connection is None:
            return []
        states = ((key, connection.execute(_STATE, key).fetchone()) for key in jobs)
        return [key for key, state in states if state is None or state[0] in SETTLED]

    def look_around(self) -> None:
        """As :meth:`catch_up`, for who has nothing else to do."""
        if self._connection is not None:
            self.catch_up()
            if self._has_strangers:
                self._write([])
            self._see_expiries()

    def _keep_events(self, events: list[StoreEvent], results: Mapping[Key, Any]) -> int | None:
        """Keep events for other processes; returns their number."""
        if not (events and self._source):
            return None
        execute = self._session.connection.execute
        now = REAL_TIME.now()
        codec = self._session.answers.codec
        if now - self._tidied > _TIDIED_EVERY:
            self._tidied = now
            execute("DELETE FROM conveyor_nb_events WHERE at < ?", (codec.instant(now - _KEPT),))
        return keep(self._session.connection, self._source, now, events, results, codec)

    def _see_expiries(self) -> None:
        if self._session.writing.expiries_changed:
            self._session.writing.expiries_changed = False
            self.next_expiry = self._session.ask(self._session.answers.next_expiry())


def look(call: Call[Any], session: Session, path: str) -> bool:
    """Do what only has to look, in a transaction that is as the database was at its begin.

    Returns:
        ``False``: there is something to be written, and it is as if this had not been called.
    """
    try:
        session.connection.execute("BEGIN")
        call.result = call.work(session)
    except HasToWriteError:
        return False
    except sqlite3.Error as error:
        call.error = in_one_sentence(error, path)
    except BaseException as error:  # told to who called
        call.error = error
    finally:
        _end(session.connection, "COMMIT")
    return True


def _end(connection: sqlite3.Connection, how: str) -> None:
    if connection.in_transaction:
        connection.execute(how)


def _do(call: Call[Any], session: Session) -> None:
    try:
        call.result = call.work(session)
    except sqlite3.Error:
        raise
    except BaseException as error:  # told to who called
        call.error = error


def _newest_row(connection: sqlite3.Connection) -> int:
    newest: int | None = connection.execute("SELECT max(rowid) FROM conveyor_jobs").fetchone()[0]
    return newest or 0


def _data_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version
