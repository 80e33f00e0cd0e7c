"""What pictures of panels are taken of: notebooks, and the way to what is to be seen in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from playwright.sync_api import Locator, expect

from tests.browser.lab import NotebookPage

__all__ = ["BOOK", "FLOWS", "SCENES", "SOME", "STUDIO", "Scene", "pause", "run"]

Take = Callable[[str, Locator], None]
"""Takes the pictures of a panel: a name, and what is to be seen."""


class Scene(NamedTuple):
    """A notebook, and what is done with it.

    Args:
        cells: its cells.
        play: runs them, and takes pictures.
    """

    cells: tuple[str, ...]
    play: Callable[[NotebookPage, Take], None]


STUDIO = """\
import asyncio, random
from conveyor_nb import (
    Deduplication, FlowJob, FlowProducer, Group, GroupLimits, MemoryStore, Queue, Repeat,
    VirtualClock, Worker, dashboard, timeline,
)

random.seed(4)
store = MemoryStore(ids="sequential", metrics=True)
images = Queue("images", store=store)
broken = {"img_0003.raw": 1, "img_0006.raw": 3, "img_0011.raw": 1, "img_0014.raw": 3}

@images.worker(name="darkroom", concurrency=3)
async def develop(job):
    photo = job.data["file"]
    await job.log(f"reading {photo}")
    for percent in (20, 45, 70, 90):
        await job.sleep(random.uniform(0.1, 0.5))
        await job.update_progress(percent)
    if job.attempts_made < broken.get(photo, 0):
        raise OSError(f"{photo} is cut off after {job.data['width']:,} bytes")
    return {"file": photo.replace(".raw", ".webp"), "width": job.data["width"]}

def photos(first, last):
    names = ["resize", "crop", "upload", "thumbnail"]
    return [
        {"name": names[n * 7 % 4], "data": {"file": f"img_{n:04}.raw", "width": 640 + n % 5 * 320},
         "attempts": 2, "backoff": "6s"}
        for n in range(first, last)
    ]
"""

ALL = """\
mails, reports, exports = (Queue(name, store=store) for name in ("emails", "reports", "exports"))

@mails.worker(name="mailer", concurrency=2)
async def send(job):
    await job.sleep(0.02)
    if job.data["to"] == "alan":
        raise ConnectionError("the mail server hangs up")

people = ["ada", "grace", "alan", "mary"] * 12
await mails.add_bulk([{"name": "send", "data": {"to": to}} for to in people])
at_nine = Repeat(cron="0 9 * * 1-5", tz="Europe/Paris")
await reports.upsert_job_scheduler("daily-digest", at_nine, "digest", {"to": "ada@example.org"})
await reports.upsert_job_scheduler("hourly", Repeat(every="1h"), "roll-up", {"table": "visits"})
monthly = Repeat(cron="30 6 1 * *", tz="America/New_York")
await reports.upsert_job_scheduler("month", monthly, "invoice")
await exports.add_bulk([{"name": "export", "data": {"n": n}} for n in range(7)])
await exports.pause()
await images.add_bulk(photos(1, 80))
"""

GROUPED = """\
await images.add_bulk([
    {"name": "resize", "data": {"file": f"album_{n:02}.raw", "width": 800}, "group": Group(who)}
    for n in range(18) for who in (["ada"] * 4 + ["grace", "alan"])[n % 6:][:1]
])
"""

BOOK = """\
def photo(name, file, *children):
    return FlowJob(name, "images", {"file": f"{file}.raw", "width": 1200}, children=list(children))

flows = FlowProducer(store=store)
pages = [
    photo(name, f"{name}_{n}", *(photo("resize", f"{name}_{n}_{k}") for k in range(2)))
    for n, name in enumerate(["page", "page", "cover"])
]
await flows.add(photo("book", "book", *pages))
"""
FLOWS = f"""{BOOK}
await flows.add(photo("leaflet", "leaflet", photo("page", "img_0006"), photo("page", "back")))
"""


ELSEWHERE = """\
from datetime import timedelta
from conveyor_nb import WorkerCommand
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus

now = store.clock.now()
for name, status in ("obedient", "running"), ("resting", "paused"), ("deaf", "running"):
    began = now - timedelta(minutes=40)
    await store.save_worker(
        WorkerInfo(f"{name}-6bdfff9b", name, "letters", 4, WorkerStatus(status), began)
    )
