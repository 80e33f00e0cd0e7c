"""A tape in a panel: the views of a live panel, as all was at an event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from conveyor_nb import FlowJob, FlowProducer, Group, Job, Queue, Tape, Worker
from conveyor_nb.notebook.panel.queue_view import TABS, QueueView
from conveyor_nb.notebook.replay.tape_store import TapeStore
from conveyor_nb.notebook.replay.widget import Replay
from conveyor_nb.testing import until_settled, virtual_queue

from .drawn import picture_in
from .pages import Page


async def work(job: Job) -> str:
    await job.update_progress(50)
    await job.sleep(job.data)
    if job.data == 2 and job.attempts_made == 0:
        raise ValueError("no mail")
    return "done"


@pytest_asyncio.fixture
async def tape() -> AsyncIterator[Tape]:
    """Jobs in groups, a retry, a delay, a pause, a removal and a flow over two queues."""
    async with virtual_queue("emails") as queue:
        store = queue.store
        await queue.add("old", 1, priority=5)
        with store.record() as tape:
            await queue.pause()
            for seconds in (3, 2, 1):
                options = {"group": Group(f"g{seconds}"), "attempts": 2, "backoff": "2s"}
                await queue.add("send", seconds, **options)  # type: ignore[arg-type]
            later = await queue.add("later", 1, delay="5s")
            flow = FlowJob("sum", "sums", 1, children=[FlowJob("send", "emails", 1)])
            await FlowProducer(store=store).add(flow)
            await queue.resume()
            async with (
                Worker("emails", work, store=store, concurrency=2),
                Worker("sums", work, store=store),
            ):
                await later.remove()
                await until_settled(store)
        yield tape


@pytest.mark.asyncio
async def test_the_store_is_what_it_was_at_each_event(tape: Tape) -> None:
    store = TapeStore(tape)
    assert await store.list_queues() == ["emails", "sums"]
    for place, (moment, jobs) in enumerate(tape.states(), 1):
        store.show(place)
        assert store.clock.now() == moment.event.timestamp
        found = [job for queue in tape.queues for job in store.snapshot(queue)]
        assert {(job.queue_name, job.id): job.state for job in found} == {
            key: job.state for key, job in jobs.items()
        }
        assert sum(sum(store.counts(queue).values()) for queue in tape.queues) == len(found)
    assert {worker.name for worker in await store.list_workers()} == set()
    assert len(store.children_of("sums", "sums-1")) == 1

    store.show(1)
    assert store.paused_names("emails") == {"__all__"}
    assert [job.id for job in store.snapshot("emails")] == ["emails-1"]
    done = [one.event.job_id for one in tape.moments if one.event.type == "job:completed"]
    store.show(len(tape))
    settled = [job.id for job in store.snapshot("emails", "completed")]
    assert settled == [one for one in done if one != "sums-1"]
    running = tape.story.index("job:active emails-2") + 1
    store.show(running)
    [worker] = await store.list_workers("emails")
    assert (worker.concurrency, str(worker.status)) == (2, "running")


@pytest.mark.asyncio
async def test_nothing_can_be_changed_in_it(tape: Tape) -> None:
    store = TapeStore(tape)
    queue = Queue("emails", store=store)
    for change in (queue.add("send"), queue.pause(), queue.drain(), queue.every("1s", "tick")):
        with pytest.raises(PermissionError, match="what happened can be looked at"):
            await change


@pytest.mark.asyncio
async def test_each_view_shows_each_event(tape: Tape) -> None:
    store = TapeStore(tape)
    view = QueueView(Queue("emails", store=store), read_only=True)
    for tab in TABS:
        await view.do("tab", tab=tab)
        for place in range(len(tape) + 1):
            store.show(place)
            view.retell(tape.events[:place])
            parts = await view.read()
            counts = parts["head"]["counts"]
            assert sum(counts.values()) == len(store.snapshot("emails"))


@pytest.mark.asyncio
async def test_a_page_steps_forward_and_back(tape: Tape) -> None:
    await step(tape)


@pytest.mark.asyncio
async def test_a_tape_from_a_file_is_replayed_as_well(tape: Tape, tmp_path: Path) -> None:
    await step(Tape.load(tape.save(tmp_path / "run.jsonl")))


async def step(tape: Tape) -> None:
    """Use the panel of a tape as a page does."""
    panel = tape.replay()
    assert isinstance(panel, Replay)
    assert repr(panel) == f"<Replay of all queues: event 0 of {len(tape)}>"
    assert panel.replay["text"] == "Before the first event"
    page = Page(panel)

    async def go(place: int) -> None:
        await page.say("replay", page=place)
        await page.until(lambda: panel.replay["at"] == place)

    await page.say("hello")
    await page.until(lambda: panel.live)
    await page.say("queue", queue="emails")
    await page.until(lambda: bool(panel.head))
    await page.turn_to("events")

    failed = tape.story.index("job:retrying emails-3") + 1
    await go(failed)
    assert panel.replay["text"].endswith("job:retrying emails-3 · in 2s · ValueError: no mail")
    assert [failed, "retrying"] in panel.replay["marks"]
    assert page.event_types()[0] == "job:retrying"
    counts = panel.head["counts"]
    await go(failed + 3)
    assert panel.head["counts"] != counts
    await go(failed)
    assert panel.head["counts"] == counts
    assert page.event_types()[0] == "job:retrying"

    await page.say("rest")
    await page.say("hello")
    await go(failed - 1)
    assert "job:retrying" not in page.event_types()

    await page.say("pause")
    await page.until(lambda: panel.notice is not None)
    assert panel.notice is not None
    assert "only shown here" in panel.notice["text"]
    panel.place = 10**9
    await page.until(lambda: panel.replay["at"] == len(tape))
    panel.close()


@pytest.mark.asyncio
async def test_of_one_queue_it_shows_that_and_leaves_its_picture_behind(tape: Tape) -> None:
    async with virtual_queue("emails") as queue:
        with queue.record() as one:
            await queue.add("send")
    panel = one.replay()
    assert panel.queue is not None
    assert panel.queue.name == "emails"
    bundle, _ = panel._repr_mimebundle_()
    assert bundle["text/plain"] == "<Replay of queue emails: event 0 of 1>"
    assert picture_in(bundle["text/html"]) == one.picture().svg
    panel.close()
    await asyncio.sleep(0)


def test_without_a_loop_it_says_what_there_is_instead() -> None:
    async def taped() -> Tape:
        async with virtual_queue("emails") as queue:
            with queue.record() as tape:
                await queue.add("send")
        return tape

    with pytest.raises(RuntimeError, match=r"needs a notebook; tape\.picture\(\) gives a picture"):
        asyncio.run(taped()).replay()
