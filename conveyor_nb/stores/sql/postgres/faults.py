"""What is wrong with a server, in one sentence; never with a password in it."""

from __future__ import annotations

from urllib.parse import urlsplit

from conveyor_nb.core.errors import ConveyorError, SchemaError, StoreUnavailableError
from conveyor_nb.core.values.text import error_line, shown

__all__ = [
    "AGAIN",
    "KeptOutError",
    "address_of",
    "in_one_sentence",
    "is_gone",
    "is_locked",
    "sqlstate_of",
    "without_password",
]

_LOCKED = "55P03"

_SENTENCES = {
    "28P01": "refuses the password",
    "28000": "refuses this user",
    "3D000": "has no such database",
    "42501": "does not let this user do that",
    "25006": "is read-only",
    "53100": "has no room left on its disk",
    "53300": "has no room for another connection",
    "57P03": "is starting up or shutting down",
    "57P01": "has closed the connection: it is shutting down, or somebody ended that",
    _LOCKED: "has a table that another program keeps locked",
}
AGAIN = frozenset({"40001", "40P01"})
"""What is as good as new when it is tried once more: two were in each other's way."""

_NO_TABLE = ("42P01", "42703", "3F000")


class KeptOutError(Exception):
    """A transaction that stays open keeps every store of ours from writing."""


def address_of(dsn: str) -> str:
    """What people call a server.

    >>> address_of("postgresql://ada:secret@db.example.org:5433/queues?sslmode=require")
    'db.example.org:5433/queues'
    >>> address_of("postgresql:///queues?host=/run/postgresql")
    '/queues'
    """
    try:
        parts = urlsplit(dsn)
        where = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the server"
    return f"{where}{parts.path}" or "the server"


def without_password(dsn: str) -> str:
    """A server's address as it may be shown, and used by who has the password elsewhere.

    >>> without_password("postgresql://ada:secret@localhost/queues")
    'postgresql://ada@localhost/queues'
    """
    head, at, host = dsn.rpartition("@")
    scheme, slashes, user = head.rpartition("//")
    return f"{scheme}{slashes}{user.partition(':')[0]}{at}{host}"


def sqlstate_of(error: BaseException) -> str | None:
    """The server's code for an error, if it is one of its."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_locked(error: BaseException) -> bool:
    """Whether an error means that somebody kept something locked for too long."""
    return sqlstate_of(error) == _LOCKED


def is_gone(error: BaseException) -> bool:
    """Whether an error means that the connection is lost, and another may do."""
    state = sqlstate_of(error)
    if state is not None:
        return state.startswith(("08", "57P0"))
    name = type(error).__name__
    return isinstance(error, OSError) or name in ("InterfaceError", "InternalClientError")


def in_one_sentence(error: BaseException, address: str) -> ConveyorError:
    """The error that says what is wrong with a server.

    >>> str(in_one_sentence(ConnectionResetError("lost"), "localhost:5432/queues"))
    "the server of 'localhost:5432/queues' can't be reached: ConnectionResetError: lost"
    >>> from asyncpg import InternalClientError
    >>> str(in_one_sentence(InternalClientError("cannot switch to state 11"), "localhost"))
    "the server of 'localhost' can't be reached: the connection was lost"
    """
    named = f"the server of {shown(address)}"
    state = sqlstate_of(error)
    if state in _NO_TABLE:
        return SchemaError(f"{named} has other tables than expected: {error_line(error)}")
    if state in _SENTENCES:
        return StoreUnavailableError(f"{named} {_SENTENCES[state]}")
    if type(error).__name__ == "InternalClientError":  # its words are about the driver's insides
        return StoreUnavailableError(f"{named} can't be reached: the connection was lost")
    if is_gone(error):
        return StoreUnavailableError(f"{named} can't be reached: {error_line(error)}")
    return StoreUnavailableError(f"{named} fails: {error_line(error)}")
