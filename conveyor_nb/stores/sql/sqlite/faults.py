"""What is wrong with a file, in one sentence."""

from __future__ import annotations

import sqlite3

from conveyor_nb.core.errors import ConveyorError, SchemaError, StoreUnavailableError
from conveyor_nb.core.values.text import error_line, shown

__all__ = ["in_one_sentence"]

_SENTENCES = {
    sqlite3.SQLITE_CANTOPEN: "can't be opened: there is no such folder, or it may not be read",
    sqlite3.SQLITE_BUSY: "is locked by another program, and was all the time that this waited",
    sqlite3.SQLITE_LOCKED: "is locked by another program, and was all the time that this waited",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_PERM: "may not be read, or not be written",
    sqlite3.SQLITE_FULL: "can't grow: the disk is full, or the file as large as it may be",
    sqlite3.SQLITE_IOERR: "can't be read or written: the disk, or what holds the file, refuses",
    sqlite3.SQLITE_CORRUPT: "is damaged",
}


def in_one_sentence(error: sqlite3.Error, path: str) -> ConveyorError:
    """The error that says what is wrong with a file.

    >>> fault = sqlite3.OperationalError("database is locked")
    >>> fault.sqlite_errorcode = sqlite3.SQLITE_BUSY
    >>> str(in_one_sentence(fault, "queue.db"))
    "'queue.db' is locked by another program, and was all the time that this waited"
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_NOTADB:
        return SchemaError(f"{shown(path)} is no database of SQLite")
    why = None if code is None else _SENTENCES.get(code & 0xFF)
    return StoreUnavailableError(f"{shown(path)} {why or f'fails: {error_line(error)}'}")
