"""The machine's clock is set, or the machine sleeps, while jobs run, wait and are planned."""

from __future__ import annotations

import asyncio
import collections
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from conveyor_nb import Job, JobData, Limiter, MemoryStore, Queue, Worker
from tests.machine import HOUR, Machine, run

JUMPS = [8 * HOUR, HOUR, -HOUR, -timedelta(minutes=1)]

Use = Callable[[Machine, MemoryStore, Queue], Awaitable[Any]]


def on_a_machine(use: Use) -> Any:
    """Use a store on a machine of its own; every instant that it told of is checked at the end."""
    machine = Machine()

    async def work() -> Any:
        async with MemoryStore(clock=machine.clock(), metrics=True) as store:
            told: list[datetime] = []
            kinds: collections.Counter[str] = collections.Counter()

            def listen(event: Any) -> None:
                told.append(event.timestamp)
                kinds[event.type] += 1

            store.subscribe(None, listen)
            gave = await use(machine, store, Queue("emails", store=store))
            assert told == sorted(told)
            assert not kinds["job:stalled"]
            assert not kinds["queue:error"]
            for data in await store.list_jobs("emails"):
                no_duration_is_negative(data)
            for point in await store.get_metrics("emails"):
                assert min(point.waiting_p50 or 0, point.processing_p50 or 0) >= 0
        return gave

    return run(machine, work())


def no_duration_is_negative(job: JobData) -> None:
    story = [job.created_at]
    for record in job.attempt_logs:
        story += [record.started_at] + ([record.ended_at] if record.ended_at else [])
    story += [end for end in (job.completed_at, job.failed_at) if end]
    assert story == sorted(story)


@pytest.mark.parametrize("by", JUMPS, ids=str)
def test_a_job_that_runs_meanwhile_runs_once_and_ends_well(by: timedelta) -> None:
    async def use(machine: Machine, store: MemoryStore, queue: Queue) -> None:
        runs: list[str] = []
        go_on = asyncio.Event()

        async def send(job: Job) -> str:
            runs.append(job.id)
            await go_on.wait()
            return "sent"

        workers = [
            Worker("emails", send, store=store, lock_duration=10, stalled_interval=10)
            for _ in range(2)
        ]
        jobs = [await queue.add("send", attempts=3) for _ in range(2)]
        await store.clock.sleep(4)
        machine.set(by)
        await store.clock.sleep(60)
        go_on.set()
        assert [await job.wait_until_finished() for job in jobs] == ["sent"] * 2
        assert sorted(runs) == sorted(job.id for job in jobs)
        for worker in workers:
            await worker.close()

    on_a_machine(use)


@pytest.mark.parametrize("by", [8 * HOUR, HOUR], ids=str)
def test_what_is_due_after_a_sleep_runs_at_once(by: timedelta) -> None:
    async def use(machine: Machine, store: MemoryStore, queue: Queue) -> None:
        async with Worker("emails", no_op, store=store, concurrency=5):
            delayed = await queue.add("send", delay="10m")
            later = await queue.add("send", delay="1 day")
            kept = await queue.add("send", remove_on_complete="10m")
            await store.clock.sleep(5)
            machine.set(by)
            woke = machine.even
            await delayed.wait_until_finished()
            assert machine.even - woke <= 1.1
            assert await queue.get_job(kept.id) is None
            assert (await later.refresh()).state == "delayed"

    on_a_machine(use)


async def no_op(job: Job) -> str:
    return "sent"


@pytest.mark.parametrize("by", JUMPS, ids=str)
@pytest.mark.parametrize("rule", ["every", "cron"])
def test_schedules_go_on(rule: str, by: timedelta) -> None:
    async def use(machine: Machine, store: MemoryStore, queue: Queue) -> None:
        runs: list[float] = []

        async def note(job: Job) -> None:
            runs.append(machine.even)

        async with Worker("emails", note, store=store):
            if rule == "every":
                await queue.every("10m", "ping")
            else:
                await queue.cron("*/10 * * * *", "ping")
            await store.clock.sleep(25 * 60)
            machine.set(by)
            jumped = machine.even
            while sum(at > jumped for at in runs) < 4:
                await store.clock.sleep(30)
            soonest, *others = [at - jumped for at in runs if at > jumped]
            if by > timedelta():
                assert soonest <= 1.1, "missed runs collapse into one, at once"
            gaps = [other - one for one, other in itertools.pairwise(others)]
            assert all(590 <= gap <= 600 / 0.9 + 10 for gap in gaps)
            assert soonest <= 600 / 0.9 + 10

    on_a_machine(use)


@pytest.mark.parametrize("by", JUMPS, ids=str)
def test_a_rate_window_does_not_freeze(by: timedelta) -> None:
    async def use(machine: Machine, store: MemoryStore, queue: Queue) -> None:
        async with Worker("emails", no_op, store=store, limiter=Limiter(2, "1m")):
            jobs = [await queue.add("send") for _ in range(4)]
            await jobs[1].wait_until_finished()
            machine.set(by)
            jumped = machine.even
            await jobs[3].wait_until_finished()
            assert machine.even - jumped <= 60 / 0.9 + 2

    on_a_machine(use)


@pytest.mark.parametrize("by", JUMPS, ids=str)
def test_timeouts_and_backoffs_go_on(by: timedelta) -> None:
    async def use(machine: Machine, store: MemoryStore, queue: Queue) -> None:
        async def hang(job: Job) -> None:
            await asyncio.Event().wait()

        async with Worker("emails", hang, store=store):
            job = await queue.add("send", timeout="1m", attempts=2, backoff="1m")
            await store.clock.sleep(5)
            machine.set(by)
            jumped = machine.even
            while not (await job.refresh()).failed_at:
                await store.clock.sleep(1)
            assert machine.even - jumped <= 180 / 0.9 + 5
            assert job.failed_reason == "timed out after 1m"

    on_a_machine(use)


@pytest.mark.parametrize("by", JUMPS, ids=str)
def test_the_job_of_a_worker_that_is_gone_is_found(by: timedelta) -> None:
    machine = Machine()

    async def work() -> None:
        async with MemoryStore(clock=machine.clock()) as store:
            queue = Queue("emails", store=store)
            job = await queue.add("send", attempts=2)
            assert await store.fetch_next_job("emails", "ghost", 30) is not None
            async with Worker("emails", no_op, store=store):
                await store.clock.sleep(5)
                machine.set(by)
                jumped = machine.even
                await job.wait_until_finished()
                assert machine.even - jumped <= 70
            assert (await job.refresh()).attempts_made == 1

    run(machine, work())
