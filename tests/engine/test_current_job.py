"""The job that is being run, for code that was not given it; and what is done before it settles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import (
    Batch,
    Job,
    JobState,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
    current_job,
)
from conveyor_nb.context.runs import current_run
from conveyor_nb.core.actions import Action, Log

pytestmark = pytest.mark.asyncio
Start = Callable[..., Worker]


def current_id() -> str | None:
    job = current_job()
    return None if job is None else job.id


async def current_id_in_a_while() -> str | None:
    await asyncio.sleep(0)
    return current_id()


async def results(queue: Queue, clock: VirtualClock, count: int) -> list[Any]:
    jobs = await queue.add_bulk([{"name": "send"}] * count)
    await clock.settle()
    return [await job.wait_until_finished() for job in jobs]


async def test_outside_of_handlers_there_is_none(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> str | None:
        return current_id()

    assert current_job() is None
    assert current_run() is None
    start(send)
    assert await results(queue, clock, 1) == ["emails-1"]
    assert current_job() is None


async def test_it_is_the_very_job_that_the_handler_has(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> bool:
        return current_job() is job

    start(send)
    assert await results(queue, clock, 1) == [True]


async def test_jobs_that_run_at_once_are_told_apart(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> list[str | None]:
        found = [current_id()]
        await job.sleep("1s")
        found.append(await asyncio.to_thread(current_id))
        found.append(await asyncio.create_task(current_id_in_a_while()))
        found += await asyncio.gather(current_id_in_a_while(), current_id_in_a_while())
        return found

    start(send, concurrency=2)
    jobs = await queue.add_bulk([{"name": "send"}] * 2)
    await clock.advance("1s")
    assert [await job.wait_until_finished() for job in jobs] == [[job.id] * 5 for job in jobs]


async def test_in_a_plain_handler_its_methods_block(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    def helper() -> None:
        current: Any = current_job()
        assert current.log("from the helper") is None

    def send(job: Any) -> str | None:
        helper()
        return current_id()

    start(send)
    job = await queue.add("send")
    await clock.settle()
    assert await job.wait_until_finished() == job.id
    assert (await job.refresh()).logs == ("from the helper",)


async def test_of_a_batch_it_is_the_first(queue: Queue, clock: VirtualClock, start: Start) -> None:
    async def send(jobs: list[Job]) -> list[tuple[str | None, int]]:
        run = current_run()
        assert run is not None
        assert list(run.jobs) == jobs
        return [(current_id(), len(run.jobs))] * len(jobs)

    start(send, batch=Batch(2))
    assert await results(queue, clock, 2) == [("emails-1", 2), ("emails-1", 2)]


@pytest.mark.parametrize("capture", [True, False])
async def test_a_run_knows_whether_its_prints_are_captured(
    capture: bool, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> bool:
        run = current_run()
        assert run is not None
        return run.captured

    worker = start(send, capture=capture)
    assert await results(queue, clock, 1) == [capture]
    await worker.close()
    successor = worker.successor()
    assert await results(queue, clock, 1) == [capture]
    await successor.close()


async def test_a_job_that_a_handler_adds_is_its_own(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    seen: list[tuple[str, str | None]] = []

    async def send(job: Job) -> None:
        seen.append((job.id, current_id()))
        if job.id == "emails-1":
            child = await queue.add("child")
            await child.wait_until_finished()
            seen.append((job.id, current_id()))

    start(send, concurrency=2)
    await results(queue, clock, 1)
    assert seen == [
        ("emails-1", "emails-1"),
        ("emails-2", "emails-2"),
        ("emails-1", "emails-1"),
    ]


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_who_listens_to_events_does_not_belong_to_the_job(
    kind: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    heard: list[tuple[str, str | None]] = []

    def hear(event: StoreEvent) -> None:
        heard.append((event.type, current_id()))

    async def hear_later(event: StoreEvent) -> None:
        hear(event)

    async def send(job: Job) -> None:
        job.observe().subscribe(on_completed=lambda *_: heard.append(("own", current_id())))
        await job.update_progress(50)
        await queue.add("other", delay="1s")

    for name in ("waiting", "progress", "delayed"):
        queue.on(name, hear if kind == "plain" else hear_later)
    start(send)
    job = await queue.add("send")
    await clock.settle()
    assert set(heard) == {
        ("job:waiting", None),
        ("job:progress", None),
        ("job:delayed", None),
        ("own", job.id),
    }


# -- what is done first -----------------------------------------------------------------------


async def test_what_is_prepared_is_there_before_the_job_settles(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    async def send(job: Job) -> str:
        actions: list[str] = []

        async def prepare(action: Action) -> None:
            actions.append(type(action).__name__)
            await job.store.apply(job.queue_name, job.id, Log(" ".join(actions)), lock=job.lock)

        job.before_apply(prepare)
        await job.update_progress(10)
        return "done"

    start(send)
    job = await queue.add("send")
    await clock.settle()
    assert (await job.refresh()).logs == ("SetProgress", "SetProgress Complete")
    assert [event.type for event in events if event.job_id][2:] == [
        "job:log",
        "job:progress",
        "job:log",
        "job:completed",
    ]


async def test_a_store_that_fails_meanwhile_delays_the_outcome_and_loses_nothing(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    failures = iter([OSError("no route"), OSError("no route")])

    async def prepare(action: Action) -> None:
        if error := next(failures, None):
            raise error

    async def send(job: Job) -> str:
        job.before_apply(prepare)
        return "done"

    start(send)
    job = await queue.add("send")
    await clock.settle()
    assert (await job.refresh()).state is JobState.ACTIVE
    await clock.advance("2s")
    assert await job.wait_until_finished() == "done"


async def test_many_lines_are_logged_in_one_step(store: MemoryStore, queue: Queue) -> None:
    job = await queue.add("send")
    lines: list[str] = []
    store.subscribe("emails", lambda event: lines.append(event.data["line"]))
    await job.apply(Log("one", ("two", "three")))
    assert job.logs == ("one", "two", "three")
    assert lines == ["one", "two", "three"]
