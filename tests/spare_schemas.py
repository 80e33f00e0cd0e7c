"""Stores on a server in schemas that are made once, and emptied for the next store to use one.

To make one takes longer than most tests, and a server with very many of them is slow.
"""

from __future__ import annotations

from typing import Any

from conveyor_nb.stores.sql.postgres.connecting import Connecting, Place
from conveyor_nb.stores.sql.postgres.store import PgStore
from tests.postgres import new_schema, shared_dsn

__all__ = ["SparePgStore"]

_spare: list[str] = []
"""The schemas that no store is connected to."""

_MANY_BYTES = 1_000_000
"""A table that takes up more than so many bytes is made anew: who reads it reads what is gone."""

_TABLES = """
SELECT tablename, pg_relation_size(quote_ident(tablename)::regclass) > $1 FROM pg_tables
WHERE schemaname = current_schema() AND tablename NOT LIKE '%migrations'
"""


class SparePgStore(PgStore):
    """A store that finds tables as they are when they were just made; the server is this run's.

    When it disconnects another one may have them; if none does, it may come back to them.

    Args:
        options: those of a ``PgStore``.
    """

    def __init__(self, **options: Any) -> None:
        self.schema = _spare.pop() if _spare else new_schema()
        super().__init__(shared_dsn(), schema=self.schema, **options)
        self._connecting.__class__ = _Emptying
        self._is_spare = False

    async def connect(self) -> None:
        if self._is_spare:
            _spare.remove(self.schema)
            self._is_spare = False
        await super().connect()

    async def disconnect(self) -> None:
        await super().disconnect()
        if not self._is_spare:
            _spare.append(self.schema)
            self._is_spare = True


class _Emptying(Connecting):
    """Empties the tables when they are first found."""

    _is_done = False

    async def find_place(self, connection: Any) -> Place:
        place = await super().find_place(connection)
        if not self._is_done:
            async with connection.transaction():
                for name, is_large in await connection.fetch(_TABLES, _MANY_BYTES):
                    await connection.execute(f"{'TRUNCATE' if is_large else 'DELETE FROM'} {name}")
                await connection.execute("INSERT INTO conveyor_nb_counters VALUES ('moved', 0)")
                await connection.execute("SELECT setval($1, 1, FALSE)", place.sequence)
            self._is_done = True
        return place
