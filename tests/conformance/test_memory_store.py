"""What MemoryStore promises beside what every store does."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pandas as pd
import pytest
import pytest_asyncio

from conveyor_nb import (
    Backoff,
    FlowJob,
    FlowProducer,
    Group,
    GroupFullError,
    JobState,
    MemoryStore,
    PayloadError,
    StoreEvent,
    SystemClock,
    VirtualClock,
)
from conveyor_nb.core.model import ALL_NAMES
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.testing.events import EventLog, capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    add_all,
    complete,
    fail,
    get,
    new_job,
    served,
    take,
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest_asyncio.fixture
async def store(clock: VirtualClock) -> AsyncIterator[MemoryStore]:
    async with MemoryStore(clock=clock, ids="sequential", seed=1) as store:
        yield store


# -- how it is made ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"clock": "now"}, TypeError, "clock must be a Clock.*'now'"),
        ({"clock": datetime(2027, 1, 1, tzinfo=UTC)}, TypeError, "clock must be a Clock"),
        ({"ids": "random"}, ValueError, "ids must be 'sequential' or None.*'random'"),
        ({"ids": ""}, ValueError, "ids must be"),
        ({"unknown": 1}, TypeError, "unknown"),
    ],
)
def test_a_bad_argument_is_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MemoryStore(**options)


def test_a_store_needs_no_argument_and_no_loop() -> None:
    store = MemoryStore()
    assert isinstance(store.clock, SystemClock)
    assert repr(store) == "<MemoryStore: 0 jobs in 0 queues>"


def test_auto_migrate_is_taken_and_has_no_effect() -> None:
    assert repr(MemoryStore(auto_migrate=False)) == repr(MemoryStore(auto_migrate=True))


@pytest.mark.asyncio
async def test_its_repr_counts_jobs_and_queues(store: MemoryStore) -> None:
    await add(store, "a", queue="reports")
    assert repr(store) == "<MemoryStore: 1 job in 1 queue>"
    await add_all(store, "a", "b")
    assert repr(store) == "<MemoryStore: 3 jobs in 2 queues>"


# -- ids --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_sequential_ids_count_for_each_queue(store: MemoryStore) -> None:
    ids = [(await add(store, queue=queue)).id for queue in (QUEUE, QUEUE, "reports", QUEUE)]
    assert ids == ["emails-1", "emails-2", "reports-1", "emails-3"]


@pytest.mark.asyncio
async def test_a_sequential_id_that_is_taken_is_left_out(store: MemoryStore) -> None:
    await add(store, "emails-2")
    assert [(await add(store)).id for _ in range(2)] == ["emails-1", "emails-3"]


@pytest.mark.asyncio
@pytest.mark.parametrize("given_first", [True, False])
async def test_a_batch_may_give_the_id_that_would_be_next(
    store: MemoryStore, given_first: bool
) -> None:
    given, other = new_job("emails-1", data="given"), new_job(data="other")
    batch = [given, other] if given_first else [other, given]
    saved = await store.save_bulk(batch)
    assert {job.data: job.id for job in saved} == {"given": "emails-1", "other": "emails-2"}
    assert sorted(await served(store)) == ["emails-1", "emails-2"]


@pytest.mark.asyncio
async def test_a_flow_that_is_refused_uses_up_no_number(store: MemoryStore) -> None:
    flow = FlowProducer(store=store)
    with pytest.raises(PayloadError):
        await flow.add(FlowJob("top", "a", children=[FlowJob("low", "a", lambda: None)]))
    lows = [FlowJob("low", "a", group=Group("g", max_size=1)) for _ in range(2)]
    with pytest.raises(GroupFullError):
        await flow.add(FlowJob("top", "a", children=lows))
    node = await flow.add(FlowJob("top", "a", children=[FlowJob("low", "a", job_id="a-1")]))
    assert node.job.id == "a-2"
    assert [child.job.id for child in node.children] == ["a-1"]


@pytest.mark.asyncio
async def test_ids_are_random_uuids() -> None:
    saved = await MemoryStore().save_bulk([new_job() for _ in range(1_000)])
    ids = {job.id for job in saved}
    assert len(ids) == 1_000
    assert all(str(parsed := UUID(one)) == one and parsed.version == 4 for one in ids)
    columns = set(zip(*ids, strict=True))
    assert len(columns) == 33, "a dash, the version and 31 digits, none of which follows another"


FORK = """
import os
from conveyor_nb.core.values.ids import random_id

random_id()  # random bytes for more of them are at hand now
if child := os.fork():
    os.waitpid(child, 0)  # one prints after the other
