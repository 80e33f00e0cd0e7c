"""Every control of a panel is used, in one notebook, and the store is seen to change.

The page itself notes each control that comes to be seen, and each that a person's click, key or
choice has reached: in the end these are the same.
"""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Locator, expect

from .test_panel import chip

if TYPE_CHECKING:
    from .opened import Notebook, OpenNotebook

SETUP = """\
import asyncio
from conveyor_nb import FlowJob, FlowProducer, Group, MemoryStore, Queue, Repeat, dashboard

store = MemoryStore(ids="sequential", metrics=True)
queue = Queue("emails", store=store)
gate = asyncio.Event()

@queue.worker(name="mailer", concurrency=2)
async def send(job):
    await job.log("sending")
    if job.name == "hold":
        await gate.wait()
    if job.name == "bad":
        raise ValueError("no mailbox")
    return {"sent": [1, 2]}

async def where(job_id):
    job = await queue.get_job(job_id)
    return None if job is None else str(job.state)

async def counts():
    return {str(state): count for state, count in (await queue.get_job_counts()).items() if count}
"""
WATCH = """() => {
    const CONTROLS = "button, input, select, textarea, summary, .cvp-piece, .cvp-bar";
    const notes = window.cvControls = { seen: {}, used: {}, nameless: [] };
    const placeOf = (node) => node.parentElement.closest("[data-testid]").dataset.testid;
    const keyOf = (node) => node.dataset.testid
        ?? (node.matches(".cvp-piece, .cvp-bar") ? node.getAttribute("class").split(" ")[0]
            : `${node.tagName.toLowerCase()} in ${placeOf(node)}`);
    const nameOf = (node) => node.getAttribute("aria-label") || node.labels?.[0]?.textContent
        || node.textContent || node.title;
    function note() {
        for (const node of document.querySelectorAll(`.cv-panel :is(${CONTROLS})`)) {
            if (!node.getClientRects().length) continue;
            if (!nameOf(node).trim()) notes.nameless.push(keyOf(node));
            notes.seen[keyOf(node)] = true;
        }
    }
    for (const kind of ["click", "change", "input", "keydown"]) {
        document.addEventListener(kind, ({ target, isTrusted }) => {
            const isPerson = isTrusted || target.matches("select"); // chosen by a script here
            const node = isPerson && target.closest?.(`.cv-panel :is(${CONTROLS})`);
            if (node) notes.used[keyOf(node)] = true;
        }, true);
    }
    let waits = false;
    new MutationObserver(() => {
        if (waits) return;
        waits = true;
        requestAnimationFrame(() => { waits = false; note(); });
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
    note();
}"""
ASK = """async (code) => {
    const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
    const future = kernel.requestExecute({ code, store_history: false });
    let told = "";
    future.onIOPub = ({ header: { msg_type }, content }) => {
        if (msg_type === "execute_result") told = content.data["text/plain"];
        if (msg_type === "error") told = `raise ${content.ename}: ${content.evalue}`;
    };
    await future.done;
    return told;
}"""


