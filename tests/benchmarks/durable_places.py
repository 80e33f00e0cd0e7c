"""Where stores that last are measured: files that are gone afterwards, and a server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conveyor_nb import StoreInterface, open_store
from tests.postgres import has_server, new_schema, running_server

__all__ = ["Kind", "kinds_here", "new_file", "new_schema_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of store that lasts, and what it is to cost.

    Args:
        name: the store's.
        place: the address of a new place for one, for a block of code.
        flow: what a job may cost, in microseconds.
        start: how soon an idle worker of another process is to start one, in microseconds.
        dsn: the address of the server, if it is on one.
    """

    name: str
    place: Callable[[], contextlib.AbstractContextManager[str]]
    flow: float
    start: float
    dsn: str = ""

    @contextlib.contextmanager
    def store(self, **options: Any) -> Iterator[StoreInterface]:
        """A store in a new place, not connected yet."""
        with self.place() as url:
            yield open_store(url, **options)


@contextlib.contextmanager
def kinds_here(say: Callable[[str], object]) -> Iterator[list[Kind]]:
    """The kinds of store that can be measured; a server loses nothing if it loses its power."""
    with contextlib.ExitStack() as stack:
        kinds = [Kind("SqliteStore", _in_a_file, 200.0, 15_000.0)]
        if has_server():
            dsn = stack.enter_context(running_server(is_durable=True)).dsn
            kinds.append(Kind("PgStore", lambda: _on_a_server(dsn), 400.0, 2_000.0, dsn))
        else:
            say("there is no PostgreSQL here, and so it is not measured")
        yield kinds


@contextlib.contextmanager
def new_file() -> Iterator[Path]:
    """The path of a file that is not there, in a folder that is gone in the end."""
    with tempfile.TemporaryDirectory(prefix="conveyor-benchmark-") as folder:
        yield Path(folder) / "queue.db"


@contextlib.contextmanager
def new_schema_of(dsn: str) -> Iterator[str]:
    """A schema of a server, dropped in the end: nobody pays for what another has left."""
    schema = new_schema()
    asyncio.run(_tell(dsn, f"CREATE SCHEMA {schema}"))
    try:
        yield schema
    finally:
        asyncio.run(_tell(dsn, f"DROP SCHEMA {schema} CASCADE"))


@contextlib.contextmanager
def _in_a_file() -> Iterator[str]:
    with new_file() as path:
        yield f"sqlite:///{path}"


@contextlib.contextmanager
def _on_a_server(dsn: str) -> Iterator[str]:
    with new_schema_of(dsn) as schema:
        yield f"{dsn}&search_path={schema}"


async def _tell(dsn: str, statement: str) -> None:
    connection = await importlib.import_module("asyncpg").connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
