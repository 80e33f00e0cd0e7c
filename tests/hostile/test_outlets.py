"""Hostile text through every outlet: reprs, displays, errors, frames, the panel and the log."""

from __future__ import annotations

import asyncio
import html.parser
import json
import logging
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    Backoff,
    FlowJob,
    FlowProducer,
    Group,
    Job,
    JobFailedError,
    JobNotFoundError,
    JobOptions,
    MemoryStore,
    Queue,
    Repeat,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.model import EPOCH
from conveyor_nb.frames import attempts_frame, events_frame, results_frame, schedulers_frame
from conveyor_nb.notebook.commands.magic_output import status_text
from conveyor_nb.notebook.listings import events_listing, jobs_listing, workers_listing
from conveyor_nb.notebook.panel.queue_view import TABS, QueueView
from conveyor_nb.notebook.panel.widget import panel_of
from conveyor_nb.notebook.reads import queue_lines

pytestmark = pytest.mark.asyncio

Check = Callable[..., None]

TAGS = set("div p strong bdi span table thead tbody tr th td pre".split())


class Texts(html.parser.HTMLParser):
    """Takes HTML apart: only the elements that displays are made of may be in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "img":
            self._take_picture(told.pop("src") or "")
            self.texts.append(told.pop("alt") or "")
        else:
            assert tag in TAGS
        assert set(told) <= {"style", "class"}

    def _take_picture(self, source: str) -> None:
        """A picture is an image that comes with the page, and whole in itself."""
        kind, _, data = source.partition(",")
        assert kind == "data:image/svg+xml;base64"
        root = ET.fromstring(b64decode(data))
        tags = {one.tag.removeprefix("{http://www.w3.org/2000/svg}") for one in root.iter()}
        assert tags <= {"svg", "title", "style", "g", "rect", "line", "circle", "path", "text"}
        style = "{http://www.w3.org/2000/svg}style"
        self.texts += [one.text or "" for one in root.iter() if one.tag != style]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def is_name(text: str) -> bool:
    """Whether a job may be called so."""
    try:
        JobOptions(job_id=text)
    except ValueError:
        return False
    return True


@pytest_asyncio.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore(clock=VirtualClock(), ids="sequential", metrics=True) as store:
        yield store


@pytest_asyncio.fixture
async def jobs(store: MemoryStore, hostile: str) -> list[Job]:
    """A completed job and a failed one, with the text wherever they may have it."""

    async def handler(job: Job) -> Any:
        await job.log(hostile)
        if job.name == "fail":
            raise ValueError(hostile)
        return {hostile[:100]: [hostile]} if job.name == "dict" else hostile

    queue = Queue("q", store=store)
    added = await queue.add_bulk({"name": name, "data": hostile} for name in ("ok", "dict", "fail"))
    async with Worker("q", handler, store=store) as worker:
        await worker.run_until_idle()
    return [await job.refresh() for job in added]


def check_display(shown: Any, check_shown: Check) -> None:
    check_shown(repr(shown), most=6_000)
    bundle = shown._repr_mimebundle_()
    check_shown(bundle["text/plain"], most=20_000, lines=True)
    page = bundle["text/html"]
    assert "mathjax_ignore" in page
    assert "tex2jax_ignore" in page
    assert len(page) < 200_000
    for text in Texts(page).texts:
        check_shown(text, most=50_000, lines=True)


async def test_displays(store: MemoryStore, jobs: list[Job], check_shown: Check) -> None:
    queue = Queue("q", store=store)
    worker = Worker("q", print, store=store, auto_start=False)
    listed = await queue.get_jobs()
    for shown in (store, queue, worker, *jobs, listed, await queue.get_job_counts()):
        check_display(shown, check_shown)
    for job in jobs:
        check_shown(repr(await store.get_job("q", job.id)), most=2_000)
        check_shown(repr(job.attempt_logs[0]), most=1_000)
    check_shown(repr(jobs_listing(listed)), lines=True)


async def test_names(store: MemoryStore, hostile: str, check_shown: Check) -> None:
    name = hostile[:255]
    makers: list[Callable[[], object]] = [
        lambda: Queue(name, store=store),
        lambda: Worker(name, print, store=store, auto_start=False),
        lambda: Worker("q", print, store=store, auto_start=False, name=name),
        lambda: Group(name),
        lambda: JobOptions(job_id=name),
    ]
    if not is_name(name):
        for make in makers:
            with pytest.raises(
                ValueError, match=r"control characters|surrogate|1 to 255"
            ) as caught:
                make()
            check_shown(str(caught.value), most=3_000)
        return
    for make in makers:
        check_shown(repr(make()), most=3_000)
    queue = Queue(name, store=store)
    job = await queue.add(name, job_id=name, group=Group(name))
    flow = await FlowProducer(store=store).add(
        FlowJob(name, name, children=[FlowJob(name, name), FlowJob(name, "parts")])
    )
    await queue.every("1h", name)
    await queue.pause(name)
    worker = Worker(name, print, store=store, auto_start=False)
    for shown in (queue, job, flow, worker, store, await queue.get_jobs()):
        check_display(shown, check_shown)
    (scheduler,) = await queue.get_job_schedulers()
    check_shown(repr(scheduler), most=2_000)
    check_shown(repr(FlowJob(name, name)), most=1_000)
    lines = await queue_lines(store, [name])
    check_shown(status_text(lines, {name: worker}), most=20_000, lines=True)
    check_shown(repr(workers_listing(await store.list_workers())), lines=True)
    check_shown(str(JobNotFoundError(name, name)), most=1_000)
    waiting = asyncio.ensure_future(job.wait_until_finished(timeout="1s"))
    await asyncio.sleep(0)
    assert isinstance(store.clock, VirtualClock)
    await store.clock.advance("2s")
    with pytest.raises(TimeoutError) as late:
        await waiting
    check_shown(str(late.value), most=2_000)


async def test_errors(
    store: MemoryStore, jobs: list[Job], hostile: str, check_shown: Check
) -> None:
    with pytest.raises(JobFailedError) as failed:
        await jobs[-1].wait_until_finished()
    check_shown(str(failed.value), most=12_000, lines=True)
    queue = Queue("q", store=store)
    asked: list[Callable[[], object]] = [
        lambda: JobOptions(attempts=hostile),  # type: ignore[arg-type]
        lambda: JobOptions(delay=hostile),
        lambda: JobOptions(priority=hostile),  # type: ignore[arg-type]
        lambda: JobOptions(repeat=hostile),  # type: ignore[arg-type]
        lambda: JobOptions.of({hostile: 1}),
        lambda: JobOptions(fail_parent_on_child_failure=hostile),  # type: ignore[arg-type]
        lambda: Backoff(hostile, "1s"),  # type: ignore[arg-type]
        lambda: Repeat(cron=hostile),
        lambda: Repeat(cron="* * * * *", tz=hostile),
        lambda: Worker("q", hostile, store=store),  # type: ignore[arg-type]
        lambda: MemoryStore(ids=hostile),
        lambda: queue.on(hostile, print),
        lambda: queue.to_frame(hostile),
    ]
    for ask in asked:
        with pytest.raises((TypeError, ValueError)) as caught:
            ask()
        check_shown(str(caught.value), most=3_000)
    with pytest.raises((TypeError, ValueError)) as caught:
        await queue.get_jobs(hostile)
    check_shown(str(caught.value), most=3_000)


async def test_frames(store: MemoryStore, jobs: list[Job], hostile: str) -> None:
    event = StoreEvent("job:log", "q", "q-1", {"line": hostile}, EPOCH)
    queue = Queue("q", store=store)
    await queue.upsert_job_scheduler("s", Repeat(every="1h"), "x", hostile)
    records = store.snapshot("q")
    for frame in (
        queue.to_frame(),
        attempts_frame(records),
        results_frame(records),
        results_frame(records[1:2]),
        events_frame([event]),
        schedulers_frame(await queue.get_job_schedulers()),
    ):
        assert len(frame) >= 1
        frame.to_html().encode()
        repr(frame).encode()


async def read_all(queue: Queue, job_id: str) -> dict[str, Any]:
    """All that a panel shows, tab by tab, with a job that is open."""
    view = QueueView(queue)
    await view.do("open", id=job_id)
    parts: dict[str, Any] = {}
    for tab in TABS:
        await view.do("tab", tab=tab)
        parts |= await view.read()
    return parts


def leaves(tree: dict[str, Any]) -> list[str]:
    """All texts of a tree, its labels too."""
    if "text" in tree:
        return [tree["text"]]
    return [text for label, part in tree["parts"] for text in (label, *leaves(part))]


async def test_the_panel(
    store: MemoryStore, jobs: list[Job], hostile: str, check_shown: Check, caplog: Any
) -> None:
    queue = Queue("q", store=store)
    panel = panel_of(queue)
    panel.receive({"do": "hello", "view": "page", "n": 1})
    await asyncio.sleep(0)
    assert panel.live
    for content in (hostile, {"do": hostile}, {hostile: hostile}, {"do": "open", "id": hostile}):
        panel.receive(content)
    panel.receive({"do": "hello", "view": hostile})
    for job in jobs:
        for kind, job_id, data in (
            ("job:log", job.id, {"line": hostile}),
            ("queue:error", None, {"error": hostile}),
            ("job:progress", job.id, {"progress": hostile}),
            (hostile[:100], job.id, {hostile: hostile}),
        ):
            panel._hearing._lay_by(StoreEvent(kind, "q", job_id, data, EPOCH))
        panel._hearing.flush()
        parts = await read_all(queue, job.id)
        text = json.dumps(parts, ensure_ascii=False)
        text.encode()
        assert len(text) < 300_000
        for _, shown in parts["detail"]["texts"]:
            check_shown(shown, most=13_000, lines=True)
        for attempt in parts["detail"]["attempts"]:
            check_shown(attempt["error"], most=3_000, lines=True)
            for part in attempt["traceback"]:
                check_shown("\n".join(map(str, part.values())), most=13_000, lines=True)
        for moment in parts["detail"]["life"]:
            check_shown(moment["text"], most=900)
        check_shown(parts["detail"]["code"], most=13_000, lines=True)
        for value in parts["detail"]["values"]:
            check_shown(value["copy"], most=13_000, lines=True)
            for leaf in leaves(value["tree"]):
                check_shown(leaf, most=3_000, lines=True)
        for row in parts["events"]["rows"]:
            check_shown(row["text"], most=900)
        for row in parts["jobs"]["rows"]:
            check_shown(row["text"], most=900)
    assert panel.notice is not None
    check_shown(panel.notice["text"], most=3_000)
    panel.close()
    check_shown(caplog.text, most=20_000, lines=True)
    assert len(caplog.records) <= 1, "a page that errs is told of once"


async def test_the_log(store: MemoryStore, hostile: str, check_shown: Check) -> None:
    written: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    def raises(*_: object) -> None:
        raise ValueError(hostile)

    keep = Keep()
    logging.getLogger("conveyor_nb").addHandler(keep)
    store.subscribe("q", raises)
    queue = Queue("q", store=store)
    queue.on("waiting", raises)
    await queue.add("x")
    logging.getLogger("conveyor_nb").removeHandler(keep)
    assert len(written) == 2
    for text in written:
        check_shown(text, most=15_000, lines=True)


async def test_events_are_listed(store: MemoryStore, hostile: str, check_shown: Check) -> None:
    events = [
        StoreEvent("job:failed", "q", "q-1", {"name": "x", "reason": hostile}, EPOCH),
        StoreEvent("job:log", "q", "q-1", {"line": hostile}, EPOCH),
        StoreEvent(hostile[:200], "q", None, {"what": hostile, hostile: 1}, EPOCH),
    ]
    for event in events:
        check_shown(repr(event), most=2_000)
    check_shown(repr(events_listing(events)), lines=True)
