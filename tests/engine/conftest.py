"""A store whose time stands still, a queue in it, and workers that are closed after the test."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import Queue, StoreEvent, StoreInterface, VirtualClock, Worker
from conveyor_nb.stores.capabilities import Capability
from tests.crew import Crew
from tests.stores import STORES


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


OVER_ALL_STORES = (
    *("test_adding", "test_batches", "test_closing", "test_commands", "test_cron"),
    "test_current_job",
    *("test_deadlocks", "test_observation", "test_retries", "test_schedules", "test_stopping"),
    "test_waiting",
)
"""The modules that run over every store; with ``EVERY_STORE=1`` all do."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_kind" in metafunc.fixturenames:
        is_among = metafunc.module.__name__.rpartition(".")[2] in OVER_ALL_STORES
        everywhere = is_among or bool(os.environ.get("EVERY_STORE"))
        metafunc.parametrize("store_kind", list(STORES) if everywhere else ["memory"])


@pytest_asyncio.fixture
async def store(store_kind: str, clock: VirtualClock) -> AsyncIterator[StoreInterface]:
    async with STORES[store_kind](clock=clock, ids="sequential", seed=7) as store:
        yield store


@pytest.fixture
def _callable_backoffs(store: StoreInterface) -> None:
    """Leaves out the stores that have none."""
    if Capability.CALLABLE_BACKOFFS not in store.capabilities:
        pytest.skip("the store has no backoffs by a callable")


@pytest.fixture
def events(store: StoreInterface) -> list[StoreEvent]:
    """Every event of the store, as it comes."""
    seen: list[StoreEvent] = []
    store.subscribe(None, seen.append)
    return seen


@pytest_asyncio.fixture
async def queue(store: StoreInterface) -> AsyncIterator[Queue]:
    async with Queue("emails", store=store) as queue:
        yield queue


@pytest_asyncio.fixture
async def start(store: StoreInterface) -> AsyncIterator[Callable[..., Worker]]:
    """Makes workers of the queue ``emails``; each is closed after the test, running jobs or not."""
    workers: list[Worker] = []

    def start(handler: Callable[..., Any], **options: Any) -> Worker:
        workers.append(Worker("emails", handler, store=store, **options))
        return workers[-1]

    yield start
    for worker in workers:
        await worker.close(timeout=0)


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """What a handler in a thread waits for; a test that fails does not leave the thread waiting."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def _brief_patience(clock: VirtualClock) -> None:
    clock.patience = 0.02  # threads are at rest until they are told to go on


@pytest_asyncio.fixture
async def crew() -> AsyncIterator[Crew]:
    crew = Crew()
    yield crew
    crew.let_go()  # a test that fails leaves nobody waiting
