"""The table of a queue's panel: what it shows, in which order, and what is done with many jobs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb import (
    Backoff,
    Deduplication,
    FlowJob,
    FlowProducer,
    Group,
    InvalidJobStateError,
    Job,
    JobData,
    JobNotFoundError,
    MemoryStore,
    Queue,
    Repeat,
    VirtualClock,
    Worker,
)
from conveyor_nb.core import actions
from conveyor_nb.notebook.happening import what_happens
from conveyor_nb.notebook.mistakes import Mistake
from conveyor_nb.notebook.panel import job_choice, job_export
from conveyor_nb.notebook.panel.job_choice import Choice, Search
from conveyor_nb.notebook.panel.page_messages import read_message
from conveyor_nb.notebook.panel.queue_view import QueueView
from conveyor_nb.notebook.panel.widget import panel_of

pytestmark = pytest.mark.asyncio


@pytest.fixture
def queue() -> Queue:
    store = MemoryStore(clock=VirtualClock(), ids="sequential", seed=1)
    return Queue("emails", store=store)


@pytest.fixture
def view(queue: Queue) -> QueueView:
    return QueueView(queue)


async def table(view: QueueView) -> dict[str, Any]:
    """What the table is sent."""
    jobs: dict[str, Any] = (await view.read())["jobs"]
    return jobs


async def numbers(view: QueueView) -> list[int]:
    """The jobs that are shown, by the numbers in their ids."""
    return [int(row["id"].split("-")[1]) for row in (await table(view))["rows"]]


def advance(queue: Queue, duration: str) -> Any:
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    return clock.advance(duration)


async def run_some(queue: Queue, jobs: int) -> None:
    """Run the next jobs, one each second; those named ``bad`` fail."""

    async def send(job: Job) -> None:
        await job.sleep(1)
        if job.name == "bad":
            raise ConnectionError("no answer")

    async with Worker(queue.name, send, store=queue.store):
        await advance(queue, f"{jobs}s")


# -- the order ------------------------------------------------------------------------------


async def test_all_shows_what_happens(queue: Queue, view: QueueView) -> None:
    await queue.add_bulk({"name": "send"} for _ in range(20))
    await queue.add("send", delay="1h")
    await run_some(queue, 6)
    await queue.store.fetch_jobs("emails", "w", 30)
    assert await numbers(view) == [7, 6, 5, 4, 8, 9, 10, 11, 12, 13], "active, settled, next"
    await view.do("page", page=1)
    assert await numbers(view) == [14, 15, 16, 17, 18, 19, 20, 21, 3, 2], (
        "due later, settled before"
    )
    await view.do("page", page=99)  # past the last page is the last page
    assert await numbers(view) == [1]
    assert (await table(view))["pages"] == 3


async def test_all_shows_what_settled_last_if_there_is_nothing_else(
    queue: Queue, view: QueueView
) -> None:
    await queue.add_bulk({"name": "bad" if n % 3 == 1 else "send"} for n in range(60))
    await run_some(queue, 60)
    assert await numbers(view) == [60, 59, 58, 57, 56, 55, 54, 53, 52, 51]
    shown = []
    for page in range(6):
        await view.do("page", page=page)
        shown += await numbers(view)
    assert shown == list(range(60, 0, -1)), "completed and failed ones as one list, each once"


@pytest.mark.parametrize("bad", [0, 1, 2, 7])
async def test_each_job_is_on_one_page(queue: Queue, bad: int) -> None:
    await queue.add_bulk({"name": "bad" if bad and n % bad == 0 else "send"} for n in range(80))
    await queue.add_bulk({"name": "later", "delay": n + 3_600} for n in range(5))
    await run_some(queue, 65)
    store, counts = queue.store, await queue.store.get_job_counts("emails")
    found: list[JobData] = []
    for start in range(0, 100, 10):
        found += await what_happens(store, "emails", counts, start, 10)
    assert sorted(job.sequence for job in found) == sorted(
        job.sequence for job in await store.list_jobs("emails")
    )


async def test_what_comes_next_goes_by_turns_and_pauses(queue: Queue, view: QueueView) -> None:
    for number in range(6):
        await queue.add("send" if number else "held", group=Group("a" if number < 4 else "b"))
    await queue.pause("held")
    assert await numbers(view) == [2, 5, 3, 6, 4, 1], "what may not start comes last"
    await queue.pause()
    assert len(await numbers(view)) == 6


async def test_waiting_jobs_stand_in_order_of_service(queue: Queue, view: QueueView) -> None:
    await queue.add_bulk({"name": "send"} for _ in range(25))
    await view.do("show", state="waiting")
    assert await numbers(view) == list(range(1, 11))
    await view.do("show", state="failed")
    shown = await table(view)
    assert (shown["rows"], shown["pages"], shown["total"]) == ([], 1, 0)


async def test_ids_are_cut_in_the_middle(queue: Queue, view: QueueView) -> None:
    await queue.add("send", job_id="customer-order-2026-000000000042")
    [row] = (await table(view))["rows"]
    assert row["short_id"] == "cust…00000042"


# -- search, filters, sort ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"text": "ADA"}, [3, 1]),
        ({"text": "emails-2"}, [2]),
        ({"text": "bounce"}, [3]),
        ({"name": "send"}, [2, 1]),
        ({"name": "sen"}, []),
        ({"group": "gold"}, [2]),
        ({"text": "ada", "name": "send"}, [1]),
    ],
)
async def test_jobs_are_looked_for(
    queue: Queue, view: QueueView, wanted: dict[str, str], found: list[int]
) -> None:
    await queue.add("send", {"to": ["Ada@example.org"]})
    await queue.add("send", {"to": "bob"}, group=Group("gold"))
    await queue.add("bounce", {"of": "ada"})
    await view.do("filter", **wanted)
    assert await numbers(view) == found
    assert (await table(view))["total"] == len(found)
    await view.do("show", state="completed")
    assert await numbers(view) == []
    await view.do("show", state="")
    await view.do("filter")
    assert await numbers(view) == [1, 2, 3]


async def test_what_was_added_lately_is_looked_for(queue: Queue, view: QueueView) -> None:
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    for _ in range(3):
        await queue.add("send")
        await clock.advance("10m")
    await view.do("filter", grace="15m")
    assert await numbers(view) == [3]
    await view.do("filter", grace="20m", name="send")
    assert await numbers(view) == [3, 2]
    assert (await table(view))["filter"]["added"] == "20m"
    with pytest.raises(ValueError, match=r"how long ago jobs were added at most .*'lately'"):
        await view.do("filter", grace="lately")


async def test_what_was_added_from_an_instant_to_another_is_looked_for(
    queue: Queue, view: QueueView
) -> None:
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    instants = []
    for _ in range(4):
        instants.append(clock.now().timestamp())
        await queue.add("send")
        await clock.advance("10m")
    await view.do("filter", since=instants[1], until=instants[2])
    assert await numbers(view) == [3, 2], "both ends belong to it"
    told = (await table(view))["filter"]
    assert (told["since"], told["until"]) == (instants[1], instants[2])
    await view.do("filter", since=instants[2] + 1)
    assert await numbers(view) == [4]
    await view.do("filter", until=instants[0])
    assert await numbers(view) == [1]
    await view.do("filter", since=instants[0], grace="35m")
    assert await numbers(view) == [4, 3, 2], "of two beginnings the later one"
    with pytest.raises(ValueError, match=r"from 2027-01-01 00:10:00 until .* is before"):
        await view.do("filter", since=instants[1], until=instants[0])
    with pytest.raises(ValueError, match="not a message of a page"):
        read_message({"do": "filter", "since": 1e12})


async def test_a_flow_and_a_schedule_are_looked_for(queue: Queue, view: QueueView) -> None:
    children = [FlowJob("child", "emails"), FlowJob("child", "emails")]
    flow = await FlowProducer(store=queue.store).add(FlowJob("parent", "emails", children=children))
    await queue.upsert_job_scheduler("ticks", Repeat(every="1m"), "tick")
    shown = await table(view)
    assert shown["known"]["flow"] == [flow.job.id]
    assert shown["known"]["schedule"] == ["ticks"]
    await view.do("filter", flow=flow.job.id)
    assert [row["name"] for row in (await table(view))["rows"]] == ["child", "child", "parent"]
    await view.do("filter", schedule="ticks")
    assert [row["name"] for row in (await table(view))["rows"]] == ["tick"]


async def test_the_table_is_sorted(queue: Queue, view: QueueView) -> None:
    await queue.add_bulk({"name": f"job {n * 7 % 600:03}"} for n in range(600))
    await view.do("sort", sort="name")
    assert [row["name"] for row in (await table(view))["rows"]] == [
        f"job {n:03}" for n in range(10)
    ]
    await view.do("sort", sort="-name")
    await view.do("page", page=59)
    assert [row["name"] for row in (await table(view))["rows"]][-1] == "job 000"
    with pytest.raises(ValueError, match="a table is sorted by one of"):
        await view.do("sort", sort="colour")


async def test_a_large_queue_is_not_searched_for_each_frame(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    monkeypatch.setattr(job_choice, "REAL_TIME", clock)
    search, searches = Search(queue), 0
    find_jobs = type(queue.store).find_jobs

    async def slowly(store: MemoryStore, *args: Any, **more: Any) -> Any:
        nonlocal searches
        searches += 1
        await clock.advance("0.1s")
        return await find_jobs(store, *args, **more)

    monkeypatch.setattr(type(queue.store), "find_jobs", slowly)
    choice = Choice(text="ada")
    for _ in range(3):
        await search.page(choice, 0, 10)
    assert searches == 1
    assert search.again == pytest.approx(0.9)
    await search.page(Choice(text="adam"), 0, 10)
    assert searches == 2, "what is typed is looked for at once"
    await clock.advance("1s")
    await search.page(Choice(text="adam"), 0, 10)
    assert (searches, search.again) == (3, None)


async def test_what_a_page_looks_for_is_bounded() -> None:
    assert read_message({"do": "filter", "text": "x" * 500}).text
    for field, length in (("text", 501), ("name", 256), ("flow", 256)):
        with pytest.raises(ValueError, match="not a message of a page"):
            read_message({"do": "filter", field: "x" * length})


# -- what is done with many -----------------------------------------------------------------


async def ask(view: QueueView, act: str, **more: Any) -> str:
    """What a person is asked before it is done."""
    await view.do("ask", act=act, **more)
    asked = (await table(view))["question"]
    return str(asked["text"])


async def say_yes(view: QueueView) -> None:
    await view.do("answer", question=(await table(view))["question"]["n"])


@pytest.fixture
def counts(queue: Queue) -> Callable[[], Awaitable[dict[str, int]]]:
    """Gives how many jobs are in which state, the empty ones left out."""

    async def read() -> dict[str, int]:
        found = await queue.get_job_counts()
        return {str(state): count for state, count in found.items() if count}

    return read


Counts = Callable[[], Awaitable[dict[str, int]]]


async def test_what_is_chosen_is_retried_promoted_cancelled_and_removed(
    queue: Queue, view: QueueView, counts: Counts
) -> None:
    await queue.add_bulk({"name": "bad"} for _ in range(3))
    await queue.add_bulk({"name": "later", "delay": 3_600} for _ in range(2))
    await run_some(queue, 3)
    ids = tuple(f"emails-{n}" for n in range(2, 6))
    assert await ask(view, "retry", ids=ids) == "Run 2 jobs again? (2 others can't be)"
    assert await counts() == {"failed": 3, "delayed": 2}, "it is only asked"
    await say_yes(view)
    assert await counts() == {"failed": 1, "delayed": 2, "waiting": 2}
    assert (await table(view))["question"] is None
    assert await ask(view, "promote", ids=ids) == "Run 2 jobs now? (2 others can't be)"
    await say_yes(view)
    assert await counts() == {"failed": 1, "waiting": 4}
    assert await ask(view, "cancel", ids=ids[:1]) == "Cancel 1 job?"
    await say_yes(view)
    assert await counts() == {"failed": 2, "waiting": 3}
    assert await ask(view, "remove", ids=ids[:2]) == "Remove 2 jobs for good?"
    await say_yes(view)
    assert await counts() == {"failed": 1, "waiting": 2}
    with pytest.raises(Mistake, match="this job can't be promoted as it is"):
        await ask(view, "promote", ids=ids[-1:])


async def test_all_that_are_found_are_chosen(queue: Queue, view: QueueView, counts: Counts) -> None:
    await queue.add_bulk({"name": "send", "data": "ada" if n % 2 else "bob"} for n in range(600))
    await view.do("filter", text="ada")
    assert await ask(view, "remove", all=True) == "Remove 300 jobs for good?"
    await queue.add("send", "ada")
    await say_yes(view)
    assert await counts() == {"waiting": 301}, "those that were counted, and no other"
    assert (await table(view))["total"] == 1


async def test_no_stale_answer_does_anything(queue: Queue, view: QueueView, counts: Counts) -> None:
    await queue.add("send")
    await ask(view, "remove", all=True)
    await ask(view, "drain")
    with pytest.raises(Mistake, match="nothing was done"):
        await view.do("answer", question=1)
    await view.do("keep")
    with pytest.raises(Mistake, match="nothing was done"):
        await view.do("answer", question=2)
    assert await counts() == {"waiting": 1}
    with pytest.raises(ValueError, match="does not know how to do 'explode'"):
        await ask(view, "explode")


async def test_what_changed_since_it_was_asked_stops_no_other(
    queue: Queue, view: QueueView, counts: Counts
) -> None:
    await queue.add_bulk({"name": "later", "delay": 3_600} for _ in range(3))
    await ask(view, "promote", all=True)
    await queue.store.apply("emails", "emails-2", actions.Promote())
    with pytest.raises(Mistake, match=r"promoted 2 of 3 jobs; job 'emails-2' is 'waiting'"):
        await say_yes(view)
    assert await counts() == {"waiting": 3}


async def test_a_queue_is_drained_cleaned_and_obliterated(
    queue: Queue, view: QueueView, counts: Counts
) -> None:
    await queue.add_bulk({"name": "bad" if n < 2 else "send"} for n in range(8))
    await queue.add("later", delay="2h")
    await run_some(queue, 4)
    await advance(queue, "1h")
    await run_some(queue, 1)
    told = await ask(view, "clean", state="completed", grace="30m")
    assert told == "Remove 2 jobs: all that are completed, for 30m or longer?"
    await say_yes(view)
    assert await counts() == {"completed": 1, "failed": 2, "waiting": 3, "delayed": 1}
    assert await ask(view, "clean", state="failed") == "Remove 2 jobs: all that are failed?"
    await say_yes(view)
    assert await ask(view, "drain") == "Remove 4 jobs: all that wait?"
    await say_yes(view)
    assert await counts() == {"completed": 1}
    await queue.add("send")
    await queue.store.fetch_jobs("emails", "w", 30)
    assert await ask(view, "obliterate") == (
        "Obliterate 2 jobs: the queue and all it has, 1 of them at work?"
    )
    await say_yes(view)
    assert await counts() == {}
    with pytest.raises(Mistake, match="any state but active"):
        await ask(view, "clean", state="active")


async def test_one_job_name_is_paused_and_resumed(queue: Queue, view: QueueView) -> None:
    await view.do("pause_name", name="send")
    assert (await view.read())["head"]["paused_names"] == ["send"]
    await view.do("resume_name", name="send")
    assert (await view.read())["head"]["paused_names"] == []


async def test_where_it_is_only_looked_nothing_is_asked(queue: Queue) -> None:
    view = QueueView(queue, read_only=True)
    for what in ("ask", "answer", "add", "edit", "change", "pause_name", "resume_name"):
        with pytest.raises(PermissionError, match="is only shown here"):
            await view.do(what, act="drain", name="send")


# -- one that is added or changed -----------------------------------------------------------


async def form(view: QueueView) -> dict[str, Any]:
    """What the form is sent."""
    told: dict[str, Any] = (await table(view))["form"]
    return told


async def test_a_job_is_added_with_its_options(queue: Queue, view: QueueView) -> None:
    options = {
        "delay": "10m",
        "priority": "2.5",
        "attempts": "3",
        "backoff": "exponential:2s",
        "timeout": "30",
        "group": "gold",
        "job_id": "first",
        "deduplication": "ada",
        "lifo": "yes",
    }
    await view.do("add", name="send", data='{"to": ["ada"]}', options=options)
    assert (await form(view))["told"] == "added first"
    job = await queue.get_job("first")
    assert job is not None
    assert (job.name, job.data) == ("send", {"to": ["ada"]})
    assert (job.priority, job.group_id) == (2.5, "gold")
    opts = job.opts
    assert (opts.delay, opts.attempts, opts.timeout, opts.lifo) == (600, 3, 30, True)
    assert opts.backoff == Backoff("exponential", delay=2)
    assert opts.deduplication == Deduplication("ada")
    await view.do("add", name="send")
    assert (await form(view))["saved"] == 2


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ({"name": ""}, "a job has a name"),
        ({"data": "{to: 1}"}, "the payload is not JSON: Expecting property name"),
        ({"data": "[" * 50_000}, "the payload is not JSON"),
        ({"options": {"delay": "soon"}}, "the delay is a duration such as 500ms, 5s or 10m"),
        ({"options": {"attempts": "many"}}, "attempts is a whole number such as 3, not 'many'"),
        ({"options": {"attempts": "0"}}, "attempts"),
        ({"options": {"priority": "nan"}}, "priority"),
        ({"options": {"colour": "red"}}, "a form has no field 'colour'"),
    ],
)
async def test_what_is_wrong_is_told_in_the_form_and_nothing_is_added(
    queue: Queue, view: QueueView, message: dict[str, Any], wrong: str
) -> None:
    await view.do("add", **{"name": "send", **message})
    told = await form(view)
    assert wrong in told["wrong"]
    assert told["saved"] == 0
    assert await queue.count() == 0


async def test_one_that_has_not_run_is_changed(queue: Queue, view: QueueView) -> None:
    await queue.add("send", {"to": "ada"}, delay="1h")
    await view.do("edit", id="emails-1")
    assert (await form(view))["editing"] == {
        "id": "emails-1",
        "name": "send",
        "data": '{\n  "to": "ada"\n}',
        "priority": "0",
        "delayed": True,
    }
    options = {"priority": "4", "delay": "5m"}
    await view.do("change", id="emails-1", data='{"to": "bob"}', options=options)
    told = await form(view)
    assert (told["told"], told["wrong"], told["editing"]) == ("changed emails-1", "", None)
    job = await queue.get_job("emails-1")
    assert job is not None
    assert (job.data, job.priority) == ({"to": "bob"}, 4)
    assert job.delay_until == queue.store.clock.now() + timedelta(minutes=5)
    await view.do("change", id="emails-1", options={"priority": "1"})
    await job.refresh()
    assert (job.data, job.priority) == ({"to": "bob"}, 1), "only what is sent is changed"


async def test_one_that_runs_is_not_changed(queue: Queue, view: QueueView) -> None:
    await queue.add("send", "ada")
    await queue.store.fetch_jobs("emails", "w", 30)
    await view.do("change", id="emails-1", data='"bob"')
    assert "job 'emails-1' is 'active'" in (await form(view))["wrong"]
    with pytest.raises(InvalidJobStateError):
        await view.do("edit", id="emails-1")
    with pytest.raises(JobNotFoundError):
        await view.do("edit", id="emails-7")


@pytest.mark.parametrize("data", [{1, 2}, (1, 2), {1: "a"}, float("nan"), "x" * 100_001])
async def test_a_payload_that_is_more_than_json_is_not_written_as_such(
    queue: Queue, view: QueueView, data: object
) -> None:
    await queue.add("send", data)
    await view.do("edit", id="emails-1")
    assert (await form(view))["editing"]["data"] is None


# -- what is taken away ---------------------------------------------------------------------


async def test_what_is_chosen_is_exported_once(queue: Queue, view: QueueView) -> None:
    await queue.add("=cmd()", {"to": "ada"}, group=Group("gold"))
    await queue.add("send", {1})
    await queue.add("send", float("nan"))
    await view.do("export", act="json", all=True, view="page")
    file = (await table(view))["file"]
    assert (file["name"], file["view"]) == ("emails.json", "page")
    rows = {row["id"]: row for row in json.loads(file["text"])}
    assert [rows[f"emails-{n}"]["data"] for n in (1, 2, 3)] == [{"to": "ada"}, "{1}", "nan"]
    assert rows["emails-1"]["created_at"] == queue.store.clock.now().isoformat()
    assert (await table(view))["file"] is None
    await view.do("export", act="csv", ids=("emails-1", "emails-9"))
    [row] = csv.DictReader(io.StringIO((await table(view))["file"]["text"]))
    assert (row["name"], row["group_id"]) == ("'=cmd()", "gold"), "no formula for a spreadsheet"
    assert json.loads(row["data"]) == {"to": "ada"}
    with pytest.raises(ValueError, match="as json or csv, not xls"):
        await view.do("export", act="xls")


async def test_very_many_are_not_put_into_one_file(
    queue: Queue, view: QueueView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_export, "MOST_JOBS", 300)
    await queue.add_bulk({"name": "send"} for _ in range(301))
    with pytest.raises(Mistake, match="a file takes 300 jobs, not 301"):
        await view.do("export", act="json", all=True)
    await queue.store.remove_job("emails", "emails-1")
    await view.do("export", act="json", all=True)
    assert len(json.loads((await table(view))["file"]["text"])) == 300


async def test_the_frame_is_what_the_table_shows(queue: Queue) -> None:
    await queue.add_bulk({"name": "send"} for _ in range(25))
    panel = panel_of(queue)
    assert panel.table is not None
    panel.table.turn_to(1)
    panel.table.sort("-added")
    panel.table.turn_to(2)
    await panel._send_frame(1)
    assert list(panel.table.frame.index) == [row["id"] for row in panel.jobs["rows"]]
    assert list(panel.table.frame.index) == [f"emails-{n}" for n in range(5, 0, -1)]
    panel.close()


async def test_a_frame_has_all_that_fit_on_whatever_page(queue: Queue, view: QueueView) -> None:
    await queue.add_bulk({"name": ("send", "bounce")[n % 2]} for n in range(30))
    await view.do("filter", name="send")
    await table(view)
    assert len(view.table.frame) == 10
    assert list((await view.table.frame_of_all()).index) == [
        f"emails-{n}" for n in range(29, 0, -2)
    ]
    await view.do("sort", sort="added")
    assert list((await view.table.frame_of_all()).index) == [f"emails-{n}" for n in range(1, 30, 2)]
