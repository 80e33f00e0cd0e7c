"""However much there is to show, what goes to a page at once is small."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import FlowJob, FlowProducer, Group, Job, MemoryStore, Queue, VirtualClock, Worker
from conveyor_nb.core.model import EPOCH, StoreEvent
from conveyor_nb.notebook.panel.queue_view import TABS, QueueView
from conveyor_nb.notebook.panel.queues_view import QueuesView
from conveyor_nb.notebook.panel.sizes import MOST_BYTES, size_of

pytestmark = pytest.mark.asyncio

LONG = "a name that is about as long as one may be, with a few letters such as \xe9 and \u05d0 " * 3
DEEP = {f"key {n}": {"list": [LONG] * 20, "number": n} for n in range(20)}


async def work(job: Job) -> Any:
    for _ in range(50):
        await job.log(LONG)
    if job.name.startswith("bad"):
        raise ValueError(LONG * 20)
    await job.sleep(100 if job.name.startswith("slow") else 1)
    return DEEP


@pytest_asyncio.fixture
async def queue() -> AsyncIterator[Queue]:
    """A queue with far more of everything than a page can show, all of it long."""
    clock = VirtualClock()
    async with MemoryStore(clock=clock, seed=1, metrics=True) as store:
        queue = Queue(f"q {LONG[:200]}", store=store)
        for n in range(120):
            await Queue(f"{n} {LONG[:200]}", store=store).add("x")
            await queue.every("1h", f"{n} {LONG[:200]}", DEEP)
        for n in range(30):
            children = [
                FlowJob(f"child {LONG[:200]}", queue.name, {}, {"job_id": f"{LONG[:190]} {n} {m}"})
                for m in range(30)
            ]
            top = FlowJob(f"top {LONG[:200]}", queue.name, children=children)
            await FlowProducer(store=store).add(top)
        kinds = ("bad", "good", "slow")
        await queue.add_bulk(
            {
                "name": f"{kinds[n % 3]} {n % 40} {LONG[:200]}",
                "data": DEEP,
                "job_id": f"{LONG[:200]} {n}",
                "group": Group(f"{n} {LONG[:200]}"),
                "attempts": 4,
                "backoff": "1s",
            }
            for n in range(600)
        )
        workers = [
            Worker(queue.name, work, store=store, name=f"{n} {LONG[:200]}", concurrency=10)
            for n in range(30)
        ]
        for worker in workers:
            worker.start()
        await clock.advance("5s")
        yield queue
        for worker in workers:
            await worker.close(0)


async def test_no_view_takes_much_at_once(queue: Queue) -> None:
    view = QueueView(queue)
    sizes: dict[str, int] = {}
    for tab in TABS:
        await view.do("tab", tab=tab)
        sizes |= {name: size_of(part) for name, part in (await view.read()).items()}
    [failed] = await queue.get_jobs("failed", end=1)
    await view.do("open", id=failed.id)
    for attempt in range(1, 5):
        await view.do("open_attempt", attempt=attempt)
    sizes["detail"] = size_of((await view.read())["detail"])
    sizes["queues"] = size_of(await QueuesView(queue.store).read())
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
    assert min(sizes[name] for name in ("flows", "schedules", "events", "worker_cards")) > 10_000


async def test_what_is_left_out_is_told(queue: Queue) -> None:
    view = QueueView(queue)
    shown = await view.read()
    assert shown["workers"][-1]["more"] == 30 - (len(shown["workers"]) - 1)
    await view.do("tab", tab="schedules")
    shown = (await view.read())["schedules"]
    assert shown["more"] == 120 - len(shown["rows"])
    await view.do("tab", tab="workers")
    shown = (await view.read())["worker_cards"]
    assert shown["others"] == 30 - len(shown["cards"])
    queues = (await QueuesView(queue.store).read())["queues"]
    assert queues["more"] == 121 - len(queues["cards"])


async def test_a_burst_that_does_not_fit_leaves_no_gap_in_the_log(queue: Queue) -> None:
    view = QueueView(queue)
    await view.do("tab", tab="events")
    await view.read()
    view.note(
        [StoreEvent("job:log", queue.name, LONG[:250], {"line": LONG}, EPOCH) for _ in range(150)]
    )
    told = (await view.read())["events"]
    assert told["reset"]
    assert 0 < len(told["rows"]) < 150
    numbers = [row["n"] for row in told["rows"]]
    assert numbers == list(range(150, 150 - len(numbers), -1)), "the newest, each of them"
