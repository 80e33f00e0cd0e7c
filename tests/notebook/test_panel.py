"""A queue's panel as its page sees it, without a browser."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import Job, JobData, JobState, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.core.model import EPOCH, StoreEvent
from conveyor_nb.notebook.panel import known_panels
from conveyor_nb.notebook.panel.event_log import KEPT, NewestEvents
from conveyor_nb.notebook.panel.job_table import PAGE_SIZE
from conveyor_nb.notebook.panel.widget import Panel, dashboard, panel_of
from conveyor_nb.notebook.pictures.belt_state import MOST_WAITING

from .pages import Page

pytestmark = pytest.mark.asyncio


class WatchedStore(MemoryStore):
    """Tells how many are subscribed, and how many jobs were asked for at a time."""

    def __init__(self) -> None:
        super().__init__(clock=VirtualClock(), ids="sequential", seed=1)
        self.most_listed = 0

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    async def list_jobs(self, *args: Any, **kwargs: Any) -> list[JobData]:
        found = await super().list_jobs(*args, **kwargs)
        self.most_listed = max(self.most_listed, len(found))
        return found

    async def next_jobs(self, *args: Any, **kwargs: Any) -> list[JobData]:
        found = await super().next_jobs(*args, **kwargs)
        self.most_listed = max(self.most_listed, len(found))
        return found


@pytest_asyncio.fixture
async def store() -> AsyncIterator[WatchedStore]:
    async with WatchedStore() as store:
        yield store


@pytest_asyncio.fixture
async def queue(store: WatchedStore) -> AsyncIterator[Queue]:
    async with Queue("emails", store=store) as queue:
        yield queue


def advance(queue: Queue, duration: str) -> Any:
    clock = queue.store.clock
    assert isinstance(clock, VirtualClock)
    return clock.advance(duration)


def ids(panel: Panel) -> list[str]:
    return [row["id"] for row in panel.jobs["rows"]]


def count(panel: Panel, state: str) -> int:
    return int(panel.head["counts"][state])


# -- what is shown --------------------------------------------------------------------------


async def test_a_page_is_told_of_what_happens(queue: Queue, panel: Panel, page: Page) -> None:
    await page.turn_to("events")
    await queue.add("send")
    await page.until(lambda: count(panel, "waiting") == 1)
    await queue.pause()
    await page.until(lambda: panel.head["paused"])
    assert page.event_types() == ["queue:paused", "job:waiting"]
    assert len(panel.events["rows"]) == 1, "only what is new is sent"


async def test_what_other_threads_do_is_shown_as_well(
    queue: Queue, panel: Panel, page: Page
) -> None:
    def add() -> None:
        asyncio.run(queue.add_bulk({"name": "send"} for _ in range(100)))

    await page.turn_to("events")
    await asyncio.gather(*(asyncio.to_thread(add) for _ in range(3)))
    await page.until(lambda: count(panel, "waiting") == 300)
    await page.until(lambda: len(page.events) == KEPT)
    numbers = [event["n"] for event in page.events]
    assert numbers == sorted(numbers, reverse=True)


async def test_a_burst_of_events_is_one_small_frame(
    queue: Queue, panel: Panel, page: Page, store: WatchedStore
) -> None:
    await queue.add_bulk({"name": "send"} for _ in range(5_000))
    await page.until(lambda: count(panel, "waiting") == 5_000)
    assert panel.frame == 2
    assert PAGE_SIZE <= store.most_listed <= MOST_WAITING
    await page.turn_to("events")
    assert len(panel.events["rows"]) == KEPT


async def test_no_frame_is_sent_before_the_last_one_is_drawn(
    queue: Queue, panel: Panel, page: Page
) -> None:
    page.draws = False
    await queue.add("send")
    await page.until(lambda: panel.frame == 2)
    for _ in range(3):
        await queue.add("send")
        await advance(queue, "1s")
    assert panel.frame == 2
    assert count(panel, "waiting") == 1

    page.draws = True
    await page.say("drawn", frame=2)
    await page.until(lambda: count(panel, "waiting") == 4)


async def test_the_log_shows_one_type_and_everything_to_a_new_page(
    queue: Queue, panel: Panel, page: Page
) -> None:
    await page.turn_to("events")
    await queue.pause()
    await queue.add_bulk({"name": "send"} for _ in range(2 * KEPT))
    await page.until(lambda: len(page.events) == KEPT)
    assert "queue:paused" not in page.event_types()
    await page.say("events", type="queue:paused")
    await page.until(lambda: page.event_types() == ["queue:paused"])
    assert page.events[0]["text"] == "all jobs", "not pushed out by all that came after"
    await page.say("events", type="")
    await page.until(lambda: len(page.events) == KEPT)

    other = Page(panel, "another")
    await other.say("hello")
    await other.until(lambda: len(other.events) == KEPT)


async def test_an_open_job_tells_all(queue: Queue, panel: Panel, page: Page) -> None:
    async def send(job: Job) -> None:
        await job.log("connecting")
        raise ValueError("no mailbox")

    await queue.add("send", {"to": "ada"}, attempts=2)
    async with Worker("emails", send, store=queue.store, name="mailer"):
        await advance(queue, "1s")
    await page.say("open", id="emails-1")
    await page.until(lambda: panel.detail is not None)
    assert panel.detail is not None
    assert panel.detail["can"] == ["retry", "remove"]
    payload, options = panel.detail["values"]
    assert payload["tree"]["parts"] == [["to", {"kind": "text", "text": "ada"}]]
    assert options["tree"]["parts"] == [["attempts", {"kind": "text", "text": "2"}]]
    first, second = panel.detail["attempts"]
    assert first["error"] == second["error"] == "ValueError: no mailbox"
    assert second["traceback"][-1] == {"text": "ValueError: no mailbox"}
    assert "raise ValueError" in second["traceback"][-2]["code"]
    assert second["logs"] == "connecting"
    await page.say("open", id="")
    await page.until(lambda: panel.detail is None)


async def test_a_removed_job_stays_open_with_its_last_state(
    queue: Queue, panel: Panel, page: Page
) -> None:
    await queue.add("send")
    await page.say("open", id="emails-1")
    await page.until(lambda: panel.detail is not None)
    await page.say("remove_job", id="emails-1")
    await page.until(lambda: not ids(panel))
    assert panel.detail is not None
    assert panel.detail["gone"]
    assert panel.detail["can"] == []


async def test_what_no_message_can_carry_is_escaped(queue: Queue, panel: Panel, page: Page) -> None:
    await queue.add("send", "half a \ud83d smile")
    await page.say("open", id="emails-1")
    await page.until(lambda: panel.detail is not None)
    assert ["Payload", r"half a \ud83d smile"] in panel.detail["texts"]
    state = panel.get_state(["head", "workers", "jobs", "detail", "events"])
    assert json.dumps(state, ensure_ascii=False).encode("utf-8")


# -- what is clicked ------------------------------------------------------------------------


async def test_the_queue_is_paused_and_resumed(
    queue: Queue, panel: Panel, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = []
    monkeypatch.setattr(panel, "send", answers.append)
    await page.say("pause")
    await page.until(lambda: panel.head["paused"])
    assert await queue.is_paused()
    assert answers == [{"heard": 1, "view": "page"}], "so the page knows that it was not lost"
    await page.say("resume")
    await page.until(lambda: not panel.head["paused"])
    assert not await queue.is_paused()


async def test_a_named_worker_is_paused_stopped_and_started(
    queue: Queue, panel: Panel, page: Page
) -> None:
    def status() -> list[str]:
        return [worker["status"] for worker in panel.workers]

    done: list[str] = []
    queue.worker(name="mailer")(lambda job: done.append(job.id))
    await page.until(lambda: status() == ["running"])
    await page.say("pause_worker", worker="mailer")
    await page.until(lambda: status() == ["paused"])
    assert panel.workers[0]["can"] == ["resume", "stop"]
    await queue.add("send")
    await advance(queue, "1s")
    assert not done
    await page.say("resume_worker", worker="mailer")
    await page.until(lambda: count(panel, "completed") == 1)

    await page.say("stop_worker", worker="mailer")
    await page.until(lambda: status() == ["stopped"])
    assert panel.workers[0]["can"] == ["start"]
    await queue.add("send")
    await page.say("start_worker", worker="mailer")
    await page.until(lambda: count(panel, "completed") == 2)
    assert status() == ["running"]
    assert done == ["emails-1", "emails-2"]
    await page.say("stop_worker", worker="mailer")
    await page.until(lambda: status() == ["stopped"])


async def test_jobs_are_promoted_cancelled_and_retried(
    queue: Queue, panel: Panel, page: Page
) -> None:
    await queue.add("send", delay="1h")
    await page.say("promote_job", id="emails-1")
    await page.until(lambda: count(panel, "waiting") == 1)
    await page.say("cancel_job", id="emails-1")
    await page.until(lambda: count(panel, "failed") == 1)
    await page.say("retry_job", id="emails-1")
    await page.until(lambda: count(panel, "waiting") == 1)
    await page.say("cancel_job", id="emails-1")
    await page.until(lambda: count(panel, "failed") == 1)
    await page.say("ask", act="retry_failed")
    await page.until(lambda: panel.jobs["question"] is not None)
    assert panel.jobs["question"]["text"] == "Run 1 job again?"
    await page.say("answer", question=1)
    await page.until(lambda: count(panel, "waiting") == 1)
    await queue.add("send", delay="1h")
    await page.say("ask", act="promote_delayed")
    await page.until(lambda: panel.jobs["question"] is not None)
    await page.say("answer", question=2)
    await page.until(lambda: count(panel, "waiting") == 2)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"do": "retry_job", "id": "emails-1"}, "job 'emails-1' is 'waiting'"),
        ({"do": "retry_job", "id": "emails-7"}, "no job 'emails-7' in queue 'emails'"),
        ({"do": "stop_worker", "worker": "mailer"}, "no worker named 'mailer'"),
    ],
)
async def test_what_can_not_be_done_is_told(
    queue: Queue, panel: Panel, page: Page, message: dict[str, str], text: str
) -> None:
    await queue.add("send")
    await page.say(**message)
    await page.until(lambda: panel.notice is not None)
    assert panel.notice is not None
    assert text in panel.notice["text"]


async def test_a_message_that_makes_no_sense_is_told_and_logged(
    panel: Panel, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    await page.say("explode")
    await page.until(lambda: panel.notice is not None)
    assert panel.notice is not None
    assert "does not know how to do 'explode'" in panel.notice["text"]
    assert "explode" in caplog.text


async def test_a_store_that_fails_is_told_and_the_panel_goes_on(
    queue: Queue, panel: Panel, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> list[JobData]:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(WatchedStore, "list_jobs", fail)
        await queue.add("send")
        await page.until(lambda: panel.notice is not None)
    assert panel.notice is not None
    assert panel.notice["text"] == "OSError: the disk is full"
    await queue.add("send")
    await page.until(lambda: count(panel, "waiting") == 2)


@pytest.mark.parametrize(
    "content",
    [None, [], "drawn", 3, {}, {"do": ["x"]}, {"do": "drawn", "frame": "9" * 5_000}]
    + [{"do": "drawn", "view": "page", "frame": frame} for frame in (None, "", float("nan"), -1)]
    + [{"do": "hello", "view": "\ud800"}, {"do": "hello", "view": "x" * 1_000_000}]
    + [
        {"do": "page", "page": 10**400},
        {"do": "open", "id": {}},
        {"do": "show", "state": "x" * 999},
    ],
    ids=lambda content: repr(content)[:40],
)
async def test_what_is_no_message_changes_nothing_and_is_logged_once(
    queue: Queue, panel: Panel, page: Page, content: object, caplog: pytest.LogCaptureFixture
) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    before = panel.frame, panel.get_state(["head", "jobs", "detail", "notice"])
    for _ in range(3):
        panel.receive(content)
    await asyncio.sleep(0)
    assert before == (panel.frame, panel.get_state(["head", "jobs", "detail", "notice"]))
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()
    assert len(caplog.records[0].getMessage()) < 1_000
    await queue.add("send")
    await page.until(lambda: count(panel, "waiting") == 1)
    assert not faults


async def test_a_page_can_not_change_what_python_holds(panel: Panel, page: Page) -> None:
    head = panel.head
    panel.set_state({"head": {}, "frame": "no number"})
    assert panel.head == head


async def test_pages_by_the_thousand_are_not_all_known_by_name(panel: Panel, page: Page) -> None:
    for number in range(1_000):
        panel.receive({"do": "hello", "view": f"v{number}"})
    await asyncio.sleep(0)
    assert len(panel._feed._pages) <= 100
    assert panel.live


async def test_panels_that_no_page_has_shown_do_not_pile_up(queue: Queue) -> None:
    for _ in range(100):
        panel_of(queue)
    assert len(known_panels.panels) < 90
    known_panels.close_panels()


async def test_events_are_kept_without_results_and_long_texts() -> None:
    log = NewestEvents()
    for _ in range(KEPT):
        data = {"name": "send", "line": "x" * 1_000_000, "returnvalue": "y" * 1_000_000}
        log.add([StoreEvent("job:log", "emails", "emails-1", data, EPOCH)])
    kept = pickle.dumps([event.data for _, event in log._all])
    assert len(kept) < 500_000


# -- all queues -----------------------------------------------------------------------------


async def test_all_queues_of_a_store_are_shown_and_one_is_opened(
    store: WatchedStore, queue: Queue
) -> None:
    panel = dashboard(store)
    page = Page(panel)
    await page.say("hello")
    await page.until(lambda: panel.queues is not None)
    assert panel.tab is None
    await Queue("images", store=store).add("resize")
    await page.until(lambda: [card["name"] for card in panel.queues["cards"]] == ["images"])
    await page.say("queue", queue="images")
    await page.until(lambda: panel.tab == "jobs")
    assert panel.head["name"] == "images"
    await page.say("pause")
    await page.until(lambda: panel.head["paused"])
    await page.say("queue", queue="")
    await page.until(lambda: panel.tab is None)
    await page.until(lambda: panel.queues["cards"][0]["paused"])
    await page.say("queue", queue="imags")
    await page.until(lambda: panel.notice is not None)
    assert "this store has no queue 'imags'" in panel.notice["text"]
    panel.close()


async def test_what_is_only_to_be_looked_at_changes_nothing(
    store: WatchedStore, queue: Queue
) -> None:
    job = await queue.add("send")
    panel = dashboard(store, read_only=True)
    page = Page(panel)
    await page.say("hello")
    await page.say("queue", queue="emails")
    await page.until(lambda: panel.tab == "jobs")
    await page.say("open", id=job.id)
    await page.until(lambda: panel.detail is not None)
    assert panel.detail["can"] == []
    acts = "pause resume ask answer retry_job remove_job stop_worker"
    for do in acts.split():
        panel.set_trait("notice", None)
        await page.say(do, id=job.id)
        await page.until(lambda: panel.notice is not None)
        assert "only shown here" in panel.notice["text"]
    assert await queue.get_job_counts() == {**dict.fromkeys(JobState, 0), JobState.WAITING: 1}
    assert not await queue.is_paused()
    panel.close()


# -- what is left ---------------------------------------------------------------------------


async def test_nothing_is_left_of_a_panel_that_is_closed(
    queue: Queue, store: WatchedStore, panel: Panel, page: Page
) -> None:
    assert store.subscribers == 1
    tasks = asyncio.all_tasks()
    await queue.add("send")
    panel.close()
    assert not store.subscribers
    await advance(queue, "1h")
    assert asyncio.all_tasks() <= tasks


async def test_a_panel_sleeps_when_its_last_page_goes(
    queue: Queue, store: WatchedStore, panel: Panel, page: Page
) -> None:
    other = Page(panel, "another")
    await other.say("hello")
    await page.say("bye")
    await advance(queue, "0s")
    assert panel.live
    await other.say("bye")
    await advance(queue, "0s")
    assert not panel.live
    assert not store.subscribers

    await queue.add("send")
    await page.say("hello")
    await page.until(lambda: count(panel, "waiting") == 1)
    assert panel.live


async def test_a_page_that_was_taken_for_gone_is_welcome_again(
    queue: Queue, store: WatchedStore, panel: Panel, page: Page
) -> None:
    await page.say("bye")
    await page.say("drawn", frame=panel.frame)
    await queue.add("send")
    await page.until(lambda: count(panel, "waiting") == 1)
    assert panel.live
    assert store.subscribers == 1


class SlowStore(WatchedStore):
    async def list_jobs(self, *args: Any, **kwargs: Any) -> list[JobData]:
        await asyncio.sleep(0)
        return await super().list_jobs(*args, **kwargs)


async def test_a_store_that_must_be_waited_for_is_shown_as_well() -> None:
    async with SlowStore() as store, Queue("emails", store=store) as queue:
        await queue.add("send")
        panel = panel_of(queue)
        assert panel.head == {}
        page = Page(panel)
        await page.say("hello")
        await page.until(lambda: panel.frame == 1)
        assert ids(panel) == ["emails-1"]
        panel.close()
