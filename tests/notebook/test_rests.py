"""What a panel reads less often, as its store takes long to tell it."""

from __future__ import annotations

import pytest

from conveyor_nb import JobState, Queue
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.panel.queues_view import QueuesView
from conveyor_nb.notebook.panel.rests import Rests
from tests.far_store import FarStore


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The person's time, moved by hand."""
    time = [100.0]
    monkeypatch.setattr(Rests, "now", lambda _: time[0])
    return time


def test_what_took_long_stays_for_a_while_and_what_did_not_is_read_again(now: list[float]) -> None:
    rests, told = Rests(), {"belt": 1}
    rests.keep("belt", told, began=99.999)
    assert rests.told("belt") is None
    rests.keep("belt", told, began=99.98)
    now[0] += 0.39
    assert rests.told("belt") is told
    now[0] += 0.02
    assert rests.told("belt") is None, "after twenty times as long"
    rests.keep("belt", told, began=90.0)
    now[0] += 1.01
    assert rests.told("belt") is None, "but a second at most"


def test_it_is_read_again_only_for_who_asked_meanwhile(now: list[float]) -> None:
    rests = Rests()
    rests.keep("belt", {}, began=99.98)
    assert rests.again("belt", None) is None, "where nothing happens nothing is read"
    assert rests.again("belt", 0.1) == pytest.approx(0.4)
    assert rests.again("belt", 3.0) == 3.0
    rests.told("belt")
    assert rests.again("belt", None) == pytest.approx(0.4)
    assert rests.again("jobs", 7.0) == 7.0


@pytest.mark.asyncio
async def test_a_part_that_takes_long_is_not_read_for_each_frame_but_for_each_click(
    now: list[float],
) -> None:
    class SlowStore(FarStore):
        async def list_workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
            now[0] += 0.03
            return await self.near.list_workers(queue_name)

    store = SlowStore()
    async with store.near, Queue("emails", store=store) as queue:
        await queue.add("send")
        view = QueueView(queue)
        first = await view.read()
        await queue.add("send")
        second = await view.read()
        assert second["belt"] == first["belt"], "what takes long stays"
        assert second["head"]["counts"]["waiting"] == 2, "and all else is as it is now"
        assert view.again is not None
        assert 0 < view.again <= 0.6
        await view.do("belt", by="group")
        third = await view.read()
        assert "2 waiting" in str(third["belt"]["picture"])
        now[0] += 1
        await queue.add("send")
        assert "3 waiting" in str((await view.read())["belt"]["picture"])


class CountingStore(FarStore):
    """One whose counts take long, and that counts how often it is asked for them."""

    time: list[float]
    counted = 0

    async def get_job_counts(self, queue_name: str) -> dict[JobState, int]:
        self.counted += 1
        self.time[0] += 0.05
        return await self.near.get_job_counts(queue_name)


@pytest.mark.asyncio
async def test_counts_that_take_long_are_asked_for_once_a_second_whatever_happens(
    now: list[float],
) -> None:
    store = CountingStore()
    store.time = now
    async with store.near, Queue("emails", store=store) as queue:
        queue_view, all_view = QueueView(queue), QueuesView(store)
        for view in (queue_view, all_view):
            store.counted = 0
            await view.read()
            once = store.counted
            for _ in range(9):  # a frame each tenth of a second
                await queue.add("send")
                now[0] += 0.1
                await view.read()
            assert store.counted == once
            assert view.again is not None, "what has happened meanwhile is not forgotten"
            now[0] += view.again + 0.001
            told = await view.read()
            assert store.counted == 2 * once
            counts = told["head"] if view is queue_view else told["queues"]["cards"][0]
            assert counts["counts"]["waiting"] == await queue.count("waiting")
            assert view.again is None or view.again >= 0.9
