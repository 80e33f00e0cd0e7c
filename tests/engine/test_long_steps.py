"""Steps over many jobs: the loop's other tasks have their turns, and see all of it or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    BulkJob,
    ConveyorError,
    FlowJob,
    FlowProducer,
    Job,
    JobOptions,
    JobState,
    MemoryStore,
    PayloadError,
    Queue,
    Repeat,
    VirtualClock,
    Worker,
)
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.actions import Cancel, Complete
from conveyor_nb.core.job_query import JobQuery
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, Lock
from conveyor_nb.core.slicing import SLICE
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo, WorkerStatus
from conveyor_nb.display import Displayable

MANY = 4 * SLICE
LONG: BulkJob = {"name": "send", "data": {"to": "ada"}}


class ImpatientClock(VirtualClock):
    """Always says that others should have a turn."""

    def overdue(self) -> bool:
        return True

    def jump(self, duration: timedelta) -> None:
        """Move on and run each timer that is due now, with no task having its turn."""
        self._now += duration
        due = sorted(timer for timer in self._timers if timer.when <= self._now)
        for timer in due:
            timer.fire()


@pytest_asyncio.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore(clock=ImpatientClock(), ids="sequential") as store:
        yield store


@pytest.fixture
def queue(store: MemoryStore) -> Queue:
    return Queue("emails", store=store)


async def no_op(_: Job) -> str:
    return "done"


async def turns_during(work: Awaitable[object]) -> int:
    """How many turns another task of the loop gets meanwhile."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    counting = asyncio.create_task(count())
    await checkpoint()
    turns = 0
    await work
    counting.cancel()
    return turns


async def add(queue: Queue, **options: object) -> None:
    item: BulkJob = {**LONG, "opts": JobOptions.of(options)}
    await queue.add_bulk([item] * MANY)


async def settle(queue: Queue, *, failed: bool = False) -> None:
    async def handle(_: Job) -> None:
        if failed:
            raise ValueError("no")

    await add(queue)
    async with Worker("emails", handle, store=queue.store, concurrency=10) as worker:
        await worker.run_until_idle()


async def flow(queue: Queue) -> None:
    leaves = [FlowJob("leaf", "emails") for _ in range(MANY - 1)]
    await FlowProducer(store=queue.store).add(FlowJob("root", "emails", children=leaves))


async def nothing(_: Queue) -> None:
    """Nothing is there before."""


Prepare = Callable[[Queue], Awaitable[None]]
Work = Callable[[Queue], Awaitable[object]]

STEPS: dict[str, tuple[Prepare, Work, JobState | None]] = {
    "add_bulk": (nothing, add, JobState.WAITING),
    "flow": (nothing, flow, None),
    "drain": (add, lambda queue: queue.drain(), JobState.WAITING),
    "clean": (settle, lambda queue: queue.clean("completed"), JobState.COMPLETED),
    "obliterate": (add, lambda queue: queue.obliterate(), JobState.WAITING),
    "retry_jobs": (
        lambda queue: settle(queue, failed=True),
        lambda queue: queue.retry_jobs(),
        JobState.WAITING,
    ),
    "promote_jobs": (
        lambda queue: add(queue, delay="1h"),
        lambda queue: queue.promote_jobs(),
        JobState.DELAYED,
    ),
}
"""What is there before, the step, and a state in which all jobs are at one end of it."""


@pytest.mark.asyncio
@pytest.mark.parametrize("name", STEPS)
async def test_others_have_turns_and_see_all_or_nothing(name: str, queue: Queue) -> None:
    prepare, work, state = STEPS[name]
    await prepare(queue)
    seen: set[int] = set()

    async def look() -> None:
        while True:
            seen.add(await queue.count(state))
            await checkpoint()

    looking = asyncio.create_task(look())
    turns = await turns_during(work(queue))
    seen.add(await queue.count(state))
    looking.cancel()
    assert turns >= MANY // SLICE - 1
    assert seen == {0, MANY}


@pytest.mark.asyncio
async def test_a_search_gives_others_their_turns(queue: Queue) -> None:
    await add(queue)
    assert await turns_during(queue.store.search_by_name("emails", "send")) >= MANY // SLICE - 1


@pytest.mark.asyncio
@pytest.mark.parametrize("name", STEPS)
async def test_an_interrupted_step_is_not_left_half_done(name: str, queue: Queue) -> None:
    prepare, work, state = STEPS[name]
    await prepare(queue)
    before = await queue.count(state)
    step = asyncio.ensure_future(work(queue))
    while not is_under_way(queue):
        await checkpoint()
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    assert is_under_way(queue), "it goes on without whoever waited for it"
    assert {before, await queue.count(state)} == {0, MANY}


