"""One job in a queue's panel in JupyterLab, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from .opened import Notebook


SETUP = """\
import json
from conveyor_nb import FlowJob, FlowProducer, MemoryStore, Queue

store = MemoryStore(ids="sequential")
queue = Queue("images", store=store)

def parse(text):
    return json.loads(text)

@queue.worker(name="resizer")
async def resize(job):
    await job.log("fetched")
    if job.name == "bad":
        parse("{")
    return {"sizes": [1, 2]}
"""
BAD = 'job = await queue.add("bad", {"to": {"deep": ["ada"]}}, attempts=2); await queue.join()'
FLOW = """\
flow = FlowJob("album", "images", children=[FlowJob("resize", "images")])
await FlowProducer(store=store).add(flow); await queue.join()"""


def test_a_job_tells_what_it_was_and_where_it_failed(
    open_notebook: Callable[..., Notebook],
) -> None:
    notebook = open_notebook(SETUP, "queue", BAD, "await job.retry(); await queue.join()", FLOW)
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.panel
    panel.get_by_test_id("cv-job").click()
    detail = panel.get_by_test_id("cv-detail")
    payload = detail.get_by_test_id("cv-text-payload")
    expect(payload.get_by_text("deep", exact=True)).to_be_visible()
    assert (payload.bounding_box() or {"height": 999})["height"] < 150, "as high as what is in it"
    payload.locator("summary").first.click()
    expect(payload.get_by_text("deep").last).to_be_hidden()

    trace = detail.get_by_test_id("cv-traceback").first
    expect(trace).to_contain_text("Cell In[1], line 14 in resize")
    expect(trace.get_by_text("JSONDecodeError")).to_be_in_viewport()
    expect(trace.get_by_text("decoder.py").first).to_be_hidden()
    trace.get_by_text("in other code").click()
    expect(trace.get_by_text("decoder.py").first).to_be_visible()
    expect(detail.get_by_test_id("cv-life").locator("li")).to_have_count(5)

    notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for button, text in (
        ("cv-copy-payload", '{\n  "to": {\n    "deep": [\n      "ada"\n    ]\n  }\n}'),
        ("cv-copy-code", "await queue.add('bad', {'to': {'deep': ['ada']}}, attempts=2)"),
    ):
        detail.get_by_test_id(button).click()
        expect(detail.get_by_test_id(button)).to_have_text("Copied")
        assert notebook.page.evaluate("navigator.clipboard.readText()") == text

    notebook.run(3)
    expect(detail.get_by_test_id("cv-attempt")).to_have_count(4)
    facts = detail.get_by_test_id("cv-detail-facts")
    expect(facts).to_contain_text("2 of 2")
    expect(facts).to_contain_text("4; 2 don't count")
    first = detail.get_by_test_id("cv-attempt").last
    first.locator("summary").first.click()
    expect(first.get_by_test_id("cv-attempt-log")).to_have_text("fetched")

    notebook.run(4)
    panel.get_by_test_id("cv-job").filter(has_text="album").click()
    detail.get_by_test_id("cv-child").click()
    expect(detail).to_contain_text("sizes")
    detail.get_by_test_id("cv-parent").click()
    expect(detail.locator("h4")).to_have_text("album")


def test_the_event_log_looks_back_and_leads_to_jobs(
    open_notebook: Callable[..., Notebook],
) -> None:
    steps = "for n in range(20): await job.update_progress(n)"
    setup = SETUP.replace('await job.log("fetched")', steps)
    early = 'await queue.add("early"); await queue.join()'
    late = 'await queue.add("late"); await queue.join()'
    notebook = open_notebook(setup, early, "queue", late)
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.panel
    panel.get_by_test_id("cv-tab-events").click()
    rows = panel.get_by_test_id("cv-event")
    expect(rows.filter(has_text="job:completed").filter(has_text="images-1")).to_have_count(1)
    expect(panel.get_by_test_id("cv-sheet-events")).to_contain_text("times in")

    notebook.run(3)
    progress = rows.filter(has_text="job:progress")
    expect(progress).to_have_count(1)
    expect(progress).to_contain_text("19 %")

    panel.get_by_test_id("cv-hold").click()
    panel.get_by_test_id("cv-event-type").select_option("job:completed")
    expect(rows).to_have_count(2)
    notebook.run(3)
    expect(panel.get_by_test_id("cv-hold")).to_contain_text("1 new")
    expect(rows).to_have_count(2)
    panel.get_by_test_id("cv-event-job").fill("images-2")
    panel.get_by_test_id("cv-event-job").press("Enter")
    expect(rows).to_have_count(1)
    rows.get_by_test_id("cv-event-open").click()
    expect(panel.get_by_test_id("cv-detail").locator("h4")).to_have_text("late")
