"""Workers and those who use them on the loops of several threads, and loops that are gone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from conveyor_nb import (
    Batch,
    Job,
    JobState,
    Keep,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.clocks.loops import block_on, run_on
from conveyor_nb.core.model import EventType
from conveyor_nb.running.blocking_job import BlockingJob

T = TypeVar("T")

Start = Callable[..., Worker]


async def in_a_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await in another thread, on a loop of its own that ends with it."""
    return await asyncio.to_thread(lambda: asyncio.run(work()))


def is_here() -> bool:
    return threading.current_thread() is threading.main_thread()


async def no_op(job: Job) -> Any:
    return job.data


async def hang(job: Job) -> None:
    await asyncio.Event().wait()


# -- from other threads ---------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_handler_runs_on_the_loop_of_its_worker_whoever_adds_the_job(
    queue: Queue, start: Start
) -> None:
    seen: list[bool] = []
    go_on = asyncio.Event()

    async def handler(job: Job) -> Any:
        seen.append(is_here())
        await go_on.wait()  # so that the thread's loop has ended meanwhile
        return job.data

    start(handler)
    job = await in_a_thread(lambda: queue.add("send", "ada"))
    go_on.set()
    assert await job.wait_until_finished() == "ada"
    assert seen == [True]


@pytest.mark.asyncio
async def test_whoever_waits_in_a_thread_is_woken_there(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    go_on = asyncio.Event()
    told: list[str] = []

    async def handler(job: Job) -> Any:
        await go_on.wait()
        return job.data

    async def use() -> tuple[Any, list[str]]:
        async with queue.events() as events:
            job = await queue.add("send", "ada")
            waiting = asyncio.create_task(job.wait_until_finished())
            joining = asyncio.create_task(queue.join())
            job.observe().subscribe(on_completed=lambda job, value: told.append(f"{is_here()}"))
            kinds = [str((await anext(events)).type) for _ in range(2)]
            here.call_soon_threadsafe(go_on.set)
            kinds += [str((await anext(events)).type) for _ in range(2)]
            await joining
            return await waiting, kinds

    here = asyncio.get_running_loop()
    start(handler)
    await clock.settle()
    value, kinds = await in_a_thread(use)
    assert value == "ada"
    assert kinds == ["job:waiting", "job:active", "job:completed", "queue:drained"]
    assert told == ["False"], "on the loop of the thread that observes"


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.asyncio
async def test_handlers_of_events_run_where_they_were_added(queue: Queue, is_async: bool) -> None:
    heard: list[tuple[str, bool]] = []
    both = asyncio.Event()

    def note(name: str) -> Callable[[StoreEvent], Any]:
        def now(_: StoreEvent) -> None:
            heard.append((name, is_here()))
            if len(heard) == 2:
                here.call_soon_threadsafe(both.set)

        async def later(event: StoreEvent) -> None:
            now(event)

        return later if is_async else now

    async def use() -> None:
        queue.on("waiting", note("there"))
        await queue.add("send")
        await asyncio.to_thread(asyncio.run_coroutine_threadsafe(both.wait(), here).result)

    here = asyncio.get_running_loop()
    queue.on("waiting", note("here"))
    await in_a_thread(use)
    assert sorted(heard) == [("here", True), ("there", False)]

    await queue.add("send")
    assert heard[2:] in ([], [("here", True)]), "the thread's loop is gone, and its handler with it"


@pytest.mark.asyncio
async def test_a_handler_that_is_taken_off_is_not_called_for_what_was_on_its_way(
    queue: Queue, clock: VirtualClock
) -> None:
    heard: list[StoreEvent] = []
    queue.on("waiting", heard.append)
    adding = threading.Thread(target=lambda: asyncio.run(queue.add("send")))
    adding.start()
    adding.join()  # this loop stands still
    queue.off("waiting", heard.append)
    await clock.settle()
    assert heard == []


@pytest.mark.asyncio
async def test_a_worker_is_managed_from_another_thread(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(no_op)
    await clock.settle()

    await asyncio.to_thread(worker.pause)
    assert worker.status == "paused"
    job = await queue.add("send")
    await clock.settle()
    assert (await job.refresh()).state is JobState.WAITING

    await asyncio.to_thread(worker.start)
    await job.wait_until_finished()
    await asyncio.to_thread(worker.pause)
    job = await queue.add("send")
    stepped = await in_a_thread(worker.run_once)
    assert stepped is not None
    assert stepped.id == job.id
    await asyncio.to_thread(worker.resume)
    assert await in_a_thread(worker.run_until_idle) == 0
    assert worker.loop is asyncio.get_running_loop()

    await in_a_thread(worker.close)
    assert worker.status == "closed"
    await in_a_thread(worker.close)


@pytest.mark.asyncio
async def test_closing_from_another_thread_stops_running_jobs_too(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(hang)
    job = await queue.add("send", attempts=2)
    await clock.settle()
    await in_a_thread(lambda: worker.close(timeout=0))
    await job.refresh()
    assert (job.state, job.attempts_made) == (JobState.WAITING, 0)


@pytest.mark.asyncio
async def test_a_thread_that_uses_a_worker_of_its_own_leaves_the_others_alone(
    queue: Queue, start: Start
) -> None:
    async def use() -> list[Any]:
        async with Worker("sums", no_op, store=queue.store) as worker:
            jobs = [await Queue("sums", store=queue.store).add("sum", n) for n in range(3)]
            assert worker.loop is asyncio.get_running_loop()
            return [await job.wait_until_finished() for job in jobs]

    start(no_op)
    assert await in_a_thread(use) == [0, 1, 2]
    assert await (await queue.add("send", 7)).wait_until_finished() == 7


@pytest.mark.asyncio
async def test_time_moves_for_the_workers_of_this_loop_when_a_thread_advances_it(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    async def handler(job: Job) -> str:
        await job.sleep("10 minutes")
        return clock.now().isoformat()

    async def use() -> None:
        await queue.add("send", delay="1 hour", job_id="late")
        await clock.advance("2 hours")

    start(handler)
    await clock.settle()
    await in_a_thread(use)
    job = await queue.get_job("late")
    assert job is not None
    assert job.returnvalue == "2027-01-01T01:10:00+00:00"


@pytest.mark.asyncio
async def test_in_a_coroutine_of_a_thread_a_jobs_methods_are_awaited(
    queue: Queue, start: Start
) -> None:
    async def part(job: BlockingJob) -> None:
        await job.log("from a loop of its own")
        await job.update_progress(50)

    def handler(job: BlockingJob) -> None:
        job.log("plain")
        asyncio.run(part(job))

    start(handler)
    job = await queue.add("send")
    await job.wait_until_finished()
    await job.refresh()
    assert job.logs == ("plain", "from a loop of its own")
    assert job.progress == 50


# -- loops that are gone --------------------------------------------------------------------------


def run_and_cancel(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """As ``asyncio.run``: what is left is cancelled."""
    return asyncio.run(work())


def run_and_leave(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Close a loop with all that is at work in it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work())
    finally:
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()


ENDS = [run_and_cancel, run_and_leave]


async def one_at_a_time(jobs: list[Job]) -> list[None]:
    await asyncio.Event().wait()
    return [None] * len(jobs)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("handler", "options"), [(hang, {}), (one_at_a_time, {"batch": Batch(2)})], ids=["one", "batch"]
)
@pytest.mark.asyncio
async def test_the_jobs_of_a_worker_whose_loop_ends_go_back(
    queue: Queue,
    start: Start,
    end: Callable[[Callable[[], Awaitable[Worker]]], Worker],
    handler: Any,
    options: dict[str, Any],
) -> None:
    async def begin() -> Worker:
        worker = Worker("emails", handler, store=queue.store, **options)
        await queue.add_bulk([{"name": "send"}] * 2)
        while not worker.running:
            await checkpoint()
        return worker

    left = await asyncio.to_thread(end, begin)
    with pytest.raises(RuntimeError, match=r"event loop that it was started on.*successor"):
        left.start()
    with pytest.raises(RuntimeError, match="successor"):
        await left.run_once()
    worker = start(no_op)
    await queue.add("another")  # the worker that is gone would hear of it
    await worker.run_until_idle()
    jobs = await queue.get_jobs()
    assert [(job.state, job.attempts_made) for job in jobs] == [(JobState.COMPLETED, 0)] * 3
    await left.close()
    await left.close()
    assert left.status == "closed"
    await left.successor(no_op).close()


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("cancelled", [False, True], ids=["", "cancelled"])
@pytest.mark.parametrize("end", ENDS)
def test_the_jobs_of_a_loop_of_this_very_thread_go_back(
    end: Callable[..., Any], cancelled: bool, concurrency: int
) -> None:
    store = MemoryStore(clock=VirtualClock())
    queue = Queue("emails", store=store)

    async def begin() -> None:
        worker = Worker("emails", hang, store=store, concurrency=concurrency)
        job = await queue.add("send")
        while not worker.running:
            await checkpoint()
        assert job.id

    async def go_on() -> list[JobState]:
        (job,) = await queue.get_jobs()
        if cancelled:
            await job.cancel()
        async with Worker("emails", no_op, store=store) as worker:
            await queue.add("another")  # the worker that is gone hears of it
            await worker.run_until_idle()
        return [job.state for job in await queue.get_jobs()]

    end(begin)
    first = JobState.FAILED if cancelled else JobState.COMPLETED
    assert asyncio.run(go_on()) == [first, JobState.COMPLETED]


@pytest.mark.asyncio
async def test_a_step_whose_loop_ends_puts_its_job_back(queue: Queue) -> None:
    async def begin() -> None:
        worker = Worker("emails", hang, store=queue.store, auto_start=False)
        asyncio.ensure_future(worker.run_once())  # noqa: RUF006 -- it is thrown away
        while not worker.running:
            await checkpoint()

    job = await queue.add("send")
    await in_a_thread(begin)
    await job.refresh()
    assert (job.state, job.failed_reason, job.attempts_made) == (JobState.WAITING, None, 0)


@pytest.mark.asyncio
async def test_a_worker_may_step_on_one_loop_after_the_other(queue: Queue) -> None:
    worker = Worker("emails", no_op, store=queue.store, auto_start=False)
    await queue.add_bulk([{"name": "send"}] * 3)
    for _ in range(2):
        assert await in_a_thread(worker.run_once) is not None
    assert await worker.run_once() is not None
    await worker.close()


@pytest.mark.asyncio
async def test_a_handler_that_cancels_itself_has_failed(queue: Queue, start: Start) -> None:
    async def cancel_itself(job: Job) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    worker = start(cancel_itself)
    job = await queue.add("send")
    await worker.run_until_idle()
    assert (
        await job.refresh()
    ).failed_reason == "the handler cancelled itself, or what it awaited was cancelled"


@pytest.mark.parametrize("end", ENDS)
def test_what_is_kept_for_a_while_is_removed_on_the_next_loop(end: Callable[..., Any]) -> None:
    """The loop that was to remove it is gone by then."""
    clock = VirtualClock()
    store = MemoryStore(clock=clock)
    queue = Queue("emails", store=store)

    async def begin() -> None:
        worker = Worker("emails", no_op, store=store, auto_start=False)
        await queue.add("send", remove_on_complete=Keep(age="1h"))
        await worker.run_until_idle()
        await worker.close()

    async def go_on() -> int:
        await queue.add("another")
        await clock.advance("2h")
        return await queue.count("completed")

    end(begin)
    assert asyncio.run(go_on()) == 0


# -- what a loop is given as it ends --------------------------------------------------------------


class EndingLoop:
    """A loop in a thread: it ends when it was given work, cancels no more of it, and never does it.

    So do loops that ``asyncio.run`` ends, for what comes to them at the very last.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._is_given = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> asyncio.AbstractEventLoop:
        self._thread.start()
        return self.loop

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self.loop):
            self.loop.run_until_complete(self._is_given.wait())

    async def work(self) -> None:
        """What it is given: it goes on and on."""
        self._is_given.set()
        await asyncio.Event().wait()


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conveyor_nb.clocks.loops.LOOK", 0.001)


@pytest.mark.usefixtures("_looks_often")
@pytest.mark.asyncio
async def test_who_waits_for_a_loop_that_ends_is_told_so() -> None:
    ending = EndingLoop()
    with ending as loop, pytest.raises(RuntimeError, match="closed before it had done this"):
        await run_on(loop, ending.work)
    ending = EndingLoop()
    with ending as loop, pytest.raises(RuntimeError, match="closed before it had done this"):
        await asyncio.to_thread(block_on, loop, ending.work())


@pytest.mark.usefixtures("_looks_often")
@pytest.mark.asyncio
async def test_what_is_done_on_another_loop_may_take_its_time_and_time_out() -> None:
    loop = asyncio.get_running_loop()

    async def last(raised: type[BaseException] | None = None) -> str:
        for _ in range(100):
            await checkpoint()
        if raised is not None:
            raise raised
        return "done"

    def ask() -> tuple[str, str]:
        return block_on(loop, last()), asyncio.run(run_on(loop, last))

    assert await asyncio.to_thread(ask) == ("done", "done")
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(block_on, loop, last(TimeoutError))


@pytest.mark.usefixtures("_looks_often")
@pytest.mark.asyncio
async def test_a_thread_whose_jobs_loop_ends_meanwhile_goes_on(queue: Queue) -> None:
    """Else its job would never be free for another worker."""
    job = await queue.add("send")
    ending = EndingLoop()
    with ending as loop:
        blocking = BlockingJob(job, loop)
        loop.call_soon_threadsafe(ending._is_given.set)
        with pytest.raises(RuntimeError, match="can do nothing any more"):
            await asyncio.to_thread(blocking.sleep, "1 hour")


@pytest.mark.asyncio
async def test_a_worker_whose_loop_ends_as_it_closes_there_closes_here(
    queue: Queue, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor_nb.running.closing.LOOK", 0.001)
    workers: list[Worker] = []
    begun = threading.Event()
    job = await queue.add("send")

    async def begin() -> None:
        closing = asyncio.Event()
        workers.append(Worker("emails", hang, store=store))
        workers[0].on("active", lambda event: begun.set())
        workers[0].on("paused", lambda event: closing.set())
        await closing.wait()

    thread = threading.Thread(target=run_and_leave, args=(begin,))
    thread.start()
    await asyncio.to_thread(begun.wait)
    await workers[0].close(timeout=None)
    thread.join()
    assert workers[0].status == "closed"
    assert (await job.refresh()).state == "waiting"


def test_each_job_of_a_threads_batch_is_looked_after_once_the_loop_has_ended() -> None:
    """Whatever becomes of the others."""
    clock = VirtualClock()
    store = MemoryStore(clock=clock)
    queue = Queue("emails", store=store)
    begun, go_on = threading.Event(), threading.Event()
    runs: list[list[str]] = []

    def handler(jobs: list[Job]) -> list[str]:
        runs.append([job.id for job in jobs])
        begun.set()
        assert go_on.wait(30)
        return runs[-1]

    async def begin() -> None:
        await queue.add_bulk([{"name": "send", "job_id": name} for name in "ab"])
        Worker("emails", handler, store=store, batch=Batch(2))
        await asyncio.to_thread(begun.wait)

    async def wait_until_held() -> None:
        held = asyncio.Event()
        loop = asyncio.get_running_loop()
        store.subscribe("emails", lambda _: loop.call_soon_threadsafe(held.set))
        job = await queue.get_job("b")
        while job is None or job.held is None:
            await held.wait()
            held.clear()
            job = await queue.get_job("b")

    async def end() -> None:
        await wait_until_held()
        assert await store.remove_job("emails", "a")
        async with queue.events() as events:
            go_on.set()
            while (await anext(events)).type != EventType.WAITING:
                pass
        async with Worker("emails", handler, store=store, batch=Batch(2)) as worker:
            await worker.run_until_idle()

    asyncio.run(begin())
    asyncio.run(end())
    assert runs == [["a", "b"], ["b"]]


# -- concurrency ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.asyncio
async def test_concurrency_may_be_set_while_it_runs(
    queue: Queue, clock: VirtualClock, start: Start, is_async: bool
) -> None:
    at_work: list[int] = []

    async def nap(job: Job) -> None:
        await job.sleep(1)

    worker = start(nap if is_async else lambda job: job.sleep(1))
    await queue.add_bulk([{"name": "send"}] * 9)
    for size in (1, 3, 2):
        worker.concurrency = size
        await clock.advance(0)
        at_work.append(len(worker.running))
        assert [info.concurrency for info in await queue.store.list_workers()] == [size]
        await clock.advance(1)
    at_work.append(len(worker.running))
    assert at_work == [1, 3, 3, 2], "those that run finish"
    with pytest.raises(ValueError, match="concurrency"):
        worker.concurrency = 0
    assert worker.concurrency == 2
    worker.pause()
    await clock.advance(1)
