"""Schedules, flows and groups in JupyterLab, as a person sees and uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from .opened import OpenNotebook

SETUP = """\
import asyncio
from conveyor_nb import FlowJob, FlowProducer, Group, MemoryStore, Queue, Repeat

store = MemoryStore(ids="sequential")
queue, parts = Queue("reports", store=store), Queue("parts", store=store)
go = asyncio.Event()

@queue.worker(name="reporter")
async def report(job):
    if job.name == "gather":
        await go.wait()

at_nine = Repeat(cron="0 9 * * 1-5", tz="Europe/Paris")
await queue.upsert_job_scheduler("<i>daily</i>", at_nine, "report", {"to": "ada"})
queue
"""


def test_a_schedule_is_seen_changed_run_paused_and_removed(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP)
    notebook.run(0)
    panel = notebook.panel
    panel.get_by_test_id("cv-tab-schedules").click()
    schedule = panel.get_by_test_id("cv-schedule")
    rule = schedule.get_by_test_id("cv-schedule-rule")
    expect(schedule).to_contain_text("<i>daily</i>")
    expect(rule).to_contain_text("Every weekday at 09:00, Europe/Paris")
    expect(schedule.locator(".cv-run-time")).to_have_count(5)

    schedule.get_by_test_id("cv-schedule-edit").click()
    schedule.get_by_test_id("cv-rule").fill("30 8 * * mon")
    preview = schedule.get_by_test_id("cv-rule-preview")
    expect(preview).to_contain_text("Every Monday at 08:30, Europe/Paris; next Mon")
    schedule.get_by_test_id("cv-rule").fill("soon")
    expect(preview).to_contain_text("'soon' is no rule")
    expect(rule).to_contain_text("Every weekday at 09:00")
    schedule.get_by_test_id("cv-rule").fill("2h")
    schedule.get_by_test_id("cv-rule").press("Enter")
    expect(rule).to_contain_text("Every 2 hours")
    expect(schedule.get_by_test_id("cv-rule")).to_have_count(0)

    schedule.get_by_test_id("cv-schedule-pause").click()
    expect(schedule).to_contain_text("Paused")
    expect(schedule.locator(".cv-run-time")).to_have_count(0)
    schedule.get_by_test_id("cv-schedule-run").click()
    schedule.get_by_test_id("cv-schedule-resume").click()
    expect(schedule.locator(".cv-run-time")).to_have_count(5)

    schedule.get_by_test_id("cv-run-open").click()
    expect(panel.get_by_test_id("cv-detail-head")).to_contain_text("report")
    schedule.get_by_test_id("cv-schedule-remove").click()
    schedule.get_by_text("Remove for good?").click()
    expect(panel.get_by_test_id("cv-no-schedules")).to_contain_text("No schedules yet")
    assert notebook.page.locator(".jp-Notebook i", has_text="daily").count() == 0


def test_a_flow_is_seen_as_a_tree_that_moves_and_opens_its_jobs(
    open_notebook: OpenNotebook,
) -> None:
    add = """\
gather = FlowJob("gather", "reports")
flow = await FlowProducer(store=store).add(FlowJob("book", "reports", children=[
    FlowJob("<b>chapter</b>", "parts"), gather]))
flow"""
    notebook = open_notebook(SETUP, add, "go.set()")
    notebook.run(0)
    panel = notebook.panel
    panel.get_by_test_id("cv-tab-flows").click()
    expect(panel.get_by_test_id("cv-no-flows")).to_contain_text("No flows here")

    notebook.run(1)
    flow = panel.get_by_test_id("cv-flow-item")
    jobs = flow.get_by_test_id("cv-flow-row")
    expect(flow.get_by_test_id("cv-flow-open")).to_contain_text("0 of 2")
    expect(jobs).to_have_count(3)
    expect(jobs.nth(1)).to_contain_text("<b>chapter</b>")
    expect(jobs.nth(2)).to_have_attribute("data-state", "active")

    notebook.run(2)
    expect(flow.get_by_test_id("cv-flow-open")).to_contain_text("1 of 2")
    expect(jobs.nth(2)).to_have_attribute("data-state", "completed")

    jobs.nth(2).get_by_test_id("cv-flow-row-open").click()
    expect(panel.get_by_test_id("cv-detail-head")).to_contain_text("gather")
    jobs.first.get_by_test_id("cv-flow-fold").click()
    expect(jobs).to_have_count(1)
    jobs.first.get_by_test_id("cv-flow-fold").click()
    expect(jobs).to_have_count(3)
    flow.get_by_test_id("cv-flow-open").click()
    expect(jobs).to_have_count(0)


def test_groups_are_seen_with_their_turns(open_notebook: OpenNotebook) -> None:
    add = """\
await queue.pause_job_scheduler("<i>daily</i>")
for customer in ["<b>acme</b>", "<b>acme</b>", "globex", "globex"]:
    await queue.add("gather", group=Group(customer, max_size=3))"""
    notebook = open_notebook(SETUP, add, "go.set()")
    notebook.run(0)
    panel = notebook.panel
    panel.get_by_test_id("cv-tab-groups").click()
    expect(panel.get_by_test_id("cv-no-groups")).to_contain_text("No job of a group waits or runs")

    notebook.run(1)
    groups = panel.get_by_test_id("cv-group")
    expect(groups).to_have_count(2)
    expect(groups.first).to_contain_text("globex")  # as one of the other group runs
    expect(groups.first).to_contain_text("2 of 3")
    expect(groups.nth(1)).to_contain_text("<b>acme</b>")
    expect(panel.get_by_test_id("cv-turns").get_by_role("listitem")).to_have_text(
        ["globex", "<b>acme</b>", "globex"]
    )
    panel.get_by_test_id("cv-tab-jobs").click()
    row = panel.get_by_test_id("cv-job").filter(has_text="globex").first
    expect(row.get_by_test_id("cv-tag-group")).to_have_text("globex")

    panel.get_by_test_id("cv-tab-groups").click()
    notebook.run(2)
    expect(groups).to_have_count(0)
