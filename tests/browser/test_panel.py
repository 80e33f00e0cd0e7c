"""A queue's panel in JupyterLab, as a person sees and uses it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from .opened import OpenNotebook


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
    panel.get_by_test_id("cv-tab-events").click()
    expect(panel.get_by_test_id("cv-events")).to_contain_text("emails-6")
    expect(panel.get_by_test_id("cv-job").first).to_be_hidden()
    panel.get_by_test_id("cv-tab-jobs").press("ArrowRight")
    panel.locator(".cv-tab:focus").press("ArrowLeft")
    expect(panel.get_by_test_id("cv-job").first).to_be_visible()


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


def test_a_view_that_is_held_stays_as_it_is(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(SETUP, "queue", ADD)
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.panel
    expect(chip(panel, "completed", 3)).to_be_visible()
    panel.get_by_test_id("cv-hold-view").click()
    expect(panel.get_by_test_id("cv-hold-view")).to_have_text("Go on")
    behind = notebook.page.locator(".cv-panel[data-behind]")
    for count in (3, 6, 9):
        notebook.run(2)
        expect(behind).to_have_count(1)
        assert chip(panel, "completed", count).is_visible()
        if count < 9:  # what is asked for is shown, with all that is so by then
            panel.get_by_test_id("cv-job-open").first.click()
            expect(chip(panel, "completed", count + 3)).to_be_visible()
            expect(panel.get_by_test_id("cv-detail")).to_contain_text(f"emails-{count}")
    panel.get_by_test_id("cv-hold-view").click()
    expect(chip(panel, "completed", 12)).to_be_visible()
    notebook.run(2)
    expect(chip(panel, "completed", 15)).to_be_visible()


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
    panel.get_by_test_id("cv-tab-events").click()
    expect(panel.get_by_test_id("cv-events")).to_contain_text(markup)
    expect(panel.locator("img")).to_have_count(0)
    assert notebook.page.evaluate("window.bitten") is None


def test_all_queues_are_cards_and_a_click_opens_one(open_notebook: OpenNotebook) -> None:
    made = "other = Queue('<b>images</b>', store=store)\n"
    more = f"{made}await other.add('resize')\nawait other.pause()"
    shown = "from conveyor_nb import dashboard\ndashboard(store)"
    notebook = open_notebook(SETUP, ADD, more, shown, "dashboard(store, read_only=True)")
    for cell in range(4):
        notebook.run(cell)
    panel = notebook.panel
    cards = panel.get_by_test_id("cv-card")
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("<b>images</b>")
    expect(cards.first).to_contain_text("Paused")
    expect(cards.nth(1)).to_contain_text("1 worker, 2 slots")

    cards.first.get_by_test_id("cv-card-open").click()
    expect(panel.get_by_test_id("cv-title")).to_have_text("<b>images</b>")
    panel.get_by_test_id("cv-resume").click()
    expect(panel.get_by_test_id("cv-paused")).to_have_count(0)
    panel.get_by_test_id("cv-back").click()
    expect(cards).to_have_count(2)
    expect(cards.first).not_to_contain_text("Paused")
    notebook.run(1)
    expect(cards.nth(1)).to_contain_text("6")

    notebook.run(4)
    looked_at = notebook.page.get_by_test_id("cv-panel").nth(1)
    looked_at.get_by_test_id("cv-card-open").nth(1).click()
    expect(looked_at.get_by_test_id("cv-read-only")).to_be_visible()
    expect(looked_at.get_by_test_id("cv-job")).to_have_count(6)
    expect(looked_at.get_by_test_id("cv-pause")).to_have_count(0)


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
    notebook.panel.get_by_test_id("cv-job").first.click()
    expect(notebook.panel.get_by_test_id("cv-copy-code")).to_be_visible()
    notebook.start(3)
    expect(notebook.panel.get_by_test_id("cv-link")).to_contain_text("Disconnected")
    expect(chip(notebook.panel, "completed", 3)).to_be_disabled()
    expect(notebook.panel.get_by_test_id("cv-job")).to_have_count(3)
    enabled = notebook.panel.locator(":is(button, input, select, textarea):enabled:visible")
    names = [one.get_attribute("data-testid") or "" for one in enabled.all()]
    assert "cv-copy-code" in names
    assert [name for name in names if not name.startswith("cv-copy-")] == [], "what needs a kernel"


def test_a_session_that_another_program_ended_is_noticed(open_alone: OpenNotebook) -> None:
    notebook = open_alone(SETUP, "queue", ADD)
    for cell in range(3):
        notebook.run(cell)
    expect(chip(notebook.panel, "completed", 3)).to_be_visible()
    notebook.page.evaluate(
        """async () => {
            const { baseUrl, token } = jupyterapp.serviceManager.serverSettings;
            const { id } = jupyterapp.shell.currentWidget.sessionContext.session;
            const headers = { Authorization: `token ${token}` };
            await fetch(`${baseUrl}api/sessions/${id}`, { method: "DELETE", headers });
        }"""
    )
    expect(notebook.panel.get_by_test_id("cv-link")).to_contain_text("Disconnected")
    expect(notebook.panel.get_by_test_id("cv-pause")).to_be_disabled()


HOSTILE = r"""
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
STATIC_DISPLAYS = r"""
from IPython.display import display
job = await queue.get_job("gnp.\u202eexe-2")
display({"text/html": job._repr_mimebundle_()["text/html"]}, raw=True)
display({"text/html": queue._repr_mimebundle_()["text/html"]}, raw=True)
display(await queue.get_jobs())
display(await FlowProducer(store=store).add(FlowJob("$a$", "q", children=[FlowJob("$b$", "q")])))
display({"text/html": "<p>for comparison: $5 and then $</p>"}, raw=True)
"""


