"""A store whose time stands still, a queue in it, and workers that are closed after the test."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import MemoryStore, Queue, StoreEvent, VirtualClock, Worker


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest_asyncio.fixture
async def store(clock: VirtualClock) -> AsyncIterator[MemoryStore]:
    async with MemoryStore(clock=clock, ids="sequential", seed=7) as store:
        yield store


@pytest.fixture
def events(store: MemoryStore) -> list[StoreEvent]:
    """Every event of the store, as it comes."""
    seen: list[StoreEvent] = []
    store.subscribe(None, seen.append)
    return seen


@pytest_asyncio.fixture
async def queue(store: MemoryStore) -> AsyncIterator[Queue]:
    async with Queue("emails", store=store) as queue:
        yield queue


@pytest_asyncio.fixture
async def start(store: MemoryStore) -> AsyncIterator[Callable[..., Worker]]:
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
