"""What is displayed of a queue, worker, job or store, and when a panel's page gets a frame."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import FlowJob, FlowProducer, Job, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.notebook import render
from conveyor_nb.notebook.listings import workers_listing
from conveyor_nb.notebook.panel import feed
from conveyor_nb.notebook.panel.feed import Feed
from conveyor_nb.notebook.panel.widget import close_panels, panel_of
from conveyor_nb.notebook.panel.workers_panel import worker_rows

pytestmark = pytest.mark.asyncio


def new_store(clock: VirtualClock | None = None) -> MemoryStore:
    return MemoryStore(clock=clock or VirtualClock(), ids="sequential", seed=1)


@pytest_asyncio.fixture
async def queue() -> AsyncIterator[Queue]:
    async with new_store() as store, Queue("emails", store=store) as queue:
        yield queue


@pytest.fixture
def in_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(render, "_can_be_live", lambda: True)
    yield
    close_panels()


async def test_a_terminal_gets_text_and_html_only(queue: Queue) -> None:
    assert set(queue._repr_mimebundle_()) == {"text/plain", "text/html"}


@pytest.mark.usefixtures("in_kernel")
async def test_a_kernel_gets_the_panel_too(queue: Queue) -> None:
    await queue.add("send")
    bundle = queue._repr_mimebundle_()
    assert bundle["text/plain"] == "<Queue emails: 1 waiting>"
    assert bundle["application/vnd.jupyter.widget-view+json"]["version_major"] == 2
    await queue.close()
    assert set(queue._repr_mimebundle_()) == {"text/plain", "text/html"}


async def displayed() -> list[dict[str, Any]]:
    """What a notebook saves of a short program."""

    async def send(job: Job) -> str:
        await job.sleep("1s")
        if job.name == "<bad>":
            raise ValueError("<no>")
        return "<ok>"

    clock = VirtualClock()
    async with new_store(clock) as store, Queue("emails", store=store) as queue:
        await queue.add("<send>", {"to": "<ada>"})
        job = await queue.add("<bad>", attempts=2, backoff="1s")
        async with Worker("emails", send, store=store, name="<mailer>") as worker:
            await clock.advance("1500ms")
            return [one._repr_mimebundle_() for one in (queue, worker, await job.refresh(), store)]


async def test_what_a_notebook_saves_is_the_same_on_every_run() -> None:
    assert await displayed() == await displayed()


async def test_other_peoples_text_is_escaped() -> None:
    for bundle in await displayed():
        page = bundle["text/html"]
        assert "<ok>" not in page
        assert "<bad>" not in page
        assert "<mailer>" not in page
    queue, worker, _, store = await displayed()
    assert "&lt;ok&gt;" in queue["text/html"]
    assert "&lt;mailer&gt;" in worker["text/html"]
    assert "<td" in store["text/html"]


async def test_a_worker_that_closes_is_called_the_same_everywhere(queue: Queue) -> None:
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)

    async def send(job: Job) -> None:
        await job.sleep("1s")

    def check(word: str, info: WorkerInfo) -> None:
        bundle = worker._repr_mimebundle_()
        assert f"of emails: {word}, " in bundle["text/plain"]
        assert f"of emails · {word} · " in re.sub("<[^>]*>", "", bundle["text/html"])
        assert f": {word}, 1 at a time" in repr(info)
        assert f" {word} " in repr(workers_listing([info]))

    worker = Worker("emails", send, store=queue.store)
    await queue.add("send")
    await clock.settle()
    worker.retire()
    await clock.settle()
    [row] = await worker_rows(queue.store, "emails")
    check(row["status"], *await queue.store.list_workers())
    await clock.advance("1s")
    check(WorkerStatus.CLOSED.in_words, worker.info())


async def test_a_panel_shows_its_queue_before_any_page_has_asked(queue: Queue) -> None:
    await queue.add("send", {"to": "ada"})
    panel = panel_of(queue)
    assert panel.head["name"] == "emails"
    assert panel.head["counts"]["waiting"] == 1
    assert [row["id"] for row in panel.jobs["rows"]] == ["emails-1"]
    assert not panel.live
    panel.close()


async def test_all_panels_can_be_closed(queue: Queue) -> None:
    panels = [panel_of(queue) for _ in range(3)]
    close_panels()
    assert all(panel.comm is None for panel in panels)


async def test_a_page_that_falls_silent_is_gone_until_it_speaks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "SILENCE", 0.01)
    told: list[bool] = []
    asleep = asyncio.Event()

    async def send_frame(_: int) -> None: ...

    def on_change() -> None:
        told.append(watched.live)
        if not watched.live:
            asleep.set()

    watched = Feed(send_frame, on_change)
    watched.welcome("page")
    await asleep.wait()
    assert told == [True, False]
    assert not watched.live
    watched.welcome("page")
    assert told == [True, False, True]
    watched.stop()


async def test_a_kernel_in_a_page_sends_on_though_it_hears_nothing_of_what_was_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "UNHEARD", 0.01)
    monkeypatch.setattr(feed, "SILENCE", 0.5)
    sent: list[int] = []
    third, asleep = asyncio.Event(), asyncio.Event()

    async def send_frame(number: int) -> None:
        sent.append(number)
        watched.touch()  # there is always news
        if number == 3:
            third.set()

    def on_change() -> None:
        if not watched.live:
            asleep.set()

    watched = Feed(send_frame, on_change)
    watched.welcome("page")
    await third.wait()
    assert sent[:3] == [1, 2, 3]
    await asleep.wait()  # it has heard nothing at all for long enough
    assert not watched.live


# -- why a job ended, and what it waits for ---------------------------------------------------


async def break_down(job: Job) -> None:
    raise ConnectionError("no answer")


async def test_a_job_that_is_cancelled_between_attempts_shows_no_older_traceback(
    queue: Queue,
) -> None:
    job = await queue.add("send", attempts=2, backoff="1h")
    async with Worker("emails", break_down, store=queue.store) as worker:
        await worker.run_until_idle()
    assert "no answer" in (await job.refresh()).stacktrace[0]
    await job.cancel()
    page = job._repr_mimebundle_()["text/html"]
    assert "cancelled" in page
    assert "Traceback" not in page


async def test_a_retried_parent_shows_which_failed_children_it_waits_for(queue: Queue) -> None:
    flow = FlowJob("total", "emails", children=[FlowJob("part", "emails")])
    root = await FlowProducer(store=queue.store).add(flow)
    async with Worker("emails", break_down, store=queue.store) as worker:
        await worker.run_until_idle()
    await root.job.retry()
    for page in (root.job._repr_mimebundle_()["text/html"], queue._repr_mimebundle_()["text/html"]):
        assert "waits for failed child" in page
        assert "emails-2" in page
