"""The stores that tests run over, and how plain code takes steps of any of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from conveyor_nb import MemoryStore
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.stores.sql.sqlite.session import Session
from conveyor_nb.stores.sql.sqlite.store import SqliteStore
from conveyor_nb.testing.events import all_told
from tests.bytes_store import BytesStore
from tests.spare_schemas import SparePgStore

__all__ = ["ALL_STORES", "STORES", "MakeStore", "Steps", "take_machine"]

Result = TypeVar("Result")

MakeStore = Callable[..., StoreInterface]
"""Makes a store, with the options of a ``MemoryStore``."""


def _folders() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="conveyor-tests-") as folder:
        yield folder


_files = (Path(folder) / f"{number}.db" for folder in _folders() for number in itertools.count(1))


def sqlite_file(**options: Any) -> SqliteStore:
    """A store in a new file, which is gone when the tests are over."""
    return SqliteStore(next(_files), **options)


def sqlite_memory(**options: Any) -> SqliteStore:
    """A store in a database of SQLite's that is in no file."""
    return SqliteStore(":memory:", **options)


class TwoSqliteStores(SqliteStore):
    """Two stores on one file that take turns at whatever is asked of one of them."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self._other = SqliteStore(path, **options)
        self._turns = itertools.cycle((super()._write, self._other._write))

    async def _write(self, work: Callable[[Session], Result], **how: Any) -> Result:
        return await next(self._turns)(work, **how)

    async def disconnect(self) -> None:
        await self._other.disconnect()
        await super().disconnect()


STORES: Mapping[str, MakeStore] = {
    "memory": MemoryStore,
    "bytes": BytesStore,
    "sqlite-memory": sqlite_memory,
    "sqlite": sqlite_file,
    "postgres": SparePgStore,
}

ALL_STORES: dict[str, MakeStore] = dict(STORES)
"""Those and some that are there for the state machines alone."""

if sys.platform != "emscripten":  # where a page has its files for itself alone
    ALL_STORES["two-sqlite"] = lambda **options: TwoSqliteStores(next(_files), **options)

_LOOKS = ("get_", "list_", "count_", "find_", "search_")
"""How the names of methods begin that tell nothing."""


class Steps:
    """Takes the steps of a store for who can't wait, as the rules of a state machine.

    When one is over, its events have come, too. Those of a ``MemoryStore`` never wait.
    """

    def __init__(self, store: StoreInterface) -> None:
        self._store = store
        self._never_waits = isinstance(store, MemoryStore)
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()

    def __call__(self, step: Coroutine[Any, Any, Result]) -> Result:
        """Take a step; returns its result."""
        if not self._never_waits:
            tells = not getattr(step, "__name__", "").startswith(_LOOKS)
            return self.on_loop(step, tells=tells)
        try:
            step.send(None)
        except StopIteration as end:
            result: Result = end.value
            return result
        raise AssertionError(f"{step!r} waited")

    def on_loop(self, work: Coroutine[Any, Any, Result], *, tells: bool = True) -> Result:
        """Do what needs a loop; returns its result."""
        result = self._loop.run_until_complete(work)
        if tells and not self._never_waits:
            self._loop.run_until_complete(all_told(self._store))
        return result

    def close(self) -> None:
        """Disconnect the store."""
        self._runner.run(self._store.disconnect())
        self._runner.close()


def take_machine(
    machine: type[RuleBasedStateMachine], kind: str, pytestconfig: pytest.Config
) -> None:
    """Let a state machine run over one of the stores."""
    number = pytestconfig.getoption("--hypothesis-seed") or random.randrange(2**32)
    print(f"to see this again: --hypothesis-seed={number}")
    profile = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
    if kind != "memory":  # the others take ten times as long
        profile = settings(profile, max_examples=profile.max_examples // 5)
    over_store = type(machine.__name__, (machine,), {"kind": kind})
    run_state_machine_as_test(seed(number)(over_store), settings=profile)
