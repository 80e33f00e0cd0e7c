"""What a panel says when its queue or its store is no longer there to be worked with."""

from __future__ import annotations

import pytest

from conveyor_nb import MemoryStore, Queue, set_default_store
from conveyor_nb.notebook.panel.widget import close_panels, dashboard, panel_of

from .pages import Page

pytestmark = pytest.mark.asyncio


async def test_a_closed_queue_is_shown_and_not_changed() -> None:
    async with MemoryStore(ids="sequential") as store:
        queue = Queue("emails", store=store)
        await queue.add("send")
        panel = panel_of(queue)
        page = Page(panel)
        await page.say("hello")
        await page.until(lambda: panel.frame >= 1)
        await queue.close()
        assert panel.ended == "This queue was closed"
        await page.say("pause")
        await page.until(lambda: panel.notice is not None)
        assert panel.notice is not None
        assert panel.notice["text"] == panel.ended
        assert not await store.get_paused_job_names("emails")
        await page.say("show", state="waiting")
        await page.until(lambda: panel.jobs["state"] == "waiting")
        assert panel.ended in panel.output.page()
        panel.close()


async def test_a_store_that_was_disconnected_is_shown_and_not_changed() -> None:
    store = MemoryStore(ids="sequential")
    await store.connect()
    queue = Queue("emails", store=store)
    await queue.add("send")
    panel, all_of_it = panel_of(queue), dashboard(store)
    pages = Page(panel), Page(all_of_it)
    for page in pages:
        await page.say("hello")
        await page.until(lambda page=page: page.panel.frame >= 1)  # type: ignore[misc]
    await store.disconnect()
    for page in pages:
        await page.until(lambda page=page: bool(page.panel.ended))  # type: ignore[misc]
        assert page.panel.ended == "Its store was disconnected"
        page.panel.close()


async def test_two_panels_of_one_name_say_which_store_each_is_of() -> None:
    async with MemoryStore() as here, MemoryStore() as there:
        set_default_store(here)
        try:
            first = panel_of(Queue("emails", store=here))
            alone = Page(first)
            await alone.say("hello")
            await alone.until(lambda: first.frame >= 1)
            assert first.head["store"] == ""
            second = panel_of(Queue("emails", store=there))
            await alone.until(lambda: bool(first.head["store"]))
            assert first.head["store"] == "default store"
            assert second.head["store"].startswith("MemoryStore no. ")
            twin = panel_of(Queue("emails", store=there))
            assert twin.head["store"] == second.head["store"]
        finally:
            set_default_store(None)
            close_panels()
