"""The metrics in a queue's panel: what its charts show, of which time, and where there are none."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb import Job, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.core.metrics import MetricsPoint
from conveyor_nb.core.model import EPOCH
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.pictures.columns_of_time import Spread, columns_of
from conveyor_nb.notebook.pictures.svg import to_svg

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


@pytest.mark.asyncio
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
        assert by_minute["told"] == "2 completed, 0 failed in the last hour"
        assert titles(by_minute) == [
            "00:03 to 00:04 UTC · 1 completed, 0 failed · ran 2s, 95% under 2s"
            " · waited 0s, 95% under 0s",
            "01:00 to 01:01 UTC · 1 completed, 0 failed · ran 2s, 95% under 2s"
            " · waited 0s, 95% under 0s",
        ]
        await view.do("metrics", span="day")
        by_day = await shown(view)
        assert by_day["told"] == "4 completed, 1 failed in the last 24 hours"
        assert [one.partition(" · waited")[0] for one in titles(by_day)] == [
            "2027-01-01 00:00 to 00:30 UTC · 3 completed, 1 failed · ran about 2s, 95% under 2s",
            "2027-01-01 01:00 to 01:30 UTC · 1 completed, 0 failed · ran about 2s, 95% under 2s",
        ]
        await view.do("metrics", narrow=True)
        narrow = await shown(view)
        assert narrow["span"] == "day"
        assert narrow["picture"][1]["viewBox"].startswith("0 0 380 ")
        with pytest.raises(ValueError, match=r"the last hour, day, week, month, not 'year'"):
            await view.do("metrics", span="year")


class CountingStore(MemoryStore):
    """Tells for how many minutes and hours it was asked."""

    asked = timedelta()

    async def get_metrics(self, *args: Any, **kwargs: Any) -> list[MetricsPoint]:
        self.asked += kwargs["end"] - kwargs["start"]
        return await super().get_metrics(*args, **kwargs)


@pytest.mark.asyncio
async def test_thirty_days_are_read_once_and_are_a_small_message() -> None:
    clock = VirtualClock()
    async with (
        CountingStore(clock=clock, metrics=True) as store,
        Queue("images", store=store) as queue,
    ):
        async with Worker("images", work, store=store, concurrency=2):
            for _ in range(31 * 24 // 3):
                await queue.add_bulk([{"name": "resize"}, {"name": "bad"}])
                await clock.advance("3h")
            view = QueueView(queue)
            await view.do("metrics", span="month")
            month = await shown(view)
            assert month["told"] == "236 completed, 236 failed in the last 30 days", "by half days"
            assert len(titles(month)) == 59, "nothing settled in this half day"
            assert len(json.dumps(month)) < 30_000
            assert timedelta(days=29) < store.asked <= timedelta(days=30)

            store.asked = timedelta()
            await queue.add_bulk([{"name": "resize"}] * 2)
            await clock.advance("3h")
            assert (await shown(view))["told"] == "238 completed, 236 failed in the last 30 days"
            assert store.asked <= timedelta(hours=15), "what is over is known"

        await queue.obliterate(force=True)
        await view.do("metrics")
        assert (await shown(view))["told"] == "0 completed, 0 failed in the last 30 days"


def test_a_column_of_several_hours_tells_what_is_true_of_all() -> None:
    hour = timedelta(hours=1)

    def point(number: int, jobs: int, middle: float | None, high: float | None) -> MetricsPoint:
        start = EPOCH + number * hour
        return MetricsPoint("q", start, start + hour, jobs, 0, middle, high, None, None)

    points = [point(0, 100, 1.0, 2.0), point(1, 10, 5.0, 9.0), point(2, 3, None, None)]
    one, other = columns_of([*points, point(12, 1, 4.0, 4.0)], 12 * hour)
    assert (one.start, one.end, one.completed) == (EPOCH, EPOCH + 12 * hour, 113)
    assert one.ran == Spread(1.0, 9.0)
    assert (one.waited, one.is_exact) == (None, False)
    assert (other.ran, other.completed) == (Spread(4.0, 4.0), 1)
    [exact, *_] = columns_of(points, hour)
    assert (exact.is_exact, exact.ran) == (True, Spread(1.0, 2.0))


@pytest.mark.asyncio
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


@pytest.mark.asyncio
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


@pytest.mark.asyncio
async def test_a_store_without_metrics_says_how_to_have_them() -> None:
    async with MemoryStore(clock=VirtualClock()) as store, Queue("images", store=store) as queue:
        view = QueueView(queue)
        off = (await shown(view))["off"]
        assert "MemoryStore(metrics=True)" in off
        assert view.again is None
