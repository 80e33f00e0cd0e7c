"""The events of a queue or a store as an async iterator: bounded, and honest about it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import MemoryStore, Queue, StoreEvent, VirtualClock, Worker

Start = Callable[..., Worker]


def names(events: list[StoreEvent]) -> list[Any]:
    """The ids of the jobs that were told of, and how many events were missed in between."""
    return [event.job_id or event.data["missed"] for event in events]


@pytest.mark.asyncio
async def test_a_stream_gives_the_events_of_its_queue_in_order(
    queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    await queue.add("send", job_id="before")
    await queue.pause()
    async with queue.events() as one, store.events() as every:
        await Queue("reports", store=store).add("print", job_id="other")
        await queue.add("send", job_id="mine")
        start(lambda job: None)
        await queue.resume()
        await clock.settle()
    seen = [event async for event in one]
    told = [f"{event.type} {event.job_id}" for event in seen if event.job_id == "mine"]
    assert told == ["job:waiting mine", "job:active mine", "job:completed mine"]
    assert seen[0].job_id == "mine"
    assert {event.queue_name for event in seen} == {"emails"}
    whole = [event async for event in every]
    assert whole[0].job_id == "other"
    assert [event for event in whole if event.queue_name == "emails"] == seen
    assert (one.missed, every.missed) == (0, 0)


@pytest.mark.asyncio
async def test_a_reader_waits_for_the_next_event(queue: Queue, clock: VirtualClock) -> None:
    async with queue.events() as events:
        reader = asyncio.create_task(anext(events))
        await clock.settle()
        assert not reader.done()
        job = await queue.add("send")
        assert (await reader).job_id == job.id


@pytest.mark.asyncio
async def test_each_event_goes_to_one_of_several_readers(queue: Queue, clock: VirtualClock) -> None:
    async with queue.events() as events:
        readers = [asyncio.create_task(anext(events)) for _ in range(3)]
        await clock.settle()
        for _ in range(3):
            await queue.add("send")
        seen = await asyncio.gather(*readers)
    assert sorted(str(event.job_id) for event in seen) == ["emails-1", "emails-2", "emails-3"]


@pytest.mark.asyncio
async def test_a_slow_reader_is_told_how_many_he_missed(queue: Queue) -> None:
    async with queue.events(size=3) as events:
        for number in range(10):
            await queue.add("send", job_id=f"j{number}")
        first = await anext(events)
        assert (str(first.type), first.queue_name, first.job_id) == (
            "stream:missed",
            "emails",
            None,
        )
        seen = [first, await anext(events)]
        for number in range(10, 13):
            await queue.add("send", job_id=f"j{number}")
        seen += [await anext(events) for _ in range(4)]
        await queue.add("send", job_id="last")
        seen.append(await anext(events))
    assert names(seen) == [7, "j7", 2, "j10", "j11", "j12", "last"]
    assert events.missed == 9


@pytest.mark.parametrize("size", [1, 2, 5, 20])
@pytest.mark.asyncio
async def test_what_is_read_and_what_was_missed_add_up(queue: Queue, size: int) -> None:
    seen: list[StoreEvent] = []
    async with queue.events(size=size) as events:
        for number in range(60):
            await queue.add("send")
            if number % 7 == 6:
                seen += [await anext(events) for _ in range(min(size, 3))]
    seen += [event async for event in events]
    told = [int(event.job_id.removeprefix("emails-")) for event in seen if event.job_id]
    missed = [event.data["missed"] for event in seen if event.type == "stream:missed"]
    assert told == sorted(set(told))
    assert len(told) + sum(missed) == 60
    assert sum(missed) == events.missed
    last = 0
    for event in seen:
        last += event.data["missed"] if event.job_id is None else 1
        if event.job_id is not None:
            assert event.job_id == f"emails-{last}", "what was missed is told in its place"


@pytest.mark.asyncio
async def test_a_stream_holds_no_more_than_its_size(queue: Queue, store: MemoryStore) -> None:
    async with queue.events() as events:
        await queue.add_bulk([{"name": "send"}] * 1_500)
    assert [event.job_id is None async for event in events] == [True] + [False] * 1_000
    assert events.missed == 500
    for size in (0, -1, True, 1.5, None):
        with pytest.raises((ValueError, TypeError)):
            store.events(size=size)  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_a_loop_ends_when_the_stream_is_closed(queue: Queue, clock: VirtualClock) -> None:
    seen: Counter[str | None] = Counter()
    events = queue.events()

    async def read() -> None:
        async for event in events:
            seen[event.job_id] += 1

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await queue.add("send", job_id="a")
    await clock.settle()
    await queue.add("send", job_id="b")
    await clock.settle()
    await events.aclose()
    await events.aclose()
    await queue.add("send", job_id="c")
    await asyncio.gather(*readers)
    assert seen == {"a": 1, "b": 1}
    with pytest.raises(StopAsyncIteration):
        await anext(events)


@pytest.mark.asyncio
async def test_a_loop_may_be_left_and_taken_up_again(queue: Queue) -> None:
    async with queue.events() as events:
        for job_id in "abc":
            await queue.add("send", job_id=job_id)
        async for event in events:
            assert event.job_id == "a"
            break
        assert (await anext(events)).job_id == "b"


@pytest.mark.asyncio
async def test_a_reader_that_is_cancelled_loses_no_event(queue: Queue, clock: VirtualClock) -> None:
    async with queue.events() as events:
        reader = asyncio.create_task(anext(events))
        await clock.settle()
        reader.cancel()
        await clock.settle()
        await queue.add("send", job_id="a")
        assert (await anext(events)).job_id == "a"


@pytest.mark.asyncio
async def test_a_closed_stream_costs_the_store_nothing(queue: Queue, store: MemoryStore) -> None:
    streams = [queue.events() for _ in range(3)] + [store.events()]
    for stream in streams[1:]:
        await stream.aclose()
    await queue.add("send", job_id="a")
    assert [len([one async for one in stream]) for stream in streams[1:]] == [0, 0, 0]
    assert (await anext(streams[0])).job_id == "a"
    await streams[0].aclose()
