"""What follows from the seam is right for a store that does not do it in a better way."""

from __future__ import annotations

import inspect

import pytest

from conveyor_nb import MemoryStore, MetricsDisabledError, VirtualClock
from conveyor_nb.stores.derived import Derived
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.deduplicating import DeduplicatingTests
from conveyor_nb.testing.conformance.flows import FlowTests
from conveyor_nb.testing.conformance.limiting import LimitingTests
from conveyor_nb.testing.conformance.looking import LookingTests
from conveyor_nb.testing.conformance.saving import SavingTests
from conveyor_nb.testing.conformance.searching import SearchingTests

DERIVED = {name: one for name, one in vars(Derived).items() if inspect.isfunction(one)}

PlainStore: type[MemoryStore] = type("PlainStore", (MemoryStore,), DERIVED)
"""A store that does nothing in a better way."""


class TestDerived(
    SavingTests, DeduplicatingTests, LookingTests, LimitingTests, SearchingTests, FlowTests
):
    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> MemoryStore:
        return PlainStore(clock=clock)


def test_a_store_has_to_do_less_than_it_offers() -> None:
    assert not StoreInterface.__abstractmethods__ & DERIVED.keys()
    assert len(DERIVED) > 20


@pytest.mark.asyncio
async def test_a_store_that_says_nothing_of_metrics_collects_none() -> None:
    store = PlainStore(clock=VirtualClock(), metrics=True)
    with pytest.raises(MetricsDisabledError):
        await store.get_metrics("emails")
    with pytest.raises(MetricsDisabledError):
        await store.aggregate_metrics()
