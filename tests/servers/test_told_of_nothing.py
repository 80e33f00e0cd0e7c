"""What programs of Conveyor do without a word, and where they look for what we do."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from conveyor_nb import (
    Group,
    JobNotFoundError,
    JobState,
    Limiter,
    PgStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.actions import Complete, Fail, Retry
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import Lock
from conveyor_nb.stores.sql.postgres import listening, looking_out
from conveyor_nb.testing.events import all_told
from tests.servers.conveyor import Conveyor

pytestmark = pytest.mark.asyncio


# -- what they do without a word --------------------------------------------------------------


async def test_a_worker_of_ours_sees_what_they_do_without_a_word(
    theirs: Conveyor, store: PgStore
) -> None:
    queue = Queue("emails", store=store)
    done: asyncio.Queue[str] = asyncio.Queue()
    async with Worker("emails", lambda job: done.put_nowait(job.id), store=store):
        await queue.add("send", job_id="a")
        assert await done.get() == "a"
        await (await queue.get_job("a")).wait_until_finished()  # type: ignore[union-attr]
        await theirs.do("UPDATE conveyor_jobs SET state = 'waiting', completed_at = NULL")
        assert await done.get() == "a"
        await theirs.do("INSERT INTO conveyor_paused_names VALUES ('emails', '__all__')")
        await queue.add("send", job_id="b")
        assert await queue.is_paused()
        await theirs.do("DELETE FROM conveyor_paused_names")
        assert await done.get() == "b"


async def test_a_pause_of_theirs_holds_at_once(theirs: Conveyor, store: PgStore) -> None:
    queue = Queue("emails", store=store)
    await queue.add_bulk({"name": name} for name in ("send", "send", "digest", "send"))
    assert (await store.fetch_jobs("emails", "w", 30)).jobs  # what is paused is known from now on
    await theirs.do("INSERT INTO conveyor_paused_names VALUES ('emails', 'send')")
    (job,) = (await store.fetch_jobs("emails", "w", 30)).jobs
    assert job.name == "digest"
    await theirs.do("INSERT INTO conveyor_paused_names VALUES ('emails', '__all__')")
    await theirs.do("DELETE FROM conveyor_paused_names WHERE job_name = 'send'")
    assert not (await store.fetch_jobs("emails", "w", 30)).jobs


async def test_who_waits_for_a_job_sees_its_end_of_which_nobody_told(
    theirs: Conveyor, store: PgStore
) -> None:
    queue = Queue("emails", store=store)
    one, other = await queue.add("send"), await queue.add("send")
    waiting = [asyncio.create_task(job.wait_until_finished()) for job in (one, other)]
    await all_told(store)
    await theirs.do("DELETE FROM conveyor_jobs WHERE id = $1", one.id)
    with pytest.raises(JobNotFoundError):
        await waiting[0]
    await theirs.do(
        "UPDATE conveyor_jobs SET state = 'completed', returnvalue = '7', completed_at = now()"
    )
    assert await waiting[1] == 7


async def test_a_result_that_went_with_its_record_is_not_said_to_be_nothing(
    theirs: Conveyor, store: PgStore
) -> None:
    job = await Queue("emails", store=store).add("send")
    waiting = asyncio.create_task(job.wait_until_finished())
    await all_told(store)
    async with theirs.connection.transaction():  # as if it had been too quick to be read between
        await theirs.complete(job.id, {"sent": True})
        await theirs.do("DELETE FROM conveyor_jobs")
    with pytest.raises(JobNotFoundError):
        await waiting


# -- groups and metrics -----------------------------------------------------------------------


async def test_jobs_of_their_groups_get_their_turns_beside_ours(
    theirs: Conveyor, store: PgStore
) -> None:
    queue = Queue("emails", store=store)
    for number in range(2):
        await queue.add("send", job_id=f"a{number}", group=Group("a"))
        for group in ("b", "c"):
            await theirs.add(f"{group}{number}", group_id=group)
        await theirs.add(f"none{number}")
    served: list[str] = []
    for _ in range(8):
        fetched = (await store.fetch_jobs("emails", "w", 30)).jobs
        assert fetched, served
        served.append(fetched[0].id)
    assert sorted(served[:4]) == ["a0", "b0", "c0", "none0"]
    assert sorted(served[4:]) == ["a1", "b1", "c1", "none1"]


async def test_a_job_that_they_added_to_a_group_of_ours_outlasts_the_turn_of_ours(
    theirs: Conveyor, store: PgStore
) -> None:
    queue = Queue("emails", store=store)
    done: asyncio.Queue[str] = asyncio.Queue()
    async with Worker("emails", lambda job: done.put_nowait(job.id), store=store):
        await queue.pause()
        await queue.add("send", job_id="ours", group=Group("a"))
        await theirs.add("theirs", group_id="a")
        await queue.resume()
        assert {await done.get(), await done.get()} == {"ours", "theirs"}


async def test_their_turns_know_whom_we_have_served(theirs: Conveyor, store: PgStore) -> None:
    queue = Queue("emails", store=store)
    await queue.add("send", job_id="a", group=Group("a"))
    await queue.add("send", job_id="none")
    fetched = (await store.fetch_jobs("emails", "w", 30, limit=2)).jobs
    rows = await theirs.connection.fetch("SELECT * FROM conveyor_group_cursors ORDER BY group_id")
    started = {job.group_id or "__ungrouped__": job.processed_at for job in fetched}
    assert {row["group_id"]: row["last_served_at"] for row in rows} == started


async def test_a_turn_ends_though_they_have_run_the_jobs_of_its_group(
    theirs: Conveyor, store: PgStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking_out, "_TIDIED_AFTER", 1)
    queue = Queue("emails", store=store)
    store.subscribe("emails", lambda event: None)
    for name in ("a", "b"):
        await queue.add("send", job_id=name, group=Group(name))
    assert await theirs.take() == "a"
    await theirs.complete("a", None)
    turns = "SELECT group_id FROM conveyor_nb_groups WHERE came > 0 ORDER BY group_id"
    while [row["group_id"] for row in await theirs.connection.fetch(turns)] != ["b"]:
        await theirs.tell("job:completed", "a")
        await all_told(store)
    (job,) = (await store.fetch_jobs("emails", "w", 30)).jobs
    assert job.id == "b"


async def test_a_rate_limit_counts_what_they_start_at_the_same_time(
    theirs: Conveyor, store: PgStore
) -> None:
    await Queue("emails", store=store).add("send")
    options = FetchOptions(limiter=Limiter(1, 60))
    async with theirs.connection.transaction():
        await theirs.do("SELECT pg_advisory_xact_lock(hashtext('emails' || ':rate_limit'))")
        fetching = asyncio.create_task(store.fetch_jobs("emails", "w", 30, options))
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not await theirs.connection.fetchval(waits):
            assert not fetching.done()
            await asyncio.sleep(0)
        await theirs.do("INSERT INTO conveyor_rate_limits VALUES ('emails', now())")
    assert not (await fetching).jobs


async def test_what_we_run_is_counted_where_their_dashboard_looks(
    postgres_dsn: str, theirs: Conveyor
) -> None:
    clock = VirtualClock()
    minute = clock.now().replace(second=0, microsecond=0)
    theirs_before = (5, 1, 100, 7, 50)
    await theirs.do(
        "INSERT INTO conveyor_metrics VALUES"
        " ('emails', '__all__', $1, 'minute', $2, $3, $4, $5, $6)",
        *(minute, *theirs_before),
    )

    async def work(job: Any) -> None:
        await job.sleep(job.data)
        assert job.name != "fail"

    async with PgStore(postgres_dsn, schema=theirs.schema, clock=clock, metrics=True) as store:
        queue = Queue("emails", store=store)
        async with Worker("emails", work, store=store) as worker:
            for name, seconds in (("send", 0.1), ("send", 0.3), ("fail", 0.2)):
                await queue.add(name, seconds)
            idle = asyncio.create_task(worker.run_until_idle())
            await clock.advance(1)
            await idle
    rows = await theirs.connection.fetch("SELECT * FROM conveyor_metrics")
    counted = {row["job_name"]: tuple(row)[4:] for row in rows}
    assert {row["period_start"] for row in rows} == {minute}
    assert counted == {
        "send": (2, 0, 400, 100, 300),
        "fail": (0, 1, 200, 200, 200),
        "__all__": (7, 2, 700, 7, 300),
    }


# -- chains -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repeat", "delays"),
    [
        ({"every": "10 minutes"}, [600, 600, 600]),
        ({"every": 600_000, "limit": 3}, [600, 600]),
        ({"every": 600_000, "limit": 0}, []),  # as they write the last one
        ({"cron": "0 9 * * *", "tz": "Europe/Paris"}, [8 * 3600, 86400, 86400]),
        ({"every": "1 hour", "startDate": "2027-01-01T05:00:00.000Z"}, [5 * 3600, 3600, 3600]),
        ({"every": "1 hour", "endDate": "2027-01-01T02:30:00.000Z"}, [3600, 3600]),
        ({"cron": "0 * * * *", "endDate": "2027-01-01T01:00:00.000Z"}, [3600]),
    ],
)
async def test_a_chain_of_theirs_goes_on_when_we_have_done_its_run(
    postgres_dsn: str, theirs: Conveyor, repeat: dict[str, Any], delays: list[float]
) -> None:
    clock = VirtualClock(start=datetime(2027, 1, 1, tzinfo=UTC))
    opts = {"jobId": "a", "attempts": 1, "priority": 2, "repeat": repeat}
    await theirs.add("a", {"to": "ada"}, opts=json.dumps(opts), created_at=clock.now(), priority=2)
    came: list[float] = []
    async with PgStore(postgres_dsn, schema=theirs.schema, clock=clock) as store:
        for number in range(3):
            (job,) = (await store.fetch_jobs("emails", "w", 30)).jobs
            assert (job.data, job.opts.priority) == ({"to": "ada"}, 2)
            action = Fail("no", "no") if number % 2 else Complete(None)
            await store.apply("emails", job.id, action, lock=Lock("w", 1))
            waiting = await store.list_jobs("emails", JobState.DELAYED)
            if not waiting:
                break
            (following,) = waiting
            assert following.delay_until is not None
            wait = (following.delay_until - clock.now()).total_seconds()
            came.append(wait)
            await clock.advance(wait)
    assert came == delays


async def test_a_chain_of_theirs_ends_when_its_run_is_cancelled(
    theirs: Conveyor, store: PgStore
) -> None:
    await theirs.add("a", opts='{"repeat": {"every": "1 minute"}}')
    await store.cancel_job("emails", "a")
    assert await store.count_jobs("emails", JobState.DELAYED) == 0


async def test_a_run_of_theirs_that_is_retried_makes_no_second_chain(
    theirs: Conveyor, store: PgStore
) -> None:
    await theirs.add("a", opts='{"repeat": {"every": "1 hour"}, "priority": 2}')
    for attempt in (1, 2):
        (job,) = (await store.fetch_jobs("emails", "w", 30)).jobs
        await store.apply("emails", job.id, Complete(None), lock=Lock("w", attempt))
        assert await store.count_jobs("emails", JobState.DELAYED) == 1
        if attempt == 1:
            retried = await store.apply("emails", job.id, Retry())
            assert (retried.opts.repeat, retried.opts.priority) == (None, 2)


async def test_a_queue_that_only_they_know_is_listed_and_heard_of(
    theirs: Conveyor, store: PgStore
) -> None:
    heard: list[StoreEvent] = []
    store.subscribe(None, lambda event: heard.append(event) if "reports" in str(event) else None)
    await theirs.add("a", queue_name="reports")
    await theirs.add("b")
    assert await store.list_queues() == ["emails", "reports"]
    told = {"type": "job:progress", "queueName": "reports", "jobId": "a", "data": 40}
    while not heard:  # it begins to listen within a second
        await theirs.do("SELECT pg_notify('conveyor:reports', $1)", json.dumps(told))
        await all_told(store)
    assert (heard[0].queue_name, heard[0].type) == ("reports", "job:progress")


async def test_a_store_looks_out_no_more_when_it_stops_listening(
    store: PgStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a look would open what was just closed, and nobody would close it again."""
    stopped: list[str] = []

    def noted(stop: Any) -> Any:
        async def stop_and_note(self: object) -> None:
            stopped.append(type(self).__name__)
            await stop(self)

        return stop_and_note

    for part in (looking_out.LookingOut, listening.Listening):
        monkeypatch.setattr(part, "stop", noted(part.stop))
    store.subscribe(None, lambda event: None)
    await Queue("emails", store=store).add("send")
    await store.disconnect()
    assert stopped[0] == "LookingOut"
    assert stopped[-1] == "Listening"
