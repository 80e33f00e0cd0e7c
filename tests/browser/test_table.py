"""The table of a queue's panel in JupyterLab: looking for jobs, and doing something with many."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from playwright.sync_api import Locator, expect

from .test_panel import chip

if TYPE_CHECKING:
    from .opened import OpenNotebook

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


def test_many_jobs_are_chosen_and_changed_after_a_question(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, "queue")
    notebook.run(0)
    notebook.run(1)
    panel = notebook.panel
    asked, yes = panel.get_by_test_id("cv-question"), panel.get_by_test_id("cv-answer")
    boxes = panel.get_by_test_id("cv-choose")
    expect(boxes).to_have_count(10)
    boxes.nth(1).check()
    boxes.nth(2).check()
    expect(panel.get_by_test_id("cv-choose-all")).to_have_text("All 30")
    with notebook.page.expect_download() as saved:
        panel.get_by_test_id("cv-export-json").click()
    assert saved.value.suggested_filename == "emails.json"
    assert [one["name"] for one in json.loads(saved.value.path().read_text())] == [
        "bounce",
        "digest",
    ]
    expect(panel.get_by_test_id("cv-detail")).to_be_hidden()
    panel.get_by_test_id("cv-many-cancel").click()
    expect(asked).to_contain_text("Cancel 2 jobs?")
    expect(panel.get_by_test_id("cv-keep")).to_be_focused()
    panel.get_by_test_id("cv-keep").press("Escape")
    expect(asked).to_be_hidden()
    expect(panel.get_by_test_id("cv-chosen")).to_contain_text("2 chosen")
    panel.get_by_test_id("cv-many-cancel").click()
    yes.click()
    expect(chip(panel, "failed", 2)).to_be_visible()
    expect(panel.get_by_test_id("cv-chosen")).to_be_hidden()

    chip(panel, "failed", 2).click()
    panel.get_by_test_id("cv-retry_failed").click()
    expect(asked).to_contain_text("Run 2 jobs again?")
    yes.click()
    expect(chip(panel, "failed", 0)).to_be_visible()

    panel.get_by_test_id("cv-chip-waiting").click()
    panel.get_by_test_id("cv-filter-text").fill("ada")
    expect(panel.get_by_test_id("cv-page")).to_contain_text("8 found")
    panel.get_by_test_id("cv-filter-text").fill("bob")
    expect(panel.get_by_test_id("cv-page")).to_contain_text("22 found")
    panel.get_by_test_id("cv-choose-page").check()
    panel.get_by_test_id("cv-choose-all").click()
    expect(panel.get_by_test_id("cv-chosen")).to_contain_text("22 chosen")
    panel.get_by_test_id("cv-many-remove").click()
    expect(asked).to_contain_text("Remove 22 jobs for good?")
    yes.click()
    expect(chip(panel, "waiting", 8)).to_be_visible()
    panel.get_by_test_id("cv-filter-clear").click()

    panel.get_by_test_id("cv-manage").click()
    panel.get_by_test_id("cv-pause-name-of").fill("send")
    panel.get_by_test_id("cv-pause-name").click()
    panel.get_by_test_id("cv-resume-name").click()
    expect(panel.get_by_test_id("cv-resume-name")).to_have_count(0)
    panel.get_by_test_id("cv-clean-state").select_option("failed")
    panel.get_by_test_id("cv-clean-age").select_option("1h")
    panel.get_by_test_id("cv-clean").click()
    expect(asked).to_contain_text("Remove 0 jobs: all that are failed, for 1h or longer?")
    panel.get_by_test_id("cv-keep").click()
    panel.get_by_test_id("cv-drain").click()
    expect(asked).to_contain_text("Remove 8 jobs: all that wait?")
    yes.click()
    expect(chip(panel, "waiting", 0)).to_be_visible()
    panel.get_by_test_id("cv-obliterate").click()
    expect(asked).to_contain_text("Obliterate 0 jobs")
    yes.click()
    expect(asked).to_be_hidden()


def test_a_job_is_added_and_changed(open_notebook: OpenNotebook) -> None:
    look = "job = await queue.get_job('mine'); (job.data, job.priority, job.opts.attempts)"
    notebook = open_notebook(SETUP, "queue", look, look)
    notebook.run(0)
    notebook.run(1)
    panel = notebook.panel
    said, save = panel.get_by_test_id("cv-form-said"), panel.get_by_test_id("cv-form-save")
    panel.get_by_test_id("cv-add").click()
    expect(panel.get_by_test_id("cv-form-name")).to_be_focused()
    panel.get_by_test_id("cv-form-name").fill("send")
    panel.get_by_test_id("cv-form-data").fill('{"to": "ada"')
    expect(said).to_contain_text("Not JSON yet")
    expect(save).to_be_disabled()
    panel.get_by_test_id("cv-form-data").fill('{"to": "ada"}')
    expect(said).to_be_empty()
    panel.get_by_test_id("cv-form-attempts").fill("3")
    panel.get_by_test_id("cv-form-job_id").fill("mine")
    panel.get_by_test_id("cv-form-delay").fill("soon")
    save.click()
    expect(said).to_contain_text("not 'soon'")
    panel.get_by_test_id("cv-form-delay").fill("1h")
    save.click()
    expect(panel.get_by_test_id("cv-form-told")).to_have_text("added mine")
    expect(panel.get_by_test_id("cv-form")).to_be_hidden()
    notebook.run(2)
    output = notebook.page.locator(".jp-OutputArea-output")
    expect(output.last).to_contain_text("({'to': 'ada'}, 0, 3)")

    chip(panel, "delayed", 1).click()
    expect(panel.get_by_test_id("cv-job")).to_have_count(1)
    panel.get_by_test_id("cv-choose").check()
    panel.get_by_test_id("cv-edit").click()
    expect(panel.get_by_test_id("cv-form-data")).to_have_value('{\n  "to": "ada"\n}')
    panel.get_by_test_id("cv-form-close").click()
    expect(panel.get_by_test_id("cv-form")).to_be_hidden()
    panel.get_by_test_id("cv-edit").click()
    panel.get_by_test_id("cv-form-data").fill('{"to": "bob"}')
    panel.get_by_test_id("cv-form-priority").fill("7")
    save.click()
    expect(panel.get_by_test_id("cv-form-told")).to_have_text("changed mine")
    notebook.run(3)
    expect(output.last).to_contain_text("({'to': 'bob'}, 7.0, 3)")
