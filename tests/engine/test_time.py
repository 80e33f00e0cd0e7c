"""Advancing a virtual clock while handlers wait: what it waits for, and that it has an end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import Job, JobState, Queue, SystemClock, VirtualClock, Worker

Start = Callable[..., Worker]


def seconds_since(start: Any, job: Job) -> float:
    assert job.completed_at is not None
    return float((job.completed_at - start).total_seconds())


# -- on the clock, and on each other ----------------------------------------------------------


@pytest.mark.asyncio
async def test_sleepers_go_on_in_their_turn(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    order: list[tuple[str, float]] = []
    begin = clock.now()

    async def handler(job: Job) -> None:
        for nap in job.data:
            await job.sleep(nap)
            order.append((job.id, (clock.now() - begin).total_seconds()))

    start(handler, concurrency=3)
    await queue.add_bulk([{"name": "nap", "data": data} for data in ([2, 2], [1, 4], [3, 600])])
    await clock.advance(60)

    assert order == [
        ("emails-2", 1),
        ("emails-1", 2),
        ("emails-3", 3),
        ("emails-1", 4),
        ("emails-2", 5),
    ]
    assert await queue.count("active") == 1


@pytest.mark.asyncio
async def test_one_that_waits_for_another_goes_on_when_that_is_done(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def handler(job: Job) -> None:
        if job.data is None:
            await job.sleep(30)
            return
        other = await queue.get_job(job.data)
        assert other is not None
        await other.wait_until_finished()

    begin = clock.now()
    start(handler, concurrency=3)
    first = await queue.add("first")
    second = await queue.add("second", first.id)
    third = await queue.add("third", second.id)
    await clock.advance("1 hour")

    assert [seconds_since(begin, await job.refresh()) for job in (first, second, third)] == [30] * 3


@pytest.mark.asyncio
async def test_two_that_wait_for_each_other_do_not_stop_time(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def handler(job: Job) -> None:
        other = await queue.get_job(job.data)
        assert other is not None
        await other.wait_until_finished()

    start(handler, concurrency=2)
    await queue.add_bulk(
        [
            {"name": "a", "job_id": "a", "data": "b", "timeout": "10m"},
            {"name": "b", "job_id": "b", "data": "a", "timeout": "20m"},
        ]
    )
    await clock.advance("5m")
    assert await queue.count("active") == 2
    await clock.advance("1h")

    a, b = await queue.get_jobs()
    assert a.failed_reason == "timed out after 10m"
    assert b.failed_reason == "JobFailedError: job 'a' failed: timed out after 10m"


@pytest.mark.asyncio
async def test_a_handler_may_advance_the_clock_as_well(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    begin = clock.now()

    async def handler(job: Job) -> None:
        await job.sleep(1)
        await clock.advance(100)

    start(handler)
    job = await queue.add("send")
    await clock.advance(10)

    assert seconds_since(begin, await job.refresh()) == 101
    assert (clock.now() - begin).total_seconds() == 101


# -- on the outside world ---------------------------------------------------------------------


@pytest.mark.asyncio
async def test_time_stands_still_while_a_thread_works(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    clock.patience = 60
    begin = clock.now()

    loop, reading_it = asyncio.get_running_loop(), asyncio.Event()

    def handler(job: Any) -> None:
        if job.data is None:
            job.sleep(5)
        else:  # something that takes its real time
            loop.call_soon_threadsafe(reading_it.set)
            os.read(job.data, 1)

    start(handler, concurrency=2)
    readable, writable = os.pipe()
    reading = await queue.add("read", readable)
    sleeping = await queue.add("sleep")
    advancing = asyncio.ensure_future(clock.advance("1 minute"))
    await reading_it.wait()
    assert clock.now() == begin
    assert not advancing.done()
    os.write(writable, b"x")
    await advancing
    os.close(readable)
    os.close(writable)

    assert seconds_since(begin, await reading.refresh()) == 0
    assert seconds_since(begin, await sleeping.refresh()) == 5


class Pipe:
    """A real pipe, whose end is read by the loop."""

    def __init__(self, readable: int, writable: int) -> None:
        self._readable, self._writable = readable, writable
        self.reader = asyncio.StreamReader()
        self._transport: asyncio.BaseTransport | None = None

    async def __aenter__(self) -> Pipe:
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.reader), os.fdopen(self._readable, "rb")
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        os.close(self._writable)
        await self.reader.read()
        assert self._transport is not None
        self._transport.close()

    def write(self) -> None:
        os.write(self._writable, b"x")


@pytest.mark.parametrize("what", ["has arrived", "has not", "is waited for"])
@pytest.mark.asyncio
async def test_what_comes_through_a_pipe(
    what: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    clock.patience = 60
    begin = clock.now()
    async with Pipe(*os.pipe()) as pipe:
        reading = asyncio.Event()

        async def handler(job: Job) -> None:
            reading.set()
            if what == "is waited for":
                with clock.off_loop():
                    await pipe.reader.read(1)
            else:
                await pipe.reader.read(1)
            await job.sleep(1)

        start(handler)
        job = await queue.add("read")
        if what == "has arrived":
            pipe.write()
        advancing = asyncio.ensure_future(clock.advance(10))
        await reading.wait()
        if what == "has not":
            await advancing  # does not wait
            assert (await job.refresh()).state is JobState.ACTIVE
        if what != "has arrived":
            pipe.write()
        await advancing
        if what == "has not":
            await clock.advance(10)

    passed = {"has arrived": 1, "is waited for": 1, "has not": 11}[what]
    assert seconds_since(begin, await job.refresh()) == passed


# -- never for ever ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["spins", "naps", "adds", "thread", "busy thread", "waits"])
@pytest.mark.asyncio
async def test_what_never_ends_is_not_waited_for_for_ever(
    kind: str,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    go_on: threading.Event,
) -> None:
    clock.patience = 0.002
    begin = clock.now()

    async def handler(job: Job) -> None:
        while kind == "spins":  # noqa: ASYNC110 -- that is the fault
            await asyncio.sleep(0)
        while kind == "naps" and clock.now() == begin:
            await job.sleep(1e-9)
        if kind == "adds":
            await queue.add("another")
        if kind == "waits":
            await asyncio.Event().wait()

    def in_thread(job: Any) -> None:
        if kind == "thread":
            go_on.wait()
        while not go_on.is_set():
            job.log("still here")

    worker = start(in_thread if "thread" in kind else handler, lock_duration=40)
    await queue.add("send")
    fired: list[float] = []
    clock.call_later(30, lambda: fired.append((clock.now() - begin).total_seconds()))
    await clock.advance("1 minute")  # its lock is renewed every twenty seconds

    assert (clock.now() - begin).total_seconds() == 60
    assert fired == [30], "timers are run all the same"
    go_on.set()
    await worker.close(timeout=0)


@pytest.mark.asyncio
async def test_patience_that_has_run_out_is_not_spent_again_in_the_same_advance(
    clock: VirtualClock,
) -> None:
    clock.patience = 0.05
    for step in range(1, 1_000):
        clock.call_later(step, lambda: None)
    real = SystemClock()
    before = real.now()
    with clock.off_loop():
        await clock.advance("1 hour")
    # spent at each timer it would be 50 s
    assert (real.now() - before).total_seconds() < 500 * clock.patience
