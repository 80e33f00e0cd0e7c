"""One database with programs of Conveyor: what they do to rows, and what they tell, as facts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    JobState,
    LostLockError,
    PgStore,
    Queue,
    UnsupportedError,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.model import Lock
from conveyor_nb.testing.events import EventLog, all_told
from tests.servers.conveyor import Conveyor

pytestmark = pytest.mark.asyncio


async def test_a_job_that_they_add_wakes_a_worker_of_ours(theirs: Conveyor, store: PgStore) -> None:
    queue = Queue("emails", store=store)
    done: asyncio.Queue[Any] = asyncio.Queue()

    async def send(job: Any) -> Any:
        await done.put(job.data)
        return {"sent": job.data}

    async with Worker("emails", send, store=store):
        await theirs.add("a", {"to": "ada"})
        assert await done.get() == {"to": "ada"}
        await theirs.add("b", "text", opts='{"attempts": 2, "removeOnFail": 1000}')
        assert await done.get() == "text"
        job = await queue.get_job("b")
        assert job is not None
        assert await job.wait_until_finished() == {"sent": "text"}
    row = await theirs.row("a")
    assert (row["state"], json.loads(row["returnvalue"])) == ("completed", {"sent": {"to": "ada"}})
    (record,) = json.loads(row["attempt_logs"])
    assert (record["attempt"], record["status"]) == (1, "completed")
    assert record["endedAt"] is not None


async def test_a_job_of_ours_is_one_that_they_take(theirs: Conveyor, store: PgStore) -> None:
    queue = Queue("emails", store=store)
    job = await queue.add("send", ("ada", 1), delay=0, attempts=3, backoff="2s")
    row = await theirs.row(job.id)
    assert (row["state"], json.loads(row["data"])) == ("waiting", ["ada", 1])
    assert json.loads(row["opts"]) == {
        "attempts": 3,
        "backoff": {"type": "fixed", "delay": 2000},
    }
    waiting = asyncio.create_task(job.wait_until_finished())
    assert await theirs.take() == job.id
    seen = await queue.get_job(job.id)
    assert seen is not None
    assert (seen.state, seen.data) == (JobState.ACTIVE, ("ada", 1))
    assert [one.worker_id for one in seen.attempt_logs] == ["worker-00c0ffee"]
    await theirs.complete(job.id, {"ok": True})
    assert await waiting == {"ok": True}


@pytest.mark.parametrize("result", ["ok", "123", '"quoted"', None, [True], 1.5])
async def test_no_result_of_ours_poisons_their_reads(
    theirs: Conveyor, store: PgStore, result: Any
) -> None:
    queue = Queue("emails", store=store)
    async with Worker("emails", lambda job: result, store=store):
        job = await queue.add("send", "text")
        assert await job.wait_until_finished() == result
    row = await theirs.row(job.id)
    for name, value in (("data", "text"), ("returnvalue", result)):
        read = None if row[name] is None else json.loads(row[name])
        if isinstance(read, str):  # their driver gives text, which they parse once more
            read = json.loads(read)
        assert read == value


async def test_our_late_report_on_a_job_that_they_have_taken_changes_nothing(
    theirs: Conveyor, store: PgStore
) -> None:
    await theirs.add("a")
    (job,) = (await store.fetch_jobs("emails", "w", 30)).jobs
    lock = Lock("w", job.attempt_logs[-1].attempt)
    await theirs.connection.execute(
        "UPDATE conveyor_jobs SET state = 'waiting', lock_until = NULL, locked_by = NULL,"
        " attempts_made = attempts_made + 1"
    )
    assert await theirs.take() == "a"
    with pytest.raises(LostLockError):
        await store.apply("emails", "a", Complete("late"), lock=lock)
    await theirs.complete("a", "theirs")
    found = await store.get_job("emails", "a")
    assert found is not None
    assert found.returnvalue == "theirs"


async def test_a_lifo_job_of_ours_is_their_next(theirs: Conveyor, store: PgStore) -> None:
    queue = Queue("emails", store=store)
    for job_id in ("a", "b"):
        await queue.add("send", job_id=job_id)
    for job_id in ("c", "d"):
        await queue.add("send", job_id=job_id, lifo=True)
    await theirs.add("e")
    assert [await theirs.take() for _ in range(5)] == ["d", "c", "a", "b", "e"]


async def test_their_jobs_and_ours_are_served_as_they_came(
    theirs: Conveyor, store: PgStore
) -> None:
    queue = Queue("emails", store=store)
    for number in range(3):
        await queue.add("send", job_id=f"ours-{number}")
        await theirs.add(f"theirs-{number}")
    fetched = (await store.fetch_jobs("emails", "w", 30, limit=6)).jobs
    assert [job.id for job in fetched] == [
        f"{whose}-{number}" for number in range(3) for whose in ("ours", "theirs")
    ]


async def test_a_pause_holds_for_both(theirs: Conveyor, store: PgStore) -> None:
    await Queue("emails", store=store).pause()
    paused = await theirs.connection.fetch("SELECT queue_name, job_name FROM conveyor_paused_names")
    assert [tuple(row) for row in paused] == [("emails", "__all__")]
    await theirs.add("a")
    assert not (await store.fetch_jobs("emails", "w", 30)).jobs


async def test_what_their_columns_can_not_hold_is_refused_or_kept_beside(
    theirs: Conveyor, store: PgStore
) -> None:
    queue = Queue("emails", store=store)
    with pytest.raises(UnsupportedError, match=r"priority 0\.5"):
        await queue.add("send", priority=0.5)
    job = await queue.add("send", priority=2)
    await job.update_progress(12.5)
    assert (await job.refresh()).progress == 12.5
    assert (await theirs.row(job.id))["progress"] == 12


async def test_they_are_told_in_their_words(theirs: Conveyor, store: PgStore) -> None:
    heard: list[dict[str, Any]] = []
    await theirs.connection.add_listener(
        "conveyor:emails", lambda *told: heard.append(json.loads(told[-1]))
    )
    queue = Queue("emails", store=store)
    async with Worker("emails", lambda job: None, store=store):
        job = await queue.add("send")
        await job.wait_until_finished()
    while not any(one["type"] == "queue:drained" for one in heard):
        await theirs.connection.fetchval("SELECT 1")
    of_job = [one for one in heard if one["jobId"] == job.id]
    assert [one["type"] for one in of_job] == ["job:waiting", "job:active", "job:completed"]
    assert all(one.keys() == {"type", "queueName", "jobId", "timestamp", "_src"} for one in of_job)


async def test_what_they_tell_is_heard_with_what_the_row_says(
    theirs: Conveyor, store: PgStore
) -> None:
    events = EventLog()
    store.subscribe("emails", events.append)
    await all_told(store)
    await theirs.add("a", {"to": "ada"})
    assert await theirs.take() == "a"
    await theirs.tell("job:active", "a")
    await theirs.tell("job:progress", "a", data=40)
    await theirs.connection.execute("SELECT pg_notify('conveyor:emails', 'no event')")
    await theirs.complete("a", "done")
    while "job:completed a" not in events.story:
        await all_told(store)
    assert events.story == [
        f"job:{kind} a" for kind in ("waiting", "active", "progress", "completed")
    ]
    assert events[2].data["progress"] == 40
    assert {one.data["name"] for one in events} == {"send"}


async def test_a_child_that_they_complete_starts_our_parent(
    theirs: Conveyor, store: PgStore
) -> None:
    flows = FlowProducer(store=store)
    node = await flows.add(FlowJob("sum", "sums", children=[FlowJob("send", "emails")]))
    parent = node.job
    (child,) = node.children
    assert await theirs.take() == child.job.id
    await theirs.complete(child.job.id, 7)
    await theirs.connection.execute(  # what its worker sends after that
        "UPDATE conveyor_jobs SET pending_children_count = pending_children_count - 1,"
        " state = CASE WHEN pending_children_count = 1 THEN 'waiting' ELSE state END"
        " WHERE queue_name = 'sums' AND id = $1 AND state = 'waiting-children'",
        parent.id,
    )
    (taken,) = (await store.fetch_jobs("sums", "w", 30)).jobs
    assert taken.id == parent.id
    assert await store.get_children_values("sums", parent.id) == {child.job.id: 7}


async def test_a_parent_of_theirs_starts_when_we_complete_its_child(
    theirs: Conveyor, store: PgStore
) -> None:
    family = {"parent_id": "p", "parent_queue_name": "emails"}
    for job_id in ("a", "b"):
        await theirs.add(job_id, **family)
    waiting = {"state": "waiting-children", "pending_children_count": 2}
    await theirs.add("p", name="sum", children_ids='["a", "b"]', **waiting)
    async with Worker("emails", lambda job: job.id, store=store):
        parent = await Queue("emails", store=store).get_job("p")
        assert parent is not None
        assert await parent.wait_until_finished() == "p"
    assert await store.get_children_values("emails", "p") == {"a": "a", "b": "b"}
    row = await theirs.row("p")
    assert (row["state"], row["pending_children_count"]) == ("completed", 0)


@pytest.mark.parametrize("end", ["complete", "remove"])
async def test_a_schedule_goes_on_when_they_have_done_its_run(
    postgres_dsn: str, theirs: Conveyor, end: str
) -> None:
    clock = VirtualClock()
    async with PgStore(postgres_dsn, schema=theirs.schema, clock=clock) as store:
        queue = Queue("emails", store=store)
        await queue.every("1 hour", "report", job_id="hourly")
        for runs in (2, 3):
            run = await theirs.take()
            assert run is not None
            assert json.loads((await theirs.row(run))["opts"]) == {}  # or they would repeat it
            if end == "complete":
                await theirs.complete(run, "done")
            else:
                await theirs.connection.execute("DELETE FROM conveyor_jobs WHERE id = $1", run)
            assert await store.get_stalled_jobs("emails") == []
            await store.get_stalled_jobs("emails")
            (scheduler,) = await queue.get_job_schedulers()
            assert (scheduler.runs, await queue.count("delayed")) == (runs, 1)
            await clock.advance("1 hour")
            await store.promote_delayed_jobs("emails")


async def test_queues_that_are_listened_to_at_the_same_time_are_all_heard(
    theirs: Conveyor, store: PgStore
) -> None:
    left = {f"queue {number}" for number in range(40)}
    threads = [asyncio.to_thread(lambda: None) for _ in left]
    for name, thread in zip(sorted(left), threads, strict=True):
        store.subscribe(name, lambda event: left.discard(event.queue_name))
        await thread  # so that each is handed in by itself, while that before is under way
    while left:  # once it listens, it hears
        for name in sorted(left):
            told = {"type": "job:waiting", "queueName": name, "jobId": "a"}
            await theirs.do("SELECT pg_notify($1, $2)", f"conveyor:{name}", json.dumps(told))
        await all_told(store)
