"""Stalls: a blocked loop is none, a worker that is gone is one, and its late results are void."""

from __future__ import annotations

import asyncio
import collections
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import (
    Job,
    JobData,
    JobState,
    LostLockError,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.actions import Complete, Fail
from conveyor_nb.core.model import Lock

Start = Callable[..., Worker]

LOCK = 0.02
"""Seconds; a test blocks the loop for several times as long."""


async def take_and_vanish(queue: Queue, lock_duration: float = 30) -> Lock:
    """What a worker leaves behind that died with a job in its hands."""
    taken = await queue.store.fetch_next_job(queue.name, "ghost", lock_duration)
    assert taken is not None
    return Lock("ghost", len(taken.attempt_logs))


# -- a blocked loop -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("blocks", [1, 4])
@pytest.mark.asyncio
async def test_a_loop_that_is_blocked_for_longer_than_a_lock_is_no_stall(
    workers: int, blocks: int
) -> None:
    runs: collections.Counter[str] = collections.Counter()
    begun = asyncio.Semaphore(0)
    go_on = asyncio.Event()

    async def send(job: Job) -> None:
        runs[job.id] += 1
        begun.release()
        await go_on.wait()

    async with MemoryStore() as store:
        kinds: list[str] = []
        store.subscribe("emails", lambda event: kinds.append(event.type))
        queue = Queue("emails", store=store)
        crew = [
            Worker("emails", send, store=store, lock_duration=LOCK, stalled_interval=LOCK / 2)
            for _ in range(workers)
        ]
        await queue.add_bulk([{"name": "send", "attempts": 3}] * 4)
        for _ in crew:
            await begun.acquire()
        for _ in range(blocks):
            time.sleep(4 * LOCK)  # noqa: ASYNC251 -- this is the cell that computes
            await asyncio.sleep(0)
        await asyncio.sleep(LOCK * 2)  # by now every timer that was overdue has run
        go_on.set()
        await queue.join()
        for worker in crew:
            await worker.close()

    assert set(runs.values()) == {1}
    assert len(runs) == 4
    assert not set(kinds) & {"job:stalled", "job:retrying", "queue:error", "job:failed"}


@pytest.mark.asyncio
async def test_a_handler_that_blocks_the_loop_itself_keeps_its_job() -> None:
    runs: list[str] = []

    async def send(job: Job) -> str:
        runs.append(job.id)
        time.sleep(4 * LOCK)  # noqa: ASYNC251 -- see above
        await asyncio.sleep(0)
        time.sleep(4 * LOCK)  # noqa: ASYNC251 -- see above
        return "sent"

    async with MemoryStore() as store, Queue("emails", store=store) as queue:
        options: dict[str, Any] = {"lock_duration": LOCK, "stalled_interval": LOCK / 2}
        first = Worker("emails", send, store=store, **options)
        second = Worker("emails", send, store=store, **options)
        job = await queue.add("send", attempts=3)
        assert await job.wait_until_finished() == "sent"
        await first.close()
        await second.close()

    assert runs == [job.id]
    assert job.attempts_made == 0


class Counting(MemoryStore):
    """Tells when it was asked a few times for jobs whose locks ran out, and gave some."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.often = asyncio.Event()

    async def get_stalled_jobs(self, queue_name: str) -> list[JobData]:
        stalled = await super().get_stalled_jobs(queue_name)
        self.asked += bool(stalled)
        if self.asked == 5:
            self.often.set()
        return stalled


@pytest.mark.asyncio
async def test_a_loop_of_another_thread_that_is_blocked_keeps_its_job() -> None:
    runs: list[str] = []
    begun, go_on, over = asyncio.Event(), threading.Event(), asyncio.Event()
    here = asyncio.get_running_loop()

    async def send(job: Job) -> str:
        runs.append(job.id)
        here.call_soon_threadsafe(begun.set)
        go_on.wait()  # its loop is blocked
        return "sent"

    async with Counting() as store:
        queue = Queue("emails", store=store)
        options: dict[str, Any] = {"lock_duration": LOCK, "stalled_interval": LOCK / 2}

        async def there() -> None:
            async with Worker("emails", send, store=store, **options):
                await asyncio.to_thread(asyncio.run_coroutine_threadsafe(over.wait(), here).result)

        job = await queue.add("send", attempts=3)
        elsewhere = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(there())))
        await begun.wait()
        async with Worker("emails", send, store=store, **options):
            await store.often.wait()
            go_on.set()
            assert await job.wait_until_finished() == "sent"
        over.set()
        await elsewhere

    assert runs == [job.id]
    assert job.attempts_made == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("finder", ["who looks for stalled jobs", "who starts"])
async def test_a_job_on_a_loop_that_is_closed_goes_back_when_another_worker_finds_it(
    queue: Queue, clock: VirtualClock, start: Start, finder: str
) -> None:
    """Nothing has told its worker, and nothing may: others only take and end what waits."""

    async def hang(job: Job) -> None:
        await asyncio.Event().wait()

    start(hang)  # it has no slot left for the other job, and looks for stalled ones
    await queue.add("first")
    await clock.settle()
    left: set[asyncio.Task[Any]] = set()

    async def begin() -> Worker:
        worker = Worker("emails", hang, store=queue.store)
        await queue.add("second", job_id="second", attempts=2)
        while not worker.running:
            await checkpoint()
        return worker

    def leave() -> Worker:
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(begin())
        finally:
            left.update(asyncio.all_tasks(loop))  # were they destroyed, the worker would notice
            for task in left:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            loop.close()

    gone = await asyncio.to_thread(leave)
    job = await queue.get_job("second")
    assert job is not None
    if finder == "who starts":
        start(hang)
        await clock.settle()
        assert (await job.refresh()).attempt_logs[0].ended_at == clock.now()
        assert (job.state, job.attempts_made) == (JobState.ACTIVE, 0), "it runs again"
    else:
        await clock.advance(29)
        assert (await job.refresh()).state == JobState.ACTIVE
        await clock.advance(2)
        assert (await job.refresh()).state == JobState.WAITING
        assert job.attempts_made == 0
    await gone.close()


# -- locks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("duration", [30, 4])
@pytest.mark.asyncio
async def test_locks_are_renewed_at_half_their_duration(
    duration: float, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def nap(job: Job) -> str:
        await job.sleep(duration * 10)
        return "done"

    start(nap, lock_duration=duration)
    job = await queue.add("send")
    left: list[float] = []
    for _ in range(10):
        await job.refresh()
        if job.lock_until is not None:
            left.append((job.lock_until - clock.now()).total_seconds())
        await clock.advance(duration / 4)

    # not yet taken, just taken, ... and at half the time it is as good as new again
    assert set(left) == {duration, duration * 3 / 4}
    await clock.advance(duration * 10)
    assert (await job.refresh()).returnvalue == "done"


@pytest.mark.asyncio
async def test_a_job_taken_just_before_a_renewal_is_renewed_in_time_too(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    async def nap(job: Job) -> None:
        await job.sleep("10 minutes")

    start(nap, concurrency=4)
    start(nap)
    for _ in range(4):
        await queue.add("send")
        await clock.advance(11)
    await clock.advance("1 hour")

    assert await queue.count("completed") == 4
    assert "job:stalled" not in {event.type for event in events}


# -- a worker that is gone ------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_job_of_a_vanished_worker_runs_elsewhere(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    async def send(job: Job) -> str:
        return f"sent at attempt {len(job.attempt_logs)}"

    job = await queue.add("send", attempts=2)
    await take_and_vanish(queue)
    start(send)
    await clock.advance(29)
    assert (await job.refresh()).locked_by == "ghost", "its lock still holds"
    await clock.advance("1 minute")

    await job.refresh()
    assert job.returnvalue == "sent at attempt 2"
    assert job.attempts_made == 1, "a stall counts"
    stalled, done = job.attempt_logs
    assert (stalled.worker_id, stalled.status) == ("ghost", "failed")
    assert (stalled.error or "").startswith("stalled: worker ghost did not renew its lock")
    assert done.status == "completed"
    assert [event.type for event in events if event.job_id == job.id] == [
        "job:waiting",
        "job:active",
        "job:stalled",
        "job:retrying",
        "job:waiting",
        "job:active",
        "job:completed",
    ]


@pytest.mark.parametrize("interval", [30, 5])
@pytest.mark.asyncio
async def test_how_soon_a_stall_is_found(
    interval: float, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    job = await queue.add("send", attempts=2)
    await take_and_vanish(queue, lock_duration=10)
    start(lambda job: "sent", stalled_interval=interval)
    await clock.advance(9.9)
    assert (await job.refresh()).locked_by == "ghost"
    await clock.advance(interval + 1.1)

    assert (await job.refresh()).returnvalue == "sent"


@pytest.mark.parametrize("idle", ["0s", "10 minutes"])
@pytest.mark.asyncio
async def test_a_stall_is_found_of_a_job_that_started_while_nothing_was_watched(
    idle: str, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(lambda job: "sent")
    await clock.advance(idle)  # nothing is active, and so nobody looks for stalls any more
    worker.pause()
    await clock.advance("1s")
    for _ in range(2):
        job = await queue.add("send", attempts=9)
        await take_and_vanish(queue)
        await clock.advance("2 minutes")

        assert (await job.refresh()).attempts_made == 1
        await job.remove()
        await clock.advance(idle)


@pytest.mark.parametrize("options", [{"attempts": 1}, {"attempts": 3, "discard": True}])
@pytest.mark.asyncio
async def test_out_of_attempts_a_stalled_job_fails(
    options: dict[str, Any], queue: Queue, clock: VirtualClock, start: Start
) -> None:
    job = await queue.add("send", attempts=options["attempts"])
    if options.get("discard"):
        await job.discard()
    await take_and_vanish(queue)
    start(lambda job: "sent")
    await clock.advance("2 minutes")

    await job.refresh()
    assert (job.state, job.attempts_made) == (JobState.FAILED, 1)
    assert (job.failed_reason or "").startswith("stalled")
    assert len(job.attempt_logs) == 1


@pytest.mark.asyncio
async def test_a_cancelled_job_of_a_vanished_worker_ends_cancelled(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    job = await queue.add("send", attempts=3)
    await take_and_vanish(queue)
    await job.cancel()
    assert (await job.refresh()).state is JobState.ACTIVE
    start(lambda job: "sent")
    await clock.advance("2 minutes")

    await job.refresh()
    assert (job.state, job.failed_reason) == (JobState.FAILED, "cancelled")


@pytest.mark.asyncio
async def test_several_workers_find_one_stall_once(
    queue: Queue, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    await queue.add_bulk([{"name": "send", "attempts": 3}] * 3)
    for _ in range(3):
        await take_and_vanish(queue)
    runs: list[str] = []

    async def send(job: Job) -> None:
        runs.append(job.id)

    for _ in range(3):
        start(send)
    await clock.advance("5 minutes")

    assert sorted(runs) == ["emails-1", "emails-2", "emails-3"]
    assert [event.type for event in events].count("job:stalled") == 3


# -- what a worker says that lost its lock --------------------------------------------------


@pytest.mark.parametrize("report", [Complete("late"), Fail("late", "trace")])
@pytest.mark.asyncio
async def test_the_late_report_of_a_lost_lock_changes_nothing(
    report: Any, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    job = await queue.add("send", attempts=2)
    lock = await take_and_vanish(queue)
    start(lambda job: "sent")
    await clock.advance("2 minutes")
    before = (await job.refresh()).to_dict()

    with pytest.raises(LostLockError, match="'ghost' no longer holds the lock of job 'emails-1'"):
        await queue.store.apply("emails", job.id, report, lock=lock)
    with pytest.raises(LostLockError):
        await queue.store.extend_lock("emails", job.id, lock, 30)
    assert (await job.refresh()).to_dict() == before


@pytest.mark.parametrize("answer", ["returns", "raises", "logs", "can't be copied"])
@pytest.mark.asyncio
async def test_the_late_result_of_a_handler_is_reported_and_not_used(
    answer: str, queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start
) -> None:
    go_on = asyncio.Event()

    async def send(job: Job) -> Any:
        if len(job.attempt_logs) > 1:
            return "second"
        if job.name == "next":
            return "sent"
        await go_on.wait()
        match answer:
            case "raises":
                raise ValueError("late")
            case "logs":
                await job.log("late")
            case "can't be copied":
                return lambda: 0
        return "late"

    errors: list[StoreEvent] = []
    queue.on("error", errors.append)
    worker = start(send)
    job = await queue.add("send", attempts=3)
    await clock.settle()
    await store.release_lock("emails", job.id, Lock(worker.id, 1))
    other = start(send)
    await clock.settle()
    assert (await job.refresh()).returnvalue == "second"
    go_on.set()
    await clock.settle()

    await job.refresh()
    assert (job.returnvalue, job.state, job.logs) == ("second", JobState.COMPLETED, ())
    assert [record.worker_id for record in job.attempt_logs] == [worker.id, other.id]
    [error] = errors
    assert (error.type, error.job_id) == ("queue:error", job.id)
    assert (error.data["worker_id"], "LostLockError" in error.data["error"]) == (worker.id, True)
    assert worker.running == []
    assert await (await queue.add("next")).wait_until_finished() == "sent"


@pytest.mark.asyncio
async def test_a_lost_lock_that_is_noticed_at_a_renewal_stops_the_handler(
    queue: Queue, store: MemoryStore, clock: VirtualClock, start: Start, events: list[StoreEvent]
) -> None:
    stopped: list[int] = []

    async def send(job: Job) -> str:
        if len(job.attempt_logs) > 1:
            return "second"
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(len(job.attempt_logs))
        return "never"

    worker = start(send)
    job = await queue.add("send")
    await clock.settle()
    await store.release_lock("emails", job.id, Lock(worker.id, 1))
    await clock.advance(15)

    assert stopped == [1]
    assert (await job.refresh()).returnvalue == "second"
    assert [event.type for event in events].count("queue:error") == 1


class Unsteady(MemoryStore):
    """Fails a few times when it is asked to renew locks, or for the jobs whose locks ran out."""

    def __init__(self, clock: VirtualClock, broken: str) -> None:
        super().__init__(clock=clock)
        self.faults = 2
        self.broken = broken

    async def renew_locks(self, *args: Any, **options: Any) -> list[str]:
        self._fail("renew_locks")
        return await super().renew_locks(*args, **options)

    async def get_stalled_jobs(self, queue_name: str) -> list[JobData]:
        self._fail("get_stalled_jobs")
        return await super().get_stalled_jobs(queue_name)

    def _fail(self, method: str) -> None:
        if self.faults and self.broken == method:
            self.faults -= 1
            raise OSError("no route")


@pytest.mark.parametrize("broken", ["renew_locks", "get_stalled_jobs"])
@pytest.mark.asyncio
async def test_a_fault_meanwhile_is_told_once_and_locks_are_looked_after_again(
    broken: str, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(job: Job) -> str:
        await job.sleep("2 minutes")
        return "done"

    async with Unsteady(clock, broken) as store:
        events: list[StoreEvent] = []
        store.subscribe(None, events.append)
        async with Worker("emails", work, store=store, lock_duration=10, stalled_interval=10):
            job = await Queue("emails", store=store).add("send")
            await clock.advance("1 minute")
            lock_until = (await job.refresh()).lock_until
            assert lock_until is not None
            assert lock_until > clock.now()
            await clock.advance("1 minute")
        assert await job.wait_until_finished() == "done"
    assert [event.type for event in events].count("queue:error") == 1
    assert caplog.text.count("OSError: no route") == 1