print(random_id(), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_process_and_its_child_make_other_ids() -> None:
    told = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    assert len(set(told.stdout.split())) == 2


@pytest.mark.asyncio
async def test_sequential_worker_ids_count_for_each_name(store: MemoryStore) -> None:
    names = ["mailer", "mailer", "cleaner"]
    ids = [store.new_worker_id(name) for name in names]
    assert ids == ["mailer-worker-1", "mailer-worker-2", "cleaner-worker-1"]


@pytest.mark.asyncio
async def test_a_disconnected_store_begins_again(store: MemoryStore, clock: VirtualClock) -> None:
    events = EventLog()
    store.subscribe(QUEUE, events.append)
    await add(store)
    await store.pause_job_name(QUEUE, ALL_NAMES)
    await store.disconnect()
    events.clear()
    assert repr(store) == "<MemoryStore: 0 jobs in 0 queues>"
    assert await store.get_paused_job_names(QUEUE) == frozenset()
    assert (await add(store)).id == "emails-1"
    assert await served(store) == ["emails-1"]
    assert events == []


# -- the seed ---------------------------------------------------------------------------------


async def delays_of(seed: int | None) -> list[datetime | None]:
    clock = VirtualClock()
    async with MemoryStore(clock=clock, seed=seed) as store:
        await add(store, "a", attempts=8, backoff=Backoff("exponential", "1s"))
        delays = []
        for _ in range(7):
            delays.append((await fail(store, await take(store))).delay_until)
            await clock.advance("5m")
        return delays


@pytest.mark.asyncio
async def test_the_same_seed_gives_the_same_delays() -> None:
    assert await delays_of(42) == await delays_of(42)


@pytest.mark.asyncio
async def test_another_seed_gives_other_delays() -> None:
    assert await delays_of(42) != await delays_of(43)
    assert await delays_of(None) != await delays_of(None)


# -- faults of subscribers --------------------------------------------------------------------


def raise_it(event: StoreEvent) -> None:
    raise RuntimeError(f"no {event.type}")


@pytest.mark.asyncio
async def test_a_fault_goes_to_the_callback_for_faults_and_not_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults: list[BaseException] = []
    store = MemoryStore(clock=VirtualClock(), on_event_handler_error=faults.append)
    store.subscribe(QUEUE, raise_it)
    await add(store, "a")
    assert [str(fault) for fault in faults] == ["no job:waiting"]
    [note] = faults[0].__notes__
    assert "job:waiting of job 'a' in queue 'emails'" in note
    assert caplog.records == []


@pytest.mark.asyncio
async def test_an_error_that_is_raised_again_and_again_notes_its_last_event() -> None:
    fault = RuntimeError("one for all")
    fault.add_note("mine")

    def broken(event: StoreEvent) -> None:
        raise fault

    store = MemoryStore(clock=VirtualClock(), on_event_handler_error=lambda error: None)
    store.subscribe(QUEUE, broken)
    await add_all(store, "a", "b", "c")
    mine, ours = fault.__notes__
    assert mine == "mine"
    assert "'c'" in ours


@dataclass(frozen=True)
class FrozenError(Exception):
    text: str


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [FrozenError("x"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
async def test_whatever_a_subscriber_raises_the_step_is_done_and_told(fault: BaseException) -> None:
    faults: list[BaseException] = []

    def broken(event: StoreEvent) -> None:
        raise fault

    store = MemoryStore(clock=VirtualClock(), on_event_handler_error=faults.append)
    store.subscribe(QUEUE, broken)
    async with capture_events(store, QUEUE) as events:
        await store.save_bulk([new_job("a"), new_job("b")])
    assert events.story == ["job:waiting a", "job:waiting b"]
    assert faults == [fault, fault]


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [ValueError(), KeyboardInterrupt(), SystemExit(1)], ids=repr)
async def test_a_callback_for_faults_may_raise_anything(
    caplog: pytest.LogCaptureFixture, fault: BaseException
) -> None:
    def report(error: BaseException) -> None:
        raise fault

    store = MemoryStore(clock=VirtualClock(), on_event_handler_error=report)
    store.subscribe(QUEUE, raise_it)
    await add(store, "a")
    logged = [one.exc_info[1] for one in caplog.records if one.exc_info]
    assert logged[0] is fault
    assert str(logged[1]) == "no job:waiting"


@pytest.mark.asyncio
async def test_a_callback_for_faults_that_raises_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def report(error: BaseException) -> None:
        raise ValueError("the reporter's own")

    store = MemoryStore(clock=VirtualClock(), on_event_handler_error=report)
    store.subscribe(QUEUE, raise_it)
    async with capture_events(store, QUEUE) as events:
        await add(store, "a")
    assert events.types == ["job:waiting"]
    logged = [str(one.exc_info[1]) for one in caplog.records if one.exc_info]
    assert logged == ["the reporter's own", "no job:waiting"]


@pytest.mark.asyncio
async def test_faults_go_to_the_logger_that_was_given(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(clock=VirtualClock(), logger=logging.getLogger("mine"))
    store.subscribe(QUEUE, raise_it)
    await add(store, "a")
    assert [(one.name, one.levelname) for one in caplog.records] == [("mine", "WARNING")]


# -- events after the change ------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_event_comes_when_the_whole_step_can_be_seen(store: MemoryStore) -> None:
    seen: list[tuple[str, int, int]] = []

    def look(event: StoreEvent) -> None:
        counts = store.counts(QUEUE)
        seen.append((event.type, counts[JobState.WAITING], counts[JobState.DELAYED]))

    await add_all(store, "a", "b", delay=60)
    store.subscribe(QUEUE, look)
    await store.promote_jobs(QUEUE)
    await store.save_bulk([new_job("c"), new_job("d")])
    await store.drain(QUEUE)
    assert seen == [
        *[("job:waiting", 2, 0)] * 2,
        *[("job:waiting", 4, 0)] * 2,
        *[("job:removed", 0, 0)] * 4,
        ("queue:drained", 0, 0),
    ]


# -- keeping ----------------------------------------------------------------------------------


def timers_of(clock: VirtualClock) -> int:
    """How many timers are set: those that would fire."""
    return sum(not timer.cancelled for timer in clock._timers)


@pytest.mark.asyncio
async def test_a_timer_is_set_only_while_something_expires(
    store: MemoryStore, clock: VirtualClock
) -> None:
    await add(store, "a")
    await add(store, "b", remove_on_complete="10s")
    await add(store, "c", remove_on_complete="20s")
    await complete(store, await take(store))
    assert timers_of(clock) == 0
    await complete(store, await take(store))
    await complete(store, await take(store))
    assert timers_of(clock) == 1
    await clock.advance(10)
    assert timers_of(clock) == 1
    await clock.advance(10)
    assert timers_of(clock) == 0
    assert store.counts(QUEUE)[JobState.COMPLETED] == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ["remove", "disconnect"])
async def test_no_timer_is_left_behind(store: MemoryStore, clock: VirtualClock, end: str) -> None:
    await add(store, "a", remove_on_complete="10s")
    await complete(store, await take(store))
    await (store.remove_job(QUEUE, "a") if end == "remove" else store.disconnect())
    assert timers_of(clock) == 0


@pytest.mark.asyncio
async def test_what_is_kept_for_no_time_goes_with_the_next_turn(
    store: MemoryStore, clock: VirtualClock
) -> None:
    await add_all(store, "a", "b", remove_on_complete="0s")
    for _ in range(2):
        await complete(store, await take(store))
        await clock.settle()
        await clock.advance(0)
        assert store.counts(QUEUE)[JobState.COMPLETED] == 0
    assert timers_of(clock) == 0


# -- for views, which can't wait --------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_snapshot_is_what_a_list_would_be(store: MemoryStore) -> None:
    await add_all(store, "a", "b", "c", data={"x": [1]})
    assert store.snapshot(QUEUE) == await store.list_jobs(QUEUE)
    page = store.snapshot(QUEUE, JobState.WAITING, 1, 2)
    assert page == await store.list_jobs(QUEUE, JobState.WAITING, 1, 2)
    page[0].data["x"].append(2)
    assert (await get(store, "b")).data == {"x": [1]}


@pytest.mark.asyncio
async def test_the_other_views_are_what_the_coroutines_give(store: MemoryStore) -> None:
    await add(store, "a")
    await store.pause_job_name(QUEUE, "send")
    assert store.counts(QUEUE) == await store.get_job_counts(QUEUE)
    assert store.paused_names(QUEUE) == await store.get_paused_job_names(QUEUE) == {"send"}
    assert store.queue_names() == await store.list_queues() == [QUEUE]
    assert store.workers() == await store.list_workers() == []


@pytest.mark.asyncio
@pytest.mark.parametrize("start", [0, 1, 10, 49, 50, 51, 98, 99, 100, 150])
@pytest.mark.parametrize("length", [0, 1, 3, 60])
async def test_a_page_near_the_end_is_like_any_other(
    store: MemoryStore, start: int, length: int
) -> None:
    ids = [f"job-{n}" for n in range(100)]
    await store.save_bulk([new_job(job_id) for job_id in ids])
    page = store.snapshot(QUEUE, None, start, start + length)
    assert [job.id for job in page] == ids[start : start + length]


# -- workers ----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "emscripten", reason="the loop of a page is never closed")
def test_a_worker_is_seen_for_as_long_as_its_loop_is_there(clock: VirtualClock) -> None:
    store = MemoryStore(clock=clock)
    worker = WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now())

    async def save_and_wait() -> datetime:
        await store.save_worker(worker)
        await clock.advance(10)
        [seen] = await store.list_workers()
        assert seen.last_seen == clock.now()
        return clock.now()

    until = asyncio.run(save_and_wait())
    asyncio.run(clock.advance(10))
    assert [one.last_seen for one in store.workers()] == [until]


# -- payloads ---------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_data_frame_comes_back_as_it_went_in(store: MemoryStore) -> None:
    frame = pd.DataFrame({"when": pd.to_datetime(["2027-01-01"], utc=True), "n": [1.5]})
    await add(store, "a", data={"frame": frame})
    given = frame.copy()
    frame.loc[0, "n"] = 99.0
    job = await take(store)
    pd.testing.assert_frame_equal(job.data["frame"], given)
    mine = job.data["frame"]
    mine.loc[0, "n"] = 98.0
    pd.testing.assert_frame_equal((await get(store, "a")).data["frame"], given)
    done = await complete(store, job, given)
    pd.testing.assert_frame_equal(done.returnvalue, given)
