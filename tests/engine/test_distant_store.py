"""Workers over a store whose answers take turns of the loop, as those over a network do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    Batch,
    Job,
    JobState,
    Limiter,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.actions import Release
from conveyor_nb.core.model import Lock
from conveyor_nb.core.worker_info import WorkerInfo

pytestmark = pytest.mark.asyncio

FAR = range(1, 5)
"""How many turns of the loop a question and its answer are under way, each."""


class DistantStore(MemoryStore):
    """Looks at once, and answers later; what is changed meanwhile the answer does not know."""

    distance = 1
    idle_beat = 30.0
    fetches = renewals = 0
    """How often it was asked for jobs, and to renew locks."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.renewing = asyncio.Event()

    async def _travel(self) -> None:
        for _ in range(self.distance):
            await checkpoint()

    async def save_job(self, *given: Any) -> Any:
        await self._travel()
        saved = await super().save_job(*given)
        await self._travel()
        return saved

    async def fetch_jobs(self, *given: Any, **options: Any) -> Any:
        self.fetches += 1
        await self._travel()
        fetched = await super().fetch_jobs(*given, **options)
        await self._travel()
        return fetched

    async def renew_locks(self, *given: Any, **options: Any) -> Any:
        self.renewals += 1
        self.renewing.set()
        for _ in range(5):  # what is asked later overtakes it, and is answered later
            await self._travel()
        return await super().renew_locks(*given, **options)

    async def save_worker(self, worker: WorkerInfo) -> None:
        await super().save_worker(worker)
        self._homes.clear()  # it does not see the loops of others

    async def apply(self, *given: Any, **options: Any) -> Any:
        await self._travel()
        changed = await super().apply(*given, **options)
        await self._travel()
        return changed


@pytest_asyncio.fixture(params=itertools.product(FAR, ("in two calls", "in one call")), ids=str)
async def store(request: pytest.FixtureRequest, clock: VirtualClock) -> AsyncIterator[DistantStore]:
    """One that a worker reports to, and then asks for the next job; or does both at once."""
    async with DistantStore(clock=clock, ids="sequential") as store:
        store.distance, how = request.param
        store.settles_and_fetches = how == "in one call"
        yield store


