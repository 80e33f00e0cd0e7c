"""A queue's panel in JupyterLab, as a person sees and uses it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from playwright.sync_api import Locator, Page, expect


class Notebook(Protocol):
    """What ``open_notebook`` gives."""

    page: Page
    folder: Path

    @property
    def panel(self) -> Locator: ...

    def run(self, number: int) -> None: ...

    def start(self, number: int) -> None: ...


OpenNotebook = Callable[..., Notebook]

SETUP = """\
import asyncio, time
from conveyor_nb import MemoryStore, Queue

store = MemoryStore(ids="sequential")
queue = Queue("emails", store=store)

@queue.worker(name="mailer", concurrency=2)
async def send(job):
    await job.log(f"sending to {job.data}")
    if job.name == "bad":
        raise ValueError("no such <mailbox>")
    return {"sent": job.data}
"""
ADD = 'jobs = await queue.add_bulk([{"name": "send", "data": n} for n in range(3)])'


def chip(panel: Locator, state: str, count: int) -> Locator:
    """The chip of a state, if it shows this count."""
    return panel.get_by_test_id(f"cv-chip-{state}").filter(has_text=re.compile(rf"\D{count}$"))


def test_jobs_are_seen_to_wait_and_to_complete(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, "queue", ADD)
    notebook.run(0)
    notebook.run(1)
    panel = notebook.panel
    expect(panel.get_by_test_id("cv-title")).to_have_text("emails")
    expect(panel.get_by_test_id("cv-empty")).to_contain_text("No jobs yet")

    notebook.run(2)
    expect(chip(panel, "completed", 3)).to_be_visible()
    expect(panel.get_by_test_id("cv-job")).to_have_count(3)
    expect(panel.get_by_test_id("cv-job").first).to_contain_text("{'sent': 2}")

    panel.get_by_test_id("cv-pause").click()
    expect(panel.get_by_test_id("cv-paused")).to_be_visible()
    notebook.run(2)
    expect(chip(panel, "waiting", 3)).to_be_visible()

    panel.get_by_test_id("cv-resume").click()
    expect(chip(panel, "completed", 6)).to_be_visible()
    expect(panel.get_by_test_id("cv-paused")).to_have_count(0)
    expect(panel.get_by_test_id("cv-events")).to_contain_text("emails-6")


def test_a_worker_is_stopped_and_started(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, "queue", ADD)
    notebook.run(0)
    notebook.run(1)
    worker = notebook.panel.get_by_test_id("cv-worker")
    expect(worker).to_contain_text("running")

    worker.get_by_test_id("cv-worker-stop").click()
    expect(worker).to_contain_text("stopped")
    notebook.run(2)
    expect(chip(notebook.panel, "waiting", 3)).to_be_visible()

    worker.get_by_test_id("cv-worker-start").click()
    expect(worker).to_contain_text("running")
    expect(chip(notebook.panel, "completed", 3)).to_be_visible()


def test_a_failed_job_is_opened_and_retried(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, "queue", 'await queue.add("bad", "ada"); await queue.join()')
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.panel
    panel.get_by_test_id("cv-chip-failed").click()
    panel.get_by_test_id("cv-job").click()
    detail = panel.get_by_test_id("cv-detail")
    expect(detail.get_by_test_id("cv-text-payload")).to_have_text("ada")
    expect(detail.get_by_test_id("cv-traceback")).to_contain_text("ValueError: no such <mailbox>")
    expect(detail.get_by_test_id("cv-attempt-log")).to_have_text("sending to ada")

    detail.get_by_test_id("cv-job-retry").click()
    expect(detail.get_by_test_id("cv-attempt")).to_have_count(2)

    detail.get_by_test_id("cv-job-remove").click()
    detail.get_by_text("Remove for good?").click()
    expect(detail).to_contain_text("Removed")
    expect(panel.get_by_test_id("cv-job")).to_have_count(0)


def test_what_a_job_carries_stays_text(open_notebook: OpenNotebook) -> None:
    markup = '<img src=x onerror="window.bitten = true">'
    notebook = open_notebook(SETUP, "queue", f"await queue.add({markup!r}, {markup!r})")
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.panel
    expect(panel.get_by_test_id("cv-job")).to_contain_text(markup)
    panel.get_by_test_id("cv-job").click()
    expect(panel.get_by_test_id("cv-text-payload")).to_have_text(markup)
    expect(panel.get_by_test_id("cv-attempt-log")).to_contain_text(markup)
    expect(panel.get_by_test_id("cv-events")).to_contain_text(markup)
    expect(panel.locator("img")).to_have_count(0)
    assert notebook.page.evaluate("window.bitten") is None


def test_a_busy_kernel_is_told_and_the_click_is_not_lost(open_notebook: OpenNotebook) -> None:
    hold = "from pathlib import Path\nwhile not Path('go').exists(): time.sleep(0.05)"
    notebook = open_notebook(SETUP, "queue", hold)
    notebook.run(0)
    notebook.run(1)
    panel = notebook.panel
    expect(panel.get_by_test_id("cv-worker")).to_be_visible()
    notebook.start(2)
    expect(notebook.page.locator(".jp-InputPrompt").nth(2)).to_have_text("[*]:")
    panel.get_by_test_id("cv-pause").click()
    expect(panel.get_by_test_id("cv-link")).to_contain_text("Kernel busy")
    expect(panel.get_by_test_id("cv-paused")).to_have_count(0)

    (notebook.folder / "go").touch()
    expect(panel.get_by_test_id("cv-paused")).to_be_visible()
    expect(panel.get_by_test_id("cv-link")).to_be_empty()


def test_the_last_state_is_still_there_when_the_kernel_is_not(open_alone: OpenNotebook) -> None:
    notebook = open_alone(SETUP, "queue", ADD, "import os; os._exit(1)")
    for cell in range(3):
        notebook.run(cell)
    expect(chip(notebook.panel, "completed", 3)).to_be_visible()
    notebook.start(3)
    expect(notebook.panel.get_by_test_id("cv-link")).to_contain_text("Disconnected")
    expect(chip(notebook.panel, "completed", 3)).to_be_disabled()
    expect(notebook.panel.get_by_test_id("cv-job")).to_have_count(3)
