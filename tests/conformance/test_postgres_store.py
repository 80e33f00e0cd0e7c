"""The store on a server of PostgreSQL's keeps every promise of a store."""

from __future__ import annotations

import pytest

from conveyor_nb import VirtualClock
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.stores.sql.postgres.store import PgStore
from conveyor_nb.testing.conformance import StoreConformance
from conveyor_nb.testing.conformance.capabilities import CapabilityTests
from conveyor_nb.testing.conformance.sharing import SharingTests
from tests.postgres import new_schema


class _OnServer:
    dsn: str

    @pytest.fixture(autouse=True)
    def _server(self, postgres_dsn: str) -> None:
        self.dsn = postgres_dsn


class TestPgStore(_OnServer, StoreConformance):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> PgStore:
        return PgStore(self.dsn, schema=new_schema(), clock=clock, metrics=metrics)


class TestPgStoreWithPickles(_OnServer, CapabilityTests):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> PgStore:
        return PgStore(
            self.dsn, schema=new_schema(), clock=clock, metrics=metrics, payloads="pickle"
        )


class TestSeveralPgStores(_OnServer, SharingTests):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> PgStore:
        self.schema = new_schema()
        return PgStore(self.dsn, schema=self.schema, clock=clock, metrics=metrics)

    def make_another(self, store: StoreInterface, clock: VirtualClock) -> PgStore:
        return PgStore(self.dsn, schema=self.schema, clock=clock)
