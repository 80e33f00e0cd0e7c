"""Every store keeps every promise of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conveyor_nb import MemoryStore, PayloadError, VirtualClock
from conveyor_nb.testing.conformance import StoreConformance
from conveyor_nb.testing.conformance.capabilities import CapabilityTests
from tests.bytes_store import BytesStore


class TestMemoryStore(StoreConformance):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> MemoryStore:
        return MemoryStore(clock=clock, metrics=metrics)


class TestBytesStore(StoreConformance):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> BytesStore:
        return BytesStore(clock=clock, metrics=metrics)


class FrugalStore(BytesStore):
    """A store that can do no more than it must."""

    capabilities = frozenset()

    def take_payload(self, value: Any, what: str) -> Any:
        parts = value.items() if isinstance(value, Mapping) else ()
        for name, part in parts:
            if type(part).__name__ == "Table":
                raise PayloadError(f"{what}[{name!r}]", "Table", "it is no plain value")
        return value


class TestFrugalStore(CapabilityTests):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> FrugalStore:
        return FrugalStore(clock=clock, metrics=metrics)
