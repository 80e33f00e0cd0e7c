"""Stopping a job that runs: its timeout, and cancelling it; in a task and in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import (
    Job,
    JobCancelledError,
    JobState,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)

Start = Callable[..., Worker]

A_HANDFUL = 5


class Held:
    """A plain handler whose job named ``"held"`` stays in its thread until told to go on."""

    def __init__(self, go_on: threading.Event) -> None:
        self.started = asyncio.Event()
        self.over = asyncio.Event()
        self.go_on = go_on
        self.raised: BaseException | None = None
        self.requested: list[bool] = []
        self._loop = asyncio.get_running_loop()

    def __call__(self, job: Any) -> str:
        if job.name != "held":
            return "fine"
        self.requested.append(job.cancel_requested)
        self._loop.call_soon_threadsafe(self.started.set)
        self.go_on.wait()
        self.requested.append(job.cancel_requested)
        try:
            job.raise_if_cancelled()
        except BaseException as error:
            self.raised = error
            raise
        finally:
            self._loop.call_soon_threadsafe(self.over.set)
        return "fine"


async def give_way(turns: int = 20) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def hang(job: Job) -> None:
    await asyncio.Event().wait()


# -- timeouts -------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_timeout_is_for_each_attempt(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> str:
        await job.sleep(1 if job.attempts_made else 10)
        return "sent"

    start(send)
    job = await queue.add("send", timeout=5, attempts=2)
    await clock.advance(5)
    assert (await job.refresh()).attempts_made == 1
    assert job.attempt_logs[0].error == "timed out after 5s"
    await clock.advance(1)

    assert (await job.refresh()).returnvalue == "sent"


@pytest.mark.asyncio
async def test_a_handler_may_clean_up_when_its_time_is_over(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await job.log(f"stopped: {job.cancel_requested}")
            await job.sleep(1)
        return "the handler's answer comes too late"

    start(send)
    job = await queue.add("send", timeout=5)
    await clock.advance(6)

    await job.refresh()
    assert (job.state, job.failed_reason) == (JobState.FAILED, "timed out after 5s")
    assert job.logs == ("stopped: True",)
    assert job.returnvalue is None


@pytest.mark.asyncio
async def test_a_timeout_that_is_kept_leaves_no_trace(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> str:
        await job.sleep(4)
        return "sent"

    start(send)
    job = await queue.add("send", timeout=5)
    await clock.advance("1 hour")

    assert (await job.refresh()).returnvalue == "sent"
    assert job.attempts_made == 0


@pytest.mark.asyncio
async def test_a_thread_past_its_timeout_keeps_its_slot(
    queue: Queue, clock: VirtualClock, start: Start, go_on: threading.Event
) -> None:
    clock.patience = 0.05  # the thread is at rest: there is nothing to be patient for
    held = Held(go_on)
    worker = start(held)
    first = await queue.add("held", timeout=5)
    second = await queue.add("next")
    await held.started.wait()
    await clock.advance(5)
    await clock.settle()  # a store may be far away

    assert (await first.refresh()).failed_reason == "timed out after 5s", "the job is told at once"
    assert worker.running == []
    assert (await second.refresh()).state is JobState.WAITING, "a thread can't be stopped"
    held.go_on.set()
    assert await second.wait_until_finished() == "fine"
    assert held.requested == [False, True]
    assert isinstance(held.raised, JobCancelledError)


# -- cancelling -----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"delay": 60}], ids=["waiting", "delayed"])
@pytest.mark.asyncio
async def test_cancelling_a_job_that_has_not_started(
    options: dict[str, Any], queue: Queue, clock: VirtualClock, events: list[StoreEvent]
) -> None:
    job = await queue.add("send", **options, attempts=3)
    await job.cancel()

    assert (job.state, job.failed_reason) == (JobState.FAILED, "cancelled")
    assert job.cancelled_at == clock.now()
    assert job.attempts_made == 0
    assert [event.type for event in events[1:]] == [
        "job:cancelled",
        "job:failed",
        "queue:drained",
    ]
    async with Worker("emails", hang, store=job.store):
        await clock.advance("1 hour")
    assert (await job.refresh()).attempt_logs == ()


@pytest.mark.parametrize("way", ["job", "another view", "store"])
@pytest.mark.asyncio
async def test_a_running_handler_is_cancelled_at_once(
    way: str, queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    stopped: list[str] = []

    async def send(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(job.id)
            raise

    start(send)
    job = await queue.add("send", attempts=3)
    await clock.settle()
    match way:
        case "job":
            await job.cancel()
        case "another view":
            other = await queue.get_job(job.id)
            assert other is not None
            await other.cancel()
        case "store":
            await store.cancel_job("emails", job.id)
    await (give_way(A_HANDFUL) if store.tells_at_once else clock.settle())

    assert stopped == [job.id]
    await job.refresh()
    assert (job.state, job.failed_reason, job.attempts_made) == (JobState.FAILED, "cancelled", 0)
    assert job.attempt_logs[0].error == "cancelled"
    with pytest.raises(JobCancelledError, match="cancelled"):
        await job.wait_until_finished()


@pytest.mark.asyncio
async def test_a_job_that_is_cancelled_as_it_is_taken(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> None:
        await job.sleep("1 day")

    start(send)
    await clock.settle()
    job = await queue.add("send")
    queue.store.subscribe("emails", cancel_when_active(job))
    await clock.settle()

    assert (await job.refresh()).failed_reason == "cancelled"


def cancel_when_active(job: Job) -> Callable[[StoreEvent], None]:
    tasks: list[asyncio.Task[None]] = []

    def notice(event: StoreEvent) -> None:
        if event.type == "job:active":
            tasks.append(asyncio.create_task(job.cancel()))

    return notice


@pytest.mark.parametrize("answer", ["returns", "raises"])
@pytest.mark.asyncio
async def test_a_handler_that_was_cancelled_has_no_say_in_the_outcome(
    answer: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if answer == "raises":
                raise ValueError("in the clean-up") from None
        return "sent all the same"

    start(send)
    job = await queue.add("send", attempts=3)
    await clock.settle()
    await job.cancel()
    await clock.settle()

    await job.refresh()
    assert (job.state, job.failed_reason) == (JobState.FAILED, "cancelled")
    assert job.returnvalue is None


@pytest.mark.asyncio
async def test_a_thread_is_asked_to_stop(
    queue: Queue, clock: VirtualClock, start: Start, go_on: threading.Event
) -> None:
    held = Held(go_on)
    start(held)
    job = await queue.add("held", attempts=3)
    await held.started.wait()
    await job.cancel()
    with pytest.raises(JobCancelledError):
        await job.wait_until_finished()
    held.go_on.set()
    await held.over.wait()

    assert held.requested == [False, True]
    assert isinstance(held.raised, JobCancelledError)
    assert await (await queue.add("next")).wait_until_finished() == "fine"


@pytest.mark.asyncio
async def test_cancelling_twice_is_cancelling_once(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    cancels = 0

    async def send(job: Job) -> None:
        nonlocal cancels
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancels += 1
            await job.sleep(1)

    start(send)
    job = await queue.add("send")
    await clock.settle()
    await job.cancel()
    await job.cancel()
    await clock.settle()
    await job.cancel()
    await clock.advance(1)
    at = (await job.refresh()).cancelled_at
    await clock.advance(1)
    await job.cancel()

    assert cancels == 1
    assert (await job.refresh()).cancelled_at == at
    kinds = [event.type for event in events if event.job_id == job.id]
    assert kinds == ["job:waiting", "job:active", "job:cancelled", "job:failed"]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
@pytest.mark.asyncio
async def test_cancelling_a_settled_job_has_no_effect(
    outcome: str, queue: Queue, start: Start, events: list[StoreEvent]
) -> None:
    def send(job: Job) -> str:
        if outcome == "failed":
            raise ValueError
        return "sent"

    worker = start(send, auto_start=False)
    job = await queue.add("send")
    await worker.run_once()
    before = (await job.refresh()).to_dict()
    del events[:]
    await job.cancel()

    assert (await job.refresh()).to_dict() == before
    assert events == []


@pytest.mark.asyncio
async def test_a_cancelled_job_can_be_retried(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def send(job: Job) -> str:
        if len(job.attempt_logs) == 1:
            await asyncio.Event().wait()
        return f"sent, {job.cancel_requested}"

    start(send)
    job = await queue.add("send")
    await clock.settle()
    await job.cancel()
    await clock.settle()
    await job.retry()
    await clock.settle()

    await job.refresh()
    assert (job.state, job.returnvalue, job.cancelled_at) == ("completed", "sent, False", None)


@pytest.mark.asyncio
async def test_removing_a_running_job_stops_its_handler(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    stopped: list[str] = []

    async def send(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(job.id)

    worker = start(send)
    job = await queue.add("send")
    await clock.settle()
    await job.remove()
    await clock.settle()

    assert stopped == [job.id]
    assert worker.running == []
    assert await queue.count() == 0
    assert events[-1].type == "job:removed"
