"""One job in a queue's panel in JupyterLab, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from playwright.sync_api import Locator, Page, expect


class Notebook(Protocol):
    """What ``open_notebook`` gives."""

    page: Page

    @property
    def panel(self) -> Locator: ...

    def run(self, number: int) -> None: ...


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
    expect(payload).to_contain_text("ada")
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
