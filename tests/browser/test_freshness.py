"""Every change of the store is soon seen on the page, in each view."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from .opened import Notebook


SOON = 0.3
"""Seconds from a change to the page that shows it. What machine, kernel and browser were late with
everything, in the same seconds, comes on top."""

CHANGES = 3


SETUP = """\
import asyncio, time
from msgspec.structs import replace
from conveyor_nb import FlowJob, FlowProducer, Group, MemoryStore, Queue, Repeat
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.model import Lock
from conveyor_nb.notebook.panel.widget import dashboard
from conveyor_nb.worker import live_workers

store = MemoryStore(ids="sequential", metrics=True)
queue = Queue("emails", store=store)

async def send(job):
    return job.data

queue.worker(name="mailer", concurrency=4)(send)
[worker] = [one for one in live_workers() if one.store is store]
await queue.pause("wait")
job = await queue.add("later", {"word": "word-0"}, delay="1d")
await queue.upsert_job_scheduler("nightly", Repeat(cron="0 9 * * *"), "report")
await queue.pause_job_scheduler("nightly")
children = [FlowJob("page", "other") for _ in range(9)]
await FlowProducer(store=store).add(FlowJob("book", "emails", children=children))

async def resize(n):
    worker.concurrency = 4 + n

async def change_rule(cron):
    one = await store.get_job_scheduler("emails", "nightly")
    await store.upsert_job_scheduler(replace(one, repeat=Repeat(cron=cron)))

async def settle_child():
    child = await store.fetch_next_job("other", "w", 30)
    await store.apply("other", child.id, Complete(1), lock=Lock("w", 1))

async def make_changes(change, count):
    times, late = [], 0.0
    for n in range(1, count + 1):
        times.append(time.time())
        await change(n)
        for _ in range(8):
            due = time.time() + 0.05
            await asyncio.sleep(0.05)
            late = max(late, time.time() - due)
    return times, late

dashboard(store)
"""

WATCH = r"""([selector, marks]) => {
    const panel = document.querySelector('[data-testid="cv-panel"]');
    const watch = window.watch = { seen: marks.map(() => null), late: 0 };
    const look = () => {
        const now = (performance.timeOrigin + performance.now()) / 1000;
        const shown = [...panel.querySelectorAll(selector)].map((one) => one.textContent).join(" ");
        marks.forEach((mark, n) => { if (shown.includes(mark)) watch.seen[n] ??= now; });
    };
    watch.observer = new MutationObserver(look);
    watch.observer.observe(panel, { childList: true, subtree: true, characterData: true });
    let last = performance.now();
    watch.timer = setInterval(() => {
        const now = performance.now();
        watch.late = Math.max(watch.late, (now - last - 20) / 1000);
        last = now;
    }, 20);
}"""
TAKE = """() => {
    watch.observer.disconnect();
    clearInterval(watch.timer);
    return [watch.seen, watch.late];
}"""


RUN = """async code => {
    const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
    const future = kernel.requestExecute({ code });
    let text = "";
    future.onIOPub = ({ header, content }) => {
        if (header.msg_type === "execute_result") text = content.data["text/plain"];
    };
    const { content } = await future.done;
    if (content.status !== "ok") throw new Error(content.evalue);
    return text;
}"""
"""Not as a cell, which the notebook would scroll to: a panel that nobody sees rests."""


class Case(NamedTuple):
    """A change, and where it is to be seen.

    Args:
        tab: the tab of the queue; empty: the cards of all queues.
        change: what is awaited, the n-th time.
        where: the part of the panel, by its test id.
        mark: what stands there after the n-th time.
    """

    tab: str
    change: str
    where: str
    mark: str


CASES = {
    "the counts": Case("jobs", "queue.add('wait')", "cv-chip-waiting", "Waiting{n}"),
    "the belt": Case("jobs", "queue.add('send')", "cv-belt", "{n} completed"),
    "the table": Case("jobs", "queue.add(f'later-{n}', delay='1h')", "cv-jobs", "later-{n}"),
    "the workers": Case("jobs", "resize(n)", "cv-worker", "/ {more} busy"),
    "a paused name": Case("jobs", "queue.pause(f'name-{n}')", "cv-badges", "name-{n}"),
    "an open job": Case(
        "jobs",
        "store.update_job('emails', job.id, {'data': {'word': f'word-{n}'}})",
        "cv-text-payload",
        "word-{n}",
    ),
    "a flow over two queues": Case("flows", "settle_child()", "cv-flow-open", "{n} of 9"),
    "a schedule that is paused": Case(
        "schedules",
        "change_rule(f'{n} 7 * * *')",
        "cv-schedule-rule",
        "{n} 7 * * *",
    ),
    "groups": Case("groups", "queue.add('wait', group=Group(f'g-{n}'))", "cv-group", "g-{n}"),
    "worker cards": Case("workers", "resize(n)", "cv-slot-count", "{more} slots"),
    "the timeline": Case("timeline", "queue.add('send')", "cv-timeline-told", "{n} attempt"),
    "metrics": Case("metrics", "queue.add('send')", "cv-metrics-told", "{n} completed"),
    "events": Case("events", "queue.add(f'later-{n}', delay='1h')", "cv-events", "later-{n}"),
    "all queues": Case("", "Queue(f'queue-{n}', store=store).add('x')", "cv-cards", "queue-{n}"),
}


def test_each_change_is_soon_seen(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook(SETUP)
    late = {}
    for name, case in CASES.items():
        notebook.run(0)
        show(notebook.panel, case.tab, opened=name == "an open job")
        marks = [case.mark.format(n=n, more=4 + n) for n in range(1, CHANGES + 1)]
        notebook.page.evaluate(WATCH, [f'[data-testid="{case.where}"]', marks])
        code = f"await make_changes(lambda n: {case.change}, {CHANGES})"
        times, kernel_late = ast.literal_eval(notebook.page.evaluate(RUN, code))
        seen, page_late = notebook.page.evaluate(TAKE)
        most = SOON + kernel_late + page_late
        for n, began in enumerate(times):
            # what was over too soon to be drawn is seen with what followed
            after = [at for at in seen[n:] if at is not None]
            if not after or not 0 < min(after) - began < most:
                late[name] = [at and round(at - began, 3) for at in seen], round(most, 3)
    assert late == {}


def show(panel: Locator, tab: str, *, opened: bool) -> None:
    """Go to a tab of the queue, or stay with all of them."""
    expect(panel.get_by_test_id("cv-card")).to_have_count(2)
    if not tab:
        return
    panel.get_by_test_id("cv-card-open").first.click()
    panel.get_by_test_id(f"cv-tab-{tab}").click()
    expect(panel.get_by_test_id(f"cv-sheet-{tab}")).to_be_visible()
    if opened:
        panel.get_by_test_id("cv-job").filter(has_text="later").locator(".cv-open").click()
        expect(panel.get_by_test_id("cv-text-payload")).to_contain_text("word-0")
