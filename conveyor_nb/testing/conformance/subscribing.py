"""Events: who is called, in which order, and what happens when one of them raises."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.freezing import thaw
from conveyor_nb.core.model import ALL_NAMES, EventType, JobState, StoreEvent
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import EventLog, all_told, capture_events
from conveyor_nb.testing.steps import QUEUE, add, add_all, complete, ids_in, new_job, state_of, take

__all__ = ["SubscribingTests"]


class SubscribingTests(StoreTests):
    """Events, as every store does it."""

    # -- who is called ------------------------------------------------------------------------

    async def test_a_subscriber_gets_the_events_of_its_queue(self, store: StoreInterface) -> None:
        async with capture_events(store, QUEUE) as events:
            await add(store, "a")
            await add(store, "b", queue="reports")
        assert events.story == ["job:waiting a"]

    async def test_a_subscriber_without_a_queue_gets_all_events(
        self, store: StoreInterface
    ) -> None:
        async with capture_events(store, None) as events:
            await add(store, "a")
            await add(store, "b", queue="reports")
        assert [event.queue_name for event in events] == [QUEUE, "reports"]

    async def test_a_subscriber_to_a_job_gets_its_events_alone(self, store: StoreInterface) -> None:
        events = EventLog()
        store.subscribe(QUEUE, events.append, job_id="b")
        await add_all(store, "a", "b")
        await add(store, "b", queue="reports")
        await store.pause_job_name(QUEUE, ALL_NAMES)
        await store.remove_job(QUEUE, "b")
        await all_told(store)
        assert events.story == ["job:waiting b", "job:removed b"]

    async def test_who_follows_one_job_is_told_its_result(self, store: StoreInterface) -> None:
        """Nobody else is told; who is gets it even if the record goes with it."""
        for job_id, options in {"a": {}, "b": {"remove_on_complete": True}}.items():
            await add(store, job_id, **options)
            events, of_queue = EventLog(), EventLog()
            store.subscribe(QUEUE, events.append, job_id=job_id)
            store.subscribe(QUEUE, of_queue.append)
            await complete(store, await take(store), {"sent": [job_id]})
            await all_told(store)
            [told] = events.of_type("job:completed")
            assert thaw(told.data["returnvalue"]) == {"sent": [job_id]}
            assert "returnvalue" not in of_queue.of_type("job:completed")[0].data

    async def test_a_published_event_reaches_the_subscribers(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        event = StoreEvent("queue:error", QUEUE, None, {"error": "x"}, clock.now())
        async with (
            capture_events(store, QUEUE) as events,
            capture_events(store, "reports") as others,
        ):
            await store.publish(event)
        assert events == [event]
        assert others == []

    async def test_a_callback_that_subscribes_twice_is_called_once(
        self, store: StoreInterface
    ) -> None:
        events = EventLog()
        append = events.append
        store.subscribe(QUEUE, append)
        store.subscribe(QUEUE, append)
        await add(store, "a")
        await all_told(store)
        assert events.story == ["job:waiting a"]

    # -- of what ------------------------------------------------------------------------------

    async def test_a_subscriber_may_ask_for_some_types_of_event(
        self, store: StoreInterface
    ) -> None:
        logs = [EventLog() for _ in range(4)]
        ends = {EventType.COMPLETED, EventType.FAILED}
        store.subscribe(QUEUE, logs[0].append, kinds=ends)
        store.subscribe(QUEUE, logs[1].append, kinds=["job:active", "queue:drained"])
        store.subscribe(QUEUE, logs[2].append, job_id="a", kinds=ends)
        store.subscribe(None, logs[3].append, kinds=[EventType.WAITING])
        for job_id in "ab":
            await add(store, job_id)
            await complete(store, await take(store), "sent")
        await all_told(store)
        assert logs[0].story == ["job:completed a", "job:completed b"]
        assert logs[1].story == ["job:active a", "queue:drained", "job:active b", "queue:drained"]
        assert logs[2].story == ["job:completed a"]
        assert logs[3].story == ["job:waiting a", "job:waiting b"]
        assert thaw(logs[2][0].data["returnvalue"]) == "sent"

    async def test_who_subscribes_again_is_told_what_is_asked_for_now(
        self, store: StoreInterface
    ) -> None:
        """They are called once, and in the place that they had."""
        called: list[str] = []

        def first(event: StoreEvent) -> None:
            called.append(f"first {event.type}")

        def second(event: StoreEvent) -> None:
            called.append(f"second {event.type}")

        store.subscribe(QUEUE, first, kinds=[EventType.COMPLETED])
        store.subscribe(QUEUE, second)
        store.subscribe(QUEUE, first, kinds=[EventType.WAITING])
        await add(store, "a")
        await all_told(store)
        store.subscribe(QUEUE, second, kinds=[])
        store.subscribe(QUEUE, first)
        await take(store)
        await all_told(store)
        assert called == ["first job:waiting", "second job:waiting", "first job:active"]

    @pytest.mark.parametrize("whose", ["queue", "all", "job", "queue again"])
    async def test_what_nobody_asked_for_is_told_from_when_somebody_does(
        self, whose: str, clock: VirtualClock
    ) -> None:
        """An event that nobody wants need not be made, so a store may know who wants which."""
        events, before = EventLog(), EventLog()
        heard = events.append
        async with self.make_store(clock) as store:
            store.subscribe(QUEUE, heard, kinds=[EventType.FAILED])
            store.subscribe("another", before.append)
            for job_id in "abc":
                await add(store, job_id)
            await complete(store, await take(store))
            await all_told(store)
            await complete(store, await take(store))  # a store has seen by now that nobody listens
            if whose == "queue again":
                store.subscribe(QUEUE, heard)
            elif whose == "job":
                store.subscribe(QUEUE, heard, job_id="c")
            else:
                store.subscribe(QUEUE if whose == "queue" else None, events.append)
            await complete(store, await take(store), "sent")
            await all_told(store)
            told = [event for event in events if event.job_id == "c"]
            assert [event.type for event in told] == ["job:active", "job:completed"]
            assert ("returnvalue" in told[1].data) == (whose == "job")
            assert before == []

    # -- in which order -----------------------------------------------------------------------

    async def test_subscribers_are_called_in_the_order_they_subscribed(
        self, store: StoreInterface
    ) -> None:
        called: list[str] = []

        def note(name: str, event: StoreEvent) -> None:
            if event.queue_name == QUEUE:
                called.append(name)

        addresses: list[tuple[str, str | None, str | None]] = [
            ("all", None, None),
            ("job", QUEUE, "a"),
            ("queue", QUEUE, None),
            ("queue again", QUEUE, None),
            ("all again", None, None),
        ]
        for name, queue_name, job_id in addresses:
            callback = partial(note, name)
            store.subscribe(queue_name, callback, job_id=job_id)
        await add(store, "a")
        await all_told(store)
        assert called == [name for name, _, _ in addresses]

    async def test_an_event_reaches_everybody_before_the_next_one(
        self, store: StoreInterface
    ) -> None:
        called: list[tuple[int, str | None]] = []
        store.subscribe(QUEUE, lambda event: called.append((1, event.job_id)))
        store.subscribe(QUEUE, lambda event: called.append((2, event.job_id)))
        await store.save_bulk([new_job("a"), new_job("b")])
        await all_told(store)
        assert called == [(1, "a"), (2, "a"), (1, "b"), (2, "b")]

    async def test_what_an_event_tells_of_can_be_seen_by_then(self, store: StoreInterface) -> None:
        looks: list[asyncio.Task[JobState | None]] = []

        def look(event: StoreEvent) -> None:
            if event.type == EventType.WAITING and event.job_id is not None:
                looks.append(asyncio.ensure_future(state_of(store, event.job_id)))

        for job_id in "abc":
            store.subscribe(QUEUE, look, job_id=job_id)
            await add(store, job_id)
            await all_told(store)
        assert await asyncio.gather(*looks) == [JobState.WAITING] * 3

    # -- until when ---------------------------------------------------------------------------

    async def test_an_unsubscribed_callback_is_called_no_more(self, store: StoreInterface) -> None:
        first, second = EventLog(), EventLog()
        callback = first.append
        store.subscribe(QUEUE, callback)
        store.subscribe(QUEUE, second.append)
        store.unsubscribe(QUEUE, callback)
        await add(store, "a")
        await all_told(store)
        assert (first.story, second.story) == ([], ["job:waiting a"])

    async def test_all_callbacks_of_a_queue_can_be_unsubscribed(
        self, store: StoreInterface
    ) -> None:
        of_queue, of_job, of_all = EventLog(), EventLog(), EventLog()
        store.subscribe(QUEUE, of_queue.append)
        store.subscribe(QUEUE, of_job.append, job_id="a")
        store.subscribe(None, of_all.append)
        store.unsubscribe(QUEUE)
        await add(store, "a")
        await all_told(store)
        assert of_queue == []
        assert of_job.story == of_all.story == ["job:waiting a"]

    async def test_a_subscription_to_a_job_ends_by_itself_alone(
        self, store: StoreInterface
    ) -> None:
        of_queue, of_job = EventLog(), EventLog()
        to_queue, to_job = of_queue.append, of_job.append
        store.subscribe(QUEUE, to_queue)
        store.subscribe(QUEUE, to_job, job_id="a")
        store.unsubscribe(QUEUE, to_job, job_id="a")
        await add(store, "a")
        await all_told(store)
        assert of_job == []
        assert of_queue.story == ["job:waiting a"]

    async def test_who_never_subscribed_may_unsubscribe(self, store: StoreInterface) -> None:
        store.unsubscribe(QUEUE, print)
        store.unsubscribe(None)
        store.unsubscribe("nowhere", print, job_id="a")

    async def test_a_callback_may_unsubscribe_itself_while_it_is_called(
        self, store: StoreInterface
    ) -> None:
        once, always = EventLog(), EventLog()

        def only_once(event: StoreEvent) -> None:
            once.append(event)
            store.unsubscribe(QUEUE, only_once)

        store.subscribe(QUEUE, only_once)
        store.subscribe(QUEUE, always.append)
        await add_all(store, "a", "b")
        await all_told(store)
        assert once.story == ["job:waiting a"]
        assert always.story == ["job:waiting a", "job:waiting b"]

    # -- faults -------------------------------------------------------------------------------

    async def test_a_subscriber_that_raises_harms_nobody_and_is_reported(
        self, store: StoreInterface, caplog: pytest.LogCaptureFixture
    ) -> None:
        fault = RuntimeError("subscriber's fault")

        def broken(event: StoreEvent) -> None:
            raise fault

        store.subscribe(QUEUE, broken)
        async with capture_events(store, QUEUE) as events:
            with caplog.at_level(logging.WARNING):
                saved = await add(store, "a")
                await complete(store, await take(store))
        assert saved.id == "a"
        assert events.types == ["job:waiting", "job:active", "job:completed", "queue:drained"]
        reported = [one for one in caplog.records if one.exc_info and one.exc_info[1] is fault]
        assert len(reported) == len(events)

    async def test_an_async_callback_is_refused(self, store: StoreInterface) -> None:
        async def callback(event: StoreEvent) -> None:
            raise AssertionError("it is never called")

        broken: Any = callback
        with pytest.raises(TypeError, match="async"):
            store.subscribe(QUEUE, broken)
        await add(store, "a")

    async def test_what_can_not_be_called_is_refused(self, store: StoreInterface) -> None:
        broken: Any = "print"
        with pytest.raises(TypeError, match="'print'"):
            store.subscribe(QUEUE, broken)

    @pytest.mark.parametrize(
        ("kinds", "error", "message"),
        [
            (["job:done"], ValueError, "'job:done'.*job:completed"),
            ("job:completed", TypeError, "'job:completed'"),
            (5, TypeError, "5"),
        ],
    )
    async def test_types_of_event_that_there_are_not_are_refused(
        self, store: StoreInterface, kinds: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            store.subscribe(QUEUE, print, kinds=kinds)

    async def test_a_job_without_its_queue_is_refused(self, store: StoreInterface) -> None:
        with pytest.raises(ValueError, match="'a'"):
            store.subscribe(None, print, job_id="a")

    # -- the end ------------------------------------------------------------------------------

    async def test_connecting_and_disconnecting_twice_is_fine(self, store: StoreInterface) -> None:
        await store.connect()
        await store.disconnect()
        await store.disconnect()
        await store.connect()

    async def test_a_disconnected_store_calls_nobody(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        events, of_all = EventLog(), EventLog()
        store.subscribe(QUEUE, events.append)
        store.subscribe(None, of_all.append)
        await add(store, "a", remove_on_complete="10s")
        await complete(store, await take(store))
        await store.disconnect()  # subscribers have been told of that by now
        events.clear()
        of_all.clear()
        await clock.advance(10)
        await store.connect()
        await add(store, "b")
        await store.save_worker(WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now()))
        await all_told(store)
        assert (events, of_all) == ([], [])
        assert "b" in await ids_in(store)

    async def test_every_subscriber_is_told_that_the_store_disconnects(
        self, store: StoreInterface
    ) -> None:
        of_queue, of_job, of_all = EventLog(), EventLog(), EventLog()
        await add(store, "a")
        await all_told(store)
        store.subscribe(QUEUE, of_queue.append, kinds=[EventType.FAILED])
        store.subscribe(QUEUE, of_job.append, job_id="a")
        store.subscribe(None, of_all.append)
        await store.disconnect()
        told = [[(event.type, event.queue_name) for event in log] for log in (of_queue, of_job)]
        assert told == [[(EventType.DISCONNECTED, QUEUE)]] * 2
        assert [event.type for event in of_all] == [EventType.DISCONNECTED]
        await store.disconnect()
        assert len(of_queue) == len(of_job) == len(of_all) == 1
