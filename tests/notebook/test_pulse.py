"""The last minute of a queue, in its panel and on its card."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import Job, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.panel.queues_view import QueuesView

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def queue() -> AsyncIterator[Queue]:
    store = MemoryStore(clock=VirtualClock(), ids="sequential", seed=1)
    async with store, Queue("emails", store=store) as queue:
        yield queue


async def send(job: Job) -> None:
    await job.sleep("1s")
    if job.data % 4 == 0:
        raise ValueError("no mailbox")


async def run(queue: Queue, jobs: int, duration: str) -> None:
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    await queue.add_bulk({"name": "send", "data": n} for n in range(jobs))
    async with Worker("emails", send, store=queue.store, concurrency=2):
        await clock.advance(duration)


async def card_of(view: QueuesView) -> dict[str, Any]:
    [card] = (await view.read())["queues"]["cards"]
    assert isinstance(card, dict)
    return card


async def test_each_second_tells_what_completed_and_what_failed(queue: Queue) -> None:
    await run(queue, 8, "4500ms")
    told = (await QueueView(queue).read())["pulse"]
    assert (told["done"][-5:], told["failed"][-5:]) == ([0, 1, 2, 1, 2], [0, 1, 0, 1, 0])
    assert len(told["done"]) == 60
    assert told["rate"] == 6 / 5, "the second that is under way is not whole"
    card = await card_of(QueuesView(queue.store))
    assert card["pulse"] == told


async def test_events_are_counted_on_and_what_is_old_is_left_out(queue: Queue) -> None:
    view, overview = QueueView(queue), QueuesView(queue.store)
    assert (await view.read())["pulse"] == {"done": [], "failed": [], "rate": 0.0}
    assert (await card_of_none(overview)) == []
    await queue.add("send", 1)
    assert (await card_of(overview))["pulse"] is None
    for one in (view, overview):
        queue.store.subscribe(None, lambda event, one=one: one.note([event]))  # type: ignore[misc]
    await run(queue, 600, "4m")
    told = (await view.read())["pulse"]
    assert told == (await card_of(overview))["pulse"]
    assert sum(told["done"]) + sum(told["failed"]) == 120
    assert told["rate"] == 2.0
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    await clock.advance("61s")
    assert (await view.read())["pulse"]["done"] == []


async def card_of_none(view: QueuesView) -> list[Any]:
    cards = (await view.read())["queues"]["cards"]
    assert isinstance(cards, list)
    return cards


async def test_what_nobody_heard_is_read(queue: Queue) -> None:
    view = QueueView(queue)
    await view.read()
    view.rest()
    await run(queue, 8, "9s")
    view.renew()
    assert sum((await view.read())["pulse"]["done"]) == 6


async def test_many_queues_are_a_small_message(queue: Queue) -> None:
    for number in range(100):
        other = Queue(f"q{number}", store=queue.store)
        await other.add("send")
        await (await queue.add("send", 1)).remove()
    await run(queue, 100, "59s")
    view = QueuesView(queue.store)
    assert len(json.dumps((await view.read())["queues"])) < 30_000
