"""Names and texts that would harm a page, in JupyterLab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

SETUP = r"""
import asyncio
from conveyor_nb import FlowJob, FlowProducer, MemoryStore, Queue

store = MemoryStore(ids="sequential")
queue = Queue("gnp.\u202eexe", store=store)

@queue.worker(name="worker \u202e of mine", concurrency=2)
async def send(job):
    await job.log("\x1b[31mred\x1b[0m \u202e turned")
    raise ValueError(f"price is $5 and then $6 for {job.name} " + "row\n" * 100_000)

names = [
    "abc\u202edef", "$5 and then $6", "\u05e9\u05dc\u05d5\u05dd 1 2 3", "a\u2067b", "x" * 255,
    "H" + "\u0301\u0302\u0303" * 60, "<img src=x onerror=alert(1)>", "pay\u200bpal",
    "\u2069\u2069 out",
]
for name in names:
    await queue.add(name, {"to": name})
await queue.join()
"""
STATIC = r"""
from IPython.display import display
job = await queue.get_job("gnp.\u202eexe-2")
display({"text/html": job._repr_mimebundle_()["text/html"]}, raw=True)
display({"text/html": queue._repr_mimebundle_()["text/html"]}, raw=True)
display(await queue.get_jobs())
display(await FlowProducer(store=store).add(FlowJob("$a$", "q", children=[FlowJob("$b$", "q")])))
display({"text/html": "<p>for comparison: $5 and then $</p>"}, raw=True)
"""


def test_no_name_reorders_its_row_and_money_is_no_mathematics(
    open_notebook: Callable[..., Any],
) -> None:
    notebook = open_notebook(SETUP, "queue", STATIC)
    for cell in range(3):
        notebook.run(cell)
    page, panel = notebook.page, notebook.panel
    rows = panel.get_by_test_id("cv-job")
    expect(rows).to_have_count(9)
    for row in rows.all():
        name, job_id = row.locator(".cv-open").bounding_box(), row.locator(".cv-id").bounding_box()
        assert name["x"] < job_id["x"], "the id stands after the name, whatever that holds"
        assert row.bounding_box()["height"] < 60
        expect(row.locator(".cv-id")).to_have_css("unicode-bidi", "isolate")
    expect(panel.get_by_test_id("cv-title")).to_have_text("gnp.\u202eexe")
    assert page.locator("img[src=x]").count() == 0

    math = page.locator("mjx-container")
    expect(math).to_have_count(1)  # that of the comparison
    expect(page.locator(".jp-OutputArea-output").filter(has_text="for comparison")).to_be_visible()
    texts = page.locator(".jp-OutputArea-output").all_inner_texts()
    assert sum("price is $5 and then $6" in text for text in texts) >= 3
