"""Whatever a page sends: it is checked as any input is, and the panel goes on."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor_nb import FlowJob, FlowProducer, MemoryStore, Queue, VirtualClock
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.notebook.mistakes import Mistake
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.queue_view import TABS, QueueView
from conveyor_nb.notebook.panel.widget import Panel, dashboard, panel_of
from tests.hostile.texts import HOSTILE

NAME = "emails"
FIELDS = Message.__struct_fields__

_views = QueueView(Queue(NAME, store=MemoryStore()))._views
DEEDS = {
    tab: sorted({deed for kind in kinds for deed in {*_views[kind].asks(), *_views[kind].acts()}})
    for tab, kinds in TABS.items()
}
"""What a page may ask for, by the tab that is open."""

ALWAYS = [*"hello drawn rest bye tab queue pause resume open open_attempt".split()]
ALWAYS += [f"{verb}_job" for verb in ("retry", "promote", "cancel", "remove")]

texts = st.one_of(
    st.sampled_from(["", "emails-1", "emails-2", "emails-9", NAME, "mailer", *TABS]),
    st.sampled_from(["completed", "failed", "waiting", "retry", "remove", "clean", "obliterate"]),
    st.sampled_from(
        ["-name", "when", "minute", "all", "json", "csv", "10m", "1 2 3 4 5", "report"]
    ),
    st.sampled_from([text[:200] for text in HOSTILE.values()]),
    st.text(max_size=20),
)
numbers = st.integers(0, 12) | st.sampled_from([200, 2**31, 2**53 - 1])
anything = st.recursive(
    st.one_of(texts, numbers, st.integers(), st.floats(), st.booleans(), st.none()),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(texts, parts, max_size=3),
    max_leaves=8,
)
of_kind: Mapping[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(FIELDS, texts),
    **dict.fromkeys(("n", "frame", "page", "attempt", "question", "slots"), numbers),
    **dict.fromkeys(("all", "narrow"), st.booleans()),
    "view": st.sampled_from(["page", "other"]),
    "ids": st.lists(texts, max_size=4),
    "options": st.dictionaries(
        st.sampled_from(["delay", "priority", "attempts", "backoff", "group", "job_id"]) | texts,
        texts,
        max_size=4,
    ),
    "data": texts | anything.map(lambda value: json.dumps(value)) | st.none(),
}


@st.composite
def messages(draw: st.DrawFn, tab: str) -> object:
    """Mostly of the right kinds, with some value of another; at times anything at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(anything)
    message = {name: draw(of_kind[name]) for name in FIELDS if draw(st.booleans())}
    message["do"] = draw(st.sampled_from([*(DEEDS[tab] * 3), *ALWAYS]))
    if draw(st.integers(0, 4)) == 0:
        message[draw(st.sampled_from(FIELDS) | texts)] = draw(anything)
    return message


@st.composite
def talks(draw: st.DrawFn) -> list[object]:
    """What a page says, beginning with the tab that a person opens."""
    tab = draw(st.sampled_from(list(TABS)))
    return [{"do": "tab", "tab": tab}, *draw(st.lists(messages(tab), min_size=1, max_size=10))]


class Log(logging.Handler):
    """Keeps what went wrong without anybody having foreseen it."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.faults.append(record.exc_info[1])


async def prepare(store: MemoryStore) -> Queue:
    queue = Queue(NAME, store=store)

    @queue.worker(name="mailer", concurrency=2)
    async def work(job: Any) -> Any:
        if job.name == "bad":
            raise ValueError("no mailbox")
        return job.data

    await queue.add_bulk({"name": name, "data": {"n": 1}} for name in ("good", "bad"))
    await queue.add("later", delay="1h", job_id="emails-9")
    await queue.every("1h", "report")
    children = [FlowJob("part", NAME), FlowJob("part", "images")]
    await FlowProducer(store=store).add(FlowJob("whole", NAME, children=children))
    await queue.join()
    return queue


async def state_of(store: MemoryStore) -> Any:
    return [
        [repr(job) for job in await store.list_jobs(NAME)],
        await store.get_paused_job_names(NAME),
        repr(await store.get_job_schedulers(NAME)),
        [(one.name, one.status, one.concurrency) for one in await store.list_workers(NAME)],
    ]


async def take(panel: Panel, contents: list[object]) -> None:
    """Let a panel take messages, and make frames, as they come."""
    for content in contents:
        panel.receive(content)
        await settle()
        panel._hearing.flush()
        await panel._send_frame(panel.frame + 1)


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def run(contents: list[object], *, of_all: bool, read_only: bool) -> None:
    log, faults = Log(), list[object]()
    logger = logging.getLogger("conveyor_nb")
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    logger.addHandler(log)
    try:
        async with MemoryStore(clock=VirtualClock(), ids="sequential") as store:
            queue = await prepare(store)
            panel = (
                dashboard(store, read_only=read_only) if of_all or read_only else panel_of(queue)
            )
            panel.receive({"do": "hello", "view": "page", "n": 1})
            if (read_only and not of_all) or (of_all and not read_only):
                panel.receive({"do": "queue", "queue": NAME})
            await settle()
            before = await state_of(store)
            await take(panel, contents)
            if read_only:
                assert await state_of(store) == before
            await take(panel, [{"do": "hello", "view": "page"}, {"do": "queue", "queue": NAME}])
            if panel.tab in TABS and panel.queue is not None:
                counts = await store.get_job_counts(NAME)
                assert panel.head["counts"] == {str(state): n for state, n in counts.items()}
            msgspec.json.encode(panel.get_state([name for name in panel.keys if name[0] != "_"]))
            panel.close()
            await settle()
    finally:
        logger.removeHandler(log)
    assert not faults
    told = (ConveyorError, Mistake, ValueError, TypeError, PermissionError)
    assert [error for error in log.faults if not isinstance(error, told)] == []


@settings(max_examples=80, deadline=None)
@given(talks(), st.booleans())
def test_a_panel_goes_on_whatever_a_page_sends(contents: list[object], of_all: bool) -> None:
    asyncio.run(run(contents, of_all=of_all, read_only=False))


@settings(max_examples=60, deadline=None)
@given(talks(), st.booleans())
def test_one_that_only_shows_changes_nothing(contents: list[object], of_all: bool) -> None:
    asyncio.run(run(contents, of_all=of_all, read_only=True))
