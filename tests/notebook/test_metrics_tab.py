"""The metrics in a queue's panel: what its charts show, of which time, and where there are none."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from conveyor_nb import Job, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.pictures.svg import to_svg

pytestmark = pytest.mark.asyncio
SVG = "{http://www.w3.org/2000/svg}"


def titles(shown: Any) -> list[str]:
    """What is told of each period."""
    root = ET.fromstring(to_svg(shown["picture"]))
    bars = [group for group in root.iter(f"{SVG}g") if group.get("class") == "cvp-bar"]
    return [bar.findtext(f"{SVG}title") or "" for bar in bars]


async def work(job: Job) -> None:
    await job.sleep(2)
    if job.name == "bad":
        raise ValueError("no image")


async def shown(view: QueueView) -> Any:
    await view.do("tab", tab="metrics")
    return (await view.read())["metrics"]


async def test_each_minute_and_each_hour_is_told() -> None:
    clock = VirtualClock()
    async with (
        MemoryStore(clock=clock, metrics=True) as store,
        Queue("images", store=store) as queue,
    ):
        async with Worker("images", work, store=store):
            await queue.add_bulk([{"name": name} for name in ("resize", "bad", "resize")])
            await clock.advance("3m")
            await queue.add("resize")
            await clock.advance("57m")
            await queue.add("resize")
            await clock.advance("30s")
        view = QueueView(queue)
        by_minute = await shown(view)
        assert by_minute["told"] == "2 completed, 0 failed in the last 60 minutes"
        assert titles(by_minute) == [
            "00:03 to 00:04 UTC · 1 completed, 0 failed · ran 2s, 95% under 2s"
            " · waited 0s, 95% under 0s",
            "01:00 to 01:01 UTC · 1 completed, 0 failed · ran 2s, 95% under 2s"
            " · waited 0s, 95% under 0s",
        ]
        await view.do("metrics", span="hour")
        by_hour = await shown(view)
        assert by_hour["told"] == "4 completed, 1 failed in the last 48 hours"
        assert [one.partition(" · ran")[0] for one in titles(by_hour)] == [
            "00:00 to 01:00 UTC · 3 completed, 1 failed",
            "01:00 to 02:00 UTC · 1 completed, 0 failed",
        ]
        await view.do("metrics", narrow=True)
        narrow = await shown(view)
        assert narrow["span"] == "hour"
        assert narrow["picture"][1]["viewBox"].startswith("0 0 380 ")
        with pytest.raises(ValueError, match=r"period .*'day'"):
            await view.do("metrics", span="day")


async def test_failures_are_below_the_line_and_seen_among_very_many() -> None:
    clock = VirtualClock()
    async with (
        MemoryStore(clock=clock, metrics=True) as store,
        Queue("images", store=store) as queue,
    ):

        async def quick(job: Job) -> None:
            if job.name == "bad":
                raise ValueError("no image")

        async with Worker("images", quick, store=store, concurrency=100):
            await queue.add_bulk([{"name": "resize"}] * 2_000)
            await queue.add("bad")
            await clock.advance("10s")
        picture = to_svg((await shown(QueueView(queue)))["picture"])
    paths = [path.attrib for path in ET.fromstring(picture).iter(f"{SVG}path")]
    [up] = [path["d"] for path in paths if path.get("fill") == "#2e7d4f"]
    [down] = [path["d"] for path in paths if path.get("fill") == "#c0392b"]
    assert "v-" in up
    height = float(down.partition("v")[2].partition("h")[0])
    assert height >= 5, "one of 2,001 is seen, and below the line"


async def test_a_full_picture_is_a_small_message() -> None:
    clock = VirtualClock()
    async with (
        MemoryStore(clock=clock, metrics=True) as store,
        Queue("images", store=store) as queue,
    ):
        async with Worker("images", work, store=store, concurrency=2):
            for _ in range(60):
                await queue.add_bulk([{"name": "resize"}, {"name": "bad"}])
                await clock.advance("1m")
        message = await shown(QueueView(queue))
    assert len(titles(message)) >= 59
    assert len(json.dumps(message)) < 30_000


async def test_a_store_without_metrics_says_how_to_have_them() -> None:
    async with MemoryStore(clock=VirtualClock()) as store, Queue("images", store=store) as queue:
        view = QueueView(queue)
        off = (await shown(view))["off"]
        assert "MemoryStore(metrics=True)" in off
        assert view.again is None
