"""Listening: to a queue, to a worker, and what happens when a listener fails."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import Job, MemoryStore, Queue, StoreEvent, VirtualClock, Worker

Start = Callable[..., Worker]


async def work(job: Job) -> str:
    if job.name == "fail":
        raise ValueError("bad address")
    await job.update_progress(50)
    await job.log("half")
    return "done"


def kinds(events: list[StoreEvent]) -> list[str]:
    return [event.type for event in events]


# -- which events, and in which order -------------------------------------------------------


@pytest.mark.asyncio
async def test_the_events_of_a_whole_life_in_order(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    worker = start(work)
    await clock.settle()
    job = await queue.add("send", delay=5, remove_on_complete="1 minute")
    await clock.advance(5)
    await queue.pause()
    await queue.resume()
    await clock.advance(60)
    await worker.close()

    assert (events[0].type, events[-1].type) == ("worker:started", "worker:closed")
    assert [kind for kind in kinds(events) if not kind.startswith("worker:")] == [
        "job:delayed",
        "job:waiting",
        "job:active",
        "job:progress",
        "job:log",
        "job:completed",
        "queue:drained",
        "queue:paused",
        "queue:resumed",
        "job:removed",
    ]
    assert {event.queue_name for event in events} == {"emails"}
    assert {event.job_id for event in events if event.type.startswith("job:")} == {job.id}
    times = [event.timestamp for event in events]
    assert times == sorted(times)
    completed = events[6].data
    assert completed == {"worker_id": worker.id, "name": "send", "previous": "active"}


@pytest.mark.asyncio
async def test_an_event_comes_when_the_change_can_be_seen(
    queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    seen: list[tuple[str, str | None]] = []

    def look(event: StoreEvent) -> None:
        if event.job_id is not None:
            states = [job.state for job in store.snapshot("emails") if job.id == event.job_id]
            seen.append((event.type, states[0] if states else None))

    store.subscribe("emails", look)
    start(work)
    await queue.add("fail", attempts=2, backoff=5, remove_on_fail=True)
    await clock.advance(5)

    assert seen == [
        ("job:waiting", "waiting"),
        ("job:active", "active"),
        ("job:retrying", "delayed"),
        ("job:delayed", "delayed"),
        ("job:waiting", "waiting"),
        ("job:active", "active"),
        ("job:failed", None),  # so are failing and being removed
        ("job:removed", None),
    ]


@pytest.mark.asyncio
async def test_counting_events_gives_the_stores_own_counts(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    start(work, concurrency=2)
    jobs = await queue.add_bulk([{"name": name} for name in ("send", "fail", "send", "fail")])
    late = await queue.add("late", delay=60)
    await clock.settle()
    await jobs[1].retry()
    await jobs[0].remove()
    await late.change_delay(90)
    await queue.retry_jobs("completed")
    await clock.settle()
    await queue.clean("failed")
    await queue.promote_jobs()
    await clock.settle()

    state: dict[str, str] = {}
    for event in events:
        kind = event.type.partition(":")[2]
        if event.type in ("job:removed",):
            del state[event.job_id or ""]
        elif kind in {one.value for one in await queue.get_job_counts()}:
            state[event.job_id or ""] = kind
    counts = {name: number for name, number in (await queue.get_job_counts()).items() if number}
    assert {name: list(state.values()).count(name) for name in state.values()} == counts


# -- queue.on and worker.on -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("way", ["call", "decorator"])
@pytest.mark.parametrize("who", ["queue", "worker"])
@pytest.mark.asyncio
async def test_listening(
    kind: str, way: str, who: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    seen: list[StoreEvent] = []

    def note(event: StoreEvent) -> None:
        seen.append(event)

    async def note_later(event: StoreEvent) -> None:
        await asyncio.sleep(0)
        note(event)

    handler: Any = note if kind == "plain" else note_later
    subject: Any = start(work)
    subject = queue if who == "queue" else subject
    if way == "call":
        assert subject.on("completed", handler) is handler
    else:
        assert subject.on("completed")(handler) is handler
    await queue.add("send")
    await queue.add("fail")
    await clock.settle()
    assert [(event.type, event.job_id) for event in seen] == [("job:completed", "emails-1")]

    subject.off("completed", handler)
    await queue.add("send")
    await clock.settle()
    assert len(seen) == 1


@pytest.mark.asyncio
async def test_several_handlers_are_called_in_the_order_they_were_added(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    order: list[int] = []

    def note(number: int, event: StoreEvent) -> None:
        order.append(number)

    for number in range(3):
        queue.on("completed", functools.partial(note, number))
    other = queue.on("failed", functools.partial(note, 9))
    start(work)
    await queue.add("send")
    await clock.settle()
    assert order == [0, 1, 2]

    queue.off("completed")
    queue.off("completed", other)
    await queue.add("send")
    await queue.add("fail")
    await clock.settle()
    assert order == [0, 1, 2, 9]


@pytest.mark.parametrize("who", ["queue", "worker"])
@pytest.mark.asyncio
async def test_a_name_that_no_event_has(who: str, queue: Queue, start: Start) -> None:
    subject: Any = queue if who == "queue" else start(work)

    for call in (subject.on, subject.off):
        with pytest.raises(ValueError, match=r"no event 'done'; known are: active, .*completed"):
            call("done", print)
    with pytest.raises(ValueError, match="no event 'job:completed'"):
        subject.on("job:completed", print)
    with pytest.raises(TypeError, match="an event handler must be callable, not 5"):
        subject.on("completed", 5)


@pytest.mark.asyncio
async def test_a_queue_hears_its_own_queue_and_a_worker_its_own_jobs(
    queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    heard: dict[str, list[str | None]] = {"queue": [], "first": [], "second": []}
    first, second = start(work), start(work, auto_start=False)
    queue.on("completed", lambda event: heard["queue"].append(event.job_id))
    first.on("completed", lambda event: heard["first"].append(event.job_id))
    second.on("completed", lambda event: heard["second"].append(event.job_id))
    async with Queue("other", store=store) as other, Worker("other", work, store=store):
        await other.add("send", job_id="elsewhere")
        await queue.add("send", job_id="a")
        await clock.settle()
        first.pause()
        await queue.add("send", job_id="b")
        await second.run_once()

    assert heard == {"queue": ["a", "b"], "first": ["a"], "second": ["b"]}


@pytest.mark.asyncio
async def test_a_worker_tells_all_of_a_job_and_of_itself(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    seen: list[str] = []
    worker = start(work)
    for name in (
        *("active", "progress", "log", "completed", "retrying", "failed", "delayed", "cancelled"),
        *("started", "paused", "closed"),
    ):
        worker.on(name, lambda event: seen.append(event.type))
    await queue.add("send")
    await queue.add("fail", attempts=2)
    await clock.settle()
    worker.pause()
    await clock.settle()
    paused = len(seen)
    await worker.close()

    assert seen[:paused] == [
        "worker:started",
        *("job:active", "job:progress", "job:log", "job:completed"),
        *("job:active", "job:retrying", "job:active", "job:failed"),
        "worker:paused",
    ]
    assert seen[-1] == "worker:closed"


@pytest.mark.asyncio
async def test_a_closed_queue_calls_no_handler_and_stops_those_that_run(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    seen: list[str] = []

    async def slow(event: StoreEvent) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("stopped")

    queue.on("completed", slow)
    queue.on("waiting", lambda event: seen.append(event.type))
    start(work)
    await queue.add("send")
    await clock.settle()
    await queue.close()
    await asyncio.sleep(0)
    await Queue("emails", store=queue.store).add("send")
    await clock.settle()

    assert seen == ["job:waiting", "stopped"]


# -- listeners that fail --------------------------------------------------------------------


def fail(event: StoreEvent) -> None:
    raise ValueError("a listener's own fault")


async def fail_later(event: StoreEvent) -> None:
    await asyncio.sleep(0)
    fail(event)


def leave(event: StoreEvent) -> None:
    raise SystemExit("a listener must not end the program")


async def leave_later(event: StoreEvent) -> None:
    leave(event)


@pytest.mark.parametrize("listener", [fail, fail_later, leave, leave_later])
@pytest.mark.parametrize("who", ["queue", "worker"])
@pytest.mark.asyncio
async def test_a_handler_that_raises_is_told_on_error_and_harms_nobody(
    listener: Any, who: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    errors: list[StoreEvent] = []
    after: list[str] = []
    subject: Any = start(work)
    subject = queue if who == "queue" else subject
    subject.on("active", listener)
    subject.on("active", lambda event: after.append(event.type))
    subject.on("error", errors.append)
    job = await queue.add("send")
    await clock.settle()

    assert (await job.refresh()).returnvalue == "done"
    assert after == ["job:active"]
    [error] = errors
    assert error.data["event"].type == "job:active"
    assert "a listener" in str(error.data["error"])


@pytest.mark.parametrize("listener", [fail, fail_later])
@pytest.mark.asyncio
async def test_with_nobody_on_error_it_goes_to_the_log(
    listener: Any,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue.on("active", listener)
    start(work)
    job = await queue.add("send")
    await clock.settle()

    assert (await job.refresh()).returnvalue == "done"
    assert "a handler of job:active raised" in caplog.text
    assert "a listener's own fault" in caplog.text


@pytest.mark.parametrize("listener", [fail, fail_later])
@pytest.mark.asyncio
async def test_a_handler_of_error_that_raises_goes_to_the_log_and_not_round_in_circles(
    listener: Any,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue.on("active", fail)
    queue.on("error", listener)
    start(work)
    job = await queue.add("send")
    await clock.settle()

    assert (await job.refresh()).returnvalue == "done"
    assert caplog.text.count("a handler of queue:error raised") == 1


@pytest.mark.asyncio
async def test_a_subscriber_of_the_store_that_raises(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[tuple[str, str]] = []
    after: list[str] = []

    def report(error: BaseException) -> None:
        [note] = error.__notes__
        kind = re.search(r"told of (\S+)", note)
        assert kind is not None
        reported.append((str(error), kind[1]))
        if kind[1] == "job:active":
            raise KeyError("the reporter's own fault")

    async with MemoryStore(clock=clock, on_event_handler_error=report) as store:
        store.subscribe("emails", fail)
        store.subscribe("other", leave)
        store.subscribe("emails", lambda event: after.append(event.type))
        async with Worker("emails", work, store=store):
            job = await Queue("emails", store=store).add("send")
            await clock.settle()
            assert (await job.refresh()).returnvalue == "done"

        await Queue("other", store=store).add("send")
        assert reported.pop() == ("a listener must not end the program", "job:waiting")
    assert ("a listener's own fault", "job:completed") in reported
    assert [kind for _, kind in reported if kind != "store:disconnected"] == after[:-1]
    assert "on_event_handler_error raised for job:active" in caplog.text


@pytest.mark.asyncio
async def test_who_is_told_of_faults_is_not_told_of_those_at_the_very_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[BaseException] = []
    store = MemoryStore(on_event_handler_error=told.append)

    def refuse(event: StoreEvent) -> None:
        raise ValueError(event.type)

    store.subscribe("emails", refuse)
    await Queue("emails", store=store).add("send")
    await store.disconnect()

    assert [str(error) for error in told] == ["job:waiting"]
    assert "a subscriber raised for store:disconnected" in caplog.text
