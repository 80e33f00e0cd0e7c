"""What a worker opens before its first job and closes after its last one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from conveyor_nb import (
    Batch,
    Job,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
    current_job,
)
from tests.named_workers import close_named_workers

Start = Callable[..., Worker]


class Client:
    """What a lifespan opens: it notes what happens to it."""

    def __init__(self) -> None:
        self.story: list[str] = []

    async def get(self, what: Any) -> str:
        assert self.story[-1] != "closed"
        self.story.append(f"got {what}")
        return f"{what} of client"

    async def __aenter__(self) -> Client:
        self.story.append("opened")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.story.append("closed")


async def fetch(job: Job) -> Any:
    return await job.resources.get(job.data)


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture(params=["generator", "asynccontextmanager", "with the worker", "a class"])
def lifespan(request: pytest.FixtureRequest, client: Client) -> Any:
    async def open_client() -> AsyncIterator[Client]:
        async with client:
            yield client

    async def open_for(worker: Worker) -> AsyncIterator[Client]:
        assert worker.name == "emails"
        async with client:
            yield client

    return {
        "generator": open_client,
        "asynccontextmanager": contextlib.asynccontextmanager(open_client),
        "with the worker": open_for,
        "a class": lambda: client,
    }[request.param]


@pytest.mark.asyncio
async def test_it_is_open_from_before_the_first_job_until_after_the_last(
    lifespan: Any, client: Client, queue: Queue, store: MemoryStore
) -> None:
    jobs = await queue.add_bulk({"name": "get", "data": n} for n in range(2))
    worker = Worker("emails", fetch, store=store, lifespan=lifespan)
    assert [await job.wait_until_finished() for job in jobs] == ["0 of client", "1 of client"]
    last = await queue.add("get", 2)
    await worker.close()
    assert client.story[0] == "opened"
    assert client.story[-1] == "closed"
    assert client.story.count("opened") == client.story.count("closed") == 1
    assert await last.is_completed() == ("got 2" in client.story)


@pytest.mark.asyncio
async def test_it_is_closed_when_the_running_jobs_are_done(
    client: Client, queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    async def slow(job: Job) -> str:
        await job.sleep(5)
        return str(await job.resources.get("late"))

    job = await queue.add("get")
    worker = Worker("emails", slow, store=store, lifespan=lambda: client)
    await clock.settle()
    closing = asyncio.ensure_future(worker.close(timeout=None))
    await clock.advance(5)
    await closing
    assert await job.wait_until_finished() == "late of client"
    assert client.story == ["opened", "got late", "closed"]


@pytest.mark.asyncio
async def test_plain_handlers_batches_and_the_current_job_have_it_too(
    client: Client, queue: Queue, start: Start
) -> None:
    def plain(job: Any) -> Any:
        own = current_job()
        assert own is not None
        return own.resources is job.resources is client

    start(plain, lifespan=lambda: client)
    assert await (await queue.add("get")).wait_until_finished() is True
    others = Queue("others", store=queue.store)

    async def batch(jobs: list[Job]) -> list[bool]:
        return [job.resources is client for job in jobs]

    jobs = await others.add_bulk([{"name": "get"}] * 3)
    async with Worker("others", batch, store=queue.store, batch=Batch(3), lifespan=lambda: client):
        assert [await job.wait_until_finished() for job in jobs] == [True] * 3


@pytest.mark.asyncio
async def test_without_one_a_job_says_how_to_have_it(queue: Queue, start: Start) -> None:
    job = await queue.add("get")
    with pytest.raises(AttributeError, match=r"Worker\(\.\.\., lifespan=open_client\)"):
        _ = job.resources
    start(fetch)
    with pytest.raises(Exception, match="whose worker has a lifespan"):
        await job.wait_until_finished()


@pytest.mark.asyncio
async def test_steps_open_it_once_and_closing_closes_it(
    client: Client, queue: Queue, store: MemoryStore
) -> None:
    worker = Worker("emails", fetch, store=store, lifespan=lambda: client, auto_start=False)
    assert client.story == []
    await queue.add_bulk({"name": "get", "data": n} for n in range(4))
    await worker.run_once()
    await worker.run_once()
    assert await worker.run_until_idle() == 2
    assert client.story == ["opened", "got 0", "got 1", "got 2", "got 3"]
    await worker.close()
    assert client.story[-1] == "closed"


@pytest.mark.asyncio
async def test_it_is_entered_and_left_in_one_task(queue: Queue, store: MemoryStore) -> None:
    tasks = []

    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        tasks.append(asyncio.current_task())
        async with asyncio.TaskGroup() as group:
            yield group
        tasks.append(asyncio.current_task())

    async def handler(job: Job) -> Any:
        return await job.resources.create_task(asyncio.sleep(0, "by the group"))

    async with Worker("emails", handler, store=store, lifespan=group):
        assert await (await queue.add("get")).wait_until_finished() == "by the group"
    assert tasks[0] is tasks[1] is not None


@pytest.mark.asyncio
async def test_a_worker_that_takes_over_opens_its_own(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    first, second = Client(), Client()

    async def slow(job: Job) -> Any:
        await job.sleep(5)
        return await job.resources.get(job.data)

    decorated = queue.worker(lifespan=lambda: first)(slow)
    old = await queue.add("get", "old")
    await clock.settle()
    queue.worker(lifespan=lambda: second)(slow)
    new = await queue.add("get", "new")
    await clock.advance(5)
    assert (first.story, second.story) == (["opened", "got old", "closed"], ["opened", "got new"])
    assert [(await job.refresh()).state for job in (old, new)] == ["completed"] * 2
    await decorated.worker.close()
    again = decorated.worker.successor()
    await clock.settle()
    assert second.story == ["opened", "got new", "closed", "opened"]
    await again.close()
    await close_named_workers(store)


# -- what can go wrong ------------------------------------------------------------------------


class Broken:
    """A lifespan that can't be opened the first time, or the first few."""

    def __init__(self, times: int = 1) -> None:
        self.left = times
        self.tried = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        self.tried += 1
        if self.left:
            self.left -= 1
            raise ConnectionError("refused")
        yield "opened"


