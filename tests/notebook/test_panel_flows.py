"""Schedules, flows and groups in a queue's panel, as its page sees them, without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    Group,
    GroupLimits,
    Job,
    Limiter,
    MemoryStore,
    Queue,
    Repeat,
    VirtualClock,
    Worker,
)
from conveyor_nb.notebook.panel.queue_view import QueueView

pytestmark = pytest.mark.asyncio

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)  # a Friday


@pytest_asyncio.fixture
async def queue() -> AsyncIterator[Queue]:
    clock = VirtualClock(start=NOON)
    async with (
        MemoryStore(clock=clock, ids="sequential", seed=1) as store,
        Queue("emails", store=store) as queue,
    ):
        yield queue


async def schedule_row(view: QueueView) -> dict[str, object]:
    """The only schedule."""
    (row,) = (await view.read())["schedules"]["rows"]
    assert isinstance(row, dict)
    return row


@pytest_asyncio.fixture
async def schedules(queue: Queue) -> QueueView:
    """A panel's view of a queue, with its tab of schedules open, and one schedule."""
    rule = Repeat(cron="0 9 * * 1-5", tz="Europe/Paris", limit=9)
    await queue.upsert_job_scheduler("report", rule, "report", {"to": "ada"}, priority=3)
    view = QueueView(queue)
    await view.do("tab", tab="schedules")
    return view


async def test_a_rule_is_told_in_words_with_the_next_five_runs(schedules: QueueView) -> None:
    row = await schedule_row(schedules)
    assert row["words"] == "Every weekday at 09:00, Europe/Paris"
    times = [datetime.fromtimestamp(at, UTC) for at in row["runs"]]  # type: ignore[attr-defined]
    assert [f"{time:%a %d %H:%M}" for time in times] == [
        *("Mon 04 08:00", "Tue 05 08:00", "Wed 06 08:00", "Thu 07 08:00", "Fri 08 08:00")
    ]
    assert (row["job"], row["running"], row["paused"]) == ("emails-1", False, False)


async def test_no_more_runs_are_told_than_its_limit_leaves(queue: Queue) -> None:
    await queue.upsert_job_scheduler("twice", Repeat(every="1h", limit=2), "tick")
    view = QueueView(queue)
    await view.do("tab", tab="schedules")
    row = await schedule_row(view)
    assert row["runs"] == [NOON.timestamp(), NOON.timestamp() + 3_600]


async def test_it_is_paused_resumed_and_removed(schedules: QueueView, queue: Queue) -> None:
    await schedules.do("pause_schedule", schedule="report")
    assert (await schedule_row(schedules))["runs"] == []
    assert (await schedule_row(schedules))["paused"] is True
    await schedules.do("resume_schedule", schedule="report")
    assert len((await schedule_row(schedules))["runs"]) == 5  # type: ignore[arg-type]
    await schedules.do("remove_schedule", schedule="report")
    assert await queue.get_job_schedulers() == []
    for verb in ("run", "pause", "resume", "remove"):
        with pytest.raises(Exception, match="no schedule 'report' any more"):
            await schedules.do(f"{verb}_schedule", schedule="report")


async def test_run_now_adds_one_more_and_leaves_the_plan(
    schedules: QueueView, queue: Queue
) -> None:
    before = await schedule_row(schedules)
    await schedules.do("run_schedule", schedule="report")
    (job,) = await queue.get_jobs("waiting")
    assert (job.name, job.data, job.opts.priority) == ("report", {"to": "ada"}, 3)
    assert await schedule_row(schedules) == before


async def test_another_rule_is_tried_out_and_taken(schedules: QueueView, queue: Queue) -> None:
    await schedules.do("draft_schedule", schedule="report", rule="every 10 minutes")
    draft = (await schedules.read())["schedules"]["draft"]
    assert (draft["words"], draft["error"]) == ("Every 10 minutes", "")
    assert draft["runs"][1] - draft["runs"][0] == 600
    assert (await schedule_row(schedules))["rule"] == "0 9 * * 1-5"

    await schedules.do("edit_schedule", schedule="report", rule="every 10 minutes")
    (scheduler,) = await queue.get_job_schedulers()
    assert scheduler.repeat == Repeat(every="10m", limit=9)
    assert (scheduler.name, scheduler.data, scheduler.opts.priority) == ("report", {"to": "ada"}, 3)
    part = (await schedules.read())["schedules"]
    assert (part["draft"], part["saved"]) == (None, 1)


