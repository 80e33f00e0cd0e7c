"""Look-ups over the work of real workers: searches, flows, queues, workers and metrics."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    Job,
    JobState,
    MemoryStore,
    MetricsDisabledError,
    Queue,
    VirtualClock,
    Worker,
)

Start = Callable[..., Worker]


async def obey(job: Job) -> Any:
    """Take as many seconds as the payload says, and fail if they are odd."""
    await job.sleep(job.data["seconds"])
    if job.data["seconds"] % 2:
        raise ValueError("odd")
    return job.data


# -- searches -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_queue_finds_its_jobs_by_a_text_newest_first(
    queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    begin = clock.now()
    for name in ("Ada", "Grace", "Adam", "Alan"):
        await queue.add("send" if name != "Adam" else "bounce", {"to": [f"{name}@example.org"]})
        await clock.advance(60)
    await Queue("other", store=store).add("send", "ada")

    async def found(*text: str, **conditions: Any) -> list[str]:
        return [job.data["to"][0][:-12] for job in await queue.search(*text, **conditions)]

    assert await found() == ["Ada", "Grace", "Adam", "Alan"]
    assert await found("ada") == ["Ada", "Adam"]
    assert await found("ada", newest_first=True) == ["Adam", "Ada"]
    assert await found("ada", name="send") == ["Ada"]
    assert await found("example", start=1, end=3, newest_first=True) == ["Adam", "Grace"]
    assert await found("a", created_from=begin + timedelta(minutes=1), states=["waiting"]) == [
        "Grace",
        "Adam",
        "Alan",
    ]
    assert await found("a", states=["failed"]) == []
    newest = await queue.get_jobs("waiting", newest_first=True, end=2)
    assert [job.id for job in newest] == ["emails-4", "emails-3"]


class Edited:
    def __init__(self) -> None:
        self.to = "ada"


@pytest.mark.asyncio
async def test_a_payload_that_cant_be_read_is_passed_over(
    queue: Queue, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.add("send", Edited())
    await queue.add("send", {"to": "ada"})
    assert len(await queue.search("ada")) == 2, "attributes of an object are looked at too"
    monkeypatch.delattr(sys.modules[__name__], "Edited")
    assert [job.id for job in await queue.search("ada")] == ["emails-2"]
    assert [job.id for job in await queue.search("", newest_first=True)] == ["emails-2"]
    assert len(await queue.search(newest_first=True)) == 2
    assert (await store.search_by_payload("emails", {"to": "ada"})).total == 1


@pytest.mark.asyncio
async def test_a_search_sees_where_each_job_is(
    queue: Queue, clock: VirtualClock, start: Start, store: MemoryStore
) -> None:
    start(obey, concurrency=3)
    for seconds in (1, 2, 30, 40):
        await queue.add("send", {"seconds": seconds}, job_id=f"takes-{seconds}")
    await queue.add("send", {"seconds": 1}, job_id="later", delay=60)
    await clock.advance(3)

    async def found(*states: str) -> list[str]:
        return [
            job.id for job in (await store.search_jobs(states=list(map(JobState, states)))).jobs
        ]

    assert await found("failed") == ["takes-1"]
    assert await found("completed") == ["takes-2"]
    assert await found("active", "delayed") == ["takes-30", "takes-40", "later"]
    assert await found("waiting") == []
    page = await store.search_by_payload(None, {"seconds": 1})
    assert ([job.id for job in page.jobs], page.total) == (["takes-1", "later"], 2)


@pytest.mark.asyncio
async def test_a_search_finds_what_a_plain_filter_would(
    store: MemoryStore, clock: VirtualClock
) -> None:
    luck = random.Random(7)
    begin = clock.now()
    for _ in range(200):
        queue = Queue(luck.choice(["emails", "reports"]), store=store)
        name = luck.choice(["send", "Resend", "print"])
        await queue.add(name, {"to": luck.choice("abc")}, delay=luck.choice([0, 60]))
        await clock.advance(luck.choice([0, 1, 7]))
    every = await store.list_jobs("emails") + await store.list_jobs("reports")
    for _ in range(100):
        queue_name = luck.choice([None, "emails", "reports"])
        states = luck.choice([None, [JobState.WAITING], [JobState.DELAYED, JobState.FAILED]])
        wanted = luck.choice([None, "send", "print"])
        first, last = sorted(begin + timedelta(seconds=luck.randrange(600)) for _ in "ab")
        start, end = luck.randrange(5), luck.choice([None, 0, 8, 100])
        expected = [
            job
            for job in every
            if (queue_name is None or job.queue_name == queue_name)
            and (states is None or job.state in states)
            and (wanted is None or job.name == wanted)
            and first <= job.created_at <= last
        ]
        page = await store.search_jobs(
            queue_name,
            states=states,
            name=wanted,
            created_from=first,
            created_to=last,
            start=start,
            end=end,
        )
        assert page == (expected[start:end], len(expected))


@pytest.mark.asyncio
async def test_instants_of_a_search_may_be_in_any_zone(queue: Queue, store: MemoryStore) -> None:
    job = await queue.add("send")
    here = job.created_at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert (await store.search_jobs(created_from=here, created_to=here)).total == 1


@pytest.mark.parametrize("states", [JobState.WAITING_CHILDREN, "waiting"])
@pytest.mark.asyncio
async def test_one_state_alone_is_an_error(store: MemoryStore, states: Any) -> None:
    with pytest.raises(TypeError, match="states"):
        await store.search_jobs(states=states)


NAIVE = datetime(2027, 1, 1)
LOOKS: dict[str, Callable[[MemoryStore], Awaitable[object]]] = {
    "jobs from": lambda store: store.search_jobs(created_from=NAIVE),
    "jobs to": lambda store: store.search_jobs(created_to=NAIVE),
    "metrics from": lambda store: store.get_metrics("emails", start=NAIVE),
    "metrics to": lambda store: store.get_metrics("emails", end=NAIVE),
    "metrics in all from": lambda store: store.aggregate_metrics(start=NAIVE),
    "metrics in all to": lambda store: store.aggregate_metrics(end=NAIVE),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.asyncio
async def test_a_naive_instant_is_an_error(clock: VirtualClock, look: str, jobs: int) -> None:
    async with MemoryStore(clock=clock, metrics=True) as store:
        for _ in range(jobs):
            await (await Queue("emails", store=store).add("send")).cancel()
        with pytest.raises((ValueError, TypeError)):
            await LOOKS[look](store)


# -- flows, queues and workers --------------------------------------------------------------------


@pytest.mark.asyncio
async def test_parents_are_found_while_they_wait_and_after(
    store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    flows = FlowProducer(store=store)
    leaf = FlowJob("leaf", "emails", {"seconds": 2})
    await flows.add(FlowJob("root", "emails", {"seconds": 0}, children=[leaf, leaf]))
    await Queue("emails", store=store).add("alone", {"seconds": 0})
    for seconds in (0, 5):
        parents = await store.list_flow_parents("emails")
        assert [job.name for job in parents] == ["root"]
        start(obey)
        await clock.advance(seconds)
    assert parents[0].state is JobState.WAITING_CHILDREN
    assert (await store.list_flow_parents())[0].state is JobState.COMPLETED


@pytest.mark.asyncio
async def test_workers_are_listed_while_they_live(
    queue: Queue, clock: VirtualClock, start: Start, store: MemoryStore
) -> None:
    workers = [start(obey, name="a"), start(obey, name="b", concurrency=3), start(obey, name="c")]
    workers[1].pause()
    await clock.settle()
    listed = await store.list_workers("emails")
    assert [(one.id, one.name, one.concurrency, str(one.status)) for one in listed] == [
        (workers[0].id, "a", 1, "running"),
        (workers[1].id, "b", 3, "paused"),
        (workers[2].id, "c", 1, "running"),
    ]
    assert await store.list_workers("reports") == []
    await workers[0].close()
    assert [one.name for one in await store.list_workers()] == ["b", "c"]
    assert await store.list_queues() == ["emails"]


# -- metrics --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_metrics_are_off_unless_asked_for(store: MemoryStore) -> None:
    with pytest.raises(MetricsDisabledError, match="metrics=True"):
        await store.get_metrics("emails")
    with pytest.raises(MetricsDisabledError, match="metrics=True"):
        await store.aggregate_metrics()


@pytest.mark.asyncio
async def test_metrics_of_a_worker_are_what_the_jobs_themselves_say(clock: VirtualClock) -> None:
    luck = random.Random(7)
    async with (
        MemoryStore(clock=clock, metrics=True) as store,
        Queue("emails", store=store) as queue,
        Worker("emails", obey, store=store, concurrency=2),
    ):
        for _ in range(150):
            await queue.add("send", {"seconds": luck.randrange(9)})
            await clock.advance(luck.randrange(5))
        await clock.advance("1 hour")

        jobs = await queue.get_jobs(end=None)
        took = [
            (record.ended_at - record.started_at).total_seconds()
            for job in jobs
            for record in job.attempt_logs
            if record.ended_at is not None
        ]
        waited = [(job.attempt_logs[0].started_at - job.created_at).total_seconds() for job in jobs]
        total = await store.aggregate_metrics("emails")
        assert (total.completed, total.failed) == (
            sum(job.state is JobState.COMPLETED for job in jobs),
            sum(job.state is JobState.FAILED for job in jobs),
        )
        assert total.completed + total.failed == 150
        for percent, took_it, waited_it in (
            (50, total.processing_p50, total.waiting_p50),
            (95, total.processing_p95, total.waiting_p95),
        ):
            rank = math.ceil(150 * percent / 100) - 1
            assert took_it == sorted(took)[rank]
            assert waited_it == sorted(waited)[rank]
        minutes = await store.get_metrics("emails")
        ends = [job.completed_at or job.failed_at for job in jobs]
        for minute in minutes:
            inside = [end for end in ends if end and minute.start <= end < minute.end]
            assert minute.completed + minute.failed == len(inside) > 0
        assert sum(minute.completed for minute in minutes) == total.completed
        assert all(minute.start.tzinfo is UTC for minute in minutes)