def is_under_way(queue: Queue) -> bool:
    assert isinstance(queue.store, MemoryStore)
    return queue.store._slices.under_way is not None


@pytest.mark.asyncio
async def test_whoever_wants_something_waits_until_a_step_is_over(
    store: MemoryStore, queue: Queue
) -> None:
    job = await queue.add("first")
    await store.fetch_next_job("emails", "w1", 30)
    adding = asyncio.ensure_future(add(queue))
    while not is_under_way(queue):
        await checkpoint()
    wanted = [
        store.fetch_next_job("emails", "w2", 30),
        store.apply("emails", job.id, Complete("sent"), lock=Lock("w1", 1)),
        store.get_job("emails", job.id),
        store.save_job(JobData("last", "send", "emails")),
        store.count_jobs("emails"),
    ]
    counts: list[int] = []

    async def want(what: Awaitable[object]) -> object:
        found = await what
        counts.append(len(store.snapshot("emails")))
        return found

    found = await asyncio.gather(*map(want, wanted))
    await adding
    assert min(counts) == MANY + 1
    assert all(found)


STEPS_OF_THE_STORE = [
    name
    for name, method in inspect.getmembers(MemoryStore, inspect.iscoroutinefunction)
    if not name.startswith("_")
    and not hasattr(Displayable, name)  # it asks these methods
    and name not in ("connect", "findings")  # they do nothing
    and name != "publish"  # the event is the caller's own
]
NOW = datetime(2027, 1, 1, tzinfo=UTC)
ARGUMENTS: dict[str, Any] = {
    "action": Cancel(),
    "attempts": {"emails-1": 1},
    "changes": {"data": 1},
    "command": WorkerCommand("paused"),
    "child_id": "emails-1",
    "count": 1,
    "fields": {"to": "ada"},
    "group_id": None,
    "job": JobData("", "send", "emails"),
    "job_id": "emails-1",
    "jobs": [JobData("last", "send", "emails")],
    "key": "a key",
    "lock": Lock("w1", 1),
    "lock_duration": 30,
    "most": 1,
    "name": "send",
    "parent_id": "emails-1",
    "query": JobQuery(),
    "queue_name": "emails",
    "scheduler": JobScheduler("s", "emails", Repeat(every=60), "send", None, JobOptions()),
    "scheduler_id": "s",
    "state": JobState.WAITING,
    "text": "send",
    "worker": WorkerInfo("w1", "mailer", "emails", 1, WorkerStatus.RUNNING, NOW),
    "worker_id": "w1",
}
"""What the store's methods may be given, by the names of their parameters."""


@pytest.mark.asyncio
@pytest.mark.parametrize("method", STEPS_OF_THE_STORE)
async def test_every_method_of_the_store_waits_while_a_step_is_under_way(
    method: str, store: MemoryStore, queue: Queue
) -> None:
    step = getattr(store, method)
    parameters = inspect.signature(step).parameters.values()
    arguments = {one.name: ARGUMENTS[one.name] for one in parameters if one.default is one.empty}
    await queue.add("first")
    await store.fetch_next_job("emails", "w1", 30)
    await queue.upsert_job_scheduler("s", Repeat(every=60), "send")

    async def take() -> bool:
        with contextlib.suppress(ConveyorError):  # it may be refused, but not too early
            await step(**arguments)
        return is_under_way(queue)

    # when the first one is over, the second begins before anybody else has a turn
    adding = [asyncio.ensure_future(add(queue)) for _ in range(2)]
    while not is_under_way(queue):
        await checkpoint()
    *_, was_under_way = await asyncio.gather(*adding, take())
    assert not was_under_way


@pytest.mark.asyncio
async def test_a_long_step_begins_when_the_one_before_is_over(queue: Queue) -> None:
    adding = asyncio.gather(add(queue), add(queue))
    while not is_under_way(queue):
        await checkpoint()
    assert await queue.store.drain("emails") == 2 * MANY
    await adding
    assert await queue.count() == 0


@pytest.mark.asyncio
async def test_jobs_that_expire_during_a_step_are_not_taken_from_it(
    store: MemoryStore, queue: Queue
) -> None:
    await add(queue, remove_on_complete="1h")
    async with Worker("emails", no_op, store=store, concurrency=10) as worker:
        await worker.run_until_idle()
        worker.pause()
        retrying = asyncio.ensure_future(queue.retry_jobs("completed"))
        while not is_under_way(queue):
            await checkpoint()
        assert isinstance(store.clock, ImpatientClock)
        store.clock.jump(timedelta(hours=1))
        assert is_under_way(queue)
        assert await retrying == MANY
        assert await queue.count("waiting") == MANY


