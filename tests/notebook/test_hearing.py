"""What a panel hears of where so much happens that no page could tell of it one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

import pytest
import pytest_asyncio

from conveyor_nb import BulkJob, Job, MemoryStore, Queue, StoreEvent, Worker
from conveyor_nb.notebook.panel.hearing import Hearing, Settled
from conveyor_nb.notebook.panel.widget import Panel, panel_of

from .pages import Page

pytestmark = pytest.mark.asyncio

FLOOD = 5_000


class Heard:
    """What a hearing hands over."""

    def __init__(self) -> None:
        self.events: list[StoreEvent] = []
        self.counts: Counter[str] = Counter()
        self.gaps: list[tuple[datetime, datetime]] = []

    def count(self, settled: Settled) -> None:
        for (_, kind), instants in settled.items():
            self.counts[kind] += len(instants)

    def miss(self, since: datetime, until: datetime) -> None:
        self.gaps.append((since, until))

    def told(self, kind: str) -> int:
        return sum(event.type == kind for event in self.events)


@pytest_asyncio.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore(ids="sequential") as store:
        yield store


@pytest_asyncio.fixture
async def queue(store: MemoryStore) -> AsyncIterator[Queue]:
    async with Queue("emails", store=store) as queue:
        yield queue


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest_asyncio.fixture
async def hearing(store: MemoryStore, heard: Heard) -> AsyncIterator[Hearing]:
    hearing = Hearing(
        store,
        asyncio.get_running_loop(),
        take_in=heard.events.extend,
        count=heard.count,
        miss=heard.miss,
        on_news=lambda: None,
        on_drained=lambda: None,
    )
    yield hearing
    hearing.stop()


def some(name: str, count: int) -> Iterator[BulkJob]:
    return ({"name": name} for _ in range(count))


async def send(job: Job) -> None:
    if job.name == "bad":
        raise ValueError("no such mailbox")


async def run(queue: Queue, jobs: list[BulkJob]) -> None:
    async with Worker(queue.name, send, store=queue.store, concurrency=10):
        await queue.add_bulk(jobs)
        await queue.join()


async def test_where_little_happens_each_event_is_told(
    queue: Queue, hearing: Hearing, heard: Heard
) -> None:
    hearing.listen("emails", to_all=False)
    await run(queue, [*some("send", 50)])
    assert not hearing.flush(), "it is no rush"
    assert (
        heard.told("job:waiting") == heard.told("job:active") == heard.told("job:completed") == 50
    )
    assert not heard.counts
    assert not heard.gaps


async def test_in_a_rush_a_part_is_told_and_all_that_settles_is_counted(
    queue: Queue, store: MemoryStore, hearing: Hearing, heard: Heard
) -> None:
    hearing.listen("emails", to_all=False)
    unheard: set[str] = set()
    store.subscribe(
        "emails",
        lambda _: unheard.update(store._subscriptions.unheard["emails"]),
        kinds=["job:failed"],
    )
    await run(queue, [*some("send", FLOOD), *some("bad", 3)])
    assert "job:active" in unheard, "the store does not even make what nobody hears of"
    assert hearing.flush(), "it is a rush"
    assert len(heard.events) < FLOOD / 3
    assert heard.told("job:completed") + heard.counts["job:completed"] == FLOOD
    assert heard.told("job:failed") == 3, "what went wrong is told"
    assert heard.told("worker:closed") == 1, "and what is rare"
    [(since, until)] = heard.gaps
    assert since < until

    heard.events.clear()
    await queue.add("send")
    assert not hearing.flush()
    assert heard.told("job:waiting") == 1, "then all is heard again"


async def test_what_is_wanted_is_heard_in_a_rush_but_not_without_end(
    queue: Queue, hearing: Hearing, heard: Heard
) -> None:
    hearing.listen("emails", to_all=False, favour="job:active")
    await run(queue, [*some("send", FLOOD)])
    hearing.flush()
    assert 400 < heard.told("job:active") < FLOOD / 3


async def test_who_needs_each_event_gets_it(queue: Queue, hearing: Hearing, heard: Heard) -> None:
    hearing.listen("emails", to_all=True)
    await run(queue, [*some("send", FLOOD)])
    assert hearing.flush(), "it is a rush"
    assert heard.told("job:active") == heard.told("job:completed") == FLOOD
    assert not heard.gaps


async def test_the_log_says_that_there_was_more_and_the_pulse_counts_it(queue: Queue) -> None:
    panel: Panel = panel_of(queue)
    page = Page(panel)
    await page.say("hello")
    await page.turn_to("events")
    await page.until(lambda: panel.tab == "events")
    await run(queue, [*some("send", FLOOD), *some("bad", 2)])
    await page.until(lambda: "stream:missed" in page.event_types())
    await page.say("events", type="job:failed")
    await page.until(lambda: panel.events["type"] == "job:failed" and bool(page.events))
    assert Counter(page.event_types())["job:failed"] == 2
    assert "stream:missed" in page.event_types(), "of those there may have been more"
    await page.turn_to("jobs")
    await page.until(lambda: sum(panel.pulse.get("done", ())) == FLOOD)
    assert sum(panel.pulse["failed"]) == 2
    panel.close()
