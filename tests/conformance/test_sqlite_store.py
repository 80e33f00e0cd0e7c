"""A store in a file of SQLite's keeps every promise of a store, also in no file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conveyor_nb import VirtualClock
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.stores.sql.sqlite.store import SqliteStore
from conveyor_nb.testing.conformance import StoreConformance
from conveyor_nb.testing.conformance.sharing import SharingTests


class TestSqliteStoreInMemory(StoreConformance):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> SqliteStore:
        return SqliteStore(":memory:", clock=clock, metrics=metrics)


class ThreadlessStore(SqliteStore):
    """As in a browser's Python."""

    has_threads = False


class TestThreadlessStore(StoreConformance):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> SqliteStore:
        return ThreadlessStore(":memory:", clock=clock, metrics=metrics)


class TestSqliteStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.made = 0

    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> SqliteStore:
        self.made += 1
        return SqliteStore(self.folder / f"{self.made}.db", clock=clock, metrics=metrics)


@pytest.mark.skipif(sys.platform == "emscripten", reason="a page has its files for itself alone")
class TestSharedSqliteStores(SharingTests):
    @pytest.fixture(autouse=True)
    def _in_a_file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "queue.db"

    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> SqliteStore:
        return SqliteStore(self.path, clock=clock, ids="sequential", metrics=metrics)

    def make_another(self, store: StoreInterface, clock: VirtualClock) -> SqliteStore:
        return SqliteStore(self.path, clock=clock, ids="sequential")
