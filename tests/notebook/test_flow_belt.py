"""The picture of a flow: its jobs on one belt, over all the queues that they are in."""

from __future__ import annotations

import asyncio
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    Job,
    JobData,
    JobNotFoundError,
    JobState,
    MemoryStore,
    Queue,
    VirtualClock,
    Worker,
)
from conveyor_nb.flow import FlowNode
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.pictures.belt import belt_picture
from conveyor_nb.notebook.pictures.belt_plan import LIVE, NARROW, WIDE, Plan
from conveyor_nb.notebook.pictures.belt_state import BeltState
from conveyor_nb.notebook.pictures.flow_replay import read_way
from conveyor_nb.notebook.pictures.flow_state import read_flow
from conveyor_nb.notebook.pictures.rewinding import jobs_at
from conveyor_nb.notebook.pictures.svg import to_svg

from .drawn import SVG, pieces_in

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def clock() -> VirtualClock:
    return VirtualClock()


@pytest_asyncio.fixture
async def store(clock: VirtualClock) -> AsyncIterator[MemoryStore]:
    async with MemoryStore(clock=clock, ids="sequential", seed=1) as store:
        yield store


async def book(store: MemoryStore, pages: int = 4) -> FlowNode:
    """A book of pages, which are made in a queue of their own, and of a cover."""
    children = [FlowJob("page", "pages", n, {"attempts": 2, "backoff": "1m"}) for n in range(pages)]
    cover = FlowJob("cover", "books")
    tree = FlowJob("book", "books", children=[FlowJob("text", "books", children=children), cover])
    return await FlowProducer(store=store).add(tree)


async def state_of(flow: FlowNode, before: BeltState | None = None) -> BeltState:
    store = flow.job.store
    root = await store.get_job(flow.job.queue_name, flow.job.id)
    assert root is not None
    return await read_flow(store, root, store.clock.now(), before)


def pieces(state: BeltState, plan: Plan = WIDE) -> dict[tuple[str, str], tuple[float, float]]:
    """Where the piece of each job is, by its queue and id."""
    return {
        (piece["data-queue"], piece["data-job"]): place for piece, place in pieces_in(state, plan)
    }


async def make(job: Job) -> None:
    await job.sleep("10s")
    if job.data == 1 and job.attempts_made == 0:
        raise ValueError("no ink")


@pytest.mark.parametrize("plan", [WIDE, NARROW, LIVE])
async def test_jobs_of_all_queues_are_where_their_state_says(
    store: MemoryStore, clock: VirtualClock, plan: Plan
) -> None:
    await Queue("pages", store=store).add("page of another book")
    flow = await book(store)
    state = await state_of(flow)
    assert state.standing == "no worker serves books; no worker serves pages"
    assert [job.name for job in state.parents] == ["book", "text"]
    async with Worker("pages", make, store=store, concurrency=2, name="printer"):
        await clock.advance("25s")
        state = await state_of(flow)
    assert state.counts == dict.fromkeys(JobState, 0) | {
        JobState.COMPLETED: 2,
        JobState.DELAYED: 1,
        JobState.ACTIVE: 1,
        JobState.WAITING: 1,
        JobState.WAITING_CHILDREN: 2,
    }
    assert state.standing == "no worker serves books", "which is where the cover waits"
    (shelf, slots, siding, tray, belt) = (
        [(job.queue_name, job.id) for job in some if job is not None]
        for some in (
            state.delayed,
            [station.job for station in state.stations],
            state.parents,
            state.completed,
            state.coming,
        )
    )
    shown = pieces(state, plan)
    assert shown.keys() == {*shelf, *slots, *siding, *tray, *belt}, "and none of the other book"
    (_, high), (_, middle), (_, low) = (shown[some[0]] for some in (shelf, belt, siding))
    assert high < middle < low
    assert ("books", "pages-1") not in shown


async def test_what_comes_first_in_its_queue_comes_first(store: MemoryStore) -> None:
    flow = await book(store, pages=3)
    await Queue("pages", store=store).add("urgent", priority=-1)
    state = await state_of(flow)
    assert [(job.queue_name, job.name) for job in state.coming] == [
        ("books", "cover"),
        ("pages", "page"),
        ("pages", "page"),
        ("pages", "page"),
    ]
    in_order = [job.id for job in await Queue("pages", store=store).next_jobs(9)]
    mine = [job.id for job in state.coming if job.queue_name == "pages"]
    assert mine == in_order[1:]