async def test_a_paused_one_gets_another_rule_and_stays_paused(
    schedules: QueueView, queue: Queue
) -> None:
    await schedules.do("pause_schedule", schedule="report")
    await schedules.do("edit_schedule", schedule="report", rule="30 8 * * *", tz="Asia/Tokyo")
    row = await schedule_row(schedules)
    assert (row["paused"], row["words"]) == (True, "Every day at 08:30, Asia/Tokyo")


@pytest.mark.parametrize(
    ("rule", "tz", "said"),
    [
        ("soon", "", "'soon' is no rule: type a duration such as 10m"),
        ("99 9 * * *", "", "is not a cron line"),
        ("0 9 * * *", "Europe/Pariss", "is not a known time zone"),
        ("0 0 30 2 *", "", "never comes: no date fits it"),
    ],
)
async def test_a_bad_rule_is_told_and_changes_nothing(
    schedules: QueueView, rule: str, tz: str, said: str
) -> None:
    before = await schedule_row(schedules)
    await schedules.do("draft_schedule", schedule="report", rule=rule, tz=tz)
    assert said in (await schedules.read())["schedules"]["draft"]["error"]
    with pytest.raises(Exception, match=said):
        await schedules.do("edit_schedule", schedule="report", rule=rule, tz=tz)
    assert await schedule_row(schedules) == before


async def test_nothing_of_a_schedule_is_changed_where_it_is_only_shown(queue: Queue) -> None:
    await queue.upsert_job_scheduler("tick", Repeat(every="1h"), "tick")
    view = QueueView(queue, read_only=True)
    for verb in ("run", "edit", "pause", "resume", "remove"):
        with pytest.raises(PermissionError):
            await view.do(f"{verb}_schedule", schedule="tick", rule="5m")
    await view.do("draft_schedule", schedule="tick", rule="5m")


async def flows_part(view: QueueView) -> dict[str, Any]:
    part: dict[str, Any] = (await view.read())["flows"]
    return part


def drawn(rows: list[dict[str, Any]]) -> list[str]:
    """A tree as lines."""
    return [
        f"{'  ' * row['depth']}{row['more'] or row['name'] + ' ' + row['state']}" for row in rows
    ]


BOOK = FlowJob(
    "book",
    "emails",
    children=[
        FlowJob("chapter", "parts", children=[FlowJob("page", "parts", n) for n in range(2)]),
        FlowJob("cover", "emails"),
    ],
)


async def test_a_flow_is_a_tree_with_live_states_that_folds(queue: Queue) -> None:
    flow = await FlowProducer(store=queue.store).add(BOOK)
    await queue.add("other")
    view = QueueView(queue)
    await view.do("tab", tab="flows")
    part = await flows_part(view)
    assert [row["id"] for row in part["rows"]] == [flow.job.id]
    assert drawn(part["tree"]) == [
        "book waiting-children",
        "  chapter waiting-children",
        "    page waiting",
        "    page waiting",
        "  cover waiting",
    ]
    assert [row["foreign"] for row in part["tree"]] == [False, True, True, True, False]

    async with Worker("emails", lambda job: None, store=queue.store):
        await flow.children[1].job.wait_until_finished()
    (row,) = (await flows_part(view))["rows"]
    assert (row["done"], row["failed"], row["children"]) == (1, 0, 2)

    chapter = flow.children[0].job
    await view.do("fold", id=chapter.id, queue="parts")
    part = await flows_part(view)
    assert drawn(part["tree"]) == [
        *("book waiting-children", "  chapter waiting-children", "  cover completed")
    ]
    await view.do("fold", id=chapter.id, queue="parts")
    assert len((await flows_part(view))["tree"]) == 5
    await view.do("open_flow")
    assert ((await flows_part(view))["open"], (await flows_part(view))["tree"]) == (None, [])
    await view.do("open_flow", id=flow.job.id)
    assert len((await flows_part(view))["tree"]) == 5


async def test_a_flow_is_found_from_the_queue_of_its_children(queue: Queue) -> None:
    flow = await FlowProducer(store=queue.store).add(BOOK)
    view = QueueView(Queue("parts", store=queue.store))
    await view.do("tab", tab="flows")
    (row,) = (await flows_part(view))["rows"]
    assert (row["id"], row["queue"], row["foreign"]) == (flow.job.id, "emails", True)
    assert view.again is not None  # no event of the other queue comes to a panel of this one


