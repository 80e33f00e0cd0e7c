"""What the topics of the suite share: a store for each test, on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.events import fault_of_data

__all__ = ["StoreTests"]


@pytest.mark.asyncio
class StoreTests:
    """Gives each test a connected, empty store."""

    def make_store(self, clock: VirtualClock, *, metrics: bool = False) -> StoreInterface:
        """An empty store that goes by ``clock``; with ``metrics``, one that collects them."""
        raise TypeError(
            f"{type(self).__name__} needs a method make_store(self, clock, metrics=False) "
            "that returns a store"
        )

    @pytest.fixture
    def clock(self) -> VirtualClock:
        """The clock of the store; it moves when a test says so."""
        return VirtualClock()

    @pytest_asyncio.fixture
    async def store(self, clock: VirtualClock) -> AsyncIterator[StoreInterface]:
        """The store under test."""
        faults: list[str | None] = []
        async with self.make_store(clock) as store:
            store.subscribe(None, lambda event: faults.append(fault_of_data(event)))
            yield store
        assert [fault for fault in faults if fault] == []
