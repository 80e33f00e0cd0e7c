"""The workers' tab of a queue's panel: what it tells of each worker, and what its buttons do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import ConveyorError, Job, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.notebook.panel.page_messages import read_message
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.panel.worker_cards import handler_place
from conveyor_nb.notebook.panel.worker_use import work_of

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def clock() -> VirtualClock:
    return VirtualClock()


@pytest_asyncio.fixture
async def queue(clock: VirtualClock) -> AsyncIterator[Queue]:
    async with (
        MemoryStore(clock=clock, ids="sequential", seed=1) as store,
        Queue("images", store=store) as queue,
    ):
        yield queue


async def work(job: Job) -> None:
    await job.sleep(0.25)
    if job.name == "bad":
        raise ValueError("no image")


async def cards(queue: Queue, *, read_only: bool = False) -> list[dict[str, Any]]:
    view = QueueView(queue, read_only=read_only)
    await view.do("tab", tab="workers")
    parts = await view.read()
    found: list[dict[str, Any]] = parts["worker_cards"]["cards"]
    return found


async def test_a_card_tells_what_its_worker_does(queue: Queue, clock: VirtualClock) -> None:
    for name in ("resize", "bad", "resize", "resize"):
        await queue.add(name)
    began = clock.now().timestamp()
    async with Worker("images", work, store=queue.store, concurrency=2, name="mailer"):
        await clock.advance("0.4s")
        [card] = await cards(queue)
    assert (card["name"], card["done"], card["failed"]) == ("mailer", 1, 1)
    assert card["since"] == began
    assert [(slot["id"], slot["name"], slot["end"]) for slot in card["slots"]] == [
        ("images-3", "resize", "3"),
        ("images-4", "resize", "4"),
    ]
    assert [slot["since"] for slot in card["slots"]] == [began + 0.25] * 2
    assert card["handler"].startswith("test_worker_cards.py, line ")


async def test_use_is_over_the_last_second_and_not_at_an_instant(
    queue: Queue, clock: VirtualClock
) -> None:
    async with Worker("images", work, store=queue.store, concurrency=2):
        await queue.add_bulk([{"name": "resize"}] * 2)
        await clock.advance("0.5s")
        [card] = await cards(queue)
        assert card["slots"] == [], "no slot is in use at this instant"
        assert card["use"] == 0.25, "two of two slots were for a quarter of the last second"
        assert card["rate"] == 2
        await clock.advance("2s")
        [card] = await cards(queue)
    assert (card["use"], card["rate"]) == (0, 0)


async def test_where_very_much_happens_the_moment_is_shorter(
    queue: Queue, clock: VirtualClock
) -> None:
    async def quick(job: Job) -> None:
        await job.sleep(0.001)

    async with Worker("images", quick, store=queue.store) as worker:
        await queue.add_bulk([{"name": "resize"}] * 900)
        await clock.advance("0.8s")
        settled = await queue.store.list_jobs("images", "completed", 0, 100, newest_first=True)
        found = work_of(settled, [], clock.now(), is_all=False)[worker.id]
    assert found.moment == pytest.approx(0.1, abs=0.002)
    assert found.use(1) == pytest.approx(1, abs=0.03)
    assert found.rate == pytest.approx(1_000, rel=0.03)
    assert found.use(2) == pytest.approx(0.5, abs=0.03)


async def test_slots_come_and_go_while_it_runs(queue: Queue, clock: VirtualClock) -> None:
    view = QueueView(queue)
    await queue.add_bulk([{"name": "resize"}] * 5)
    async with Worker("images", work, store=queue.store, name="mailer") as worker:
        await clock.settle()
        assert len(worker.running) == 1
        await view.do("resize_worker", worker="mailer", slots=3)
        await clock.settle()
        assert (worker.concurrency, len(worker.running)) == (3, 3)
        with pytest.raises(PermissionError, match="only shown here"):
            await QueueView(queue, read_only=True).do("resize_worker", worker="mailer", slots=9)
        [card] = await cards(queue, read_only=True)
        assert not card["resizable"]
        assert card["can"] == []
        await view.do("stop_worker", worker="mailer")
        with pytest.raises(ConveyorError, match="'mailer' is stopped; start it"):
            await view.do("resize_worker", worker="mailer", slots=2)
    for wrong in (0, -1, 10**9, "3", 1.5, None):
        with pytest.raises(ValueError, match="not a message of a page"):
            read_message({"do": "resize_worker", "worker": "mailer", "slots": wrong})


async def test_one_that_vanished_is_told(queue: Queue, clock: VirtualClock) -> None:
    store = queue.store
    told = WorkerInfo("far-1", "far", "images", 2, WorkerStatus.RUNNING, clock.now())
    await store.save_worker(told)
    await queue.add("resize")
    [job] = (await store.fetch_jobs("images", "far-1", 30)).jobs
    [card] = await cards(queue)
    assert (card["here"], card["vanished"], card["can"]) == (False, False, ["pause", "stop"])
    assert [slot["id"] for slot in card["slots"]] == [job.id]
    await clock.advance("31s")
    [card] = await cards(queue)
    assert card["vanished"], "the lock of what it runs has ended"
    assert (card["can"], card["resizable"]) == ([], False), "nobody is there to be told"


async def test_one_of_another_process_is_told_what_to_do(queue: Queue, clock: VirtualClock) -> None:
    """It is said until it has done so, and if it never does."""
    store, view = queue.store, QueueView(queue)
    far = WorkerInfo("far-1", "far", "images", 2, WorkerStatus.RUNNING, clock.now())
    await store.save_worker(far)
    await view.do("pause_worker", worker="far-1")
    [card] = await cards(queue)
    assert (card["status"], card["told"]) == ("running", "is told to pause …")
    assert card["can"] == ["resume", "stop"]
    await store.save_worker(replace(far, status=WorkerStatus.PAUSED))
    [card] = await cards(queue)
    assert (card["status"], card["told"], card["can"]) == ("paused", "", ["resume", "stop"])
    await view.do("resize_worker", worker="far-1", slots=3)
    await view.do("stop_worker", worker="far-1")
    [card] = await cards(queue)
    assert card["told"] == "is told to stop and run 3 jobs at once …"
    assert (card["wanted"], card["can"], card["resizable"]) == (3, [], False)
    await clock.advance("91s")
    [card] = await cards(queue)
    assert card["told"] == "was told to stop and run 3 jobs at once, and never did"
    assert card["can"] == ["resume", "stop"]
    await store.save_worker(replace(far, status=WorkerStatus.CLOSED))
    with pytest.raises(ConveyorError, match="no worker named 'far-1' any more"):
        await view.do("pause_worker", worker="far-1")


async def test_one_of_another_process_has_no_buttons_where_it_is_only_shown(
    queue: Queue, clock: VirtualClock
) -> None:
    far = WorkerInfo("far-1", "far", "images", 2, WorkerStatus.RUNNING, clock.now())
    await queue.store.save_worker(far)
    view = QueueView(queue, read_only=True)
    [card] = await cards(queue, read_only=True)
    assert (card["can"], card["resizable"]) == ([], False)
    with pytest.raises(PermissionError, match="only shown here"):
        await view.do("pause_worker", worker="far-1")
    assert [one.command for one in await queue.store.list_workers()] == [None]


async def test_one_that_shows_itself_no_more_has_vanished(
    queue: Queue, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = queue.store
    monkeypatch.setattr(store, "idle_beat", 30.0)
    seen = clock.now()
    info = WorkerInfo("far-1", "far", "images", 2, WorkerStatus.RUNNING, seen, seen)

    async def listed(queue_name: str | None = None) -> list[WorkerInfo]:
        return [info]

    monkeypatch.setattr(store, "list_workers", listed)
    await clock.advance("80s")
    [card] = await cards(queue)
    assert (card["vanished"], card["seen"]) == (False, seen.timestamp())
    await clock.advance("11s")
    [card] = await cards(queue)
    assert card["vanished"], "three of its signs of life did not come"


async def test_where_a_handler_is() -> None:
    store = MemoryStore()

    def place(handler: Any) -> str | None:
        return handler_place(Worker("images", handler, store=store, auto_start=False))

    namespace: dict[str, Any] = {}
    exec(compile("async def one(job): pass", "<%%worker mailer>", "exec"), namespace)
    assert place(namespace["one"]) == "%%worker mailer"
    assert place({"a": namespace["one"], "b": work}) == "2 handlers"
    assert str(place(work)).startswith("test_worker_cards.py, line ")
