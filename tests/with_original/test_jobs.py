"""Jobs that are added by one and run by the other."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb import Batch, Deduplication, Group, GroupLimits, Job, JobState, Limiter, Worker
from conveyor_nb.core.errors import JobCancelledError, JobFailedError, JobNotFoundError
from tests.with_original.conftest import Shared, until
from tests.with_original.program import RefusedError

pytestmark = pytest.mark.asyncio

PAYLOADS = [
    *(None, 0, 1.5, -3, [], [1, "two", None, True], {}, {"a": {"b": [1, {"c": "ü"}]}, "d": True})
]
"""What both can keep. ``True`` alone is refused by their own driver."""

TEXTS = ["", "text", "1", '{"a": 1}', "\U0001f600"]
"""What they can read if we have written it, and not if they have."""


async def finished(shared: Shared, job_id: str, queue: str = "emails") -> Any:
    job = await shared.queue(queue).get_job(job_id)
    assert job is not None
    return await job.wait_until_finished(timeout=30)


async def test_payloads_come_through_both_ways(shared: Shared) -> None:
    queue = shared.queue()
    jobs = [await queue.add("send", payload) for payload in PAYLOADS]
    jobs += await queue.add_bulk({"name": "send", "data": payload} for payload in PAYLOADS)
    await shared.theirs.ask("work", queue="emails", deed="echo", options={"concurrency": 10})
    assert [await job.wait_until_finished(timeout=30) for job in jobs] == PAYLOADS * 2
    read = [await shared.theirs.queue("emails", "getJob", job.id) for job in jobs]
    assert [one["data"] for one in read] == [one["returnvalue"] for one in read] == PAYLOADS * 2

    async with Worker("replies", lambda job: job.data, store=shared.ours, concurrency=10):
        sent = [one for one in PAYLOADS if one is not None]
        added = [await shared.theirs.queue("replies", "add", "send", one) for one in sent]
        bulk = [{"name": "send", "data": one} for one in sent]
        added += await shared.theirs.queue("replies", "addBulk", bulk)
        results = [await finished(shared, one["id"], "replies") for one in added]
    assert results == sent * 2
    read = [await shared.theirs.queue("replies", "getJob", one["id"]) for one in added]
    assert [one["data"] for one in read] == [one["returnvalue"] for one in read] == sent * 2


async def test_texts_of_ours_are_read_by_them_and_texts_of_theirs_by_us(shared: Shared) -> None:
    jobs = [await shared.queue().add("send", text) for text in TEXTS]
    async with Worker("emails", lambda job: job.data, store=shared.ours):
        assert [await job.wait_until_finished(timeout=30) for job in jobs] == TEXTS
    for job in jobs:
        seen = await shared.theirs.queue("emails", "getJob", job.id)
        assert seen["data"] == seen["returnvalue"] == job.data
    assert len(await shared.theirs.queue("emails", "getJobs", "completed")) == len(TEXTS)

    worker = await shared.theirs.ask("work", queue="replies", deed="echo")
    jobs = [await shared.queue("replies").add("send", text) for text in TEXTS]
    assert [await job.wait_until_finished(timeout=30) for job in jobs] == TEXTS
    await shared.theirs.ask("rest", worker=worker)
    with pytest.raises(RefusedError):  # what their own worker has written
        await shared.theirs.queue("replies", "getJobs", "completed")


@pytest.mark.parametrize(
    "returned", [True, [True], ("a", 1), {1: "one"}, {"at": timedelta(days=1)}]
)
async def test_python_values_do_not_poison_them(shared: Shared, returned: Any) -> None:
    async with Worker("emails", lambda job: returned, store=shared.ours):
        job = await shared.queue().add("send", returned)
        assert await job.wait_until_finished(timeout=30) == returned
    assert len(await shared.theirs.queue("emails", "getJobs", "completed")) == 1
    assert (await shared.theirs.api("GET", f"/api/queues/emails/jobs/{job.id}"))["data"]


async def test_retries_with_and_without_a_pause(shared: Shared) -> None:
    queue = shared.queue()
    jobs = [
        await queue.add("send", attempts=2),
        await queue.add("send", attempts=2, backoff="20ms"),
    ]
    await shared.theirs.ask("work", queue="emails", deed="fail at first")
    for job in jobs:
        assert await job.wait_until_finished(timeout=30) == "at last"
        seen = await job.refresh()
        assert (seen.attempts_made, len(seen.attempt_logs)) == (1, 2)
        assert [one.status for one in seen.attempt_logs] == ["failed", "completed"]

    tries: list[int] = []

    def fail_at_first(job: Any) -> str:
        tries.append(job.attempts_made)
        if job.attempts_made == 0:
            raise ValueError("at first")
        return "at last"

    async with Worker("replies", fail_at_first, store=shared.ours):
        for backoff in ({}, {"backoff": {"type": "exponential", "delay": 20}}):
            added = await shared.theirs.queue("replies", "add", "a", {}, {"attempts": 2, **backoff})
            assert await finished(shared, added["id"], "replies") == "at last"
            seen_there = await shared.theirs.queue("replies", "getJob", added["id"])
            assert (seen_there["attemptsMade"], len(seen_there["attemptLogs"])) == (1, 2)
            assert "at first" in seen_there["stacktrace"][0]
    assert tries == [0, 1, 0, 1]


async def test_what_fails_for_good_is_told_to_both(shared: Shared) -> None:
    def fail(job: Any) -> None:
        raise ValueError("no such address")

    await shared.theirs.ask("work", queue="emails", deed="fail")
    job = await shared.queue().add("send")
    with pytest.raises(JobFailedError, match="as it was told"):
        await job.wait_until_finished(timeout=30)
    await shared.theirs.ask("watch", queue="replies")  # or they may miss what comes soon
    async with Worker("replies", fail, store=shared.ours):
        added = await shared.theirs.queue("replies", "add", "send", {})
        with pytest.raises(RefusedError, match="no such address"):
            await shared.theirs.job("replies", added["id"], "waitUntilFinished", 20_000)


async def test_a_job_failed_by_one_is_retried_by_the_other(shared: Shared) -> None:
    queue = shared.queue()
    worker = await shared.theirs.ask("work", queue="emails", deed="fail")
    job = await queue.add("send", 1)
    with pytest.raises(JobFailedError):
        await job.wait_until_finished(timeout=30)
    await shared.theirs.ask("rest", worker=worker)
    async with Worker("emails", lambda job: job.data + 1, store=shared.ours):
        await job.retry()
        assert await job.wait_until_finished(timeout=30) == 2
        await shared.theirs.queue("emails", "retryJobs", {"state": "completed"})
        await until(lambda: twice_done(job))


async def twice_done(job: Job) -> bool:
    return (await job.refresh()).state is JobState.COMPLETED and len(job.attempt_logs) == 3


async def test_delays_and_promotion(shared: Shared) -> None:
    queue = shared.queue()
    async with Worker("emails", lambda job: job.data, store=shared.ours):
        soon = await shared.theirs.queue("emails", "add", "a", 1, {"delay": 60})
        words = await shared.theirs.queue("emails", "schedule", "in 50 ms", "a", 2)
        assert await finished(shared, soon["id"]) == 1
        assert await finished(shared, words["id"]) == 2
        late = await shared.theirs.queue("emails", "add", "a", 3, {"delay": "5 minutes"})
        seen = await queue.get_job(late["id"])
        assert seen is not None
        assert seen.state is JobState.DELAYED
        assert seen.delay_until is not None
        assert seen.delay_until - seen.created_at == timedelta(minutes=5)
        await shared.theirs.job("emails", late["id"], "promote")
        assert await finished(shared, late["id"]) == 3
    later = await queue.add("a", 4, delay="50ms")
    latest = await queue.add("a", 5, delay="1 hour")
    await shared.theirs.ask("work", queue="emails", deed="echo")
    assert await later.wait_until_finished(timeout=30) == 4
    assert (await latest.refresh()).state is JobState.DELAYED
    await latest.promote()
    assert await latest.wait_until_finished(timeout=30) == 5


async def test_priority_and_lifo_hold_for_both(shared: Shared) -> None:
    queue = shared.queue()
    for number, priority in enumerate((5, 1, 3)):
        await queue.add("send", ["ours", number], priority=priority)
        options = {"priority": priority}
        await shared.theirs.queue("emails", "add", "send", ["theirs", number], options)
    await queue.add("send", "ours last", lifo=True, priority=1)
    taken = await shared.theirs.store("fetchNextJob", "emails", "worker-1", 30_000, {})
    assert taken["data"] == "ours last"
    ours = (await shared.ours.fetch_jobs("emails", "w", 30, limit=2)).jobs
    assert [job.data for job in ours] == [["ours", 1], ["theirs", 1]]
    taken = await shared.theirs.store("fetchNextJob", "emails", "worker-1", 30_000, {})
    assert taken["data"] == ["ours", 2]


async def test_pauses_by_name_and_queue(shared: Shared) -> None:
    queue = shared.queue()
    done: asyncio.Queue[str] = asyncio.Queue()
    async with Worker("emails", lambda job: done.put_nowait(job.name), store=shared.ours):
        await shared.theirs.queue("emails", "pause", {"jobName": "digest"})
        assert await queue.is_paused("digest")
        await queue.add("digest")
        await queue.add("send")
        assert await done.get() == "send"
        await shared.theirs.queue("emails", "pause")
        assert await queue.is_paused()
        waiting = await queue.add("send")
        await shared.theirs.queue("emails", "resume", {"jobName": "digest"})
        assert done.empty()
        assert (await waiting.refresh()).state is JobState.WAITING
        await shared.theirs.queue("emails", "resume")
        assert {await done.get(), await done.get()} == {"digest", "send"}
    await shared.theirs.ask("work", queue="emails", deed="echo")
    await queue.pause()
    waiting = await queue.add("send", 1)
    answer = await shared.theirs.api("GET", "/api/queues")
    assert [one["isPaused"] for one in answer["data"]] == [True]
    await queue.resume()
    assert await waiting.wait_until_finished(timeout=30) == 1


async def test_their_turns_of_groups_know_of_ours(shared: Shared) -> None:
    queue = shared.queue()
    for number in range(3):
        await queue.add("send", ["a", number], group=Group("a"))
        await shared.theirs.queue("emails", "add", "send", ["b", number], {"group": {"id": "b"}})
        await queue.add("send", ["none", number])
    seen = []
    for number in range(9):
        if number % 3 == 0:
            (job,) = (await shared.ours.fetch_jobs("emails", "w", 30)).jobs
            seen.append(job.data)
        else:
            options = {"groupConcurrency": 10}
            taken = await shared.theirs.store("fetchNextJob", "emails", "w", 30_000, options)
            seen.append(taken["data"])
        if number % 3 == 2:
            assert sorted(one[0] for one in seen[-3:]) == ["a", "b", "none"]
    assert [one[1] for one in seen] == [0] * 3 + [1] * 3 + [2] * 3


async def test_jobs_of_their_groups_are_run_beside_ours(shared: Shared) -> None:
    queue = shared.queue()
    async with Worker("emails", lambda job: job.data, store=shared.ours, concurrency=2):
        await queue.pause()
        ours = [await queue.add("send", number, group=Group("a")) for number in range(3)]
        bulk = [{"name": "a", "data": 1, "opts": {"group": {"id": one}}} for one in "abcde"]
        bulk.append({"name": "a", "data": 1})
        theirs = await shared.theirs.queue("emails", "addBulk", bulk)
        await queue.resume()
        for job in ours:
            await job.wait_until_finished(timeout=30)
        for one in theirs:
            assert await finished(shared, one["id"]) == 1


async def test_a_groups_concurrency_counts_what_the_other_runs(shared: Shared) -> None:
    queue = shared.queue()
    for number in range(2):
        await queue.add("send", number, group=Group("a"))
    limits = GroupLimits(concurrency=1)
    assert await shared.theirs.store("fetchNextJob", "emails", "w", 30_000, {"groupConcurrency": 1})
    worker = Worker(
        "emails", lambda job: job.data, store=shared.ours, group=limits, auto_start=False
    )
    async with worker:
        assert await worker.run_once() is None
    with pytest.raises(RefusedError, match="maximum size"):
        await shared.theirs.queue("emails", "add", "a", 1, {"group": {"id": "a", "maxSize": 1}})


async def test_a_rate_limit_holds_over_both(shared: Shared) -> None:
    queue = shared.queue()
    for number in range(4):
        await queue.add("send", number)
    limit = {"rateLimit": {"max": 2, "duration": 60_000}}
    assert await shared.theirs.store("fetchNextJob", "emails", "w", 30_000, limit)
    worker = Worker(
        "emails",
        lambda job: job.data,
        store=shared.ours,
        limiter=Limiter(2, "60s"),
        auto_start=False,
    )
    async with worker:
        assert await worker.run_once() is not None
        assert await worker.run_once() is None
    assert await shared.theirs.store("fetchNextJob", "emails", "w", 30_000, limit) is None


async def test_cancelling(shared: Shared) -> None:
    queue = shared.queue()
    started = asyncio.Event()

    async def run(job: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    async with Worker("emails", run, store=shared.ours):
        added = await shared.theirs.queue("emails", "add", "send", {})
        await started.wait()
        await shared.theirs.ask("cancel", queue="emails", job=added["id"])
        with pytest.raises(JobCancelledError):
            await finished(shared, added["id"])
    seen = await shared.theirs.queue("emails", "getJob", added["id"])
    assert (seen["state"], bool(seen["cancelledAt"])) == ("failed", True)

    options = {"lockDuration": 200}
    await shared.theirs.ask("work", queue="replies", deed="until it is cancelled", options=options)
    job = await shared.queue("replies").add("send", attempts=3)
    await until(job.is_active)
    await job.cancel()
    with pytest.raises(JobCancelledError):
        await job.wait_until_finished(timeout=30)
    waiting = await queue.add("send")
    await shared.theirs.ask("cancel", queue="emails", job=waiting.id)
    seen_here = await waiting.refresh()
    assert (seen_here.state, seen_here.cancelled_at is not None) == (JobState.FAILED, True)


async def test_deduplication_by_key_and_by_payload(shared: Shared) -> None:
    queue = shared.queue()
    first = await queue.add(
        "send", {"b": 1, "a": [1.5, "ü", None]}, deduplication=Deduplication(hash=True)
    )
    options = {"deduplication": {"hash": True}}
    again = await shared.theirs.queue(
        "emails", "add", "send", {"a": [1.5, "ü", None], "b": 1}, options
    )
    assert again["id"] == first.id
    theirs = await shared.theirs.queue("emails", "add", "send", 7, {"deduplication": {"key": "k"}})
    assert (await queue.add("send", 8, deduplication=Deduplication(key="k"))).id == theirs["id"]
    odd = ({"10": 1, "9": 2, "a": 3}, {"\U0001f600": 1, "\uffff": 2}, ["\ue000"])
    for payload in (1, 1e21, 1e-7, [1.0, -0.0], *odd):
        theirs = await shared.theirs.queue("emails", "add", "send", payload, options)
        ours = await queue.add("send", payload, deduplication=Deduplication(hash=True))
        assert ours.id == theirs["id"], payload


async def test_progress_and_logs(shared: Shared) -> None:
    queue = shared.queue()
    await shared.theirs.ask("work", queue="emails", deed="tell")
    job = await queue.add("send")
    progress: list[float] = []
    job.observe().subscribe(on_progress=lambda job, value: progress.append(value))
    assert await job.wait_until_finished(timeout=30) == 40
    assert ((await job.refresh()).progress, list(job.logs), progress) == (40, ["half way"], [40])

    await shared.theirs.ask("watch", queue="replies")

    async def tell(job: Any) -> None:
        await job.update_progress(12.5)
        await job.log("a line")
        await job.update_progress(100)

    async with Worker("replies", tell, store=shared.ours):
        added = await shared.theirs.queue("replies", "add", "send", {})
        await finished(shared, added["id"], "replies")
    seen = await shared.theirs.queue("replies", "getJob", added["id"])
    assert (seen["progress"], seen["logs"]) == (100, ["a line"])
    assert seen["attemptLogs"][0]["logs"] == ["a line"]

    async def is_told() -> bool:
        return any(one["type"] == "job:completed" for one in shared.theirs.events)

    await until(is_told)
    told = [one for one in shared.theirs.events if one["type"] == "job:progress"]
    assert [one["data"] for one in told] == [12.5, 100]


async def test_removal(shared: Shared) -> None:
    queue = shared.queue()
    job = await queue.add("send")
    await shared.theirs.job("emails", job.id, "remove")
    assert await queue.get_job(job.id) is None
    added = await shared.theirs.queue("emails", "add", "send", {})
    found = await queue.get_job(added["id"])
    assert found is not None
    await found.remove()
    assert await shared.theirs.queue("emails", "getJob", added["id"]) is None

    async with Worker("emails", lambda job: 1, store=shared.ours):
        added = await shared.theirs.queue("emails", "add", "a", {}, {"removeOnComplete": True})
        with_age = await shared.theirs.queue(
            "emails", "add", "a", {}, {"removeOnComplete": 3_600_000}
        )
        assert await finished(shared, with_age["id"]) == 1
    assert await shared.theirs.queue("emails", "getJob", added["id"]) is None
    await shared.theirs.ask("work", queue="emails", deed="echo")
    gone = await queue.add("send", {"the": "result"}, remove_on_complete=True)
    with contextlib.suppress(JobNotFoundError):  # they remove it right after they told
        assert await gone.wait_until_finished(timeout=30) == {"the": "result"}
    for state in ("completed", "failed"):
        await shared.theirs.queue("emails", "clean", state, 0)
    assert sum((await queue.get_job_counts()).values()) == 0


async def test_a_batch_of_ours_takes_theirs(shared: Shared) -> None:
    async with Worker(
        "emails", lambda jobs: [job.data for job in jobs], store=shared.ours, batch=Batch(3)
    ):
        bulk = [{"name": "a", "data": number} for number in range(1, 7)]
        added = await shared.theirs.queue("emails", "addBulk", bulk)
        assert [await finished(shared, one["id"]) for one in added] == list(range(1, 7))