@pytest.mark.parametrize("is_overdue", [False, True], ids=["", "giving way"])
@pytest.mark.parametrize("pause", range(12))
async def test_no_job_is_overlooked(
    pause: int,
    is_overdue: bool,
    store: DistantStore,
    queue: Queue,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that is added just as a worker is told that there is none is taken all the same."""
    monkeypatch.setattr(clock, "overdue", lambda: is_overdue)
    runs: list[str] = []

    async def send(job: Job) -> None:
        runs.append(job.id)

    async with Worker("emails", send, store=store):
        for number in range(1, 6):
            await queue.add("send")
            for _ in range(pause):
                await checkpoint()
            if number % 2:
                await clock.settle()
                assert len(runs) == number
        await queue.add("send", delay="1h")
        await clock.advance("1h")
    assert runs == [f"emails-{number}" for number in range(1, 7)]


async def test_a_batch_is_fetched_in_one_call(
    store: DistantStore, queue: Queue, clock: VirtualClock
) -> None:
    sizes: list[int] = []

    async def send(jobs: list[Job]) -> list[str]:
        sizes.append(len(jobs))
        return [job.id for job in jobs]

    await queue.add_bulk([{"name": "send"}] * 25)
    async with Worker("emails", send, store=store, batch=Batch(10)):
        await clock.settle()
        assert sizes == [10, 10, 5]
        assert store.fetches == 4, "the last one was told that there is none"
        await clock.advance("1h")
        assert store.fetches == 4, "there is nothing to ask for"


async def test_an_idle_worker_knows_from_its_last_fetch_when_to_ask_again(
    store: DistantStore, queue: Queue, clock: VirtualClock
) -> None:
    runs: list[float] = []
    began = clock.now()

    async def send(job: Job) -> None:
        runs.append((clock.now() - began).total_seconds())

    async with Worker("emails", send, store=store, limiter=Limiter(1, 10)):
        await queue.add_bulk([{"name": "send"}, {"name": "send"}, {"name": "send", "delay": 40}])
        await clock.settle()
        assert runs == [0]
        asked = store.fetches
        await clock.advance("39s")
        assert runs == [0, 10]
        assert store.fetches == asked + 2, "one for the job, one that found none"
        await clock.advance("1s")
        assert runs == [0, 10, 40]


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("told", ["pause", "pause for a moment", "retire"])
@pytest.mark.parametrize("batch", [None, Batch(3)], ids=["one", "batch"])
async def test_jobs_that_come_when_no_more_are_taken_are_given_back(
    told: str,
    after: int,
    batch: Batch | None,
    store: DistantStore,
    queue: Queue,
    clock: VirtualClock,
) -> None:
    size = 3 if batch else 1
    expected = [str(number) for number in range(size * after)]
    runs: list[str] = []

    async def send(given: Any) -> list[None]:
        jobs = given if batch else [given]
        runs.extend(job.data for job in jobs)
        return [None] * len(jobs)

    def tell(event: StoreEvent) -> None:
        if event.type == "job:active":
            told_of.append(event)
            if len(told_of) == len(expected) + 1:
                stop()
        elif event.data.get("previous") == "active" and told == "pause for a moment":
            worker.resume()

    told_of: list[StoreEvent] = []
    worker = Worker("emails", send, store=store, batch=batch)
    stop = worker.retire if told == "retire" else worker.pause
    await clock.settle()
    store.subscribe("emails", tell)
    texts = [str(number) for number in range(size * after + 2)]
    jobs = await queue.add_bulk([{"name": "send", "data": text} for text in texts])
    await clock.settle()
    if told != "pause for a moment":
        assert runs == expected
        assert await queue.count("waiting") == 2
        assert {job.attempts_made for job in await queue.get_jobs()} == {0}
        if told == "pause":
            worker.resume()
        else:
            worker = worker.successor()
            worker.start()
        await clock.settle()
    assert sorted(runs) == texts
    assert {(await job.refresh()).state for job in jobs} == {JobState.COMPLETED}
    await worker.close()


async def test_several_workers_run_each_job_once(
    store: DistantStore, queue: Queue, clock: VirtualClock
) -> None:
    runs: list[str] = []

    async def send(job: Job) -> None:
        runs.append(job.id)
        if job.attempts_made == 0:
            raise ConnectionError("no answer")

    workers = [Worker("emails", send, store=store, concurrency=3) for _ in range(3)]
    jobs = [await queue.add("send", attempts=2) for _ in range(30)]
    await clock.settle()
    assert sorted(runs) == sorted(2 * [job.id for job in jobs])
    for worker in workers:
        await worker.close()
    assert await queue.count("completed") == 30


async def test_a_handler_that_is_stopped_while_its_report_is_under_way(
    store: DistantStore, queue: Queue, clock: VirtualClock
) -> None:
    """What was done is done: the job's end is reported, and the next job runs."""
    done = asyncio.Event()

    async def send(job: Job) -> str:
        done.set()
        return "sent"

    async with Worker("emails", send, store=store):
        first, second = await queue.add("first"), await queue.add("second")
        await done.wait()
        await first.cancel()
        await clock.settle()
        assert (await second.refresh()).state is JobState.COMPLETED
        assert (await first.refresh()).state in (JobState.COMPLETED, JobState.FAILED)


async def test_the_locks_of_a_worker_are_renewed_in_one_call(
    store: DistantStore, queue: Queue, clock: VirtualClock
) -> None:
    async def send(job: Job) -> None:
        await job.sleep("25s")

    async with Worker("emails", send, store=store, concurrency=20, lock_duration=20):
        jobs = await queue.add_bulk([{"name": "send"}] * 20)
        await clock.advance("24s")
        assert store.renewals == 2
        assert {(await job.refresh()).lock_until for job in jobs} == {
            clock.now() + timedelta(seconds=16)
        }
        await clock.advance("1s")
        assert await queue.count("completed") == 20
        await clock.advance("4s")
        assert store.renewals == 2, "there is no lock any more"


async def test_a_job_that_ends_as_its_lock_is_renewed_has_lost_nothing(
    store: DistantStore, queue: Queue, clock: VirtualClock
) -> None:
    errors: list[StoreEvent] = []
    queue.on("error", errors.append)

    async def send(job: Job) -> None:
        if job.attempts_made:
            for _ in range(20):
                await checkpoint()
            return
        await store.renewing.wait()
        for _ in range(job.data):
            await checkpoint()
        raise ConnectionError("no answer")

    async with Worker("emails", send, store=store, lock_duration=20):
        for turns in range(12):
            store.renewing.clear()
            job = await queue.add("send", turns, attempts=2)
            await clock.advance("10s")
            assert store.renewing.is_set()
            assert (await job.refresh()).state is JobState.COMPLETED
            assert [attempt.attempt for attempt in job.attempt_logs] == [1, 2]
    assert errors == []


async def test_a_lock_that_was_lost_stops_its_run_alone(
    store: DistantStore, queue: Queue, clock: VirtualClock
) -> None:
    ended: list[str] = []
    errors: list[StoreEvent] = []
    queue.on("error", errors.append)

    async def send(job: Job) -> None:
        try:
            await job.sleep("1m")
        finally:
            ended.append(job.id)

    async with Worker("emails", send, store=store, concurrency=3, lock_duration=20):
        first, second, third = await queue.add_bulk([{"name": "send"}] * 3)
        await clock.settle()
        await queue.pause()
        data = await second.refresh()
        assert data.locked_by is not None
        await store.apply("emails", second.id, Release(), lock=Lock(data.locked_by, 1))
        await clock.advance("15s")
        assert ended == [second.id]
        assert [event.job_id for event in errors] == [second.id]
        await clock.advance("1m")
        assert sorted(ended) == [first.id, second.id, third.id]
        assert await queue.count("completed") == 2
        assert await queue.count("waiting") == 1


async def test_an_idle_worker_shows_that_it_is_there(
    store: DistantStore, queue: Queue, clock: VirtualClock
) -> None:
    async def seen() -> list[datetime | None]:
        return [one.last_seen for one in await store.list_workers()]

    worker = Worker("emails", print, store=store)
    began = clock.now()
    await clock.advance("29s")
    assert await seen() == [began]
    await clock.advance("1s")
    assert await seen() == [clock.now()]
    worker.pause()
    await clock.advance("30 days")
    assert await seen() == [clock.now()]
    assert store.renewals == 2, "however far the clock is moved, it is shown once"
    await worker.close()
    await clock.advance("10m")
    assert store.renewals == 2


@pytest.mark.parametrize(
    ("lock_duration", "renewals"), [("20s", 30), ("20m", 10)], ids=["renews often", "renews rarely"]
)
async def test_a_worker_that_renews_its_locks_shows_so_that_it_is_there(
    lock_duration: str, renewals: int, store: DistantStore, queue: Queue, clock: VirtualClock
) -> None:
    async def hang(job: Job) -> None:
        await asyncio.Event().wait()

    worker = Worker("emails", hang, store=store, lock_duration=lock_duration)
    await queue.add("send")
    for _ in range(30):
        await clock.advance("10s")
    assert store.renewals == renewals
    await worker.close(timeout=0)
