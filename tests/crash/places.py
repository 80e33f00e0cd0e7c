"""Where the jobs are, and what may be done to that: a full disk, ended connections, lost power."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import asyncpg

from conveyor_nb.clocks.clock import REAL_TIME
from tests.postgres import Server, running_server

__all__ = ["POSTGRES", "Elsewhere", "File", "OwnServer", "Place", "at_place"]

POSTGRES = "postgres"
"""In place of an address: a server of its own, which may be stopped."""

Deed = Callable[[random.Random], Awaitable[None]]

_FULL_FOR = (0.3, 1.5)
_DOWN_FOR = (0.0, 1.0)


class Place(ABC):
    """A store's address, and what may be done to the store itself.

    Args:
        url: what ``open_store`` takes.
        full: the file that says that the disk is full, while it is there.
    """

    def __init__(self, url: str, full: Path) -> None:
        self.url, self.full = url, full

    @abstractmethod
    def deeds(self) -> Mapping[str, tuple[int, Deed]]:
        """What is done to it: by its name how often, beside other deeds, and how."""

    async def faults(self) -> list[str]:
        """What is wrong with it in the end."""
        return []


class Elsewhere(Place):
    """A store that nothing can be done to."""

    def deeds(self) -> Mapping[str, tuple[int, Deed]]:
        return {}


class File(Place):
    """A file of SQLite's."""

    def deeds(self) -> Mapping[str, tuple[int, Deed]]:
        return {"fill the disk": (2, self._fill)}

    async def _fill(self, chance: random.Random) -> None:
        self.full.touch()
        try:
            await REAL_TIME.sleep(chance.uniform(*_FULL_FOR))
        finally:
            self.full.unlink()

    async def faults(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchall()
        return [] if sound == [("ok",)] else [f"the file is damaged: {sound}"]


class OwnServer(Place):
    """A server that is there for this alone.

    Args:
        server: the server.
        full: as for every place.
    """

    def __init__(self, server: Server, full: Path) -> None:
        super().__init__(server.dsn, full)
        self._server = server

    def deeds(self) -> Mapping[str, tuple[int, Deed]]:
        return {
            "end connections of the server": (3, self._end_connections),
            "stop the server at once": (1, self._stop),
        }

    async def _end_connections(self, chance: random.Random) -> None:
        """Some, or all of them."""
        connection = await asyncpg.connect(self._server.dsn)
        try:
            found = await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'conveyor_nb'"
                " ORDER BY pid"
            )
            share = chance.choice([0.2, 1.0])
            for (pid,) in found:
                if chance.random() < share:
                    await connection.execute("SELECT pg_terminate_backend($1)", pid)
        finally:
            await connection.close()

    async def _stop(self, chance: random.Random) -> None:
        self._server.stop("immediate")
        await REAL_TIME.sleep(chance.uniform(*_DOWN_FOR))
        self._server.start()


@contextlib.asynccontextmanager
async def at_place(store: str | None, folder: Path) -> AsyncIterator[Place]:
    """The place that an address names: ``None`` is a new file, ``"postgres"`` a new server."""
    full = folder / "full"
    if store == POSTGRES:
        with running_server(is_durable=True) as server:
            yield OwnServer(server, full)
    elif store is None or store.startswith("sqlite:///"):
        yield File(store or f"sqlite:///{folder / 'queue.db'}", full)
    else:
        yield Elsewhere(store, full)