async def resources(job: Job) -> Any:
    return job.resources


@pytest.mark.asyncio
async def test_a_worker_whose_lifespan_cant_be_opened_says_so_once_and_tries_when_told(
    queue: Queue,
    store: MemoryStore,
    clock: VirtualClock,
    events: list[StoreEvent],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = Broken()
    job = await queue.add("get")
    worker = Worker("emails", resources, store=store, lifespan=broken.open)
    await clock.advance("1 hour")
    assert (worker.status, broken.tried) == ("stopped", 1)
    assert worker.fault == "its lifespan raised ConnectionError: refused"
    assert "stopped (its lifespan raised ConnectionError: refused), 0 of 1" in repr(worker)
    first_line = caplog.messages[0]
    assert first_line.endswith(f"has stopped: {worker.fault}; worker.start() tries again")
    assert await job.refresh() is job
    assert job.state == "waiting"
    assert caplog.text.count("takes no jobs: its lifespan raised ConnectionError: refused") == 1
    (told,) = [event for event in events if event.type == "queue:error"]
    assert "lifespan raised ConnectionError: refused" in told.data["error"]

    worker.start()
    assert worker.fault is None
    assert await job.wait_until_finished() == "opened"
    await worker.close()


@pytest.mark.parametrize("way", ["run_once", "run_until_idle", "__aenter__"])
@pytest.mark.asyncio
async def test_who_waits_for_the_worker_is_told_himself(
    way: str, queue: Queue, store: MemoryStore
) -> None:
    broken = Broken()
    await queue.add("get")
    worker = Worker("emails", resources, store=store, lifespan=broken.open, auto_start=False)
    with pytest.raises(RuntimeError, match="lifespan raised ConnectionError: refused") as error:
        await getattr(worker, way)()
    assert isinstance(error.value.__cause__, ConnectionError)
    assert await queue.count("waiting") == 1
    if way == "__aenter__":
        assert worker.status == "closed"
        return
    assert await getattr(worker, way)(), "the second time it can be opened"
    await worker.close()


@pytest.mark.asyncio
async def test_a_lifespan_that_fails_as_it_closes_is_told_of(
    queue: Queue, store: MemoryStore, events: list[StoreEvent], caplog: pytest.LogCaptureFixture
) -> None:
    async def ends_badly() -> AsyncIterator[str]:
        yield "opened"
        raise OSError("the socket is gone")

    async with Worker("emails", resources, store=store, lifespan=ends_badly) as worker:
        assert await (await queue.add("get")).wait_until_finished() == "opened"
    assert worker.status == "closed"
    assert "its lifespan raised as it was closed" in caplog.text
    assert [one.data["error"] for one in events if one.type == "queue:error"] == [
        "OSError: the socket is gone"
    ]


@pytest.mark.asyncio
async def test_a_lifespan_that_ends_by_itself_stops_its_worker(
    queue: Queue, store: MemoryStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    break_it = asyncio.Event()

    async def background() -> None:
        await break_it.wait()
        raise ConnectionError("the server hung up")

    async def group() -> AsyncIterator[str]:
        break_it.clear()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(background())
            yield "opened"
            task.cancel()

    worker = Worker("emails", resources, store=store, lifespan=group)
    assert await (await queue.add("get")).wait_until_finished() == "opened"
    break_it.set()
    await clock.settle()
    job = await queue.add("get")
    await clock.settle()
    assert worker.status == "stopped"
    assert str(worker.fault).startswith("its lifespan has ended: ")
    assert "its lifespan has ended; worker.start() opens a new one" in caplog.text
    assert await queue.count("waiting") == 1

    worker.start()
    assert await job.wait_until_finished() == "opened"
    await worker.close()


@pytest.mark.asyncio
async def test_closing_does_not_wait_for_one_that_is_not_open_yet(
    queue: Queue, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    story: list[str] = []

    async def slow() -> AsyncIterator[str]:
        try:
            await asyncio.Event().wait()
            yield "never"
        finally:
            story.append("given up")

    worker = Worker("emails", resources, store=store, lifespan=slow)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await worker.close(timeout=None)
    assert (worker.status, story) == ("closed", ["given up"])
    assert caplog.text == ""


def plain_generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("lifespan", "told"),
    [
        (5, "lifespan must be an async generator function with one `yield`"),
        (plain_generator, "lifespan must be an async generator function with one `yield`"),
        (Client().get, "lifespan must `yield` what it has opened, not return it"),
        (Client(), "must be the function that opens it, not what a call of that gives"),
        (contextlib.nullcontext(), "must be the function that opens it"),
    ],
)
@pytest.mark.asyncio
async def test_what_is_no_lifespan_is_refused(lifespan: Any, told: str, store: MemoryStore) -> None:
    with pytest.raises(TypeError, match=told):
        Worker("emails", resources, store=store, lifespan=lifespan)


@pytest.mark.asyncio
async def test_a_function_that_gives_no_context_manager(store: MemoryStore) -> None:
    wrong: Any = lambda: 5  # noqa: E731 -- as people write it
    worker = Worker("emails", resources, store=store, lifespan=wrong, auto_start=False)
    with pytest.raises(RuntimeError, match="it gave 5, which is not an async context manager"):
        await worker.run_once()
    await worker.close()


@pytest.mark.asyncio
async def test_processes_have_no_lifespan(client: Client, store: MemoryStore) -> None:
    with pytest.raises(ValueError, match="with executor='process' let the handler open"):
        Worker("emails", print, store=store, executor="process", lifespan=lambda: client)


def test_the_end_of_its_loop_closes_it(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def main() -> Any:
        store = MemoryStore()
        Worker("emails", fetch, store=store, lifespan=lambda: client)
        return await (await Queue("emails", store=store).add("get", 5)).wait_until_finished()

    assert asyncio.run(main()) == "5 of client"
    assert client.story == ["opened", "got 5", "closed"]
    assert caplog.text == ""
