"""How connections to a server are made; the driver is imported when the first one is."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.values.text import error_line, shown
from conveyor_nb.stores.sql.postgres import faults
from conveyor_nb.stores.sql.postgres.local import LocalServer
from conveyor_nb.stores.sql.schema.postgres import make_readable, migrate

__all__ = ["Connecting", "Place", "require_driver"]

_PATIENCE = 10.0
"""For how many seconds a server may take to answer."""

_SETTINGS = {
    "application_name": "conveyor_nb",
    "jit": "off",  # no statement here is long enough for it
    # a process that is stopped in a transaction would keep all others waiting
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "30s",
}


def require_driver() -> Any:
    """The module ``asyncpg``.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        import asyncpg
    except ImportError as error:
        raise ImportError(
            "a PgStore needs asyncpg: python -m pip install 'conveyor_nb[postgres]'"
        ) from error
    return asyncpg


class Place(NamedTuple):
    """Where on a server the tables are, and how they are.

    Args:
        schema: the schema's name.
        sequence: that of the sequence that numbers jobs, as statements have it.
        fractions: whether priorities and progress may be fractions.
    """

    schema: str
    sequence: str
    fractions: bool


class Connecting:
    """Makes connections.

    Args:
        dsn: the server's address, or the server, to be started when it is needed.
        schema: the schema to use; ``None``: that which the server leads this user to.
        read_only: whether nothing may ever be changed.
        may_migrate: whether tables may be made and be brought up to date.
        logger: told of what is left undone.
    """

    def __init__(
        self,
        dsn: str | LocalServer,
        schema: str | None,
        *,
        read_only: bool,
        may_migrate: bool,
        logger: logging.Logger,
    ) -> None:
        self.address = str(dsn.folder) if isinstance(dsn, LocalServer) else faults.address_of(dsn)
        self._dsn, self._schema = dsn, schema
        self._read_only, self._may_migrate, self._logger = read_only, may_migrate, logger
        self._settings = dict(_SETTINGS)
        if schema is not None:
            quoted = schema.replace('"', '""')
            self._settings["search_path"] = f'"{quoted}"'

    @property
    def url(self) -> str:
        """What others reach the server by, but for a password."""
        if isinstance(self._dsn, LocalServer):
            return self._dsn.url
        return faults.without_password(self._dsn)

    async def open(self) -> Any:
        """A new connection.

        Raises:
            StoreUnavailableError: the server is not there, or refuses.
            ValueError: the address is none.
        """
        asyncpg = require_driver()
        dsn = self._dsn
        if isinstance(dsn, LocalServer):
            dsn = await asyncio.to_thread(dsn.start)
        connection: Any = None
        try:
            connection = await asyncpg.connect(
                dsn, server_settings=self._settings, timeout=_PATIENCE
            )
            if self._read_only:
                await make_readable(connection)
            return connection
        except ConveyorError:
            connection.terminate()
            raise
        except (ValueError, asyncpg.ClientConfigurationError) as error:
            raise ValueError(
                f"{shown(self.address)} is no address of a PostgreSQL server such as "
                f"'postgresql://user@host:5432/database': {error_line(error)}"
            ) from None
        except Exception as error:
            raise faults.in_one_sentence(error, self.address) from error

    async def close(self) -> None:
        """Let go of a server of one's own."""
        if isinstance(self._dsn, LocalServer):
            await asyncio.to_thread(self._dsn.stop)

    async def find_place(self, connection: Any) -> Place:
        """See to it that the tables are there; returns where.

        Raises:
            SchemaError, StoreUnavailableError: they can't be used, or not be made.
        """
        try:
            fractions = True
            if not self._read_only:
                facts = await migrate(
                    connection,
                    may_migrate=self._may_migrate,
                    schema=self._schema,
                    logger=self._logger,
                )
                fractions = facts.fractional_priorities
            schema = await connection.fetchval("SELECT current_schema()")
            sequence = await connection.fetchval(
                "SELECT pg_get_serial_sequence("
                "quote_ident(current_schema()) || '.conveyor_jobs', 'seq')"
            )
        except ConveyorError:
            raise
        except Exception as error:
            raise faults.in_one_sentence(error, self.address) from error
        return Place(schema, sequence, fractions)
