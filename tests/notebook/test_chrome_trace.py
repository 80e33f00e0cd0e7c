"""A timeline as a Chrome trace: as the format asks, and what Perfetto reads of it."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
import pytest
import pytest_asyncio

from conveyor_nb import Job, MemoryStore, Queue, VirtualClock, Worker, timeline

pytestmark = pytest.mark.asyncio

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
Micros = Annotated[float, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Event(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="ph"):
    """What the format asks of every event, strictly: more than readers do."""

    name: Text
    pid: Number
    tid: Whole


class Metadata(_Event, tag="M"):
    name: Literal["process_name", "thread_name"]
    args: dict[Literal["name"], Text]


class Complete(_Event, tag="X"):
    cat: Text
    ts: Micros
    dur: Micros
    args: dict[str, str | int]


class AsyncBegin(_Event, tag="b"):
    cat: Text
    id: Number
    ts: Micros
    args: dict[str, str]


class AsyncEnd(_Event, tag="e"):
    cat: Text
    id: Number
    ts: Micros


class FlowStart(_Event, tag="s"):
    cat: Text
    id: Number
    ts: Micros


class FlowEnd(_Event, tag="f"):
    cat: Text
    id: Number
    ts: Micros
    bp: Literal["e"]


class Trace(msgspec.Struct, forbid_unknown_fields=True):
    traceEvents: list[Metadata | Complete | AsyncBegin | AsyncEnd | FlowStart | FlowEnd]  # noqa: N815
    displayTimeUnit: Literal["ms", "ns"]  # noqa: N815
    otherData: dict[str, str]  # noqa: N815


def read(trace: dict[str, Any]) -> list[Any]:
    """Its events, each as the format asks, in the order in which a reader sorts them."""
    events = msgspec.json.decode(json.dumps(trace), type=Trace).traceEvents
    return sorted(events, key=lambda event: getattr(event, "ts", -1.0))


@pytest_asyncio.fixture
async def queue() -> AsyncIterator[Queue]:
    store = MemoryStore(clock=VirtualClock(), ids="sequential", seed=1)
    async with store, Queue("images", store=store) as queue:
        yield queue


async def work(job: Job) -> None:
    """Some take no time at all, some fail and are tried again, some are still under way."""
    await job.sleep(job.data % 4)
    if job.attempts_made == 0 and job.data % 3 == 0:
        raise ValueError("no \ud800 image")


async def run(queue: Queue) -> list[Any]:
    """Let two workers work; what a reader of the trace then has."""
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    await queue.add_bulk(
        {"name": f"resize {n % 2}", "data": n, "attempts": 2, "backoff": n % 2} for n in range(24)
    )
    workers = [
        Worker("images", work, store=queue.store, concurrency=slots, name=name)
        for name, slots in (("first", 3), ("second", 2))
    ]
    await clock.advance("4s")
    await workers[0].close(timeout=0)
    await clock.advance("5s")
    trace = timeline(queue).to_chrome_trace()
    await workers[1].close(timeout=0)
    return read(trace)


async def test_every_event_is_as_the_format_asks(queue: Queue) -> None:
    events = await run(queue)
    kinds = {type(event) for event in events}
    assert kinds == {Metadata, Complete, AsyncBegin, AsyncEnd, FlowStart, FlowEnd}


async def test_a_queue_in_which_nothing_ran_is_a_trace_too(queue: Queue) -> None:
    assert read(timeline(queue).to_chrome_trace()) == []


async def test_each_thread_has_a_number_of_its_own_and_a_name(queue: Queue) -> None:
    """Perfetto finds a thread by its number alone, and takes that of its process for the main."""
    events = await run(queue)
    processes: dict[int, set[int]] = defaultdict(set)
    for event in events:
        if isinstance(event, Complete):
            processes[event.tid].add(event.pid)
    assert all(len(pids) == 1 for pids in processes.values())
    assert not {event.pid for event in events} & processes.keys()
    named = {
        (event.name, event.tid): event.args["name"] for event in events if type(event) is Metadata
    }
    assert {named["thread_name", tid] for tid in processes} == {"slot 1", "slot 2", "slot 3"}
    assert {name for (kind, _), name in named.items() if kind == "process_name"} == {
        *("worker first-worker-1", "worker second", "jobs of queue images")
    }


async def test_the_slices_of_a_thread_do_not_overlap(queue: Queue) -> None:
    by_thread: dict[int, list[Complete]] = defaultdict(list)
    for event in await run(queue):
        if isinstance(event, Complete):
            by_thread[event.tid].append(event)
    for slices in by_thread.values():
        for one, other in itertools.pairwise(slices):
            assert one.ts + one.dur <= other.ts


async def test_each_arrow_leads_from_an_attempt_to_the_next_one(queue: Queue) -> None:
    """As a reader binds it: to the slice that is open on the thread, or was begun last there."""
    on_top: dict[int, Complete] = {}
    starts: dict[int, Complete] = {}
    led = 0
    for event in await run(queue):
        if isinstance(event, Complete):
            on_top[event.tid] = event
        elif isinstance(event, FlowStart):
            assert event.ts <= on_top[event.tid].ts + on_top[event.tid].dur
            starts[event.id] = on_top[event.tid]
        elif isinstance(event, FlowEnd):
            before, after = starts.pop(event.id), on_top[event.tid]
            assert before.args["job"] == after.args["job"]
            assert int(before.args["attempt"]) + 1 == after.args["attempt"]
            assert before.cat in ("failed", "put back")
            led += 1
    assert led >= 8
    assert not starts, "none leads nowhere"


async def test_a_life_lasts_as_long_as_its_attempts_and_longer(queue: Queue) -> None:
    events = await run(queue)
    begins = {event.id: event for event in events if isinstance(event, AsyncBegin)}
    ends = {event.id: event for event in events if isinstance(event, AsyncEnd)}
    assert begins.keys() == ends.keys()
    lives = {begin.args["job"]: (begin.ts, ends[number].ts) for number, begin in begins.items()}
    for event in events:
        if isinstance(event, Complete):
            begin, end = lives[str(event.args["job"])]
            assert begin <= event.ts
            assert event.ts + event.dur <= end
