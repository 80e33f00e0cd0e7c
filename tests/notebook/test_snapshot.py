"""What a saved notebook shows of a queue or a store: the same as a live panel, where it can."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any

import pytest

from conveyor_nb import Job, JobState, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.pictures.pieces import STATE_LOOKS

pytestmark = pytest.mark.asyncio


def page_of(subject: Any) -> str:
    page = subject._repr_mimebundle_()["text/html"]
    assert isinstance(page, str)
    return page


def ids_in_table(page: str) -> list[str]:
    """The ids in the last table."""
    return re.findall(r"<td[^>]*>(emails-\d+)</td>", page.rpartition("<table>")[2])


async def send(job: Job) -> None:
    await job.sleep("1s")
    if job.data == 2:
        raise ValueError("no mailbox")


@pytest.mark.parametrize("jobs", [3, 8, 40])
async def test_its_table_is_in_the_order_of_the_live_one(jobs: int) -> None:
    clock = VirtualClock()
    async with (
        MemoryStore(clock=clock, ids="sequential", seed=1) as store,
        Queue("emails", store=store) as queue,
    ):
        await queue.add_bulk({"name": "send", "data": n, "priority": n % 2} for n in range(jobs))
        await queue.add("later", delay="1h")
        async with Worker("emails", send, store=store, concurrency=2):
            for _ in range(3):
                live = (await QueueView(queue).read())["jobs"]["rows"]
                assert ids_in_table(page_of(queue)) == [row["id"] for row in live]
                await clock.advance("2500ms")
        assert "no mailbox" in page_of(queue)


async def test_a_store_has_a_bar_for_each_queue() -> None:
    clock = VirtualClock()
    async with MemoryStore(clock=clock, ids="sequential", seed=1) as store:
        emails, images = Queue("<b>emails</b>", store=store), Queue("images", store=store)
        await emails.add_bulk({"name": "send", "data": n} for n in (1, 2, 3))
        async with Worker("<b>emails</b>", send, store=store):
            await clock.advance("1m")
        await images.add("resize", delay="1h")
        await images.pause()
        page = page_of(store)
    bars = [b64decode(data).decode() for data in re.findall('svg[+]xml;base64,([^"]+)"', page)]
    for state, present in (
        (JobState.COMPLETED, [True, False]),
        (JobState.FAILED, [True, False]),
        (JobState.DELAYED, [False, True]),
    ):
        assert [STATE_LOOKS[state].colour in bar for bar in bars] == present, state
    assert "&lt;b&gt;emails" in page
    assert page.count("<tr>") == 3
