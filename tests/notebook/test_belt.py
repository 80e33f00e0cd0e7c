"""The picture of a queue: what it shows, that it is whole and harmless, and how it moves."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    Group,
    Job,
    JobState,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.pictures.belt import belt_picture, belt_text
from conveyor_nb.notebook.pictures.belt_plan import LIVE, NARROW, WIDE, Plan
from conveyor_nb.notebook.pictures.belt_state import BeltState, read_belt
from conveyor_nb.notebook.pictures.pieces import LABELS, looks_by, looks_of
from conveyor_nb.notebook.pictures.svg import to_svg

from .drawn import SVG, picture_in, pieces_in

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


def state_of(queue: Queue, before: BeltState | None = None) -> Any:
    return read_belt(queue.store, queue.name, queue.store.clock.now(), before)


def pieces(state: BeltState, plan: Plan = WIDE) -> dict[str, tuple[float, float]]:
    """Where the piece of each job is."""
    return {piece["data-key"]: place for piece, place in pieces_in(state, plan)}


async def busy(job: Job) -> None:
    await job.update_progress(40)
    await job.sleep(10)
    if job.name == "crop":
        raise ValueError("no image")


# -- what is shown --------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [WIDE, NARROW, LIVE])
async def test_the_next_to_be_served_is_nearest_to_the_slots(queue: Queue, plan: Plan) -> None:
    for number in range(20):
        await queue.add("resize", priority=number % 3)
    shown = pieces(await state_of(queue), plan)
    next_ones = [job.id for job in await queue.next_jobs(plan.pieces)]
    assert sorted(shown, key=lambda job_id: -shown[job_id][0]) == next_ones


async def test_each_job_is_where_its_state_says(queue: Queue, clock: VirtualClock) -> None:
    for name in ("resize", "crop", "resize", "resize"):
        await queue.add(name, attempts=2, backoff="1m")
    await queue.add("later", delay="1h")
    async with Worker("images", busy, store=queue.store):
        await clock.advance("25s")
        state = await state_of(queue)
    assert [job.id for job in state.completed] == ["images-1"]
    assert [job.id for job in state.delayed] == ["images-2", "images-5"], "a retry is back there"
    assert [station.job and station.job.id for station in state.stations] == ["images-3"]
    assert [job.id for job in state.coming] == ["images-4"]
    shown = pieces(state)
    assert shown.keys() == {f"images-{n}" for n in range(1, 6)}
    (left, _), (belt, low), (slot, _), (tray, _) = (shown[f"images-{n}"] for n in (5, 4, 3, 1))
    assert shown["images-2"][1] == shown["images-5"][1] < low
    assert left < belt < slot < tray


async def test_a_job_stays_in_the_slot_where_it_was_seen(queue: Queue, clock: VirtualClock) -> None:
    await queue.add_bulk({"name": "resize", "data": number} for number in range(9))

    async def one_by_one(job: Job) -> None:
        await job.sleep(1 + job.data % 3)

    async with Worker("images", one_by_one, store=queue.store, concurrency=3):
        state = await state_of(queue)
        for _ in range(8):
            seen = {one.job.id: place for place, one in enumerate(state.stations) if one.job}
            await clock.advance("0.5s")
            state = await state_of(queue, state)
            now = {one.job.id: place for place, one in enumerate(state.stations) if one.job}
            assert all(now[job_id] == seen[job_id] for job_id in now.keys() & seen.keys())


async def test_the_belt_says_who_stopped_it(queue: Queue, clock: VirtualClock) -> None:
    await queue.add("resize")
    assert (await state_of(queue)).standing == "no worker serves it"
    async with Worker("images", busy, store=queue.store) as worker:
        worker.pause()
        await clock.settle()
        assert (await state_of(queue)).standing == "its worker is paused"
        await queue.pause()
        state = await state_of(queue)
        assert state.standing == "the queue is paused"
        assert "stands: the queue is paused" in to_svg(belt_picture(state))
        assert len(state.coming) + state.counts[JobState.ACTIVE] == 1, "what stands is seen"


async def test_who_holds_a_job_is_gone_only_when_the_lock_has_run_out(
    queue: Queue, clock: VirtualClock
) -> None:
    await queue.add("resize")
    await queue.store.fetch_next_job("images", "by hand", 30)
    told = json.dumps(belt_picture(await state_of(queue)))
    assert "by hand" in told
    assert "worker gone" not in told

    await clock.advance("31s")
    assert "worker gone" in json.dumps(belt_picture(await state_of(queue)))


async def test_what_is_too_much_to_be_seen_is_told(queue: Queue) -> None:
    await queue.add_bulk({"name": "resize"} for _ in range(1_250))
    await queue.add_bulk({"name": "later", "delay": "1h"} for _ in range(30))
    picture = to_svg(belt_picture(await state_of(queue)))
    assert ", 1,240 of them behind these" in picture
    assert "+25" in picture
    assert len(picture) < 25_000


async def test_jobs_are_told_apart_by_name_group_priority_or_state(queue: Queue) -> None:
    await queue.add("resize", priority=-1)
    await queue.add("resize", group=Group("gold"))
    await queue.add("crop", delay="1h")
    state = await state_of(queue)

    def legend(by: str) -> list[str]:
        texts = texts_of(belt_picture(state, LIVE, by))
        known = {label(job) for label in LABELS.values() for job in (*state.coming, *state.delayed)}
        return [text for text in texts if text in known]

    assert legend("name") == ["crop", "resize"]
    assert legend("group") == ["gold", "no group"]
    assert legend("priority") == ["priority -1", "priority 0"]
    assert legend("state") == ["delayed", "waiting"]
    for by in LABELS:
        looks = looks_by(by, [*state.coming, *state.delayed]).values()
        assert len({look.colour for look in looks}) == len({look.outline for look in looks}) == 2

    view = QueueView(queue)
    await view.do("belt", by="group")
    assert (await view.read())["belt"]["by"] == "group"
    await view.do("belt", narrow=True)
    assert (await view.read())["belt"]["by"] == "group", "how wide a page is says nothing of that"
    with pytest.raises(ValueError, match="told apart by name, group, priority, state, not 'age'"):
        await view.do("belt", by="age")


async def test_names_differ_in_colour_and_in_shape() -> None:
    looks = looks_of(f"job {number}" for number in range(6))
    assert len({look.colour for look in looks.values()}) == 6
    assert len({look.outline for look in looks.values()}) == 6


HOSTILE = ["<script>alert(1)</script>", "a\u202eb", "pay\u200bpal", "x" * 200, "\u0301" * 99]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("plan", [WIDE, NARROW, LIVE])
async def test_texts_of_others_stay_texts(name: str, plan: Plan, clock: VirtualClock) -> None:
    async def fail(job: Job) -> None:
        raise ValueError(f"{name} \x1b[31m \ud800 \x01")

    async with MemoryStore(clock=clock) as store, Queue(f"q {name}", store=store) as queue:
        await queue.add(name, job_id=f"id {name}", group=Group(name))
        async with Worker(f"q {name}", fail, store=store):
            await clock.settle()
        await queue.add(name, job_id="waits")
        await queue.pause(name)
        state = await state_of(queue)
        root = ET.fromstring(to_svg(belt_picture(state, plan)))
        assert len(state.failed) == 1
        assert not list(root.iter(f"{SVG}script"))
        assert "\u202e" not in ET.tostring(root, "unicode")
        assert queue.picture().svg.encode()
        assert len(belt_text(state)) < 400


async def test_a_picture_is_shown_and_kept(queue: Queue, tmp_path: Path) -> None:
    await queue.add("resize")
    picture: Any = queue.picture()
    bundle = picture._repr_mimebundle_()
    assert bundle["image/svg+xml"] == picture.svg
    assert picture_in(bundle["text/html"]) == picture.svg, "as an image, which cleaners leave in"
    assert bundle["text/plain"] == (
        "<Figure: Queue images: 1 waiting; no worker serves it; next is images-1>"
    )
    assert picture.save(tmp_path / "queue.svg").read_text("utf-8") == picture.svg
    with pytest.raises(ValueError, match=r"in a file such as queue\.svg, not .*queue\.png"):
        picture.save(tmp_path / "queue.png")


def each_of(view: QueueView) -> Callable[[StoreEvent], None]:
    """Lets a view take note of each event by itself."""
    return lambda event: view.note([event])


# -- how it moves -----------------------------------------------------------------------------


async def test_an_advance_is_played_back(queue: Queue, clock: VirtualClock) -> None:
    view = QueueView(queue)
    async with Worker("images", busy, store=queue.store, concurrency=2):
        await view.read()
        follow = each_of(view)
        queue.store.subscribe("images", follow)
        await queue.add_bulk({"name": "resize", "data": n} for n in range(40))
        await view.read()
        await clock.advance("2m")
        told, done = 0, []
        count = re.compile(r"[\d,]+ completed")
        while view.again == 0.0 or not told:
            parts = await view.read()
            told += 1
            [said] = filter(count.fullmatch, texts_of(parts["belt"]["picture"]))
            done.append(int(said.split()[0]))
        queue.store.unsubscribe("images", follow)
        assert 10 <= told <= 22, "at most three seconds, ten a second"
        assert done == sorted(done), "one step after the other"
        assert len(set(done)) >= 10
        assert done[-1] == await queue.count("completed")
        last = await view.read()
        assert last["belt"] == parts["belt"], "the way leads to where all is"


async def test_a_worker_that_is_closed_by_now_is_seen_where_it_ran(
    queue: Queue, clock: VirtualClock
) -> None:
    view = QueueView(queue)
    await view.read()
    follow = each_of(view)
    queue.store.subscribe("images", follow)
    await queue.add_bulk({"name": "resize", "data": n} for n in range(6))
    async with Worker("images", busy, store=queue.store, concurrency=2):
        await clock.advance("2m")
    queue.store.unsubscribe("images", follow)
    told: list[Any] = []
    while view.again == 0.0 or not told:
        told.append((await view.read())["belt"]["picture"])
    assert any("2 active" in texts_of(picture)[0] for picture in told)
    assert "worker gone" not in json.dumps(told)
    alone = ["no worker" in json.dumps(picture) for picture in told]
    assert alone[-1]
    assert not any(alone[1:-1]), "but for before and after"


async def test_much_that_happens_at_once_is_played_back_in_as_many_pictures(
    queue: Queue, clock: VirtualClock
) -> None:
    """Also of more events than are kept, and of a second advance while the first is shown."""
    view = QueueView(queue)
    count = re.compile(r"[\d,]+ completed")
    async with Worker("images", busy, store=queue.store, concurrency=50):
        await view.read()
        follow = each_of(view)
        queue.store.subscribe("images", follow)
        await queue.add_bulk({"name": "resize", "data": n} for n in range(3_000))
        for duration in ("3m", "4m"):
            await clock.advance(duration)
            parts = await view.read()
        done = []
        while view.again == 0.0:
            parts = await view.read()
            [said] = filter(count.fullmatch, texts_of(parts["belt"]["picture"]))
            done.append(int(said.split()[0].replace(",", "")))
        queue.store.unsubscribe("images", follow)
    assert len(done) <= 21
    assert done == sorted(done)
    assert done[-1] - done[-2] <= 150, "no leap at the end: a picture is 2 or 3 rounds of 50"


async def test_time_that_goes_on_is_seen_to_go_on() -> None:
    async with MemoryStore() as store, Queue("images", store=store) as queue:
        view = QueueView(queue)
        await view.read()
        assert view.again is None, "nothing moves"
        await queue.add("later", delay="1h")
        await view.read()
        assert view.again == 1.0


def texts_of(element: Any) -> list[str]:
    """All texts in a picture."""
    if isinstance(element, str):
        return [element]
    return [text for child in element[2:] for text in texts_of(child)]
