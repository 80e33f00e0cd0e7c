"""The store on a server of PostgreSQL's keeps every promise of a store."""

from __future__ import annotations

from conveyor_nb import VirtualClock
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.stores.sql.postgres.store import PgStore
from conveyor_nb.testing.conformance import StoreConformance
from conveyor_nb.testing.conformance.capabilities import CapabilityTests
from conveyor_nb.testing.conformance.sharing import SharingTests
from tests.postgres import shared_dsn
from tests.spare_schemas import SparePgStore


class TestPgStore(StoreConformance):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> PgStore:
        return SparePgStore(clock=clock, metrics=metrics)


class TestPgStoreWithPickles(CapabilityTests):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> PgStore:
        return SparePgStore(clock=clock, metrics=metrics, payloads="pickle")


class TestSeveralPgStores(SharingTests):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> PgStore:
        return SparePgStore(clock=clock, metrics=metrics)

    def make_another(self, store: StoreInterface, clock: VirtualClock) -> PgStore:
        assert isinstance(store, SparePgStore)
        return PgStore(shared_dsn(), schema=store.schema, clock=clock)
