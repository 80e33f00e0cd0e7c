"""A panel in a saved notebook: it lives on its picture, and leaves it behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from playwright.sync_api import expect

if TYPE_CHECKING:
    from .opened import Notebook, OpenNotebook


SETUP = """\
import asyncio
from conveyor_nb import MemoryStore, Queue

queue = Queue("emails", store=MemoryStore(ids="sequential"))
goes_on = asyncio.Event()

@queue.worker(name="mailer", concurrency=2)
async def send(job):
    await goes_on.wait()
    if job.name == "bad":
        raise ValueError("no such mailbox")
"""
IS_IDLE = """() => {
    const context = jupyterapp.shell.currentWidget?.sessionContext;
    return context?.session?.kernel?.status === "idle";
}"""
ADD = """\
jobs = await queue.add_bulk([{"name": "send"}, {"name": "bad"}, {"name": "send"}])
_ = asyncio.get_running_loop().call_later(0.5, goes_on.set)
"""


TWO_STORES = """\
from conveyor_nb import MemoryStore, Queue
%load_ext conveyor_nb
%conveyor reset --ids sequential
archive = MemoryStore(ids="sequential")
here, there = Queue("emails"), Queue("emails", store=archive)
for queue in (here, there):
    await queue.add("send", delay="1h")
"""


def test_a_panel_says_what_it_is_of_and_offers_nothing_that_cannot_work(
    open_notebook: OpenNotebook,
) -> None:
    notebook = open_notebook(
        TWO_STORES, "here", "there", "await there.close()", "%conveyor reset --ids sequential"
    )
    for cell in range(3):
        notebook.run(cell)
    panels = notebook.page.get_by_test_id("cv-panel")
    first, second = panels.nth(0), panels.nth(1)
    expect(first.get_by_test_id("cv-which-store")).to_have_text("default store")
    expect(second.get_by_test_id("cv-which-store")).to_have_text("store archive")

    notebook.run(3)
    expect(second.get_by_test_id("cv-link")).to_have_text("This queue was closed")
    for acts in ("cv-pause", "cv-add", "cv-manage"):
        expect(second.get_by_test_id(acts)).to_be_hidden()
        expect(first.get_by_test_id(acts)).to_be_visible()
    second.get_by_test_id("cv-chip-delayed").click()
    expect(second.get_by_test_id("cv-job")).to_have_count(1)
    expect(first.get_by_test_id("cv-pause")).to_be_visible()

    notebook.run(4)
    expect(first.get_by_test_id("cv-link")).to_contain_text("From before %conveyor reset")
    expect(first.get_by_test_id("cv-pause")).to_be_hidden()
    expect(second.get_by_test_id("cv-link")).to_have_text("This queue was closed")


def path_of(notebook: Notebook) -> Path:
    """The file of the notebook that is read anew."""
    [path] = notebook.folder.glob("*lives-on*.ipynb")
    return path


def reload(notebook: Notebook) -> None:
    """Read the page anew, as when the notebook is opened again."""
    page = notebook.page
    page.reload()
    page.wait_for_function("window.jupyterapp?.restored")
    page.evaluate(
        "path => { void jupyterapp.commands.execute('docmanager:open', { path }); }",
        path_of(notebook).name,
    )
    page.wait_for_function(
        """path => {
            const { context, content } = jupyterapp.shell.currentWidget ?? {};
            return context?.path === path && context.isReady && content.widgets.length > 1;
        }""",
        arg=path_of(notebook).name,
    )


def test_a_panel_lives_on_its_picture_and_leaves_it_behind(open_alone: OpenNotebook) -> None:
    notebook = open_alone(SETUP, "queue", ADD, "1 + 1", "import os\nos._exit(1)")
    page, panel = notebook.page, notebook.panel
    for cell in (0, 1):
        notebook.run(cell)
    panel.get_by_test_id("cv-tab-events").click()
    panel.get_by_test_id("cv-tab-events").focus()
    notebook.run(2)  # its output is drawn anew: the panel keeps its tab and the keyboard
    expect(panel.get_by_test_id("cv-events")).to_contain_text("emails-3")
    expect(page.get_by_test_id("cv-panel")).to_have_count(1)
    panel.get_by_test_id("cv-tab-jobs").click()
    expect(panel.get_by_test_id("cv-chip-completed")).to_contain_text("2")

    def saved() -> str:
        """What a saved notebook shows of the queue; only plain forms are in it."""
        page.evaluate("jupyterapp.commands.execute('docmanager:save')")
        [output] = nbformat.read(path_of(notebook), 4).cells[1].outputs
        assert set(output.data) == {"text/plain", "text/html"}
        return str(output.data["text/html"])

    page.wait_for_function(  # the jobs ended after the last cell: the picture says so
        """() => JSON.stringify(jupyterapp.shell.currentWidget.content.model.toJSON())
            .includes('2 completed')"""
    )
    assert "ValueError: no such mailbox" in saved()

    page.wait_for_function(IS_IDLE)
    reload(notebook)  # the kernel is alive, and so is the panel
    page.wait_for_function(IS_IDLE)
    panel.get_by_test_id("cv-pause").click()
    expect(panel.get_by_test_id("cv-paused")).to_be_visible()

    notebook.start(4)
    expect(panel.get_by_test_id("cv-link")).to_contain_text("Disconnected")
    expect(panel.get_by_test_id("cv-resume")).to_be_disabled()
    page.get_by_role("button", name="Ok", exact=True).click()
    page.wait_for_function(IS_IDLE)
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    reload(notebook)
    picture = page.locator(".jp-OutputArea img")
    expect(picture).to_be_visible()
    expect(picture).to_have_attribute("alt", "Queue emails: 2 completed, 1 failed")
    expect(page.locator(".jp-OutputArea").nth(1)).to_contain_text("no such mailbox")
    expect(page.get_by_test_id("cv-panel")).to_have_count(0)
    expect(page.get_by_text("Error displaying widget")).to_have_count(0)