async def test_slots_that_others_have_are_not_free(store: MemoryStore, clock: VirtualClock) -> None:
    others = Queue("pages", store=store)
    await others.add_bulk([{"name": "other", "data": n} for n in range(2, 4)])
    flow = await book(store)
    async with Worker("pages", make, store=store, concurrency=3, name="printer"):
        await clock.advance("1s")
        state = await state_of(flow)
    assert [station.job is not None for station in state.stations] == [True]
    assert "other jobs run" not in to_svg(belt_picture(state))


async def test_where_all_slots_have_jobs_of_others_that_is_said(
    store: MemoryStore, clock: VirtualClock
) -> None:
    await Queue("pages", store=store).add_bulk([{"name": "other", "data": n} for n in (2, 3)])
    children = [FlowJob("page", "pages", n) for n in range(2)]
    flow = await FlowProducer(store=store).add(FlowJob("book", "books", children=children))
    async with Worker("pages", make, store=store, concurrency=2):
        await clock.advance("1s")
        drawn = to_svg(belt_picture(await state_of(flow)))
    assert "other jobs run" in drawn
    assert "no worker" not in drawn


async def test_it_says_who_keeps_it(store: MemoryStore, clock: VirtualClock) -> None:
    flow = await book(store)
    pages, books = (Queue(name, store=store) for name in ("pages", "books"))
    await pages.pause()
    async with Worker("books", make, store=store) as worker:
        await clock.advance("1s")
        assert (await state_of(flow)).standing == "pages is paused", "what waits is there"
        await pages.resume()
        async with Worker("pages", make, store=store) as printer:
            printer.pause()
            await clock.settle()
            assert (await state_of(flow)).standing == "the worker of pages is paused"
        await worker.close(timeout=0)
    assert await books.count("waiting") == 1


async def test_what_was_removed_had_completed(store: MemoryStore, clock: VirtualClock) -> None:
    children = [FlowJob("page", "pages", 2, {"remove_on_complete": True}) for _ in range(5)]
    flow = await FlowProducer(store=store).add(FlowJob("book", "books", children=children))
    async with Worker("pages", make, store=store):
        await clock.advance("25s")
        state = await state_of(flow)
    assert state.counts[JobState.COMPLETED] == 2
    assert state.total == 6


async def test_very_many_are_summed_up(store: MemoryStore) -> None:
    flow = await book(store, pages=1_250)
    state = await state_of(flow)
    picture = to_svg(belt_picture(state))
    assert ", 1,241 of them behind these" in picture
    assert len(picture) < 25_000


async def test_it_is_a_picture_to_keep(store: MemoryStore, tmp_path: Path) -> None:
    flow = await book(store)
    figure: Any = flow.picture()
    assert repr(figure) == (
        "<Figure: Flow book: 5 waiting, 2 wait for children;"
        " no worker serves books; no worker serves pages; next is books-3>"
    )
    kept = figure.save(tmp_path / "book.svg").read_text("utf-8")
    assert kept == figure.svg
    assert "2 wait for children" in kept
    await Queue("books", store=store).obliterate(force=True)
    with pytest.raises(JobNotFoundError):
        flow.picture()


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\u202eb", "x" * 200])
async def test_texts_of_others_stay_texts(store: MemoryStore, name: str) -> None:
    child = FlowJob(name, f"q {name}", opts={"job_id": f"id {name}"})
    flow = await FlowProducer(store=store).add(FlowJob(name, f"p {name}", children=[child]))
    svg = flow.picture().svg
    assert not list(ET.fromstring(svg).iter(f"{SVG}script"))
    assert "\u202e" not in re.sub('data-(?:key|job|queue)="[^"]*"', "", svg)


