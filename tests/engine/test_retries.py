"""Retries and their backoff, under a clock that makes an hour of them take no time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb import Backoff, Job, JobState, MemoryStore, Queue, StoreEvent, VirtualClock, Worker

Start = Callable[..., Worker]


async def fail(job: Job) -> None:
    raise ValueError(f"attempt {job.attempts_made + 1}")


def starts(job: Job) -> list[float]:
    """When each attempt began, in seconds after the first."""
    begun = [record.started_at for record in job.attempt_logs]
    return [(one - begun[0]).total_seconds() for one in begun]


@pytest.mark.asyncio
async def test_a_retry_without_backoff_is_at_once(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(fail)
    job = await queue.add("send", attempts=3)
    await clock.settle()

    await job.refresh()
    assert (job.state, job.attempts_made, job.failed_reason) == (
        "failed",
        3,
        "ValueError: attempt 3",
    )
    assert [record.error for record in job.attempt_logs] == [
        f"ValueError: attempt {number}" for number in (1, 2, 3)
    ]
    assert len(job.stacktrace) == 3


@pytest.mark.asyncio
async def test_fixed_backoff(queue: Queue, clock: VirtualClock, start: Start) -> None:
    start(fail)
    job = await queue.add("send", attempts=4, backoff="10s")
    await clock.settle()
    assert (await job.refresh()).state is JobState.DELAYED
    assert job.delay_until == clock.now() + timedelta(seconds=10)
    await clock.advance(9.5)
    assert len((await job.refresh()).attempt_logs) == 1
    await clock.advance("1 minute")

    assert starts(await job.refresh()) == [0, 10, 20, 30]
    assert job.state is JobState.FAILED


async def exponential_starts(seed: int) -> list[float]:
    clock = VirtualClock()
    async with MemoryStore(clock=clock, seed=seed) as store, Worker("emails", fail, store=store):
        job = await Queue("emails", store=store).add(
            "send", attempts=6, backoff=Backoff("exponential", "2 minutes")
        )
        await clock.advance("2 hours")
        await job.refresh()
        assert (job.state, job.attempts_made) == (JobState.FAILED, 6)
        return starts(job)


@pytest.mark.asyncio
async def test_five_exponential_retries_over_an_hour() -> None:
    begun = await exponential_starts(seed=1)

    waits = [later - earlier for earlier, later in itertools.pairwise(begun)]
    for number, wait in enumerate(waits):
        middle = 120 * 2**number
        assert 0.75 * middle <= wait <= 1.25 * middle
    assert waits != [120 * 2**number for number in range(5)], "there is jitter"
    assert sum(waits) > 0.75 * 62 * 60


@pytest.mark.asyncio
async def test_the_same_seed_gives_the_same_delays() -> None:
    first, second, other = [await exponential_starts(seed) for seed in (1, 1, 2)]

    assert first == second != other


@pytest.mark.asyncio
async def test_exponential_backoff_stops_growing_at_a_day(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(fail)
    job = await queue.add("send", attempts=5, backoff=Backoff("exponential", "20 hours"))
    await clock.advance("1 week")

    assert (await job.refresh()).state is JobState.FAILED
    waits = [later - earlier for earlier, later in itertools.pairwise(starts(job))]
    assert max(waits) == pytest.approx(86_400)


@pytest.mark.usefixtures("_callable_backoffs")
@pytest.mark.asyncio
async def test_custom_backoff(queue: Queue, clock: VirtualClock, start: Start) -> None:
    asked: list[int] = []

    def strategy(attempts_made: int) -> Any:
        asked.append(attempts_made)
        return ["5s", timedelta(seconds=7), 0][attempts_made - 1]

    start(fail)
    job = await queue.add("send", attempts=4, backoff=Backoff("custom", strategy=strategy))
    await clock.advance("1 minute")

    assert asked == [1, 2, 3]
    assert starts(await job.refresh()) == [0, 5, 12, 12]


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (lambda made: 1 / 0, "ZeroDivisionError"),
        (lambda made: -1, "must be zero or more"),
        (lambda made: "soon", "not a duration"),
        (lambda: 5, "TypeError"),
    ],
)
@pytest.mark.usefixtures("_callable_backoffs")
@pytest.mark.asyncio
async def test_a_custom_backoff_that_fails_ends_the_retries_and_says_so(
    strategy: Any, words: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(fail)
    job = await queue.add("bad", attempts=5, backoff=Backoff("custom", strategy=strategy))
    await clock.advance("1 minute")
    other = await queue.add("other")
    await clock.settle()

    await job.refresh()
    assert (job.state, job.attempts_made) == (JobState.FAILED, 1)
    reason = job.failed_reason or ""
    assert "ValueError: attempt 1" in reason, "the handler's own error is still told"
    assert "backoff strategy" in reason
    assert words in reason
    assert await other.is_failed(), "the worker lives on"


@pytest.mark.asyncio
async def test_a_retried_job_keeps_its_place(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    order: list[str] = []

    async def once(job: Job) -> None:
        order.append(job.name)
        if not job.attempts_made and job.name == "a":
            raise ValueError

    worker = start(once, auto_start=False)
    await queue.add_bulk([{"name": name, "attempts": 2} for name in "abc"])
    await worker.run_until_idle()

    assert order == ["a", "a", "b", "c"]


@pytest.mark.asyncio
async def test_the_events_of_a_retry(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    start(fail)
    job = await queue.add("send", attempts=2, backoff=5)
    await clock.advance(5)

    mine = [event for event in events if event.job_id == job.id]
    assert [event.type for event in mine] == [
        "job:waiting",
        "job:active",
        "job:retrying",
        "job:delayed",
        "job:waiting",
        "job:active",
        "job:failed",
    ]
    retrying = mine[2].data
    assert (retrying["attempts_made"], retrying["attempts"], retrying["delay"]) == (1, 2, 5)
    assert retrying["reason"] == "ValueError: attempt 1"


@pytest.mark.asyncio
async def test_retry_by_hand_starts_afresh(queue: Queue, clock: VirtualClock, start: Start) -> None:
    mended = False

    async def send(job: Job) -> str:
        if not mended:
            raise ValueError("broken")
        return "sent"

    start(send)
    jobs = await queue.add_bulk([{"name": "send", "attempts": 2}] * 3)
    await clock.settle()
    assert await queue.count("failed") == 3

    mended = True
    await jobs[0].retry()
    assert (jobs[0].attempts_made, jobs[0].failed_reason) == (0, None)
    assert await jobs[0].wait_until_finished() == "sent"
    assert await queue.retry_jobs() == 2
    await clock.settle()
    assert await queue.count("completed") == 3
    assert len((await jobs[0].refresh()).attempt_logs) == 3, "the story of the attempts is kept"


@pytest.mark.asyncio
async def test_discard_rules_out_the_retries_that_are_left(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def give_up(job: Job) -> None:
        if job.name == "from within":
            await job.discard()
        raise ValueError("no use")

    start(give_up)
    inside = await queue.add("from within", attempts=5)
    outside = await queue.add("from outside", attempts=5, backoff=60)
    await clock.settle()
    await outside.discard()
    await clock.advance("10 minutes")

    assert (await inside.refresh()).state is (await outside.refresh()).state is JobState.FAILED
    assert (inside.attempts_made, outside.attempts_made) == (1, 2)


@pytest.mark.parametrize("removed", ["remove_on_complete", "remove_on_fail"])
@pytest.mark.asyncio
async def test_jobs_are_removed_as_their_options_say(
    removed: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> None:
        if removed == "remove_on_fail":
            raise ValueError

    start(send)
    now: dict[str, Any] = {removed: True}
    then: dict[str, Any] = {removed: "1 minute"}
    at_once = await queue.add("send", **now)
    later = await queue.add("send", **then)
    await clock.settle()
    assert await queue.get_job(at_once.id) is None
    await clock.advance(59)
    assert await queue.get_job(later.id) is not None
    await clock.advance(1)
    assert await queue.get_job(later.id) is None