async def test_a_flow_that_was_found_stays_when_many_jobs_come_after_it(queue: Queue) -> None:
    await FlowProducer(store=queue.store).add(FlowJob("book", "emails"))
    flow = await FlowProducer(store=queue.store).add(
        FlowJob("sum", "emails", children=[FlowJob("part", "parts")])
    )
    view = QueueView(queue)
    await view.do("tab", tab="flows")
    await flows_part(view)
    async with Worker("parts", lambda job: None, store=queue.store):
        await flow.children[0].job.wait_until_finished()
    await queue.add_bulk([{"name": "more"}] * 500)
    (row,) = (await flows_part(view))["rows"]
    assert (row["id"], row["state"]) == (flow.job.id, "waiting")


async def test_of_very_many_children_those_that_failed_are_shown(queue: Queue) -> None:
    children = [FlowJob("part", "emails", n) for n in range(60)]
    tree = FlowJob("sum", "emails", children=children, fail_parent_on_child_failure="ignore")
    flow = await FlowProducer(store=queue.store).add(tree)

    def fails(job: Job) -> None:
        if job.data in (50, 55):
            raise ValueError("no")

    async with Worker("emails", fails, store=queue.store):
        await flow.job.wait_until_finished()
    view = QueueView(queue)
    await view.do("tab", tab="flows")
    part = await flows_part(view)
    assert (part["rows"][0]["done"], part["rows"][0]["failed"]) == (58, 2)
    assert part["rows"][0]["ring"][1]["aria-label"] == "58 of 60 completed, 2 failed"
    assert [line for line in drawn(part["tree"]) if "failed" in line] == ["  part failed"] * 2
    assert drawn(part["tree"])[-1] == "  35"


async def test_what_adding_a_flow_gives_is_a_tree_with_marks_and_a_ring(queue: Queue) -> None:
    flow = await FlowProducer(store=queue.store).add(
        FlowJob("<b>sum</b>", "emails", children=[FlowJob("part", "parts")])
    )
    page = flow._repr_mimebundle_()["text/html"]
    assert "&lt;b&gt;sum" in page
    assert "<b>sum" not in page
    assert " 2 jobs, 0 completed" in page
    assert page.count("<img ") == 3  # the ring, and a mark for each job
    assert page.count("<tr>") == 3
    async with Worker("parts", lambda job: None, store=queue.store):
        await flow.children[0].job.wait_until_finished()
    await flow.children[0].job.refresh()
    page = flow._repr_mimebundle_()["text/html"]
    assert " 2 jobs, 1 completed" in page
    assert " completed</td>" in page


async def test_groups_are_told_with_their_turns_counts_and_limits(queue: Queue) -> None:
    for group in ("acme", "acme", "acme", "globex"):
        await queue.add("send", group=Group(group, max_size=5))
    await queue.add("send")
    view = QueueView(queue)
    await view.do("tab", tab="groups")
    part = (await view.read())["groups"]
    assert [(row["id"], row["turn"], row["waiting"]) for row in part["rows"]] == [
        ("acme", 1, 3),
        ("globex", 2, 1),
        (None, 3, 1),
    ]
    assert part["turns"] == ["acme", "globex", None, "acme", "acme"]
    assert [row["max_size"] for row in part["rows"]] == [5, 5, None]
    assert part["limits"] == []

    limits = GroupLimits(concurrency=1, limiter=Limiter(10, "1m"))
    has_begun = asyncio.Event()

    async def go_on(job: Job) -> None:
        has_begun.set()
        await job.sleep("1h")

    async with Worker("emails", go_on, store=queue.store, group=limits) as worker:
        await has_begun.wait()
        part = (await view.read())["groups"]
        await worker.close(timeout=0)
    assert part["limits"] == ["1 at once", "10 started in any 1m"]
    assert part["turns"] == ["globex", None]  # one of each group may run at once
    acme = next(row for row in part["rows"] if row["id"] == "acme")
    assert (acme["active"], acme["waiting"], acme["turn"]) == (1, 2, None)


async def test_a_queue_without_groups_shows_none(queue: Queue) -> None:
    await queue.add("send")
    view = QueueView(queue)
    await view.do("tab", tab="groups")
    assert (await view.read())["groups"]["rows"] == []


async def test_a_row_has_tags_of_its_flow_schedule_and_group(queue: Queue) -> None:
    await FlowProducer(store=queue.store).add(
        FlowJob("sum", "emails", children=[FlowJob("part", "emails", group=Group("acme"))])
    )
    await queue.upsert_job_scheduler("nightly", Repeat(every="1h"), "tick")
    rows = (await QueueView(queue).read())["jobs"]["rows"]
    assert {row["name"]: row["tags"] for row in rows} == {
        "sum": [["flow", "1 child"]],
        "part": [["flow", "emails-1"], ["group", "acme"]],
        "tick": [["schedule", "nightly"]],
    }