async def test_a_panel_shows_the_flow_that_is_open(store: MemoryStore) -> None:
    flow = await book(store)
    view = QueueView(Queue("books", store=store))
    await view.do("tab", tab="flows")
    belt = (await view.read())["flow_belt"]
    assert belt["picture"][2][2].startswith("Flow book: 5 waiting")
    assert len(json.dumps(belt)) < 12_000
    await view.do("flow_belt", narrow=True)
    assert (await view.read())["flow_belt"]["picture"][1]["viewBox"].startswith("0 0 380")
    await view.do("open_flow")
    assert (await view.read())["flow_belt"] is None
    await view.do("open_flow", id=flow.job.id)
    assert (await view.read())["flow_belt"] is not None


async def test_a_running_flow_is_seen_to_go_on() -> None:
    async with MemoryStore() as store:
        alone = FlowJob("sum", "sums", children=[FlowJob("part", "sums")])
        await FlowProducer(store=store).add(alone)
        view = QueueView(Queue("sums", store=store))
        await view.do("tab", tab="flows")
        await view.read()
        assert view.again is None, "nothing moves"
        has_begun, go_on = asyncio.Event(), asyncio.Event()

        async def wait(job: Job) -> None:
            has_begun.set()
            await go_on.wait()

        async with Worker("sums", wait, store=store):
            await has_begun.wait()
            await view.read()
            assert view.again == 1.0
            go_on.set()


# -- how it moves -----------------------------------------------------------------------------


async def test_jobs_are_known_as_they_were_at_each_instant(
    store: MemoryStore, clock: VirtualClock
) -> None:
    """What records tell of an earlier instant is what was there then."""
    flow = await book(store)
    pages = Queue("pages", store=store)
    await pages.add("page", 8, delay="7s")
    await pages.add("page", 1, attempts=1)

    async def states() -> tuple[dict[str, tuple[JobState, int]], list[JobData]]:
        jobs = [job for name in ("books", "pages") for job in await store.list_jobs(name)]
        return {job.id: (job.state, job.attempts_made) for job in jobs}, jobs

    seen = []
    async with (
        Worker("pages", make, store=store, concurrency=9),
        Worker("books", make, store=store, concurrency=9),
    ):
        for _ in range(130):
            await clock.advance("1s")
            seen.append((clock.now(), (await states())[0]))
    _, jobs = await states()
    kinds = set()
    for now, then in seen:
        told = {job.id: (job.state, job.attempts_made) for job in jobs_at(jobs, now)}
        assert told == then, f"at {now}"
        kinds |= {state for state, _ in told.values()}
    assert kinds >= {"active", "delayed", "waiting-children", "completed", "failed"}
    assert flow.job.id in then


async def test_an_advance_is_played_back_over_all_queues(
    store: MemoryStore, clock: VirtualClock
) -> None:
    await book(store)
    view = QueueView(Queue("books", store=store))
    await view.do("tab", tab="flows")
    await view.read()
    async with (
        Worker("pages", make, store=store, concurrency=2, name="printer"),
        Worker("books", make, store=store),
    ):
        await clock.advance("5m")
    pictures: list[dict[str, Any]] = [(await view.read())["flow_belt"]]
    while view.again == 0.0:
        pictures.append((await view.read())["flow_belt"])
    assert 5 <= len(pictures) <= 21, "at most three seconds, ten a second"
    titles = [picture["picture"][2][2] for picture in pictures]
    assert [told for told in titles if "1 delayed" in told], "a retry goes back to the shelf"
    assert "3 active" in titles[0]
    assert titles[-1].startswith("Flow book: 7 completed")
    for picture in pictures[:-1]:
        told = json.dumps(picture["picture"])
        assert "worker gone" not in told, "it is closed by now, and was not then"
        assert "no worker serves" not in told
    assert (await view.read())["flow_belt"] == pictures[-1]

    await view.do("tab", tab="flows")
    await view.read()
    assert view.again != 0.0, "who comes anew sees what there is, not the way there"


async def test_of_a_long_way_some_pictures_are_left_out(
    store: MemoryStore, clock: VirtualClock
) -> None:
    flow = await book(store, pages=150)
    before = await state_of(flow)
    async with Worker("pages", make, store=store):
        await clock.advance("1 hour")
    root = await store.get_job("books", flow.job.id)
    assert root is not None
    way = await read_way(store, root, clock.now(), before)
    assert len(way) <= 21
    done = [state.counts[JobState.COMPLETED] for state in way]
    assert done == sorted(done)
    assert done[-1] == 150
