"""What a last line of a cell shows of lists, counts, flows and events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    JobState,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
)
from conveyor_nb.notebook.listings import MOST_ROWS, events_listing, jobs_listing

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def queue() -> AsyncIterator[Queue]:
    async with MemoryStore(clock=VirtualClock(), ids="sequential") as store:
        yield Queue("emails", store=store)


async def test_a_list_of_jobs_is_a_list_and_a_table(queue: Queue) -> None:
    added = await queue.add_bulk({"name": "send", "data": n} for n in range(3))
    for jobs in (added, await queue.get_jobs(), await queue.search()):
        assert isinstance(jobs, list)
        assert repr(jobs).startswith("[<Job emails-1 'send': waiting>, <Job emails-2 ")
        bundle = jobs._repr_mimebundle_()
        assert bundle["text/plain"].splitlines() == [
            "id        name  state    tries  when (UTC)                 result",
            "emails-1  send  waiting         added 2027-01-01 00:00:00",
            "emails-2  send  waiting         added 2027-01-01 00:00:00",
            "emails-3  send  waiting         added 2027-01-01 00:00:00",
        ]
        assert bundle["text/html"].count("<tr>") == 4
    frame = (await queue.get_jobs()).to_frame("waiting")
    assert list(frame["data"]) == [0, 1, 2]


async def test_of_many_jobs_some_are_shown_and_the_others_counted(queue: Queue) -> None:
    jobs = await queue.add_bulk({"name": "send"} for _ in range(5_000))
    assert len(repr(jobs)) < 1_000
    assert repr(jobs).endswith("… 4,988 more]")
    text = jobs._repr_mimebundle_()["text/plain"]
    assert len(text.splitlines()) == MOST_ROWS + 2
    assert text.endswith("… 4,950 more")
    newest = repr(jobs_listing(jobs, newest=True)).splitlines()
    assert newest[-1] == "the newest 50 of 5,000 jobs"
    assert newest[-2].startswith("emails-5000")


async def test_counts_are_a_dict_and_a_line(queue: Queue) -> None:
    await queue.add("send")
    counts = await queue.get_job_counts()
    assert counts["waiting"] == counts[JobState.WAITING] == 1
    assert repr(counts).startswith("{'waiting': 1, 'waiting-children': 0, ")
    assert "\n" not in repr(counts)
    assert dict(counts) == counts
    assert "<td" in counts._repr_mimebundle_()["text/html"]


async def test_a_flow_is_a_tree(queue: Queue) -> None:
    leaf = FlowJob("part", "parts")
    tree = FlowJob("report", "reports", children=[FlowJob("half", "parts", children=[leaf]), leaf])
    flow = await FlowProducer(store=queue.store).add(tree)
    assert repr(flow) == "<FlowNode of <Job reports-1 'report': waiting-children>, 2 children>"
    assert flow._repr_mimebundle_()["text/plain"].splitlines() == [
        "name        queue    id         state",
        "report      reports  reports-1  waiting-children",
        "  └ half    parts    parts-1    waiting-children",
        "    └ part  parts    parts-2    waiting",
        "  └ part    parts    parts-3    waiting",
    ]


async def test_a_flow_may_be_any_number_of_levels_deep(queue: Queue) -> None:
    tree = FlowJob("leaf", "parts")
    for _ in range(3_000):
        tree = FlowJob("level", "parts", children=[tree])
    flow = await FlowProducer(store=queue.store).add(tree)
    assert len(repr(flow)) < 200
    assert len(repr(tree)) < 200
    bundle = flow._repr_mimebundle_()
    assert bundle["text/plain"].endswith("… 2,951 more")
    assert max(map(len, bundle["text/plain"].splitlines())) < 100


async def test_events_tell_what_they_tell(queue: Queue) -> None:
    events: list[StoreEvent] = []
    queue.store.subscribe("emails", events.append)
    await queue.add("send", delay="1m")
    await queue.pause()
    assert repr(events_listing(events)).splitlines() == [
        "at (UTC)  event         job       what",
        "00:00:00  job:delayed   emails-1  send · due 00:01:00 UTC",
        "00:00:00  queue:paused            all jobs",
    ]
    assert repr(events_listing([])) == "no events yet"
    assert repr(events[0]).startswith("<StoreEvent job:delayed of emails emails-1: ")
