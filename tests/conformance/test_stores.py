"""Every store keeps every promise of a store."""

from __future__ import annotations

from conveyor_nb import MemoryStore, VirtualClock
from conveyor_nb.testing.conformance import StoreConformance
from tests.bytes_store import BytesStore


class TestMemoryStore(StoreConformance):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> MemoryStore:
        return MemoryStore(clock=clock, metrics=metrics)


class TestBytesStore(StoreConformance):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> BytesStore:
        return BytesStore(clock=clock, metrics=metrics)
