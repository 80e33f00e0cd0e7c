"""What can't be stopped: threads, and handlers that catch their cancellation.

A job ends on time all the same, or waits for its handler to return; it never runs twice at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import (
    Batch,
    Job,
    JobCancelledError,
    JobState,
    LostLockError,
    Queue,
    RetryRefusedError,
    StoreEvent,
    VirtualClock,
    Worker,
)
from tests.crew import AT_WORK, HELD, Crew, all_kinds, returned

Start = Callable[..., Worker]

pytestmark = pytest.mark.usefixtures("_brief_patience")


def kinds_of(events: list[StoreEvent], job: Job) -> list[str]:
    return [event.type.partition(":")[2] for event in events if event.job_id == job.id]


# -- the last attempt -----------------------------------------------------------------------


@all_kinds
@pytest.mark.parametrize("how", ["times out", "is cancelled"])
@pytest.mark.asyncio
async def test_the_last_attempt_ends_on_time(
    how: str,
    kind: str,
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    events: list[StoreEvent],
) -> None:
    worker = start(getattr(crew, kind), concurrency=2)
    attempts = 3 if how == "is cancelled" else 1
    job = await queue.add("send", timeout=5, attempts=attempts)
    await crew.has_begun()
    if how == "is cancelled":
        await job.cancel()
    else:
        await clock.advance(5)
    await clock.advance(1)

    await job.refresh()
    reason = "cancelled" if how == "is cancelled" else "timed out after 5s"
    assert (job.state, job.failed_reason) == (JobState.FAILED, reason)
    assert repr(job).endswith(f"failed, {reason}; {AT_WORK}>")
    assert repr(worker).endswith(f"running, 1 of 2 slots in use, {HELD}>")
    assert (worker.slots_in_use, worker.slots_held, worker.running) == (1, 1, [])
    await returned(crew, clock)
    assert (await job.refresh()).failed_reason == reason, "what it gives now is not heard"
    assert (job.returnvalue, len(job.attempt_logs)) == (None, 1)
    assert crew.told == [True]
    assert repr(worker).endswith("running, 0 of 2 slots in use>")
    assert [kind for kind in kinds_of(events, job) if kind != "cancelled"] == [
        *("waiting", "active", "held", "failed", "freed")
    ]
    assert "error" not in kinds_of(events, job)


@pytest.mark.asyncio
async def test_a_handler_that_stops_in_a_second_holds_nothing(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    async def send(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await job.sleep(1)

    worker = start(send)
    job = await queue.add("send", timeout=5)
    await clock.advance(5.5)
    assert (await job.refresh()).state is JobState.ACTIVE
    assert repr(worker).endswith("1 of 1 slots in use>")
    await clock.advance(0.5)
    assert kinds_of(events, job) == ["waiting", "active", "failed"]


@all_kinds
@pytest.mark.asyncio
async def test_the_slot_is_not_free_before_the_handler_returns(
    kind: str, crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(getattr(crew, kind))
    first, second = [await queue.add("send", timeout=5) for _ in range(2)]
    await crew.has_begun()
    await clock.advance(7)
    assert (await first.refresh()).state is JobState.FAILED
    assert (await second.refresh()).state is JobState.WAITING
    await returned(crew, clock)

    assert (await second.refresh()).state is JobState.COMPLETED
    assert crew.most == 1


@all_kinds
@pytest.mark.asyncio
async def test_a_job_that_ended_before_its_handler_can_be_retried_when_that_has_returned(
    kind: str, crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(getattr(crew, kind), concurrency=2, lock_duration=10)
    job = await queue.add("send", timeout=5)
    await crew.has_begun()
    await clock.advance("1 minute")
    with pytest.raises(RetryRefusedError, match=AT_WORK):
        await job.retry()
    assert await queue.retry_jobs() == 0
    assert (await job.refresh()).state is JobState.FAILED
    await returned(crew, clock)
    await job.retry()
    await clock.settle()

    assert (await job.refresh()).state is JobState.COMPLETED
    assert (crew.most, crew.begun) == (1, [1, 2])


@all_kinds
@pytest.mark.parametrize("keep", [False, True], ids=["kept", "removed"])
@pytest.mark.asyncio
async def test_a_job_that_is_removed_holds_a_slot_and_nothing_else(
    keep: bool,
    kind: str,
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    events: list[StoreEvent],
) -> None:
    worker = start(getattr(crew, kind), concurrency=2, lock_duration=10)
    job = await queue.add("send", timeout=5, remove_on_fail=keep)
    await crew.has_begun()
    if not keep:
        await job.remove()
    await clock.advance("1 minute")
    assert (worker.slots_held, worker.running) == (1, [])
    assert await queue.count() == 0
    await returned(crew, clock)

    assert worker.slots_in_use == 0
    assert "queue:error" not in {event.type for event in events}
    assert await worker.run_until_idle() == 0


# -- attempts that are left -----------------------------------------------------------------


@all_kinds
@pytest.mark.asyncio
async def test_a_retry_waits_for_the_handler_of_the_attempt_that_timed_out(
    kind: str,
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    events: list[StoreEvent],
) -> None:
    workers = [start(getattr(crew, kind), concurrency=2, lock_duration=10) for _ in range(2)]
    job = await queue.add("send", timeout=5, attempts=2)
    await crew.has_begun()
    await clock.advance("5 minutes")  # many times as long as a lock

    await job.refresh()
    assert (job.state, job.attempts_made) == (JobState.ACTIVE, 0)
    assert job.lock_until is not None
    assert job.lock_until > clock.now()
    [record] = job.attempt_logs
    assert (record.error, record.ended_at) == (f"timed out after 5s; {AT_WORK}", None)
    assert repr(job).endswith(f"active, timed out after 5s; {AT_WORK}>")
    assert sum(worker.slots_held for worker in workers) == 1
    await returned(crew, clock)

    await job.refresh()
    assert (job.state, job.attempts_made) == (JobState.COMPLETED, 1)
    assert [record.error for record in job.attempt_logs] == ["timed out after 5s", None]
    assert (crew.most, crew.begun) == (1, [1, 2])
    assert kinds_of(events, job) == [
        *("waiting", "active", "held", "retrying", "waiting", "freed", "active", "completed")
    ]


@pytest.mark.parametrize("kind", ["in_thread", "catching"])
@pytest.mark.parametrize("then", ["cancelled", "removed", "discarded"])
@pytest.mark.asyncio
async def test_what_is_done_to_a_job_that_waits_for_its_handler(
    then: str, kind: str, crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(getattr(crew, kind))
    job = await queue.add("send", timeout=5, attempts=2)
    await crew.has_begun()
    await clock.advance(10)
    match then:
        case "cancelled":
            await job.cancel()
            await clock.settle()
            assert (await job.refresh()).failed_reason == "cancelled", "at once"
        case "removed":
            await job.remove()
        case "discarded":
            await job.discard()
    await clock.settle()
    assert worker.slots_held == 1
    await returned(crew, clock)

    assert crew.begun == [1]
    if then == "discarded":
        assert (await job.refresh()).failed_reason == "timed out after 5s"


@pytest.mark.asyncio
async def test_cancelling_a_job_whose_handler_caught_its_timeout_cancels_that_once_more(
    crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(crew.cleaning_up)
    job = await queue.add("send", timeout=5, attempts=2)
    await crew.has_begun()
    await clock.advance(10)
    await job.cancel()
    await clock.settle()

    assert (await job.refresh()).failed_reason == "cancelled"
    assert worker.slots_in_use == 0


@pytest.mark.asyncio
async def test_running_until_idle_waits_for_jobs_and_for_no_handler_whose_job_has_ended(
    crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(crew.in_thread, auto_start=False, concurrency=2)
    job = await queue.add("send", timeout=5)
    idle = asyncio.ensure_future(worker.run_until_idle())
    await crew.has_begun()
    await clock.advance(5)
    assert (await idle, worker.slots_held) == (1, 1)
    assert (await job.refresh()).state is JobState.FAILED

    again = await queue.add("send", timeout=5, attempts=2)
    idle = asyncio.ensure_future(worker.run_until_idle())
    await clock.advance(5)
    await returned(crew, clock)
    assert await idle == 2, "both its attempts"
    assert (await again.refresh()).state is JobState.COMPLETED


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.asyncio
async def test_run_once_comes_back_when_its_job_has_ended(
    attempts: int, crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(crew.in_thread, auto_start=False)
    await queue.add("send", timeout=5, attempts=attempts)
    once = asyncio.ensure_future(worker.run_once())
    await crew.has_begun()
    await clock.advance(5)
    assert once.done() == (attempts == 1), "with an attempt left, it waits for the thread"
    await returned(crew, clock)
    job = await once
    assert job is not None
    assert job.state is (JobState.FAILED if attempts == 1 else JobState.WAITING)


# -- batches --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_of_a_batch_in_a_thread_each_job_ends_on_its_time(
    crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    start(crew.batch_in_thread, batch=Batch(3), auto_start=False)
    last = await queue.add("last", timeout=5)
    again = await queue.add("again", timeout=5, attempts=2)
    other = await queue.add("other")
    worker = start(crew.batch_in_thread, batch=Batch(3))
    await crew.has_begun()
    await clock.advance("1 minute")
    states = [(await job.refresh()).state for job in (last, again, other)]
    assert states == [JobState.FAILED, JobState.ACTIVE, JobState.ACTIVE]
    assert f"timed out after 5s; {AT_WORK}" in repr(again)
    assert (worker.slots_in_use, worker.slots_held) == (1, 0), "it is at work on the other one"
    await returned(crew, clock)

    assert last.failed_reason == "timed out after 5s"
    assert [(await job.refresh()).returnvalue for job in (again, other)] == ["done", "done"]
    assert crew.begun == [1, 1, 1, 2]
    assert crew.most == 1


@pytest.mark.asyncio
async def test_a_job_that_ended_before_its_batch_is_no_trouble_for_the_others(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    async def send(jobs: list[Job]) -> list[str]:
        await jobs[0].sleep(10)
        for job in jobs:
            await job.log("sent")
            await job.update_progress(50)
        return ["sent"] * len(jobs)

    gone, other = [await queue.add("send") for _ in range(2)]
    start(send, batch=Batch(2))
    await clock.settle()
    await gone.cancel()
    await clock.settle()
    assert (await gone.refresh()).failed_reason == "cancelled", "at once"
    await clock.advance(10)

    assert (await other.refresh()).returnvalue == "sent"
    assert (await gone.refresh()).logs == ()
    assert "queue:error" not in {event.type for event in events}


# -- what is said of it ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancelled", "timed out after 5s", "the worker was closed"])
@pytest.mark.asyncio
async def test_a_thread_that_asks_is_told_why_it_is_to_stop(
    how: str, queue: Queue, clock: VirtualClock, start: Start, go_on: threading.Event
) -> None:
    loop, started, over = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    raised: list[BaseException] = []

    def send(job: Any) -> None:
        loop.call_soon_threadsafe(started.set)
        go_on.wait()
        try:
            job.raise_if_cancelled()
        except JobCancelledError as error:
            raised.append(error)
            raise
        finally:
            loop.call_soon_threadsafe(over.set)

    worker = start(send)
    job = await queue.add("send", timeout=5)
    await started.wait()
    match how:
        case "cancelled":
            await job.cancel()
        case "the worker was closed":
            await worker.close(timeout=0)
        case _:
            await clock.advance(5)
    go_on.set()
    await over.wait()
    assert [str(error) for error in raised] == [f"job {job.id!r} failed: {how}"]


@pytest.mark.asyncio
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("how", ["remove", "obliterate"])
async def test_who_runs_a_job_that_is_gone_does_nothing_to_another_one_of_its_id(
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    go_on: threading.Event,
    is_async: bool,
    how: str,
) -> None:
    may_go_on = asyncio.Event()
    refused: list[type[Exception]] = []
    actions: list[Callable[[Any], Any]] = [
        lambda job: job.log("late"),
        lambda job: job.update_progress(99),
        lambda job: job.update_data("late"),
        lambda job: job.move_to_failed("late"),
    ]

    def in_thread(job: Any) -> str:
        if job.data == "new":
            job.sleep(5)
            return "done"
        assert go_on.wait(30)
        for act in actions:
            with contextlib.suppress(LostLockError):
                act(job)
                continue
            refused.append(LostLockError)
        return "late"

    async def on_loop(job: Job) -> str:
        if job.data == "new":
            await job.sleep(5)
            return "done"
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await may_go_on.wait()
        for act in actions:
            with contextlib.suppress(LostLockError):
                await act(job)
                continue
            refused.append(LostLockError)
        return "late"

    start(on_loop if is_async else in_thread, concurrency=2)
    old = await queue.add("send", "old", job_id="a")
    await clock.settle()
    await (old.remove() if how == "remove" else queue.obliterate(force=True))
    new = await queue.add("send", "new", job_id="a")
    await clock.advance(2)
    go_on.set()
    may_go_on.set()
    clock.patience = 1
    await clock.advance(4)
    await new.refresh()
    assert (new.state, new.returnvalue, new.data, new.logs, new.progress) == (
        "completed",
        "done",
        "new",
        (),
        0,
    )
    assert refused == [LostLockError] * 4