await store.command_worker("resting-6bdfff9b", WorkerCommand(concurrency=8))
await store.command_worker("deaf-6bdfff9b", WorkerCommand("closed"))
letters = Queue("letters", store=store)
letters
"""
"""Workers of other processes, two of which have been told something."""


def run(notebook: NotebookPage, count: int) -> Locator:
    """Run the first cells, and give the panel that they show."""
    for cell in range(count):
        notebook.run(cell)
    expect(notebook.panel).to_be_visible()
    return notebook.panel


def pause(panel: Locator, seconds: float) -> None:
    """Let jobs move for a while."""
    panel.page.wait_for_timeout(1000 * seconds)


def empty(notebook: NotebookPage, take: Take) -> None:
    take("empty", run(notebook, 2))


def queues(notebook: NotebookPage, take: Take) -> None:
    panel = run(notebook, 3)
    pause(panel, 3)
    take("queues", panel)


def busy(notebook: NotebookPage, take: Take) -> None:
    panel = run(notebook, 3)
    pause(panel, 9)
    take("busy", panel)
    panel.get_by_test_id("cv-pause").click()
    pause(panel, 2)
    take("paused", panel)
    for testid in ("cv-filters", "cv-manage", "cv-add"):
        panel.get_by_test_id(testid).click()
    take("forms", panel)
    panel.get_by_test_id("cv-form-close").click()
    panel.get_by_test_id("cv-drain").click()
    take("question", panel)
    panel.get_by_test_id("cv-keep").click()
    for testid in ("cv-filters", "cv-manage"):
        panel.get_by_test_id(testid).click()
    for box in panel.get_by_test_id("cv-choose").all()[2:5]:
        box.check()
    take("chosen", panel)


def failing(notebook: NotebookPage, take: Take) -> None:
    panel = run(notebook, 3)
    pause(panel, 16)
    panel.get_by_test_id("cv-chip-failed").click()
    panel.get_by_test_id("cv-job").first.click()
    expect(panel.get_by_test_id("cv-traceback")).to_be_visible()
    pause(panel, 0.5)
    take("failing", panel)


def tabs(notebook: NotebookPage, take: Take) -> None:
    panel = run(notebook, 6)
    pause(panel, 4)
    for tab in ("flows", "groups", "workers", "timeline", "metrics", "events"):
        panel.get_by_test_id(f"cv-tab-{tab}").click()
        if tab == "flows":
            panel.get_by_test_id("cv-flow-open").last.click()
        pause(panel, 2 if tab in ("timeline", "workers") else 0.5)
        take(tab, panel)
    reports = notebook.page.get_by_test_id("cv-panel").nth(1)
    reports.get_by_test_id("cv-tab-schedules").click()
    pause(reports, 0.5)
    take("schedules", reports)
    notebook.run(6)
    take("figures", notebook.page.locator(".jp-OutputArea").nth(6))


def elsewhere(notebook: NotebookPage, take: Take) -> None:
    panel = run(notebook, 2)
    pause(panel, 1)
    take("elsewhere", panel)
    panel.get_by_test_id("cv-tab-workers").click()
    pause(panel, 1)
    take("elsewhere-workers", panel)


def many(notebook: NotebookPage, take: Take) -> None:
    panel = run(notebook, 3)
    pause(panel, 1)
    take("many", panel)


def virtual(notebook: NotebookPage, take: Take) -> None:
    panel = run(notebook, 2)
    notebook.run(2)
    pause(panel, 1)
    take("virtual", panel)


def reopened(notebook: NotebookPage, take: Take) -> None:
    panel = run(notebook, 4)
    page = notebook.page
    path = page.evaluate("jupyterapp.shell.currentWidget.context.path")
    page.evaluate("void jupyterapp.commands.execute('docmanager:save')")
    pause(panel, 2)
    page.evaluate("void jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.reload()
    page.wait_for_function("window.jupyterapp?.restored")
    page.evaluate("path => void jupyterapp.commands.execute('docmanager:open', { path })", path)
    output = page.locator(".jp-OutputArea").nth(1)
    expect(output.locator("img")).to_be_visible()
    take("reopened", output)


SOME = "await images.add_bulk(photos(1, 60))"
MANY = """\
await images.add_bulk([
    {"name": ("resize", "crop")[n % 2], "data": {"file": f"img_{n}.raw", "width": n}}
    for n in range(100_000)
])
"""
TIME = """\
clock = VirtualClock()
slow = Queue("newsletter", store=MemoryStore(clock=clock, ids="sequential", seed=1))

@slow.worker(name="mailer", concurrency=2)
async def send(job):
    await job.sleep("20s")
    if job.attempts_made < job.data % 3 - 1:
        raise ConnectionError("no answer")

slow
"""
LATER = """\
again = {"attempts": 3, "backoff": "5m"}
await slow.add_bulk([{"name": "send", "data": n, **again} for n in range(24)])
await clock.advance("3m")
"""

RECORDED = TIME.removesuffix("slow\n")
TAPED = """\
with slow.record() as tape:
    again = {"attempts": 2, "backoff": "30s"}
    await slow.add_bulk([{"name": "send", "data": n, **again} for n in range(9)])
    await clock.advance("3m")
tape
"""


def replayed(notebook: NotebookPage, take: Take) -> None:
    """A tape as a picture, and replayed at an event, with the belt and with the events."""
    for number in range(3):
        notebook.run(number)
    take("picture", notebook.page.locator(".jp-OutputArea-output img.cvp-image").first)
    notebook.run(3)
    panel = notebook.panel
    slider = panel.get_by_test_id("cv-replay-slider")
    slider.fill("30")
    expect(panel.get_by_test_id("cv-replay-count")).to_contain_text("30 /")
    take("belt", panel)
    panel.get_by_test_id("cv-tab-events").click()
    expect(panel.get_by_test_id("cv-event").first).to_be_visible()
    take("events", panel)


SCENES: Mapping[str, Scene] = {
    "empty": Scene((STUDIO, 'Queue("returns", store=store)'), empty),
    "queues": Scene((STUDIO, ALL, "dashboard(store)"), queues),
    "busy": Scene((STUDIO, SOME, "images"), busy),
    "failing": Scene((STUDIO, SOME, "images"), failing),
    "tabs": Scene((STUDIO, ALL, FLOWS, GROUPED, "images", "reports", "images.picture()"), tabs),
    "elsewhere": Scene((STUDIO, ELSEWHERE), elsewhere),
    "many": Scene((STUDIO, MANY, "images"), many),
    "virtual": Scene((STUDIO, TIME, LATER), virtual),
    "replayed": Scene((STUDIO, RECORDED, TAPED, "tape.replay()"), replayed),
    "reopened": Scene((STUDIO, "images", SOME, "await asyncio.sleep(8)"), reopened),
}
"""By their names."""
