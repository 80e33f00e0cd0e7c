"""The timeline: who ran what and when, as a picture, as a trace, and in a panel."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import Batch, Job, MemoryStore, Queue, VirtualClock, Worker, timeline
from conveyor_nb.notebook.panel import timeline_view
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.panel.sizes import size_of
from conveyor_nb.notebook.pictures.svg import to_svg
from conveyor_nb.notebook.pictures.timeline import PAGE, PAGE_NARROW, REPORT, timeline_picture
from conveyor_nb.notebook.pictures.timeline_state import TimelineState, read_timeline

from .drawn import picture_in

pytestmark = pytest.mark.asyncio
SVG = "{http://www.w3.org/2000/svg}"


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
    """Takes 1 to 5 s; each sixth fails at first, each eleventh for good."""
    await job.sleep(1 + job.data * 7 % 5)
    if job.attempts_made == 0 and job.data % 6 == 0:
        raise ValueError("no image")
    if job.data % 11 == 5:
        raise RuntimeError("broken")


async def run(queue: Queue, jobs: int, slots: int, duration: str) -> TimelineState:
    """Let a worker run jobs for some time; what the timeline then shows."""
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    async with Worker("images", work, store=queue.store, concurrency=slots, name="mailer"):
        for number in range(jobs):
            name = ("resize", "crop")[number % 2]
            await queue.add(name, number, attempts=2, backoff="2s")
        await clock.advance(duration)
        return await read_timeline(queue.store, queue.name, clock.now())


def bars(picture: Any) -> list[ET.Element]:
    root = ET.fromstring(to_svg(picture))
    return [group for group in root.iter(f"{SVG}g") if group.get("class") == "cvp-bar"]


def title(bar: ET.Element) -> str:
    return bar.findtext(f"{SVG}title") or ""


# -- slots ------------------------------------------------------------------------------------


async def test_no_two_attempts_are_in_one_slot_at_a_time(queue: Queue) -> None:
    state = await run(queue, 30, 3, "20s")
    assert [(lane.worker, lane.slot) for lane in state.lanes] == [
        ("mailer", 1),
        ("mailer", 2),
        ("mailer", 3),
    ]
    for one, other in combinations(state.bars, 2):
        if one.lane == other.lane:
            assert one.end <= other.start or other.end <= one.start
    assert state.count("running") == 3
    assert {bar.end for bar in state.bars if bar.outcome == "running"} == {state.now}


async def test_the_slots_of_each_worker_stand_together(queue: Queue, clock: VirtualClock) -> None:
    await queue.add_bulk([{"name": "resize", "data": number} for number in range(8)])
    async with (
        Worker("images", work, store=queue.store, concurrency=2, name="first"),
        Worker("images", work, store=queue.store, concurrency=2, name="second"),
    ):
        await clock.advance("3s")
        state = await read_timeline(queue.store, "images", clock.now())
    assert [(lane.worker, lane.slot) for lane in state.lanes] == [
        ("first", 1),
        ("first", 2),
        ("second", 1),
        ("second", 2),
    ]


async def test_jobs_of_a_batch_are_in_rows_of_one_slot(queue: Queue, clock: VirtualClock) -> None:
    async def crop(jobs: list[Job]) -> list[None]:
        await jobs[0].sleep(2)
        return [None for _ in jobs]

    await queue.add_bulk([{"name": "crop"} for _ in range(5)])
    async with Worker("images", crop, store=queue.store, batch=Batch(3), concurrency=2):
        await clock.advance("3s")
        state = await read_timeline(queue.store, "images", clock.now())
    assert [lane.slot for lane in state.lanes] == [1, 1, 1, 2, 2]
    assert [bar.lane for bar in state.bars] == [0, 1, 2, 3, 4]


# -- the picture ------------------------------------------------------------------------------


async def test_each_attempt_is_a_bar_and_retries_are_linked(queue: Queue) -> None:
    state = await run(queue, 12, 2, "60s")
    shown = bars(timeline_picture(state))
    assert len(shown) == len(state.bars) == 15
    assert sum("· failed in" in title(bar) for bar in shown) == state.count("failed") == 4
    assert "images-1 resize · failed in 1s · ValueError: no image" in map(title, shown)
    assert "images-1 resize · attempt 2 · completed in 1s" in map(title, shown)
    whole = to_svg(timeline_picture(state))
    assert whole.count("cvp-link") == len(state.retries()) == 3


async def test_nothing_has_no_axis(queue: Queue) -> None:
    svg = timeline(queue).svg
    assert "No attempt here yet." in svg
    assert "UTC" not in svg
    assert "µs" not in svg


async def test_an_outcome_is_told_by_shape_as_well(queue: Queue) -> None:
    state = await run(queue, 12, 2, "19s")
    shapes: dict[str, set[tuple[str, ...]]] = {}
    for bar in bars(timeline_picture(state)):
        if float(bar[1].attrib["width"]) < 12:
            continue
        shape = (bar[1].attrib["height"], *(one.tag for one in bar[2:] if one.tag.endswith("path")))
        outcome = next(one for one in ("failed", "completed", "running") if one in title(bar))
        shapes.setdefault(outcome, set()).add(shape)
    assert len(shapes) == 3
    assert all(len(own) == 1 for own in shapes.values())
    assert len(set.union(*shapes.values())) == 3


async def test_what_was_put_back_did_not_fail(queue: Queue, clock: VirtualClock) -> None:
    await queue.add("resize", 3)
    async with Worker("images", work, store=queue.store) as worker:
        await clock.advance("1s")
        await worker.close(timeout=0)
    async with Worker("images", work, store=queue.store):
        await clock.advance("9s")
    state = await read_timeline(queue.store, "images", clock.now())
    first, second = bars(timeline_picture(state))
    assert title(first) == "images-1 resize · put back after 1s · the worker was closed"
    assert title(second) == "images-1 resize · attempt 2 · completed in 2s"
    assert first[1].get("stroke-dasharray")
    assert not second[1].get("stroke-dasharray")
    told = repr(timeline(queue))
    assert "2 attempts, 1 completed, 1 put back, 2 slots" in told, "that is no retry"
    picture = to_svg(timeline_picture(state))
    assert "#c0392b" not in picture, "nothing is in the colour of failures"
    assert picture.count("cvp-link") == 1
    trace = timeline(queue).to_chrome_trace()["traceEvents"]
    assert [one["cat"] for one in trace if one["ph"] == "X"] == ["put back", "completed"]


async def test_a_short_failure_is_not_covered_by_what_came_next(
    queue: Queue, clock: VirtualClock
) -> None:
    async def one(job: Job) -> None:
        if job.name == "bad":
            raise ValueError("no image")
        await job.sleep(3_600)

    await queue.add("bad")
    await queue.add("long")
    async with Worker("images", one, store=queue.store):
        await clock.advance("1h")
        picture = timeline_picture(await read_timeline(queue.store, "images", clock.now()))
    failed, long = (bar[1].attrib for bar in bars(picture))
    assert float(failed["width"]) >= 2
    assert float(failed["x"]) + float(failed["width"]) <= float(long["x"])


async def test_very_many_attempts_are_summed_up_honestly(clock: VirtualClock) -> None:
    async def quick(job: Job) -> None:
        await job.sleep(0.01)
        if job.data % 100 == 0:
            raise ValueError("x" * 1_000)

    async with MemoryStore(clock=clock) as store, Queue("images", store=store) as queue:
        async with Worker("images", quick, store=store, concurrency=50):
            await queue.add_bulk([{"name": "n" * 200, "data": n} for n in range(5_000)])
            await clock.advance("2s")
        state = await read_timeline(store, "images", clock.now())
        assert len(state.bars) == 5_000
        for plan in (REPORT, PAGE, PAGE_NARROW):
            picture = timeline_picture(state, plan)
            shown = bars(picture)
            assert len(shown) <= plan.bars
            seen = [
                int(told.split()[0]) if " attempts:" in told else 1 for told in map(title, shown)
            ]
            lanes = min(plan.lanes, 50)
            assert sum(seen) == sum(bar.lane < lanes for bar in state.bars)
            assert f"{50 - lanes} more slots" in to_svg(picture)
        assert len(json.dumps(timeline_picture(state, PAGE))) < 30_000
        few = await read_timeline(store, "images", clock.now(), most_jobs=40)
        assert few.left_out == 5_000 - 80
        assert "4,920 older jobs left out" in timeline_picture(few)[2][2]


async def test_a_page_gets_as_many_bars_as_there_is_room_for(clock: VirtualClock) -> None:
    async def work(job: Job) -> None:
        await job.sleep(1 + job.data % 3)
        if job.data % 2 == 0:
            raise ValueError("x" * 200)

    async with MemoryStore(clock=clock) as store, Queue("images", store=store) as queue:
        async with Worker("images", work, store=store, concurrency=4):
            await queue.add_bulk([{"name": "n" * 100, "data": n} for n in range(79)])
            await clock.advance("5m")
        assert (
            size_of(timeline_picture(await read_timeline(store, "images", clock.now()), PAGE))
            > 28_000
        )
        view = QueueView(queue)
        await view.do("tab", tab="timeline")
        told = (await view.read())["timeline"]
    assert size_of(told) < 27_000
    assert len(bars(told["picture"])) > 20


async def test_where_attempts_are_many_each_failure_is_still_seen(clock: VirtualClock) -> None:
    """What went well is summed up first, and told from what is one attempt by its number."""

    async def work(job: Job) -> None:
        await job.sleep(1 + job.data % 3)
        if job.data % 12 == 0:
            raise ValueError("no image")

    async with MemoryStore(clock=clock) as store, Queue("images", store=store) as queue:
        async with Worker("images", work, store=store, concurrency=4):
            await queue.add_bulk([{"name": "resize", "data": n} for n in range(150)])
            await clock.advance("5m")
        state = await read_timeline(store, "images", clock.now())
        shown = bars(timeline_picture(state, PAGE))
        told = [title(bar) for bar in shown]
        assert len(shown) <= PAGE.bars
        assert sum("· failed in" in one for one in told) == 13
        many = [int(one.split()[0]) for one in told if " attempts: " in one]
        assert len(told) - len(many) + sum(many) == 150
        assert not [one for one in told if " attempts: " in one and "failed" in one]
        drawn = to_svg(timeline_picture(state, PAGE))
        assert f"{max(many)}x" in drawn


HOSTILE = ["<script>alert(1)</script>", "a\u202eb", "pay\u200bpal", "x" * 200, "\u0301" * 99]


@pytest.mark.parametrize("name", HOSTILE)
async def test_texts_of_others_stay_texts(name: str, clock: VirtualClock) -> None:
    async def fail(job: Job) -> None:
        await job.sleep(5)
        raise ValueError(f"{name} \x1b[31m \ud800 \x01")

    async with MemoryStore(clock=clock) as store, Queue(f"q {name}", store=store) as queue:
        await queue.add(name, job_id=f"id {name}")
        async with Worker(f"q {name}", fail, store=store, name=name):
            await clock.advance("6s")
        figure = timeline(queue)
        root = ET.fromstring(figure.svg)
        assert not list(root.iter(f"{SVG}script"))
        assert "\u202e" not in figure.svg
        assert figure.svg.encode()
        assert json.dumps(figure.to_chrome_trace()).encode()
        assert "more characters" not in figure.svg.partition("<g")[2]


# -- what is kept -----------------------------------------------------------------------------


async def test_a_timeline_is_shown_and_kept(queue: Queue, tmp_path: Path) -> None:
    await run(queue, 12, 2, "60s")
    figure = timeline(queue)
    bundle = figure._repr_mimebundle_()
    assert bundle["text/plain"] == (
        "<Timeline of queue images: 15 attempts, 11 completed, 4 failed, 3 retries,"
        " 2 slots, over 20s>"
    )
    assert picture_in(bundle["text/html"]) == figure.svg
    assert figure.save(tmp_path / "run.svg").read_text("utf-8") == figure.svg
    kept = figure.save(tmp_path / "run.json")
    assert json.loads(kept.read_text("utf-8")) == figure.to_chrome_trace()
    with pytest.raises(ValueError, match=r"such as run\.svg, .* such as run\.json, not .*run\.png"):
        figure.save(tmp_path / "run.png")
    with pytest.raises(TypeError, match="timeline takes a Queue, not 'images'"):
        timeline("images")  # type: ignore[arg-type]


async def test_a_trace_has_a_track_for_each_slot(queue: Queue) -> None:
    state = await run(queue, 12, 2, "60s")
    trace = timeline(queue).to_chrome_trace()
    events = trace["traceEvents"]
    threads = [event for event in events if event["name"] == "thread_name"]
    assert [event["args"]["name"] for event in threads] == ["slot 1", "slot 2"]
    attempts = [event for event in events if event["ph"] == "X"]
    assert len(attempts) == len(state.bars)
    first = attempts[0]
    assert (first["name"], first["ts"], first["dur"], first["cat"]) == ("resize", 0, 1e6, "failed")
    assert first["args"] == {
        "job": "images-1",
        "attempt": 1,
        "outcome": "failed",
        "error": "ValueError: no image",
    }
    starts = [event for event in events if event["ph"] == "s"]
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert len(starts) == len(ends) == 3
    for start in starts:
        assert start["ts"] < ends[start["id"]]["ts"]
        held = [one for one in attempts if one["tid"] == start["tid"]]
        assert any(one["ts"] <= start["ts"] < one["ts"] + one["dur"] for one in held)


# -- in a panel -------------------------------------------------------------------------------


async def test_a_panel_shows_the_last_minute_or_all(
    queue: Queue, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(queue, 4, 1, "30s")
    await clock.advance("70s")
    await run(queue, 2, 1, "20s")
    view = QueueView(queue)
    await view.do("tab", tab="timeline")
    whole = (await view.read())["timeline"]
    assert whole["span"] == "all", "virtual time has no minute that everybody thinks of"
    await view.do("timeline", span="minute")
    minute = (await view.read())["timeline"]
    assert minute["span"] == "minute"
    assert 0 < len(bars(minute["picture"])) < len(bars(whole["picture"]))
    await view.do("timeline", narrow=True)
    narrow = (await view.read())["timeline"]
    assert narrow["span"] == "minute", "how wide a page is says nothing of that"
    assert narrow["picture"][1]["viewBox"].startswith("0 0 380 ")
    with pytest.raises(ValueError, match="shows minute, all, in, out, earlier, later, not 'hour'"):
        await view.do("timeline", span="hour")


async def test_a_stretch_of_time_is_looked_at_closely(queue: Queue) -> None:
    state = await run(queue, 12, 2, "60s")
    view = QueueView(queue)
    await view.do("tab", tab="timeline")

    async def shown(span: str = "", job_id: str = "") -> list[str]:
        if span:
            await view.do("timeline", span=span, id=job_id)
        picture = (await view.read())["timeline"]["picture"]
        for bar in bars(picture):
            left, wide = (float(bar[1].attrib[name]) for name in ("x", "width"))
            assert PAGE.left <= left <= left + wide <= PAGE.width
        return list(map(title, bars(picture)))

    whole = await shown()
    assert len(whole) == len(state.bars)
    half = await shown("in")
    assert 0 < len(half) < len(whole)
    assert (await view.read())["timeline"]["span"] == "", "neither the last minute nor all"
    assert set(half) < set(whole)
    before, after = await shown("earlier"), await shown("later")
    assert after == half
    assert before != half
    assert len(await shown("out")) == len(whole)
    first = await shown("all")
    for _ in range(4):
        first = await shown("in", "images-1")
    assert any(one.startswith("images-1 ") for one in first), "what was chosen is kept in sight"
    assert len(first) < 5
    for _ in range(40):
        await shown("in", "images-1")
    assert 0 < len(await shown()) <= 2
    await shown("all")
    for way in ("out", "later", "later"):
        await shown(way)
    assert await shown("later") == [], "where nothing was, there is nothing"
    for _ in range(3):
        await shown("earlier")
    assert len(await shown()) == len(whole)


async def test_a_busy_queue_is_not_looked_through_for_each_frame(
    queue: Queue, clock: VirtualClock
) -> None:
    view = QueueView(queue)
    await view.do("tab", tab="timeline")
    before = await view.read()
    await run(queue, 4, 1, "30s")
    assert (await view.read())["timeline"] == before["timeline"]
    assert view.again == timeline_view._REST.total_seconds(), "it comes a moment later"
    view.renew()
    assert (await view.read())["timeline"] != before["timeline"], "a new page waits for nothing"