def test_no_name_reorders_its_row_and_money_is_no_mathematics(
    open_notebook: OpenNotebook,
) -> None:
    notebook = open_notebook(HOSTILE, "queue", STATIC_DISPLAYS)
    for cell in range(3):
        notebook.run(cell)
    page, panel = notebook.page, notebook.panel
    rows = panel.get_by_test_id("cv-job")
    expect(rows).to_have_count(9)
    for row in rows.all():
        name, job_id = row.locator(".cv-open").bounding_box(), row.locator(".cv-id").bounding_box()
        whole = row.bounding_box()
        assert name is not None
        assert job_id is not None
        assert whole is not None
        assert name["x"] < job_id["x"], "the id stands after the name, whatever that holds"
        assert whole["height"] < 60
        expect(row.locator(".cv-id")).to_have_css("unicode-bidi", "isolate")
    expect(panel.get_by_test_id("cv-title")).to_have_text("gnp.\\u202eexe")
    assert page.locator("img[src=x]").count() == 0

    math = page.locator("mjx-container")
    expect(math).to_have_count(1)  # the one of the comparison
    expect(page.locator(".jp-OutputArea-output").filter(has_text="for comparison")).to_be_visible()
    texts = page.locator(".jp-OutputArea-output").all_inner_texts()
    assert sum("price is $5 and then $6" in text for text in texts) >= 3


SLOW = (
    SETUP
    + """
paced = Queue("paced", store=store)

@paced.worker(name="packer", concurrency=2)
async def pack(job):
    await gate.wait()
    if job.attempts_made == 0 and job.name == "wrap":
        raise ValueError("no paper")

gate = asyncio.Event()
paced
"""
)


def test_jobs_come_along_on_the_belt(open_notebook: OpenNotebook) -> None:
    add = "for name in ('wrap', 'box', 'box'): await paced.add(name, attempts=2, backoff='1h')"
    notebook = open_notebook(SLOW, add, "gate.set()", "await paced.promote_jobs()")
    notebook.run(0)
    belt = notebook.panel.get_by_test_id("cv-belt")
    expect(belt).to_contain_text("packer: free")
    expect(belt.locator(".cvp-piece")).to_have_count(0)

    notebook.run(1)
    piece = {n: belt.locator(f'.cvp-piece[data-key="paced-{n}"]') for n in (1, 2, 3)}
    for one in piece.values():
        expect(one).to_be_visible()
    across = {n: one.bounding_box()["x"] for n, one in piece.items()}  # type: ignore[index]
    assert across[1] > across[3], "two are in the slots, one is on the belt"
    piece[3].click()
    expect(notebook.panel.get_by_test_id("cv-detail")).to_contain_text("paced-3")

    notebook.run(2)
    expect(belt).to_contain_text("2 completed")
    expect(belt).to_contain_text("↺")
    expect(piece[1].locator("rect")).to_have_attribute("stroke-dasharray", "3 2")
    notebook.panel.get_by_test_id("cv-pause").click()
    expect(belt).to_contain_text("stands: the queue is paused")
    notebook.panel.get_by_test_id("cv-resume").click()
    notebook.run(3)
    expect(belt).to_contain_text("3 completed")
