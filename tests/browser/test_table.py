"""The table of a queue's panel in JupyterLab: looking for jobs, and doing something with many."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from .test_panel import OpenNotebook, chip

SETUP = """\
from conveyor_nb import Group, MemoryStore, Queue

store = MemoryStore(ids="sequential")
queue = Queue("emails", store=store)
names = ["send", "bounce", "digest"]
for n in range(30):
    to = "ada" if n % 4 == 0 else "bob"
    await queue.add(names[n % 3], {"to": to}, group=Group("gold" if n % 2 else "free"))
"""


def numbers(panel: Locator) -> list[int]:
    """The jobs in the table, by the numbers in their ids."""
    return [int(text.split("-")[1]) for text in panel.locator(".cv-rows .cv-id").all_inner_texts()]


def test_jobs_are_looked_for_sorted_and_paged(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, "queue")
    notebook.run(0)
    notebook.run(1)
    panel = notebook.panel
    rows, said = panel.get_by_test_id("cv-job"), panel.get_by_test_id("cv-page")
    expect(said).to_have_text("1\u201310 of 30")
    panel.get_by_test_id("cv-last").click()
    expect(said).to_have_text("21\u201330 of 30")
    expect(panel.get_by_test_id("cv-next")).to_be_disabled()
    panel.get_by_test_id("cv-page-number").fill("2")
    panel.get_by_test_id("cv-page-number").press("Enter")
    expect(said).to_have_text("11\u201320 of 30")
    panel.get_by_test_id("cv-first").click()
    expect(said).to_have_text("1\u201310 of 30")

    height = panel.locator(".cv-jobs").bounding_box()
    panel.get_by_test_id("cv-filter-text").fill("ADA")
    expect(said).to_have_text("1\u20138 of 8 found")
    panel.get_by_test_id("cv-filters").click()
    panel.get_by_test_id("cv-filter-name").fill("send")
    expect(said).to_have_text("1\u20133 of 3 found")
    expect(panel.get_by_test_id("cv-filters")).to_have_text("Filters (1)")
    panel.get_by_test_id("cv-filter-group").fill("gold")
    expect(rows).to_have_count(0)
    expect(panel.get_by_test_id("cv-empty")).to_have_text("No job fits what is looked for.")
    now = panel.locator(".cv-jobs").bounding_box()
    assert height is not None
    assert now is not None
    assert now["height"] == height["height"], "the table stays as high as it was"
    panel.get_by_test_id("cv-filter-clear").click()
    expect(said).to_have_text("1\u201310 of 30")

    panel.get_by_test_id("cv-sort-name").click()
    expect(rows.first).to_contain_text("bounce")
    panel.get_by_test_id("cv-sort-name").click()
    expect(rows.first).to_contain_text("send")
    expect(panel.locator("[aria-sort]")).to_have_attribute("aria-sort", "descending")
    panel.get_by_test_id("cv-sort-name").click()
    expect(panel.locator("[aria-sort]")).to_have_count(0)
    chip(panel, "waiting", 30).click()
    expect(rows.first).to_contain_text("emails-1")
    assert numbers(panel)[0] == 1
