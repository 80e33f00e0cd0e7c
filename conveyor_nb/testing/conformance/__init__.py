"""The tests that every store passes; a store of your own proves itself by running them.

``stores.working_set`` says how to begin one, and ``tests/bytes_store.py`` is an example.
In a test file of yours, with pytest and pytest-asyncio::

    from conveyor_nb.testing.conformance import StoreConformance

    class TestMyStore(StoreConformance):
        def make_store(self, clock, metrics=False):
            return MyStore(clock=clock, metrics=metrics)

Each test gets a store of its own on a ``VirtualClock``, and works on the store alone: there is
no worker, so what fails is the store. A store that can't do something declares it, see
``StoreInterface.capabilities``, and is asked to say so at the call. Events may come a little after
the call that made them, in order.

One test can be looked at by hand:

>>> import asyncio
>>> from conveyor_nb import MemoryStore, VirtualClock
>>> class TestMyStore(StoreConformance):
...     def make_store(self, clock, metrics=False):
...         return MemoryStore(clock=clock, metrics=metrics)
>>> async def main():
...     tests = TestMyStore()
...     async with tests.make_store(VirtualClock()) as store:
...         await tests.test_no_job_is_served_twice(store)
>>> asyncio.run(main())
"""

from __future__ import annotations

from conveyor_nb.testing.conformance.cancelling import CancellingTests
from conveyor_nb.testing.conformance.capabilities import CapabilityTests
from conveyor_nb.testing.conformance.commanding import CommandingTests
from conveyor_nb.testing.conformance.deduplicating import DeduplicatingTests
from conveyor_nb.testing.conformance.delaying import DelayingTests
from conveyor_nb.testing.conformance.fetching import FetchingTests
from conveyor_nb.testing.conformance.flow_failures import FlowFailureTests
from conveyor_nb.testing.conformance.flow_retries import FlowRetryTests
from conveyor_nb.testing.conformance.flows import FlowTests
from conveyor_nb.testing.conformance.isolation import IsolationTests
from conveyor_nb.testing.conformance.keeping import KeepingTests
from conveyor_nb.testing.conformance.limiting import LimitingTests
from conveyor_nb.testing.conformance.locking import LockingTests
from conveyor_nb.testing.conformance.looking import LookingTests
from conveyor_nb.testing.conformance.maintaining import MaintainingTests
from conveyor_nb.testing.conformance.metrics import MetricsTests
from conveyor_nb.testing.conformance.saving import SavingTests
from conveyor_nb.testing.conformance.scheduler_changes import SchedulerChangeTests
from conveyor_nb.testing.conformance.schedulers import SchedulerTests
from conveyor_nb.testing.conformance.searching import SearchingTests
from conveyor_nb.testing.conformance.serving import ServingTests
from conveyor_nb.testing.conformance.settling import SettlingTests
from conveyor_nb.testing.conformance.subscribing import SubscribingTests
from conveyor_nb.testing.conformance.updating import UpdatingTests

__all__ = ["StoreConformance"]


class StoreConformance(
    SavingTests,
    DeduplicatingTests,
    IsolationTests,
    ServingTests,
    FetchingTests,
    DelayingTests,
    LockingTests,
    SettlingTests,
    CancellingTests,
    KeepingTests,
    UpdatingTests,
    MaintainingTests,
    LookingTests,
    CommandingTests,
    LimitingTests,
    SubscribingTests,
    FlowTests,
    FlowFailureTests,
    FlowRetryTests,
    SchedulerTests,
    SchedulerChangeTests,
    SearchingTests,
    MetricsTests,
    CapabilityTests,
):
    """Every promise of ``StoreInterface``, by topic; override ``make_store`` to run it."""
