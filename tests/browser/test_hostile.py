"""Other people's text in every view of a panel: it is shown, and does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from playwright.sync_api import Locator, expect

from conveyor_nb import JobOptions
from conveyor_nb.core.values.text import fit
from tests.hostile.texts import HOSTILE

if TYPE_CHECKING:
    from .opened import Notebook


BATCHES = 3

SETUP = f"""\
import asyncio
from conveyor_nb import FlowJob, FlowProducer, Group, JobOptions, MemoryStore, Queue, Repeat, Worker
from conveyor_nb.notebook.panel.widget import dashboard
from tests.hostile.texts import HOSTILE

store = MemoryStore(metrics=True)
gate = asyncio.Event()
texts = list(HOSTILE.values())

def name_of(text, other):
    try:
        return JobOptions(job_id=text + " 00") and text
    except ValueError:
        return other

async def work(job):
    text = texts[int(job.id.rpartition(" ")[2])]
    await job.log(text)
    await job.update_progress(50)
    if job.name == "gate":
        await gate.wait()
    if job.group_id is None and len(job.id) % 2:
        raise ValueError(text)
    return {{text[:300]: [text]}}

async def fill(number):
    mine = range(number, len(texts), {BATCHES})
    names = {{n: name_of(texts[n], f"name {{n}}") for n in mine}}
    queue = Queue(next(name for name in names.values() if not name.isascii()), store=store)
    await queue.pause("wait")
    for n, name in names.items():
        text = texts[n]
        Worker(queue.name, work, store=store, name=name, concurrency=2).start()
        await queue.add(name, text, job_id=f"{{name}} {{n}}")
        await queue.add("gate", {{text[:300]: [text]}}, job_id=f"gate {{name}} {{n}}")
        await queue.add("wait", group=Group(name))
        await queue.upsert_job_scheduler(name, Repeat(cron="0 9 * * 1"), name, text)
    children = [
        FlowJob("wait", queue.name, text, dict(job_id=f"child {{name}} {{n}}"))
        for n, name in names.items()
    ]
    top = FlowJob(names[number], queue.name, texts[number], children=children)
    await FlowProducer(store=store).add(top)
    await queue.pause(names[number + {BATCHES}])
    return queue

queues = [await fill(number) for number in range({BATCHES})]
while any([await queue.count("active") < {len(HOSTILE) // BATCHES} for queue in queues]):
    await asyncio.sleep(0.05)
panel = dashboard(store)
panel
"""
TELL = "for text in texts: panel.receive({'do': text[:200]})"

CHECK = r"""panel => {
    const unfit = /[^\P{C}\n\t\u200c\u200d\u2066-\u2069\p{Cn}\p{Co}]|[\u2028\u2029]/u;
    const ours = new Set(`
        b button code datalist details div form g h3 h4 h5 i input label li line ol option p path
        pre rect section select small span strong summary svg text textarea time title circle
    `.trim().split(/\s+/));
    const harmful = /^on|^(href|src|srcdoc|action|formaction|xlink:href)$/;
    const found = [];
    const look = (where, text) => {
        let depth = 0;
        for (const one of text) {
            if ("\u2066\u2067\u2068".includes(one)) depth += 1;
            if (one === "\u2069") depth -= 1;
            if (depth < 0) break;
        }
        if (unfit.test(text) || depth) found.push([where, text.slice(0, 80)]);
    };
    for (const node of panel.querySelectorAll("*")) {
        const tag = node.localName;
        if (!ours.has(tag)) found.push(["element", node.outerHTML.slice(0, 80)]);
        for (const { name, value } of node.attributes) {
            if (harmful.test(name) || name === "style" && /url\(/i.test(value)) {
                found.push(["attribute", `${name}=${value}`.slice(0, 80)]);
            }
            if (["title", "aria-label", "placeholder"].includes(name)) look(name, value);
        }
    }
    const walk = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) look("text", walk.currentNode.data);
    return found;
}"""


def check(panel: Locator) -> str:
    """Nothing in the panel is there but what it is made of; gives its text."""
    assert panel.evaluate(CHECK) == []
    return panel.text_content() or ""


def pages(panel: Locator) -> Iterator[None]:
    """Turn the pages of the table, from the first to the last."""
    yield
    following = panel.get_by_test_id("cv-next")
    while following.is_enabled():
        before = panel.get_by_test_id("cv-job").first.get_attribute("data-key") or ""
        following.click()
        expect(panel.get_by_test_id("cv-job").first).not_to_have_attribute("data-key", before)
        yield


def test_it_is_shown_in_every_view_and_does_nothing(
    open_notebook: Callable[..., Notebook],
) -> None:
    notebook = open_notebook(SETUP, TELL)
    asked: list[str] = []
    notebook.page.on("request", lambda request: asked.append(request.url))
    notebook.run(0)
    panel = notebook.panel
    expect(panel.get_by_test_id("cv-card")).to_have_count(BATCHES)
    notebook.run(1)
    expect(panel.get_by_test_id("cv-notice")).not_to_be_empty()
    check(panel)
    panel.get_by_test_id("cv-notice").get_by_role("button").click()
    for number in range(BATCHES):
        check(panel)
        look_at_all(panel, list(HOSTILE.values())[number::BATCHES])
        panel.get_by_test_id("cv-back").click()
    assert notebook.page.evaluate("window.bitten") is None
    assert not [one for one in asked if "invalid" in one]


def look_at_all(panel: Locator, texts: list[str]) -> None:
    """Go through all views of a queue whose jobs, groups, workers and so on are called so."""
    names = [text for text in texts if is_name(text)]
    own = next(name for name in names if not name.isascii())
    panel.locator(".cv-card").filter(has_text=fit(own)).get_by_test_id("cv-card-open").click()
    expect(panel.get_by_test_id("cv-title")).to_have_text(fit(own))
    shown = "".join(check(panel) for _ in pages(panel))
    assert [name for name in names if fit(name) not in shown] == []
    for state in ("failed", "completed"):
        panel.get_by_test_id(f"cv-chip-{state}").click()
        expect(panel.get_by_test_id(f"cv-chip-{state}")).to_have_attribute("aria-pressed", "true")
        for row in panel.get_by_test_id("cv-job").all():
            job_id = row.get_attribute("data-key") or ""
            row.locator(".cv-open").click()
            detail = panel.get_by_test_id("cv-detail")
            expect(detail).to_have_attribute("aria-label", f"Job {fit(job_id)}")
            check(panel)
    panel.get_by_test_id("cv-detail-close").click()

    told = {}
    for tab in ("flows", "schedules", "groups", "workers", "timeline", "metrics", "events"):
        panel.get_by_test_id(f"cv-tab-{tab}").click()
        expect(panel.get_by_test_id(f"cv-sheet-{tab}")).to_be_visible()
        told[tab] = check(panel)
    for tab in ("schedules", "groups", "workers"):
        assert [name for name in names if fit(name) not in told[tab]] == [], tab


def is_name(text: str) -> bool:
    """Whether a job, a queue or a worker may be called so."""
    try:
        JobOptions(job_id=f"{text} 00")
    except ValueError:
        return False
    return True
