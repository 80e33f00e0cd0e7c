"""Nothing on a panel jumps: not by a filter, not by a notice, not by what the jobs do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, expect

from .test_panel import chip

if TYPE_CHECKING:
    from .opened import Notebook, OpenNotebook

SETUP = """\
import asyncio
from conveyor_nb import MemoryStore, Queue

store = MemoryStore(ids="sequential")
queue = Queue("emails", store=store)
gate = asyncio.Event()

@queue.worker(name="mailer", concurrency=2)
async def send(job):
    if job.name == "bad":
        raise ValueError("no mailbox")
    await gate.wait()

await queue.add_bulk([{"name": "bad"}] * 12)
await queue.add_bulk([{"name": "later", "delay": "1h"}] * 3)
await queue.add_bulk([{"name": "send"}] * 8)
"""
PARTS = (
    "cv-title",
    "cv-tabs",
    "cv-belt",
    "cv-chip-all",
    "cv-filter-text",
    "cv-sort-name",
    "cv-pager",
)


def places(panel: Locator) -> dict[str, tuple[float, float]]:
    """Where each part of the panel is from top to bottom, and how high the panel is."""
    top = panel.bounding_box()
    assert top is not None
    found = {"panel": (0.0, top["height"])}
    for part in PARTS:
        box = panel.get_by_test_id(part).bounding_box()
        assert box is not None, part
        found[part] = (box["y"] - top["y"], box["height"] if part == "cv-belt" else 0.0)
    return found


@pytest.fixture(params=[1280, 780], ids=["wide", "narrow"])
def notebook(open_notebook: OpenNotebook, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    notebook = open_notebook(SETUP, "queue", "gate.set()")
    height = (notebook.page.viewport_size or {"height": 1600})["height"]
    notebook.page.set_viewport_size({"width": request.param, "height": height})
    yield notebook
    notebook.page.set_viewport_size({"width": 1280, "height": height})


def test_nothing_jumps(notebook: Notebook, request: pytest.FixtureRequest) -> None:
    notebook.run(0)
    notebook.run(1)
    panel = notebook.panel
    expect(chip(panel, "active", 2)).to_be_visible()
    expect(panel.get_by_test_id("cv-job")).to_have_count(10)
    laid_out = re.compile(r" 3\d\d \d+$" if "narrow" in request.node.name else r" [89]\d\d \d+$")
    belt = panel.get_by_test_id("cv-belt").locator("svg")
    expect(belt).to_have_attribute("viewBox", laid_out)
    before = places(panel)
    for state in ("failed", "delayed", "completed", "waiting", "active", "all"):
        panel.get_by_test_id(f"cv-chip-{state}").click()
        expect(panel.get_by_test_id(f"cv-chip-{state}")).to_have_attribute("aria-pressed", "true")
        assert places(panel) == before, state
    panel.get_by_test_id("cv-filter-text").fill("nobody")
    expect(panel.get_by_test_id("cv-empty")).to_contain_text("No job fits")
    assert places(panel) == before, "a search without a find"
    panel.get_by_test_id("cv-filter-clear").click()
    expect(panel.get_by_test_id("cv-job")).to_have_count(10)
    panel.get_by_test_id("cv-sort-name").click()
    expect(panel.locator("[aria-sort]")).to_have_count(1)
    assert places(panel) == before, "another order"

    panel.get_by_test_id("cv-chip-failed").click()
    expect(panel.get_by_test_id("cv-chip-failed")).to_have_attribute("aria-pressed", "true")
    panel.get_by_test_id("cv-choose").first.check()
    expect(panel.get_by_test_id("cv-chosen")).to_be_visible()
    chosen = places(panel)
    assert {part: place for part, place in chosen.items() if part not in ("panel", "cv-pager")} == {
        part: place for part, place in before.items() if part not in ("panel", "cv-pager")
    }, "the tools for what is chosen stand below the table"
    panel.get_by_test_id("cv-many-promote").click()
    expect(panel.get_by_test_id("cv-notice")).to_contain_text("can't be promoted")
    assert places(panel) == chosen, "a notice"
    panel.get_by_test_id("cv-dismiss").click()
    panel.get_by_test_id("cv-choose-none").click()
    assert places(panel) == before

    notebook.run(2)
    expect(chip(panel, "completed", 8)).to_be_visible()
    assert places(panel) == before, "jobs that come and go"
