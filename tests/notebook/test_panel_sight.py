"""A panel that nobody sees: it is scrolled away, or in a window behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import JobFailedError, JobState, MemoryStore, Queue, StoreEvent, Worker
from conveyor_nb.core.model import EPOCH
from conveyor_nb.notebook.panel import known_panels, output
from conveyor_nb.notebook.panel.hearing import Hearing
from conveyor_nb.notebook.panel.output import Output
from conveyor_nb.notebook.panel.widget import Panel, dashboard, panel_of
from tests.benchmarks.profiling import counted

from .pages import Page

pytestmark = pytest.mark.asyncio


class AskedStore(MemoryStore):
    """Counts how often a frame was read from it, and who listens."""

    def __init__(self) -> None:
        super().__init__(ids="sequential")
        self.frames = 0
        self.asked = asyncio.Event()

    async def get_job_counts(self, queue_name: str) -> dict[JobState, int]:
        self.frames += 1
        self.asked.set()
        return await super().get_job_counts(queue_name)

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)


@pytest_asyncio.fixture
async def store() -> AsyncIterator[AskedStore]:
    async with AskedStore() as store:
        yield store


@pytest_asyncio.fixture
async def queue(store: AskedStore) -> AsyncIterator[Queue]:
    async with Queue("emails", store=store) as queue:
        yield queue


async def rest(page: Page) -> None:
    """Nobody sees the page any more."""
    page.draws = False
    await page.say("rest")


async def wake(page: Page) -> None:
    """Somebody sees it again."""
    page.draws = True
    await page.say("hello")


async def work(job: Any) -> None:
    if job.name == "bad":
        raise ValueError("no such mailbox")


async def test_nothing_is_read_or_sent_until_somebody_looks(
    queue: Queue, panel: Panel, page: Page, store: AskedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(panel, "_send", lambda *told, **_: sent.append(told))
    await rest(page)
    frames, shown = store.frames, panel.frame
    async with Worker("emails", work, store=store):
        added = await queue.add_bulk([{"name": "send"}] * 500)
        await added[-1].wait_until_finished()
    assert not panel._feed._repainter._timer, "nothing is to come either"
    assert (store.frames, panel.frame, sent) == (frames, shown, [])
    assert panel.rests

    await wake(page)
    await page.until(lambda: panel.head["counts"]["completed"] == 500)
    assert panel.live


async def test_while_it_rests_it_is_not_told_what_happens_to_each_job(
    queue: Queue, page: Page, store: AskedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    doze = Hearing._doze

    def note(self: Hearing, event: StoreEvent) -> None:
        told.append(event.type)
        doze(self, event)

    monkeypatch.setattr(Hearing, "_doze", note)
    await rest(page)
    async with Worker("emails", work, store=store):
        for added in await queue.add_bulk([{"name": "send"}, {"name": "bad"}]):
            with contextlib.suppress(JobFailedError):
                await added.wait_until_finished()
    assert told == ["worker:started", "queue:drained", "worker:paused", "worker:closed"]


async def test_while_another_page_is_seen_it_goes_on(
    queue: Queue, panel: Panel, page: Page
) -> None:
    other = Page(panel, "another")
    await other.say("hello")
    await rest(page)
    await queue.add("send")
    await other.until(lambda: panel.head["counts"]["waiting"] == 1)
    assert panel.live
    await rest(other)
    assert panel.rests


async def test_a_page_that_goes_while_it_rests_leaves_nothing(
    queue: Queue, panel: Panel, page: Page, store: AskedStore
) -> None:
    await rest(page)
    assert store.subscribers == 1, "for the picture in the notebook, and what is rare"
    await page.say("bye")
    assert not store.subscribers


async def test_panels_that_rest_are_not_closed_for_new_ones(queue: Queue) -> None:
    panels = [panel_of(queue) for _ in range(30)]
    for panel in panels:
        page = Page(panel)
        await page.say("hello")
        await rest(page)
    panel_of(queue)
    assert set(panels) <= set(known_panels.panels)
    known_panels.close_panels()


async def test_the_log_tells_what_happened_meanwhile(
    queue: Queue, panel: Panel, page: Page, store: AskedStore
) -> None:
    await page.turn_to("events")
    await queue.pause("later")
    await page.until(lambda: "queue:paused" in page.event_types())
    await rest(page)
    async with Worker("emails", work, store=store, name="mailer"):
        await queue.add("bad")
        await queue.join()
    await queue.resume("later")
    await wake(page)
    await page.until(lambda: panel.live and "queue:resumed" in page.event_types())
    kinds = page.event_types()
    assert kinds[0] == "queue:resumed", "the newest first"
    assert kinds[-1] == "queue:paused", "what was seen before stays"
    assert {"worker:started", "worker:closed", "job:active", "job:failed"} <= set(kinds)
    assert len(kinds) == len({(row["type"], row["at"]) for row in page.events}), "each once"
    told = {row["type"] for row in page.events if row.get("past")}
    assert told == {"job:waiting", "job:active", "job:failed"}


async def test_an_event_is_laid_by_and_no_more(panel: Panel, page: Page) -> None:
    """It is told of within a step of the store; what is done with it is done for many at once."""
    event = StoreEvent("job:waiting", "emails", "emails-1", {"name": "send"}, EPOCH)
    with counted() as calls:
        for _ in range(5_000):
            panel._hearing._lay_by(event)
    assert calls.count <= 5_500


async def test_what_shows_nothing_new_is_not_sent(
    queue: Queue, panel: Panel, page: Page, store: AskedStore
) -> None:
    """A job that is open is looked at again and again: no event tells of another payload."""
    job = await queue.add("send", {"to": "ada"}, delay="1h")
    await page.say("open", id=job.id)
    await page.until(lambda: panel.detail is not None)
    sent, before = panel.frame, store.frames
    while store.frames < before + 5:
        store.asked.clear()
        await store.asked.wait()
    assert panel.frame == sent

    await store.update_job("emails", job.id, {"data": {"to": "eve"}})
    await page.until(lambda: "eve" in str(panel.detail["values"]))
    assert panel.frame > sent


async def test_a_message_is_shown_though_nothing_else_is_new(panel: Panel, page: Page) -> None:
    frame = panel.frame
    await page.say("explode")
    await page.until(lambda: panel.frame > frame)
    assert panel.notice is not None


async def test_a_dashboard_hears_only_of_the_queue_that_is_open(
    store: AskedStore, queue: Queue
) -> None:
    await queue.add("send")
    panel = dashboard(store)
    page = Page(panel)
    await page.say("hello")
    await page.say("queue", queue="emails")
    await page.until(lambda: panel.tab == "jobs" and panel.head.get("name") == "emails")
    frame = panel.frame
    await Queue("other", store=store).add("send")
    assert not panel._hearing._laid_by
    assert panel.frame == frame
    await page.say("queue", queue="")
    await page.until(lambda: panel.tab is None and len(panel.queues["cards"]) == 2)
    panel.close()


async def test_the_picture_in_the_notebook_is_renewed_once_it_is_calm(
    queue: Queue, panel: Panel, page: Page, store: AskedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[dict[str, Any]] = []
    came = asyncio.Event()

    def publish(data: dict[str, Any], **_: object) -> None:
        published.append(data)
        came.set()

    monkeypatch.setattr(output, "publish_display_data", publish)
    monkeypatch.setattr(output, "_CALM", output._CALM / 10)
    panel.output.show(lambda: "a queue")
    await rest(page)
    came.clear()
    async with Worker("emails", work, store=store):
        for _ in range(50):
            await queue.add("send")
            await queue.join()
    await came.wait()
    assert len(published) == 2, "at first, and in the end"
    assert "50 completed" in published[-1]["text/html"]


async def test_a_queue_that_never_is_calm_has_its_picture_renewed_all_the_same(
    store: AskedStore, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[str] = []
    monkeypatch.setattr(output, "_CALM", output._CALM * 1_000)
    monkeypatch.setattr(Output, "_start", lambda self: began.append(self.id))
    panel = panel_of(queue)
    monkeypatch.setattr(output, "_shown", [panel.output])
    panel.output.renew_when_calm(at_latest=0.0)
    panel.output._look()
    assert began == [panel.output.id]
    panel.close()
