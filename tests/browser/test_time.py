"""The tabs of a queue that show its workers and its time, as a person sees and uses them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from .opened import OpenNotebook


SETUP = """\
import asyncio
from conveyor_nb import MemoryStore, Queue, timeline

store = MemoryStore(ids="sequential")
queue = Queue("images", store=store)
gate = asyncio.Event()

@queue.worker(name="resizer", concurrency=2)
async def work(job):
    if job.name == "bad":
        raise ValueError("no <image>")
    await gate.wait()

queue
"""
ADD = "for name in ('bad', 'resize', 'crop'): await queue.add(name)"


def test_attempts_are_bars_in_their_slots(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, ADD, "gate.set()", "timeline(queue)")
    notebook.run(0)
    panel = notebook.panel
    panel.get_by_test_id("cv-tab-timeline").click()
    shown = panel.get_by_test_id("cv-timeline")
    expect(shown).to_contain_text("No attempt here yet")
    notebook.run(1)
    told = panel.get_by_test_id("cv-timeline-told")
    expect(told).to_contain_text("3 attempts, 1 failed, 2 running, 2 slots")
    expect(shown).to_contain_text("resizer")

    failed = shown.locator('.cvp-bar[data-key="images-1"]')
    failed.hover()
    hint = panel.get_by_test_id("cv-timeline-hint")
    expect(hint).to_contain_text("images-1 bad · failed in")
    expect(hint).to_contain_text("no <image>")
    failed.click()
    expect(panel.get_by_test_id("cv-detail")).to_contain_text("images-1")
    panel.get_by_test_id("cv-detail-close").click()

    panel.get_by_test_id("cv-span-all").click()
    expect(panel.get_by_test_id("cv-span-all")).to_have_attribute("aria-pressed", "true")
    notebook.run(2)
    expect(told).to_contain_text("2 completed, 1 failed, 2 slots")
    shown.focus()
    shown.press("End")
    expect(hint).to_contain_text(re.compile("completed in"))
    shown.press("Enter")
    expect(panel.get_by_test_id("cv-detail")).to_contain_text(re.compile("images-[23]"))

    notebook.run(3)
    figure = notebook.page.locator(".jp-OutputArea-output img.cvp-image").last
    expect(figure).to_have_attribute("alt", re.compile("3 attempts, 2 completed, 1 failed"))


def test_workers_are_seen_and_managed(open_notebook: OpenNotebook) -> None:
    more = "await queue.add_bulk([{'name': 'resize'}] * 3)"
    notebook = open_notebook(SETUP, ADD, more, "gate.set()")
    notebook.run(0)
    panel = notebook.panel
    panel.get_by_test_id("cv-tab-workers").click()
    card = panel.get_by_test_id("cv-mate")
    expect(card).to_contain_text("resizer")
    expect(card).to_contain_text("idle")
    expect(card.get_by_test_id("cv-mate-handler")).to_have_text("Cell In[1], line 8")
    notebook.run(1)
    notebook.run(2)
    places = card.get_by_test_id("cv-place")
    expect(places).to_have_count(2)
    expect(card).to_contain_text("1 failed")

    count = card.get_by_test_id("cv-slot-count")
    card.get_by_test_id("cv-more").click()
    expect(count).to_have_text("3 slots")
    expect(places).to_have_count(3)
    card.get_by_test_id("cv-fewer").click()
    expect(count).to_have_text("2 slots")
    expect(places).to_have_count(3)  # what runs goes on
    places.first.click()
    expect(panel.get_by_test_id("cv-detail")).to_contain_text("images-2")
    expect(card).to_contain_text("100% in use")

    card.get_by_test_id("cv-mate-pause").click()
    expect(card).to_contain_text("paused")
    notebook.run(3)
    expect(card.get_by_test_id("cv-mate-done")).to_have_text("3 done")
    expect(places).to_have_count(0)
    card.get_by_test_id("cv-mate-resume").click()
    expect(card.get_by_test_id("cv-mate-done")).to_have_text("5 done")
    card.get_by_test_id("cv-mate-stop").click()
    expect(card).to_contain_text("stopped")
    expect(card.get_by_test_id("cv-more")).to_have_count(0)
    card.get_by_test_id("cv-mate-start").click()
    expect(card.get_by_test_id("cv-slot-count")).to_have_text("2 slots")


def test_minutes_and_hours_are_charts(open_notebook: OpenNotebook) -> None:
    counting = SETUP.replace('ids="sequential"', 'ids="sequential", metrics=True')
    without = "Queue('plain', store=MemoryStore())"
    notebook = open_notebook(counting, ADD, "gate.set()", without)
    notebook.run(0)
    panel = notebook.panel
    panel.get_by_test_id("cv-tab-metrics").click()
    told = panel.get_by_test_id("cv-metrics-told")
    expect(told).to_have_text("0 completed, 0 failed in the last hour")
    notebook.run(1)
    notebook.run(2)
    expect(told).to_have_text("2 completed, 1 failed in the last hour")
    for span, words in (("day", "24 hours"), ("week", "7 days"), ("month", "30 days")):
        panel.get_by_test_id(f"cv-period-{span}").click()
        expect(told).to_have_text(f"2 completed, 1 failed in the last {words}")
    panel.get_by_test_id("cv-period-hour").click()
    expect(panel.get_by_test_id("cv-period-hour")).to_have_attribute("aria-pressed", "true")
    charts = panel.get_by_test_id("cv-metrics")
    hint = panel.get_by_test_id("cv-metrics-hint")
    charts.locator(".cvp-bar").last.hover()
    expect(hint).to_contain_text("completed")
    notebook.page.mouse.move(0, 0, steps=3)  # of a single leap a busy browser may tell nobody
    expect(hint).to_contain_text("Point at a column")
    charts.focus()
    charts.press("End")
    expect(hint).to_contain_text("95% under")

    notebook.run(3)
    other = notebook.page.get_by_test_id("cv-panel").nth(1)
    other.get_by_test_id("cv-tab-metrics").click()
    expect(other.get_by_test_id("cv-metrics-off")).to_contain_text("MemoryStore(metrics=True)")
    expect(other.get_by_test_id("cv-metrics")).to_be_hidden()
