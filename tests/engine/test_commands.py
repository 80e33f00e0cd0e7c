"""Workers obey what they are told through their store, from whatever process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from conveyor_nb import Job, Queue, StoreInterface, VirtualClock, Worker, WorkerCommand
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.worker_info import OBEYED_WITHIN, WorkerStatus

pytestmark = pytest.mark.asyncio

Start = Callable[..., Worker]


async def tell(store: StoreInterface, worker: Worker, clock: VirtualClock, **told: object) -> None:
    """Tell a worker something, and let it do that."""
    await store.command_worker(worker.id, WorkerCommand(**told))  # type: ignore[arg-type]
    await clock.settle()


async def hold(job: Job) -> None:
    """Take a minute."""
    await job.sleep("1 minute")


async def test_it_pauses_and_goes_on(
    store: StoreInterface, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(lambda job: None)
    await clock.settle()
    await tell(store, worker, clock, status="paused")
    assert worker.status is WorkerStatus.PAUSED
    await queue.add("send")
    await clock.settle()
    assert await queue.count("waiting") == 1
    assert (await store.list_workers())[0].command is None
    await tell(store, worker, clock, status="running")
    assert await queue.count("completed") == 1


async def test_it_runs_as_many_jobs_as_it_is_told(
    store: StoreInterface, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(hold)
    await queue.add_bulk([{"name": "send"}] * 5)
    await clock.settle()
    assert len(worker.running) == 1
    await tell(store, worker, clock, concurrency=4)
    assert len(worker.running) == 4
    (info,) = await store.list_workers()
    assert (info.concurrency, info.command) == (4, None)


async def test_it_runs_fewer_at_once_though_many_wait(
    store: StoreInterface, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(hold, concurrency=4)
    await queue.add_bulk([{"name": "send"}] * 12)
    await clock.settle()
    assert len(worker.running) == 4
    await tell(store, worker, clock, concurrency=1)
    assert len(worker.running) == 4, "what runs is run to its end"
    for _ in range(2):
        await clock.advance("1 minute")
        assert len(worker.running) == 1
    await tell(store, worker, clock, concurrency=3)
    assert len(worker.running) == 3
    await clock.advance("10 minutes")
    assert await queue.count("completed") == 12


async def test_it_stops_when_its_jobs_are_done(
    store: StoreInterface, queue: Queue, start: Start
) -> None:
    begun, told, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tasks = asyncio.all_tasks()

    async def send(job: Job) -> None:
        begun.set()
        await go_on.wait()

    worker = start(send)
    worker.on("paused", lambda event: told.set())
    await queue.add_bulk([{"name": "send"}] * 2)
    await begun.wait()
    await store.command_worker(worker.id, WorkerCommand("closed"))
    await told.wait()
    go_on.set()
    await worker.close()
    await checkpoint()
    assert asyncio.all_tasks() == tasks, "what has obeyed is over with it"
    assert await queue.count("completed") == await queue.count("waiting") == 1
    assert await store.list_workers() == []


async def test_it_is_told_how_long_its_jobs_may_take(
    store: StoreInterface, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(hold)
    await queue.add("send")
    await clock.settle()
    await tell(store, worker, clock, status="closed", timeout=0)
    await worker.close(None)
    assert await queue.count("waiting") == 1


def deaf(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker miss what it is told, as one does whose process stands still."""
    hear = worker._life._commands.hear
    monkeypatch.setattr(worker._life._commands, "hear", lambda event: None)
    hearing = worker._life.dispatcher.hearing
    hearing._reactions = {
        kind: (lambda _: None) if reaction == hear else reaction
        for kind, reaction in hearing._reactions.items()
    }


async def test_what_it_missed_it_finds_at_its_next_beat(
    store: StoreInterface, clock: VirtualClock, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "idle_beat", 30.0)
    worker = start(lambda job: None)
    await clock.settle()
    deaf(worker, monkeypatch)
    await tell(store, worker, clock, status="paused")
    assert worker.status == "running"
    await clock.advance(30)
    assert worker.status == "paused"
    assert (await store.list_workers())[0].command is None


async def test_what_is_overdue_it_does_not_do(
    store: StoreInterface, clock: VirtualClock, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "idle_beat", OBEYED_WITHIN + 10)
    worker = start(lambda job: None)
    await clock.settle()
    deaf(worker, monkeypatch)
    await tell(store, worker, clock, status="closed")
    await clock.advance(OBEYED_WITHIN + 10)
    assert worker.status is WorkerStatus.RUNNING
    assert (await store.list_workers())[0].command is None


async def test_one_that_was_taken_for_gone_is_listed_again(
    store: StoreInterface, clock: VirtualClock, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "idle_beat", 30.0)
    worker = start(lambda job: None)
    await clock.settle()
    (info,) = await store.list_workers()
    await store.save_worker(replace(info, status=WorkerStatus.CLOSED))
    assert await store.list_workers() == []
    await clock.advance(30)
    assert [one.id for one in await store.list_workers()] == [worker.id]
