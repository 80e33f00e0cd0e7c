"""Tapes: every event of a block, with its job as it was after that, over every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from conveyor_nb import (
    Job,
    MemoryStore,
    Queue,
    StoreEvent,
    StoreInterface,
    StoreUnavailableError,
    Tape,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.model import EventType
from conveyor_nb.testing.events import EventView, all_told
from tests.stores import STORES

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def memory(clock: VirtualClock) -> AsyncIterator[Queue]:
    async with (
        MemoryStore(clock=clock, ids="sequential", seed=1) as store,
        Queue("emails", store=store) as queue,
    ):
        yield queue


async def send(job: Job) -> str:
    """Takes as many seconds as it is told; 2 fails at first."""
    await job.update_progress(50)
    await job.log("half of it")
    await job.sleep(job.data)
    if job.data == 2 and job.attempts_made == 0:
        raise ValueError("no mail")
    return f"took {job.data}"


async def run(queue: Queue) -> None:
    """Some jobs that are there before; some that are added, one of which is tried again."""
    async with Worker(queue.name, send, store=queue.store, concurrency=2):
        for seconds in (3, 2, 1):
            await queue.add("send", seconds, attempts=2, backoff="2s")
        clock = queue.store.clock
        assert isinstance(clock, VirtualClock)
        await clock.advance("10s")


@pytest.mark.parametrize("kind", list(STORES))
async def test_each_event_has_its_job_as_it_was_then(kind: str, clock: VirtualClock) -> None:
    async with STORES[kind](clock=clock, ids="sequential", seed=1) as store:
        queue = Queue("emails", store=store)
        await queue.add("old", 1)
        await all_told(store)
        async with queue.record() as tape:
            await run(queue)
        assert await store.list_jobs("emails") == [tape.job(f"emails-{n}") for n in range(1, 5)]

    assert tape.ended is not None
    assert [job.id for job in tape.start.jobs] == ["emails-1"]
    assert tape.count("job:retrying") == 1
    view = EventView()
    for job in tape.start.jobs:
        view.states[job.queue_name, job.id] = job.state
    for moment, jobs in tape.states():
        view(moment.event)
        assert {key: job.state for key, job in jobs.items()} == view.states
        now = moment.job
        if now is not None:
            is_open = bool(now.attempt_logs) and now.attempt_logs[-1].ended_at is None
            went_on = moment.event.type not in ("job:retrying", "job:stalled")
            assert is_open == (now.state == "active" and went_on), moment
            assert (now.returnvalue is not None) == (now.state == "completed"), moment
    assert tape.job("emails-3").returnvalue == "took 2"
    assert [one.slot for one in tape.job("emails-2").attempt_logs] != [None]


async def test_a_program_in_virtual_time_gives_the_same_tape_each_time() -> None:
    tapes = []
    for _ in range(2):
        async with MemoryStore(clock=VirtualClock(), ids="sequential", seed=1) as store:
            with store.record() as tape:
                await run(Queue("emails", store=store))
        tapes.append(tape)
    assert tapes[0] == tapes[1]
    assert tapes[0].difference(tapes[1]) is None


async def test_the_result_of_a_job_that_goes_with_its_end_is_on_the_tape(
    store: StoreInterface, clock: VirtualClock
) -> None:
    queue = Queue("emails", store=store)
    async with queue.record() as tape:
        await queue.add("send", 1, remove_on_complete=True)
        async with Worker("emails", send, store=store):
            await clock.advance("2s")
    [moment] = [one for one in tape.moments if one.event.type == "job:completed"]
    assert moment.job is not None
    assert (moment.job.state, moment.job.returnvalue) == ("completed", "took 1")
    assert moment.job.attempt_logs[-1].outcome == "completed"
    assert tape.job("emails-1").returnvalue == "took 1"
    *_, (_, left) = tape.states()
    assert left == {}
    assert len(store._subscriptions) == 0  # type: ignore[attr-defined]


async def test_a_full_tape_counts_what_comes_after(memory: Queue) -> None:
    with memory.record(limit=3) as tape:
        await memory.add_bulk([{"name": "send"} for _ in range(5)])
    assert tape.story == [f"job:waiting emails-{n}" for n in (1, 2, 3)]
    assert tape.left_out == 2
    assert repr(tape).endswith("over 0s, 2 later events left out>")


async def test_a_tape_tells_that_it_is_still_being_recorded(memory: Queue) -> None:
    with memory.record() as tape:
        assert "still being recorded" in repr(tape)
    await memory.add("send")
    assert len(tape) == 0
    assert "recorded" not in repr(tape)


async def test_of_very_many_jobs_the_start_has_some_and_says_so(memory: Queue) -> None:
    await memory.add_bulk([{"name": "send"} for _ in range(1_003)])
    with memory.record() as tape:
        job = await memory.get_job("emails-1002")
        assert job is not None
        await job.cancel()
    assert (len(tape.start.jobs), tape.start.left_out) == (1_000, 3)
    assert tape.story == ["job:cancelled emails-1002", "job:failed emails-1002"]
    assert "3 earlier jobs left out" in repr(tape)


async def test_a_plain_with_over_a_database_takes_in_what_comes_late(clock: VirtualClock) -> None:
    async with STORES["sqlite"](clock=clock, ids="sequential") as store:
        queue = Queue("emails", store=store)
        with queue.record() as tape:
            await queue.add("send")
        recorded = [task for task in asyncio.all_tasks() if "Recording" in repr(task)]
        await asyncio.gather(*recorded)
        assert tape.story == ["job:waiting emails-1"]
        assert tape.ended is not None


async def test_what_was_before_and_is_told_late_is_not_on_the_tape(memory: Queue) -> None:
    with memory.record() as before:
        await memory.add("send")
    with memory.record() as real:
        await memory.pause()
        job = await memory.get_job("emails-1")
        assert job is not None
        await job.cancel()
    tape = Tape("emails", real.began, real.start)
    for moment in (*before.moments, *real.moments):
        tape.take(moment.event, moment.job)
    assert tape.story == ["queue:paused", *real.story[1:]] == real.story


async def test_a_recording_is_for_one_block(memory: Queue) -> None:
    recording = memory.record()
    with recording:
        pass
    with pytest.raises(RuntimeError, match="record\\(\\) makes another one"), recording:
        pass
    with pytest.raises(ValueError, match="limit must be 1 or more, not 0"):
        memory.record(limit=0)


async def test_a_disconnected_store_ends_its_tape(clock: VirtualClock) -> None:
    store = MemoryStore(clock=clock)
    async with store.record() as tape:
        await Queue("emails", store=store).add("send")
        await store.disconnect()
        assert tape.ended is not None
    assert [str(event.type) for event in tape.events] == ["job:waiting"]


async def test_what_is_read_after_its_end_is_followed_no_more(clock: VirtualClock) -> None:
    async with STORES["sqlite"](clock=clock, ids="sequential") as store:
        queue = Queue("emails", store=store)
        job = await queue.add("send", remove_on_complete=True)
        await all_told(store)
        recording = queue.record()
        with recording:
            pass
        recording._hear(StoreEvent(EventType.ACTIVE, "emails", job.id, {}, clock.now()))
        recording._end()
        await asyncio.gather(*recording._tasks)
        assert len(store._subscriptions) == 0  # type: ignore[attr-defined]


async def test_a_tape_ends_though_its_store_is_away_by_then(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def publish(event: StoreEvent) -> None:
        raise StoreUnavailableError("the server is away")

    async with STORES["sqlite"](clock=clock, ids="sequential") as store:
        recording = store.record()
        tape = await recording.__aenter__()
        await Queue("emails", store=store).add("send")
        await all_told(store)
        monkeypatch.setattr(store, "publish", publish)
        await recording.__aexit__(None, None, None)
        assert tape.ended is not None
        assert tape.story == ["job:waiting emails-1"]


async def test_pauses_and_queues_are_told(memory: Queue) -> None:
    with memory.store.record() as tape:
        await memory.pause()
        await Queue("reports", store=memory.store).add("send")
        await memory.resume()
    assert tape.queues == ["emails", "reports"]
    assert [str(event.type) for event in tape.events] == [
        "queue:paused",
        "job:waiting",
        "queue:resumed",
    ]