@pytest.mark.asyncio
async def test_jobs_that_expire_during_a_step_are_removed_after_it(
    store: MemoryStore, queue: Queue
) -> None:
    await queue.add("old", remove_on_complete="1h")
    async with Worker("emails", no_op, store=store) as worker:
        await worker.run_until_idle()
    adding = asyncio.ensure_future(add(queue))
    while not is_under_way(queue):
        await checkpoint()
    assert isinstance(store.clock, ImpatientClock)
    store.clock.jump(timedelta(hours=1))
    await adding
    await store.clock.advance(0)
    assert await queue.get_job_counts() == dict.fromkeys(JobState, 0) | {"waiting": MANY}


@pytest.mark.asyncio
@pytest.mark.parametrize("turns", [0, 1, 2], ids=["before it began", "in a turn", "later"])
async def test_a_step_is_finished_when_every_task_is_cancelled(turns: int, queue: Queue) -> None:
    """As a loop does with those that are left, before it is closed."""
    before = asyncio.all_tasks()
    adding = asyncio.ensure_future(add(queue))
    while not is_under_way(queue):
        await checkpoint()
    for _ in range(turns):
        await checkpoint()
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    assert await queue.count() == MANY
    assert not is_under_way(queue)


@pytest.mark.asyncio
async def test_what_is_refused_late_leaves_nothing(queue: Queue) -> None:
    jobs = [LONG] * MANY + [{"name": "send", "data": {"to": lambda: 0}}]
    with pytest.raises(PayloadError, match=rf"item {MANY}: data\['to'\]"):
        await queue.add_bulk(jobs)
    assert await queue.count() == 0
    assert not is_under_way(queue)
    await queue.add("send")


@pytest.mark.asyncio
async def test_few_jobs_are_one_step_without_waiting(queue: Queue) -> None:
    few = queue.store.save_bulk([])
    with pytest.raises(StopIteration):
        few.send(None)
    job = await queue.add("send")
    for state in (JobState.WAITING, JobState.COMPLETED):
        cleaning = queue.store.clean("emails", state)
        with pytest.raises(StopIteration):
            cleaning.send(None)
    assert await queue.get_job(job.id) is None


@pytest.mark.asyncio
async def test_jobs_that_expire_together_are_all_removed(store: MemoryStore, queue: Queue) -> None:
    await add(queue, remove_on_complete="1h")
    async with Worker("emails", no_op, store=store, concurrency=10) as worker:
        await worker.run_until_idle()
    assert await queue.count("completed") == MANY
    assert isinstance(store.clock, VirtualClock)
    await store.clock.advance("1h")
    assert await queue.count() == 0


@pytest.mark.asyncio
async def test_jobs_that_fall_due_together_are_taken_in_order(
    store: MemoryStore, queue: Queue
) -> None:
    await add(queue, delay="1h", priority=2)
    await queue.add("first", delay="1h", priority=1)
    assert isinstance(store.clock, VirtualClock)
    await store.clock.advance("1h")
    first = await store.fetch_next_job("emails", "w1", 30)
    assert first is not None
    assert first.name == "first"
    assert await queue.count("waiting") == MANY


# -- many short steps -------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_who_adds_on_and_on_gives_others_their_turns(queue: Queue) -> None:
    async def add_all() -> list[Job]:
        return [await queue.add("send") for _ in range(10)]

    assert await turns_during(add_all()) >= 10


@pytest.mark.asyncio
async def test_who_waits_for_what_has_ended_gives_others_their_turns(
    store: MemoryStore, queue: Queue
) -> None:
    jobs = [await queue.add("send") for _ in range(10)]
    async with Worker("emails", no_op, store=store) as worker:
        await worker.run_until_idle()

    async def wait() -> None:
        for job in jobs:
            assert await job.wait_until_finished() == "done"

    assert await turns_during(wait()) >= 10


@pytest.mark.asyncio
async def test_handlers_that_never_wait_give_others_their_turns(
    store: MemoryStore, queue: Queue
) -> None:
    await queue.add_bulk([LONG] * 20)
    async with Worker("emails", no_op, store=store, concurrency=2) as worker:
        assert await turns_during(worker.run_until_idle()) >= 10
    assert await queue.count("completed") == 20


@pytest.mark.asyncio
async def test_what_a_long_step_raises_is_told_if_whoever_waited_was_interrupted(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    jobs: list[BulkJob] = [*([LONG] * MANY), {"name": "send", "data": lambda: None}]
    adding = asyncio.ensure_future(queue.add_bulk(jobs))
    while not is_under_way(queue):
        await checkpoint()
    adding.cancel()
    while is_under_way(queue):
        await checkpoint()
    await checkpoint()

    assert adding.cancelled()
    assert "PayloadError" in caplog.text
    assert await queue.count() == 0