class Person:
    """Somebody who uses a panel, and can look into the store."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.panel = notebook.panel

    def of(self, testid: str) -> Locator:
        """A control, the first that can be seen."""
        return self.panel.get_by_test_id(testid).locator("visible=true").first

    def click(self, *testids: str) -> None:
        for testid in testids:
            self.of(testid).click()

    def fill(self, **fields: str) -> None:
        """Fill fields, each named by the end of its test id."""
        for name, text in fields.items():
            self.of(f"cv-{name.replace('__', '-')}").fill(text)

    def sees(self, testid: str, text: str) -> None:
        expect(self.of(testid)).to_contain_text(text)

    def ask(self, code: str) -> Any:
        """What an expression gives in the kernel, which must be a literal."""
        told = self.notebook.page.evaluate(ASK, code)
        assert not told.startswith("raise "), told
        return ast.literal_eval(told) if told else None

    def do(self, code: str) -> None:
        """Run code in the kernel."""
        self.ask(f"{code}\nNone")

    def show(self, state: str) -> None:
        """Show only the jobs of a state; what was chosen before is forgotten with it."""
        self.click(f"cv-chip-{state}")
        expect(self.of(f"cv-chip-{state}")).to_have_attribute("aria-pressed", "true")

    def open(self, job_id: str) -> None:
        """Open a job by its row."""
        self.panel.get_by_test_id("cv-job").filter(has_text=job_id).first.get_by_test_id(
            "cv-job-open"
        ).click()
        expect(self.panel.get_by_test_id("cv-detail")).to_be_visible()


@pytest.fixture
def person(open_notebook: OpenNotebook) -> Person:
    notebook = open_notebook(SETUP, "dashboard(store)")
    notebook.run(0)
    notebook.run(1)
    expect(notebook.panel.get_by_test_id("cv-card")).to_have_count(1)
    notebook.page.evaluate(WATCH)
    return Person(notebook)


def test_every_control_is_used_and_the_store_changes(person: Person) -> None:
    use_the_dashboard(person)
    add_jobs(person)
    look_for_jobs(person)
    change_many(person)
    manage_the_queue(person)
    use_one_job(person)
    use_workers(person)
    use_flows_and_groups(person)
    use_schedules(person)
    look_at_time(person)
    look_at_events(person)

    notes = person.notebook.page.evaluate("cvControls")
    assert sorted(notes["seen"].keys() - notes["used"].keys()) == [], "seen, and used by nobody"
    assert notes["nameless"] == []
    assert len(notes["used"]) > 100


def use_the_dashboard(person: Person) -> None:
    person.click("cv-hold-view", "cv-hold-view", "cv-all-tab-events")
    person.do("await queue.add('bad'); await queue.join()")
    person.sees("cv-all-events", "job:failed")
    person.click("cv-all-hold", "cv-all-hold")
    person.of("cv-all-event-queue").select_option("emails")
    person.of("cv-all-event-type").select_option("job:failed")
    expect(person.panel.get_by_test_id("cv-all-event")).to_have_count(1)
    person.of("cv-all-event-job").fill("emails-1")
    person.of("cv-all-event-job").press("Enter")
    person.click("cv-all-event-open")
    person.sees("cv-detail", "no mailbox")
    person.click("cv-detail-close", "cv-back", "cv-all-tab-queues", "cv-card-open")
    person.do("await Queue('others', store=store).add('rest', delay='1h')")
    person.of("cv-switch").select_option("others")
    expect(person.of("cv-title")).to_have_text("others")
    person.of("cv-switch").select_option("emails")
    expect(person.of("cv-title")).to_have_text("emails")
    person.click("cv-pause")
    person.sees("cv-paused", "Paused")
    assert person.ask("await queue.is_paused()")
    person.click("cv-resume")
    expect(person.panel.get_by_test_id("cv-paused")).to_have_count(0)
    assert not person.ask("await queue.is_paused()")


def add_jobs(person: Person) -> None:
    person.click("cv-add", "cv-form-close", "cv-add")
    person.fill(form__name="send", form__data='{"to": {"deep": ["ada"]}}', form__priority="2")
    person.fill(form__attempts="3", form__backoff="exponential:2s", form__timeout="30s")
    person.fill(form__group="gold", form__job_id="mine", form__deduplication="once")
    person.fill(form__delay="1h")
    person.of("cv-form-lifo").check()
    person.click("cv-form-save")
    person.sees("cv-form-told", "added mine")
    told = "[getattr(job.opts, n) for n in ('priority', 'attempts', 'timeout', 'delay', 'lifo')]"
    assert person.ask(f"job = await queue.get_job('mine'); {told}") == [2.0, 3, 30.0, 3600.0, True]
    assert person.ask("job.data, job.group_id, job.deduplication_key") == (
        {"to": {"deep": ["ada"]}},
        "gold",
        "once",
    )
    expect(chip(person.panel, "delayed", 1)).to_be_visible()
    person.show("delayed")
    person.of("cv-choose").check()
    person.click("cv-edit")
    person.fill(form__data='{"to": "bob"}', form__priority="7", form__delay="2h")
    person.click("cv-form-save")
    person.sees("cv-form-told", "changed mine")
    assert person.ask("job = await queue.get_job('mine'); (job.data, job.priority)") == (
        {"to": "bob"},
        7.0,
    )
    person.click(
        "cv-choose-none", "cv-promote_delayed", "cv-keep", "cv-promote_delayed", "cv-answer"
    )
    expect(chip(person.panel, "completed", 1)).to_be_visible()
    person.show("completed")
    assert person.ask("await where('mine')") == "completed"


def look_for_jobs(person: Person) -> None:
    more = "[{'name': name, 'data': n} for n in range(8) for name in ('a', 'b', 'c')]"
    person.do(f"await queue.add_bulk({more}); await queue.join()")
    page = person.of("cv-page")
    for state in ("waiting", "active", "delayed", "failed", "waiting-children", "completed", "all"):
        person.show(state)
    for button, told in (("next", "11"), ("last", "21"), ("prev", "11"), ("first", "1")):
        person.click(f"cv-{button}")
        expect(page).to_contain_text(f"{told}\u2013")
    person.of("cv-page-number").fill("3")
    person.of("cv-page-number").press("Enter")
    expect(page).to_contain_text("21\u2013")
    for column in ("name", "tries", "when"):
        person.click(f"cv-sort-{column}")
        expect(person.panel.locator("[aria-sort=ascending]")).to_have_count(1)
    person.click("cv-filters")
    for field, text, found in (
        ("text", "emails-1", "11 found"),
        ("name", "bad", "1 found"),
        ("group", "gold", "1 found"),
        ("flow", "none", "No job fits"),
        ("schedule", "none", "No job fits"),
    ):
        person.of(f"cv-filter-{field}").fill(text)
        expect(person.panel.get_by_test_id("cv-sheet-jobs")).to_contain_text(found)
        person.click("cv-filter-clear")
        expect(page).to_contain_text("of 26")
    person.of("cv-filter-added").select_option("1h")
    expect(page).to_contain_text("26 found")
    look_between(person)
    person.click("cv-filter-clear")
    expect(page).not_to_contain_text("found")
    person.click("cv-filters")


def look_between(person: Person) -> None:
    """Look for what was added from one instant to another, by the clock of this page.

    With seconds, as a browser leaves out those of a whole minute, which an old Playwright minds.
    """
    since, until = person.of("cv-filter-since"), person.of("cv-filter-until")
    expect(since).to_be_hidden()
    person.of("cv-filter-added").select_option("between")
    expect(since).to_be_focused()
    zone = person.panel.page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    expect(person.panel.get_by_label(f"From ({zone})")).to_be_visible()
    since.fill("2020-01-01T00:00:01")
    since.press("Tab")
    expect(person.of("cv-page")).to_contain_text("26 found")
    until.fill("2020-01-02T00:00:01")
    until.press("Tab")
    expect(person.of("cv-sheet-jobs")).to_contain_text("No job fits")
    until.fill("2019-12-31T00:00:01")
    person.sees("cv-filter-range-said", "is before")
    expect(until).to_have_attribute("aria-invalid", "true")
    until.fill("2100-01-01T00:00:01")
    expect(person.of("cv-page")).to_contain_text("26 found")
    expect(person.of("cv-filters")).to_have_text("Filters (1)")


def change_many(person: Person) -> None:
    assert person.ask("await counts()") == {"completed": 25, "failed": 1}
    person.show("completed")
    person.of("cv-choose-page").check()
    person.click("cv-choose-all")
    person.sees("cv-chosen", "25 chosen")
    for kind in ("json", "csv"):
        with person.notebook.page.expect_download() as saved:
            person.click(f"cv-export-{kind}")
        text = saved.value.path().read_text()
        assert len(json.loads(text) if kind == "json" else text.splitlines()[1:]) == 25
    person.click("cv-many-remove", "cv-answer")
    expect(chip(person.panel, "completed", 0)).to_be_visible()
    person.show("failed")
    person.of("cv-choose").check()
    person.click("cv-choose-none")
    person.of("cv-choose").check()
    person.click("cv-many-retry", "cv-answer")
    expect(chip(person.panel, "failed", 1)).to_be_visible()
    person.click("cv-retry_failed", "cv-answer")
    person.do("await queue.join()")
    assert person.ask("len((await queue.get_job('emails-1')).attempt_logs)") == 3
    person.do("await queue.add_bulk([{'name': 'later', 'delay': '1h'}] * 3)")
    expect(chip(person.panel, "delayed", 3)).to_be_visible()
    person.show("delayed")
    person.of("cv-choose").check()
    person.click("cv-many-promote", "cv-answer")
    expect(chip(person.panel, "delayed", 2)).to_be_visible()
    person.show("delayed")
    person.of("cv-choose").check()
    person.click("cv-many-cancel", "cv-answer")
    expect(chip(person.panel, "delayed", 1)).to_be_visible()
    person.show("delayed")
    assert person.ask("await counts()") == {"delayed": 1, "completed": 1, "failed": 2}


def manage_the_queue(person: Person) -> None:
    person.click("cv-manage")
    person.of("cv-pause-name-of").fill("later")
    person.click("cv-pause-name")
    expect(person.of("cv-resume-name")).to_have_text("Resume later")
    assert person.ask("await queue.is_paused('later')")
    person.click("cv-resume-name")
    expect(person.panel.get_by_test_id("cv-resume-name")).to_have_count(0)
    person.of("cv-clean-state").select_option("failed")
    person.of("cv-clean-age").select_option("")
    person.click("cv-clean", "cv-answer")
    expect(chip(person.panel, "failed", 0)).to_be_visible()
    person.click("cv-drain", "cv-answer")
    expect(chip(person.panel, "delayed", 0)).to_be_visible()
    assert person.ask("await counts()") == {"completed": 1}
    person.click("cv-obliterate", "cv-answer")
    expect(chip(person.panel, "completed", 0)).to_be_visible()
    assert person.ask("await counts()") == {}
    person.click("cv-manage", "cv-chip-all")


def use_one_job(person: Person) -> None:
    person.notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    person.do("bad = await queue.add('bad', {'to': 'ada'}, attempts=2); await queue.join()")
    bad = person.ask("bad.id")
    person.open(bad)
    for what in ("code", "payload", "options"):
        person.click(f"cv-copy-{what}")
        expect(person.of(f"cv-copy-{what}")).to_have_text("Copied")
    for place in ("cv-text-payload", "cv-text-options", "cv-attempt", "cv-attempt"):
        person.of(place).locator("summary").first.click()
    person.click("cv-job-retry")
    expect(person.panel.get_by_test_id("cv-attempt")).to_have_count(4)
    assert person.ask(f"len((await queue.get_job({bad!r})).attempt_logs)") == 4
    person.click("cv-job-remove", "cv-job-remove")
    person.sees("cv-detail", "Removed")
    assert person.ask(f"await where({bad!r})") is None

    person.do("good = await queue.add('send', 'hello'); await queue.join()")
    person.open(person.ask("good.id"))
    person.of("cv-text-result").locator("summary").first.click()
    person.click("cv-copy-result", "cv-copy-payload")

    person.do(
        "later = await queue.add('later', delay='1h'); other = await queue.add('later', delay='1h')"
    )
    person.open(person.ask("later.id"))
    person.click("cv-job-promote")
    expect(person.panel.get_by_test_id("cv-detail-head")).to_contain_text("Completed")
    assert person.ask("await where(later.id)") == "completed"
    person.open(person.ask("other.id"))
    person.click("cv-job-cancel")
    expect(person.panel.get_by_test_id("cv-detail-head")).to_contain_text("Failed")
    assert person.ask("(await queue.get_job(other.id)).failed_reason") == "cancelled"
    person.click("cv-copy-failure", "cv-detail-close")

    # what can't be done is said, and the notice goes away again
    person.show("completed")
    person.of("cv-choose").check()
    person.click("cv-many-promote")
    person.sees("cv-notice", "can't be promoted")
    person.click("cv-dismiss", "cv-choose-none", "cv-chip-all")
    expect(person.of("cv-notice")).to_have_count(0)


def use_workers(person: Person) -> None:
    person.do("held = await queue.add_bulk([{'name': 'hold'}] * 3)")
    for by in ("group", "state", "priority", "name"):
        person.of("cv-belt-by").select_option(by)
        label = {"group": "no group", "state": "active", "priority": "priority 0", "name": "hold"}
        expect(person.panel.get_by_test_id("cv-belt")).to_contain_text(label[by])
    piece = person.panel.locator(".cvp-piece").first
    piece.click()
    person.click("cv-detail-close")
    for verb, told in (("pause", "paused"), ("resume", "running"), ("stop", "stopping")):
        person.click(f"cv-worker-{verb}")
        person.sees("cv-worker", told)
    person.do("gate.set(); await held[1].wait_until_finished(); gate.clear()")
    person.sees("cv-worker", "stopped")
    person.click("cv-worker-start")
    person.sees("cv-worker", "running")

    person.click("cv-tab-workers")
    person.click("cv-more")
    person.sees("cv-slot-count", "3 slots")
    person.click("cv-fewer")
    person.sees("cv-slot-count", "2 slots")
    assert person.ask("[worker.concurrency for worker in await store.list_workers()]") == [2]
    person.click("cv-place", "cv-detail-close")
    person.click("cv-mate-pause")
    person.sees("cv-mate", "paused")
    person.click("cv-mate-resume")
    person.do("gate.set(); await queue.join()")
    person.click("cv-mate-stop")
    person.sees("cv-mate", "stopped")
    person.click("cv-mate-start")
    person.sees("cv-mate", "running")


def use_flows_and_groups(person: Person) -> None:
    tree = "FlowJob('sum', 'emails', children=[FlowJob('part', 'emails')])"
    person.do(f"flow = await FlowProducer(store=store).add({tree}); await queue.join()")
    person.click("cv-tab-flows")
    expect(person.panel.get_by_test_id("cv-flow-row")).to_have_count(2)
    person.click("cv-flow-fold")
    expect(person.panel.get_by_test_id("cv-flow-row")).to_have_count(1)
    person.click("cv-flow-fold", "cv-flow-row-open", "cv-child")
    expect(person.panel.locator("h4")).to_have_text("part")
    person.click("cv-parent", "cv-detail-close")
    person.of("cv-flow-belt-by").select_option("state")
    expect(person.panel.get_by_test_id("cv-flow-belt")).to_contain_text("completed")
    person.panel.get_by_test_id("cv-flow-belt").locator(".cvp-piece").first.click()
    person.click("cv-detail-close", "cv-flow-open", "cv-flow-open")
    person.click("cv-tab-groups")
    person.sees("cv-no-groups", "No job of a group")


def use_schedules(person: Person) -> None:
    rule = "Repeat(cron='0 9 * * 1-5', tz='Europe/Paris')"
    person.do(f"await queue.upsert_job_scheduler('daily', {rule}, 'send')")
    person.click("cv-tab-schedules")
    look = "(await queue.get_job_schedulers())[0]"
    person.click("cv-schedule-edit", "cv-schedule-cancel", "cv-schedule-edit")
    person.of("cv-rule").fill("30 8 * * mon")
    person.of("cv-run-zone").fill("Asia/Tokyo")
    person.sees("cv-rule-preview", "Every Monday at 08:30, Asia/Tokyo")
    person.click("cv-schedule-save")
    person.sees("cv-schedule-rule", "Every Monday")
    assert person.ask(f"one = {look}; (one.repeat.cron, one.repeat.tz)") == (
        "30 8 * * mon",
        "Asia/Tokyo",
    )
    person.click("cv-run-open", "cv-detail-close", "cv-schedule-pause")
    person.sees("cv-schedule", "Paused")
    assert person.ask(f"{look}.paused")
    person.click("cv-schedule-resume")
    expect(person.panel.locator(".cv-run-time")).to_have_count(5)
    before = person.ask("(await counts())['completed']")
    person.click("cv-schedule-run")
    person.do("await queue.join()")
    assert person.ask("(await counts())['completed']") == before + 1
    person.click("cv-schedule-remove", "cv-schedule-remove")
    person.sees("cv-no-schedules", "No schedules yet")
    assert person.ask("len(await queue.get_job_schedulers())") == 0


def look_at_time(person: Person) -> None:
    person.click("cv-tab-timeline")
    for span in ("all", "minute"):
        person.click(f"cv-span-{span}")
        expect(person.of(f"cv-span-{span}")).to_have_attribute("aria-pressed", "true")
    for way in ("in", "earlier", "later", "out"):
        person.click(f"cv-zoom-{way}")
    person.click("cv-span-all")
    expect(person.of("cv-span-all")).to_have_attribute("aria-pressed", "true")
    person.panel.get_by_test_id("cv-timeline").locator(".cvp-bar").last.click()
    person.click("cv-detail-close", "cv-tab-metrics")
    for span in ("day", "week", "month", "hour"):
        person.click(f"cv-period-{span}")
        expect(person.of(f"cv-period-{span}")).to_have_attribute("aria-pressed", "true")


def look_at_events(person: Person) -> None:
    person.click("cv-tab-events", "cv-hold")
    person.of("cv-event-type").select_option("job:completed")
    expect(person.of("cv-event")).to_contain_text("job:completed")
    person.of("cv-event-job").fill("emails-1")
    person.of("cv-event-job").press("Enter")
    expect(person.panel.get_by_test_id("cv-events")).to_be_visible()
    person.of("cv-event-job").fill("")
    person.of("cv-event-job").press("Enter")
    person.click("cv-event-open", "cv-detail-close", "cv-tab-jobs")
