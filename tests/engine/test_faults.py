"""Handlers that misbehave: the job fails with its traceback, and the worker lives on."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb import Batch, Job, JobState, MemoryStore, Queue, StoreEvent, VirtualClock, Worker
from conveyor_nb.core.model import Lock


class OddError(BaseException):
    """Not an ``Exception``."""


class MuteError(Exception):
    """Can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class FussyError(Exception):
    """Can't be made, and so not copied, from its own ``args``."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(f"{one} and {two}")


FAULTS: list[tuple[Callable[[], BaseException], str]] = [
    (lambda: ValueError("bad address"), "ValueError: bad address"),
    (lambda: ValueError(), "ValueError"),
    (lambda: ValueError("two\nlines"), "ValueError: two\nlines"),
    (lambda: KeyboardInterrupt(), "KeyboardInterrupt"),
    (lambda: SystemExit(3), "SystemExit: 3"),
    (lambda: GeneratorExit(), "GeneratorExit"),
    (lambda: StopIteration(5), "StopIteration"),
    (lambda: StopAsyncIteration(), "StopAsyncIteration"),
    (lambda: asyncio.CancelledError(), "cancelled itself"),
    (lambda: asyncio.InvalidStateError("odd"), "InvalidStateError: odd"),
    (lambda: TimeoutError(), "TimeoutError"),
    (lambda: OddError("odd"), "OddError: odd"),
    (lambda: MuteError(), "MuteError"),
    (lambda: FussyError(1, 2), "FussyError: 1 and 2"),
    (lambda: ExceptionGroup("many", [ValueError("one")]), "ExceptionGroup: many"),
    (lambda: RecursionError("deep"), "RecursionError: deep"),
    (lambda: MemoryError(), "MemoryError"),
]
NAMES = [repr(type(make()).__name__) for make, _ in FAULTS]


async def misbehave_async(job: Job, fault: Callable[[], BaseException]) -> str:
    if job.name == "bad":
        raise fault()
    return "fine"


async def misbehave_later(job: Job, fault: Callable[[], BaseException]) -> str:
    await asyncio.sleep(0)
    return await misbehave_async(job, fault)


def misbehave_plain(job: Any, fault: Callable[[], BaseException]) -> str:
    if job.name == "bad":
        raise fault()
    return "fine"


@pytest.mark.parametrize("handler", [misbehave_async, misbehave_later, misbehave_plain])
@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=NAMES)
@pytest.mark.asyncio
async def test_a_handler_that_raises(
    fault: Callable[[], BaseException],
    reason: str,
    handler: Callable[..., Any],
    queue: Queue,
    clock: VirtualClock,
    start: Callable[..., Worker],
) -> None:
    start(functools.partial(handler, fault=fault))
    bad, good = await queue.add_bulk([{"name": "bad"}, {"name": "good"}])
    await clock.settle()

    await bad.refresh()
    assert bad.state is JobState.FAILED
    assert reason in (bad.failed_reason or "")
    [trace] = bad.stacktrace
    # an error with a cause has a traceback for each
    where = [part.splitlines()[0] for part in trace.split("(most recent call last):\n")[1:]]
    assert f'File "{__file__}", line ' in where[0]
    assert any(one.endswith(f", in {handler.__name__}") for one in where)
    [record] = bad.attempt_logs
    assert (record.status, record.error, record.stacktrace) == ("failed", bad.failed_reason, trace)
    assert (await good.refresh()).returnvalue == "fine"


@pytest.mark.asyncio
async def test_the_traceback_shows_causes_too(
    queue: Queue, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    async def send(job: Job) -> None:
        try:
            raise KeyError("address")
        except KeyError as error:
            raise ValueError("no address") from error

    start(send)
    job = await queue.add("send")
    await clock.settle()

    [trace] = (await job.refresh()).stacktrace
    assert "KeyError: 'address'" in trace
    assert "direct cause" in trace


@pytest.mark.asyncio
async def test_a_handler_that_hangs_past_its_timeout(
    queue: Queue, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    async def hang(job: Job) -> str:
        if job.name == "bad":
            await asyncio.Event().wait()
        return "fine"

    start(hang)
    bad = await queue.add("bad", timeout="2 minutes")
    good = await queue.add("good")
    await clock.advance(119)
    assert (await bad.refresh()).state is JobState.ACTIVE
    await clock.advance(1)

    await bad.refresh()
    assert (bad.state, bad.failed_reason) == (JobState.FAILED, "timed out after 2m")
    [trace] = bad.stacktrace
    assert "in hang" in trace.splitlines()[1]
    assert "asyncio.Event().wait()" in trace
    assert (await good.refresh()).returnvalue == "fine"


@pytest.mark.parametrize("then", ["await", "return", "raise"])
@pytest.mark.asyncio
async def test_a_handler_that_cancels_its_own_task(
    then: str, queue: Queue, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    async def send(job: Job) -> str:
        if job.name == "bad":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if then == "raise":
                raise ValueError("anyway")
            if then == "await":
                await asyncio.sleep(0)
        return "fine"

    start(send)
    bad, good = await queue.add_bulk([{"name": "bad", "attempts": 2}, {"name": "good"}])
    await clock.settle()

    await bad.refresh()
    assert bad.state is JobState.FAILED
    assert bad.attempts_made == 2, "it is an attempt that failed, not the job being cancelled"
    expected = (
        "ValueError: anyway"
        if then == "raise"
        else "the handler cancelled itself, or what it awaited was cancelled"
    )
    assert bad.failed_reason == expected
    assert len(bad.stacktrace) == 2
    assert (await good.refresh()).returnvalue == "fine"


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.asyncio
async def test_a_result_that_cant_be_copied(
    plain: bool, queue: Queue, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    def give(job: Any) -> Any:
        return {"f": [lambda: 0]} if job.name == "bad" else "fine"

    async def give_async(job: Job) -> Any:
        return give(job)

    start(give if plain else give_async)
    bad, good = await queue.add_bulk([{"name": "bad"}, {"name": "good"}])
    await clock.settle()

    await bad.refresh()
    assert bad.state is JobState.FAILED
    assert bad.returnvalue is None
    assert "result['f'][0] is a function, which can't be copied" in (bad.failed_reason or "")
    assert "can't be copied" in bad.stacktrace[0]
    assert (await good.refresh()).returnvalue == "fine"


@pytest.mark.asyncio
async def test_an_exception_that_is_returned_is_a_result(
    queue: Queue, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    async def give(job: Job) -> Exception:
        return ValueError("a value like any other")

    start(give)
    job = await queue.add("send")
    await clock.settle()

    await job.refresh()
    assert job.state is JobState.COMPLETED
    assert str(job.returnvalue) == "a value like any other"


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.asyncio
async def test_a_handler_can_only_read_its_jobs_fields(
    plain: bool, queue: Queue, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    def change(job: Any) -> None:
        job.progress = 50

    async def change_async(job: Job) -> None:
        change(job)

    start(change if plain else change_async)
    job = await queue.add("send")
    await clock.settle()

    assert "job.progress is read-only" in ((await job.refresh()).failed_reason or "")


@pytest.mark.asyncio
async def test_a_result_that_cant_be_copied_of_a_job_that_was_taken_away(
    queue: Queue, store: MemoryStore, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    go_on = asyncio.Event()

    async def send(job: Job) -> Any:
        if len(job.attempt_logs) == 1:
            await go_on.wait()
            return lambda: 0
        return "second"

    worker = start(send)
    job = await queue.add("send")
    await clock.settle()
    await store.release_lock("emails", job.id, Lock(worker.id, 1))
    go_on.set()
    await clock.advance(5)

    assert (await job.refresh()).returnvalue == "second"
    assert "0 of 1 slots" in repr(worker)


@pytest.mark.asyncio
async def test_a_faulty_batch_fails_each_of_its_jobs(
    queue: Queue, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    async def send(jobs: list[Job]) -> list[Any]:
        if jobs[0].name == "bad":
            raise KeyboardInterrupt
        return ["fine"] * len(jobs)

    start(send, batch=Batch(2))
    jobs = await queue.add_bulk([{"name": name} for name in ("bad", "bad", "good", "good")])
    await clock.settle()

    assert [(await job.refresh()).failed_reason for job in jobs[:2]] == ["KeyboardInterrupt"] * 2
    assert [len(job.stacktrace) for job in jobs[:2]] == [1, 1]
    assert [(await job.refresh()).returnvalue for job in jobs[2:]] == ["fine", "fine"]


@pytest.mark.asyncio
async def test_a_late_thread_of_a_settled_job_can_change_nothing(
    queue: Queue, clock: VirtualClock, start: Callable[..., Worker], go_on: threading.Event
) -> None:
    loop = asyncio.get_running_loop()
    started, over = asyncio.Event(), asyncio.Event()
    raised: list[BaseException] = []

    def send(job: Any) -> None:
        loop.call_soon_threadsafe(started.set)
        go_on.wait()
        try:
            job.log("too late")
        except BaseException as error:
            raised.append(error)
        loop.call_soon_threadsafe(over.set)

    start(send)
    job = await queue.add("send")
    await started.wait()
    await job.cancel()
    with pytest.raises(Exception, match="cancelled"):
        await job.wait_until_finished()
    go_on.set()
    await over.wait()

    assert [type(error).__name__ for error in raised] == ["LostLockError"]
    assert (await job.refresh()).logs == ()


class FlakyStore(MemoryStore):
    """Fails when told to."""

    faults = 0
    broken = ""

    async def apply(self, *args: Any, **options: Any) -> Any:
        self._fail("apply")
        return await super().apply(*args, **options)

    async def get_job(self, *args: Any, **options: Any) -> Any:
        self._fail("get_job")
        return await super().get_job(*args, **options)

    async def fetch_jobs(self, *args: Any, **options: Any) -> Any:
        self._fail("fetch_jobs")
        return await super().fetch_jobs(*args, **options)

    def _fail(self, method: str) -> None:
        if self.faults and self.broken == method:
            self.faults -= 1
            raise OSError("disk full")


@pytest.mark.parametrize("broken", ["apply", "fetch_jobs"])
@pytest.mark.asyncio
async def test_a_store_that_fails_for_a_while(
    broken: str, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[str] = []

    async def send(job: Job) -> str:
        runs.append(job.id)
        return "sent"

    async with FlakyStore(clock=clock) as store, Worker("emails", send, store=store):
        errors: list[StoreEvent] = []
        queue = Queue("emails", store=store)
        queue.on("error", errors.append)
        store.broken, store.faults = broken, 2
        job = await queue.add("send")
        await clock.advance(10)

        assert (await job.refresh()).returnvalue == "sent"
        assert runs == [job.id], "the handler ran once; only its report was tried again"
        assert [event.data["error"] for event in errors] == ["OSError: disk full"], "told once"
        store.faults = 1
        await queue.add("send")
        await clock.advance(10)
        assert len(errors) == 2, "it was well in between"
    assert caplog.text.count("the store failed") == 2


@pytest.mark.asyncio
async def test_a_report_is_tried_again_though_another_slot_found_nothing_to_do(
    clock: VirtualClock,
) -> None:
    async def send(job: Job) -> str:
        await job.sleep(job.data)
        return "sent"

    async with FlakyStore(clock=clock) as store:
        queue = Queue("emails", store=store)
        async with Worker("emails", send, store=store, concurrency=2):
            first, second = await queue.add("send", 0), await queue.add("send", 0.5)
            store.broken, store.faults = "apply", 1
            await clock.advance(0.5)
            assert (await second.refresh()).state is JobState.COMPLETED
            assert (await first.refresh()).state is JobState.ACTIVE
            await clock.advance(1)
            assert (await first.refresh()).state is JobState.COMPLETED


@pytest.mark.asyncio
async def test_run_once_over_a_store_that_fails(clock: VirtualClock) -> None:
    async def send(job: Job) -> str:
        return "sent"

    async with FlakyStore(clock=clock) as store:
        worker = Worker("emails", send, store=store, auto_start=False)
        queue = Queue("emails", store=store)
        job = await queue.add("send", attempts=2)
        store.broken, store.faults = "apply", 1
        with pytest.raises(OSError, match="disk full"):
            await worker.run_once()

        assert "0 of 1 slots" in repr(worker)
        await worker.close(timeout=0)
        async with Worker("emails", send, store=store):
            await clock.advance("2 minutes")
        assert (await job.refresh()).state is JobState.COMPLETED


@pytest.mark.asyncio
async def test_a_fault_of_the_store_after_an_interrupted_run_once_is_told(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(job: Job) -> str:
        await job.sleep(1)
        return "sent"

    async with (
        FlakyStore(clock=clock) as store,
        Worker("emails", send, store=store, auto_start=False) as worker,
    ):
        await Queue("emails", store=store).add("send")
        once = asyncio.ensure_future(worker.run_once())
        await clock.settle()
        once.cancel()
        await clock.settle()
        assert (once.cancelled(), caplog.text) == (True, "")
        store.broken, store.faults = "apply", 1
        await clock.advance(1)
        assert "disk full" in caplog.text


@pytest.mark.asyncio
async def test_an_observer_is_told_though_the_store_failed_as_it_began(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(job: Job) -> str:
        return "sent"

    told: list[Any] = []
    async with FlakyStore(clock=clock) as store:
        job = await Queue("emails", store=store).add("send")
        store.broken, store.faults = "get_job", 1
        job.observe().subscribe(on_completed=lambda job, result: told.append(result))
        await clock.settle()
        assert "disk full" in caplog.text
        async with Worker("emails", send, store=store):
            await clock.settle()

    assert told == ["sent"]
