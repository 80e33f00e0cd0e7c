"""The event log of a panel: what happened before anybody looked, and what is shown of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import Job, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.core.model import EPOCH, StoreEvent
from conveyor_nb.notebook.panel.event_log import KEPT, NewestEvents
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.panel.queues_view import QueuesView
from conveyor_nb.notebook.panel.view import UnknownRequestError

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def queue() -> AsyncIterator[Queue]:
    store = MemoryStore(clock=VirtualClock(), ids="sequential", seed=1)
    async with store, Queue("emails", store=store) as queue:
        yield queue


async def send(job: Job) -> None:
    if job.attempts_made == 0:
        raise ValueError("no mailbox")


async def run_some(queue: Queue) -> None:
    await queue.add("send", attempts=2, backoff="10s")
    await queue.add("later", delay="1h")
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    async with Worker("emails", send, store=queue.store):
        await clock.advance("1 minute")


async def log_of(view: QueueView) -> dict[str, Any]:
    told = (await view.read())["events"]
    assert isinstance(told, dict)
    return told


async def test_what_happened_before_is_told_by_the_jobs_records(queue: Queue) -> None:
    seen: list[StoreEvent] = []
    queue.store.subscribe("emails", seen.append)
    await run_some(queue)
    view = QueueView(queue)
    await view.do("tab", tab="events")
    told = await log_of(view)
    of_first = [
        (row["type"], row["at"]) for row in reversed(told["rows"]) if row["id"] == "emails-1"
    ]
    published = [
        (str(event.type), event.timestamp.timestamp())
        for event in seen
        if event.job_id == "emails-1"
    ]
    # a record does not tell that it was delayed in between, and that it was due
    kept = [*published[:3], *published[-2:]]
    assert of_first == kept
    assert [kind for kind, _ in kept] == [
        *("job:waiting", "job:active", "job:retrying", "job:active", "job:completed")
    ]
    assert all(row["past"] for row in told["rows"])
    assert "no mailbox" in next(r["text"] for r in told["rows"] if r["type"] == "job:retrying")
    assert (await log_of(view))["rows"] == [], "only once"


async def test_an_attempt_that_was_put_back_is_no_retry(queue: Queue) -> None:
    async def put_off(job: Job) -> None:
        await job.sleep("10s")
        await job.move_to_delayed(queue.store.clock.now() + timedelta(hours=1))

    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    seen: list[StoreEvent] = []
    queue.store.subscribe("emails", seen.append)
    await queue.add("send", attempts=2)
    for duration, patience in (("1s", 0), ("20s", 30)):
        async with Worker("emails", put_off, store=queue.store) as worker:
            await clock.advance(duration)
            await worker.close(timeout=patience)
    view = QueueView(queue)
    await view.do("tab", tab="events")
    rows = [(row["type"], row["at"], row["text"]) for row in reversed((await log_of(view))["rows"])]
    assert [(kind, text) for kind, _, text in rows] == [
        ("job:waiting", "send"),
        ("job:active", "send · attempt 1"),
        ("job:waiting", "send · the worker was closed"),
        ("job:active", "send · attempt 2"),
        ("job:delayed", "send · moved to 2027-01-01T01:00:11+00:00"),
    ]
    told = [(str(one.type), one.timestamp.timestamp()) for one in seen if one.job_id]
    assert [(kind, at) for kind, at, _ in rows] == told


async def test_what_was_heard_is_not_told_again_by_the_records(queue: Queue) -> None:
    view = QueueView(queue)
    queue.store.subscribe("emails", lambda event: view.note([event]))
    await run_some(queue)
    await view.do("tab", tab="events")
    assert not any(row.get("past") for row in (await log_of(view))["rows"])


async def test_one_job_s_events_and_one_type_s_are_found(queue: Queue) -> None:
    await run_some(queue)
    view = QueueView(queue)
    await view.do("tab", tab="events")
    await log_of(view)
    queue.store.subscribe("emails", lambda event: view.note([event]))
    await queue.add_bulk({"name": "send"} for _ in range(2 * KEPT))
    await view.do("events", id="emails-1")
    told = await log_of(view)
    assert {row["id"] for row in told["rows"]} == {"emails-1"}
    assert told["rows"][-1]["type"] == "job:waiting"
    assert told["job"] == "emails-1"
    await view.do("events", id="emails-1", type="job:completed")
    assert [row["type"] for row in (await log_of(view))["rows"]] == ["job:completed"]
    await view.do("events", id="no-such-job")
    assert (await log_of(view))["rows"] == []
    await view.do("events")
    assert len((await log_of(view))["rows"]) == KEPT


async def test_a_job_that_is_due_says_when_in_the_page_s_own_zone(queue: Queue) -> None:
    view = QueueView(queue)
    queue.store.subscribe("emails", lambda event: view.note([event]))
    await queue.add("later", delay="1h")
    await view.do("tab", tab="events")
    [row] = (await log_of(view))["rows"]
    assert row["due"] == row["at"] + 3_600
    assert row["text"] == "later"


async def test_an_event_of_one_job_is_found_among_very_many(queue: Queue) -> None:
    log = NewestEvents()
    for n in range(1_500):
        log.add([StoreEvent("job:log", "emails", f"emails-{n}", {"line": "x"}, EPOCH)])
    log.show("", "emails-1000")
    [row] = log.read()["rows"]
    assert row["id"] == "emails-1000"


# -- of all queues ----------------------------------------------------------------------------


async def all_events(view: QueuesView, **message: Any) -> dict[str, Any]:
    if message:
        view.take(Message("events", **message))
    told = (await view.read())["events"]
    assert isinstance(told, dict)
    return told


async def test_a_store_s_events_are_of_all_its_queues_or_of_one(queue: Queue) -> None:
    store = queue.store
    other = Queue("images", store=store)
    await run_some(queue)
    await other.add("resize")
    view = QueuesView(store)
    view.take(Message("tab", tab="events"))
    store.subscribe(None, lambda event: view.note([event]))
    await other.pause()
    told = await all_events(view)
    assert told["queues"] == ["emails", "images"]
    [first, *past] = told["rows"]
    assert (first["type"], first["queue"], first.get("past")) == ("queue:paused", "images", None)
    assert all(row["past"] for row in past)
    assert {row["queue"] for row in told["rows"]} == {"emails", "images"}
    times = [row["at"] for row in told["rows"]]
    assert times == sorted(times, reverse=True)

    await other.add("crop")
    [fresh] = (await all_events(view))["rows"]
    assert (fresh["type"], fresh["queue"]) == ("job:waiting", "images")

    of_images = await all_events(view, queue="images")
    assert of_images["queue"] == "images"
    assert {row["queue"] for row in of_images["rows"]} == {"images"}
    assert len(of_images["rows"]) == 3
    failed = await all_events(view, queue="emails", type="job:retrying")
    assert [row["id"] for row in failed["rows"]] == ["emails-1"]
    of_job = await all_events(view, id="emails-2")
    assert {(row["queue"], row["id"]) for row in of_job["rows"]} == {("emails", "emails-2")}


async def test_a_store_s_panel_refuses_what_it_does_not_know(queue: Queue) -> None:
    view = QueuesView(queue.store)
    with pytest.raises(ValueError, match="has no tab 'jobs', but queues, events"):
        view.take(Message("tab", tab="jobs"))
    with pytest.raises(UnknownRequestError, match="does not know how to do 'pause'"):
        view.take(Message("pause"))
    assert "events" not in await view.read()


async def test_the_past_of_very_many_queues_is_bounded(queue: Queue) -> None:
    for number in range(150):
        await Queue(f"q{number:03}", store=queue.store).add_bulk([{"name": "send"}] * 50)
    view = QueuesView(queue.store)
    view.take(Message("tab", tab="events"))
    told = await all_events(view)
    assert len(told["queues"]) == 100
    assert len(told["rows"]) == KEPT
    assert len(json.dumps(told["rows"])) < 40_000
