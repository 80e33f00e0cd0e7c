"""A store by its address: what a command line, an environment or a notebook's line says."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any
from urllib.parse import unquote, urlsplit

from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.stores.memory.store import MemoryStore

__all__ = ["STORE_VARIABLE", "open_store"]

STORE_VARIABLE = "CONVEYOR_STORE"
"""The environment variable with the address of the store that is used by default."""

_EXAMPLES = (
    "'memory:', 'sqlite:///queue.db', 'sqlite:////home/ada/queue.db' or "
    "'postgresql://user@host:5432/database'"
)
_SERVER = frozenset({"postgresql", "postgres"})


def open_store(url: str, *, read_only: bool = False, **options: Any) -> StoreInterface:
    """The store at an address; it connects when it is first used, or by ``async with``.

    Args:
        url: ``"memory:"``: a new ``MemoryStore``; ``"sqlite:///queue.db"``: the ``SqliteStore`` of
            a file, here of the current folder; with four slashes the path begins at the root;
            ``"postgresql://user@host/database"``: the ``PgStore`` of a server;
            ``"postgresql+local:///folder"``: ``PgStore.local`` of a folder, as of a file.
        read_only: whether nothing may ever be changed, as in the database of others.
        options: those of the store, such as ``clock`` and ``metrics``.

    Raises:
        ValueError: it is no such address.
        TypeError: the store has no such option.

    >>> open_store("memory:", ids="sequential")
    <MemoryStore: 0 jobs in 0 queues>
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be text such as {_EXAMPLES}, not {shown(url)}")
    parts = urlsplit(url)
    if parts.scheme == "memory" and url.partition(":")[2] in ("", "//"):
        if read_only:
            raise ValueError("a store in memory is new and empty, so it can't be opened read-only")
        return MemoryStore(**options)
    if parts.scheme == "sqlite":
        from conveyor_nb.stores.sql.sqlite.store import SqliteStore

        return SqliteStore(_path_of(url), read_only=read_only, **options)
    if parts.scheme == "postgresql+local":
        from conveyor_nb.stores.sql.postgres.store import PgStore

        return PgStore.local(_path_of(url), read_only=read_only, **options)
    if parts.scheme in _SERVER:
        from conveyor_nb.stores.sql.postgres.store import PgStore

        return PgStore(url, read_only=read_only, **options)
    raise ValueError(f"url must be one such as {_EXAMPLES}, not {shown(_without_password(url))}")


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or not path.startswith("/") or path == "/":
        raise ValueError(f"the url of a file must be such as {_EXAMPLES}, not {shown(url)}")
    return path[1:] if not PurePath(path[1:]).drive else PurePath(path[1:]).as_posix()


def _without_password(url: str) -> str:
    """An address as it may be shown."""
    head, at, host = url.rpartition("@")
    if not at:
        return url
    scheme, slashes, user = head.rpartition("//")
    return f"{scheme}{slashes}{user.partition(':')[0]}:...@{host}"
