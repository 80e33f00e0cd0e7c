"""What can't be stopped, when its worker closes, its loop ends or its store fails."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from conveyor_nb import (
    Job,
    JobState,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)
from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.actions import Complete
from tests.crew import AT_WORK, HELD, Crew, all_kinds, returned

Start = Callable[..., Worker]

pytestmark = pytest.mark.usefixtures("_brief_patience")


@all_kinds
@pytest.mark.asyncio
async def test_a_job_stays_active_after_its_worker_closed_until_its_handler_returns(
    kind: str,
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    events: list[StoreEvent],
) -> None:
    worker = start(getattr(crew, kind), lock_duration=10)
    job = await queue.add("send")
    await crew.has_begun()
    await worker.close(timeout=0)
    other = start(getattr(crew, kind), lock_duration=10, stalled_interval=5)
    await clock.advance("1 minute")

    await job.refresh()
    assert (job.state, job.locked_by) == (JobState.ACTIVE, worker.id)
    assert repr(job).endswith(f"active, the worker was closed; {AT_WORK}>")
    assert repr(worker).endswith(f"stopped, 1 of 1 slots in use, {HELD}>")
    await returned(crew, clock)

    await job.refresh()
    assert (job.state, job.attempts_made) == (JobState.COMPLETED, 0), "no attempt was spent"
    assert [record.error for record in job.attempt_logs] == ["the worker was closed", None]
    assert [record.worker_id for record in job.attempt_logs] == [worker.id, other.id]
    assert crew.most == 1
    assert "job:stalled" not in {event.type for event in events}


@pytest.mark.asyncio
async def test_a_worker_that_is_closed_hears_of_what_is_done_to_the_jobs_it_holds(
    crew: Crew, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    worker = start(crew.in_thread, concurrency=2)
    cancelled, late = await queue.add("send"), await queue.add("send", timeout="1 hour")
    await crew.has_begun()
    await worker.close(timeout=0)
    await cancelled.cancel()
    await clock.advance("1 hour")

    assert (await cancelled.refresh()).failed_reason == "cancelled"
    assert (await late.refresh()).failed_reason == "timed out after 1h"


@pytest.mark.asyncio
async def test_a_handler_that_ended_is_not_named_when_its_worker_closes(
    crew: Crew,
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    worker = start(crew.catching, concurrency=2)
    late, job = await queue.add("late", timeout=5), await queue.add("send")
    await crew.has_begun()
    await clock.advance(10)
    assert caplog.text.count("did not stop when cancelled") == 1
    await worker.close(timeout=0)

    assert caplog.text.count("did not stop when cancelled") == 2
    assert late.id in caplog.text
    assert job.id in caplog.text


@all_kinds
@pytest.mark.parametrize("first", ["closed", "disconnected"])
@pytest.mark.asyncio
async def test_nothing_is_renewed_and_nothing_is_left_once_the_store_is_disconnected(
    first: str, kind: str, clock: VirtualClock, crew: Crew
) -> None:
    async with MemoryStore(clock=clock) as store:
        queue = Queue("emails", store=store)
        before = asyncio.all_tasks()
        worker = Worker("emails", getattr(crew, kind), store=store, lock_duration=10)
        await queue.add("send", timeout=5)
        await queue.add("send")
        await crew.has_begun()
        await clock.advance(10)
        if first == "closed":
            await worker.close(timeout=0)
            await store.disconnect()
        else:
            await store.disconnect()
            await worker.close(timeout=0)
        await clock.settle()
        if kind == "in_thread":
            assert asyncio.all_tasks() == before
        else:
            await returned(crew, clock)
            assert asyncio.all_tasks() == before
    crew.let_go()


@pytest.mark.asyncio
async def test_after_the_last_handler_a_closed_worker_leaves_no_trace(
    crew: Crew, queue: Queue, store: MemoryStore, clock: VirtualClock
) -> None:
    before = asyncio.all_tasks(), len(store._subscriptions)
    worker = Worker("emails", crew.in_thread, store=store)
    await queue.add("send", timeout=5)
    await crew.has_begun()
    await clock.advance(6)
    await worker.close(timeout=0)
    assert asyncio.all_tasks() != before[0], "there is something to be left"
    await returned(crew, clock)

    assert (asyncio.all_tasks(), len(store._subscriptions)) == before


def run_and_leave(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, and throw away what is left as it is."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()


@pytest.mark.parametrize("run", [asyncio.run, run_and_leave])
def test_a_thread_outlives_its_loop_and_its_job_waits_for_it(run: Callable[..., Any]) -> None:
    store = MemoryStore()
    queue = Queue("emails", store=store)
    go_on, begun, at_work = threading.Event(), threading.Event(), []

    def send(job: Any) -> str:
        if job.name == "send":
            at_work.append(len(job.attempt_logs))
            begun.set()
            if len(at_work) == 1:
                go_on.wait()
            at_work.append(0)
        return "done"

    async def begin() -> Worker:
        worker = Worker("emails", send, store=store, lock_duration=0.1)
        await queue.add("send")
        while not begun.is_set():
            await checkpoint()
        return worker

    async def go_on_elsewhere() -> Job:
        async with Worker("emails", send, store=store, lock_duration=0.1, stalled_interval=0.05):
            await queue.add("another")  # the worker whose loop is gone hears of it
            [job, _] = await queue.get_jobs()
            while job.held is None:
                await checkpoint()
                await job.refresh()
            for _ in range(3):  # each time that its lock is renewed
                lock_until = job.lock_until
                while (await job.refresh()).lock_until == lock_until:
                    await checkpoint()
            assert repr(job).endswith(f"active, the event loop of its worker ended; {AT_WORK}>")
            go_on.set()
            await job.wait_until_finished()
        return await job.refresh()

    left = run(begin())
    job = asyncio.run(go_on_elsewhere())
    assert at_work == [1, 0, 2, 0], "one after the other"
    assert (job.returnvalue, job.attempts_made) == ("done", 0)
    del left


class Silent(MemoryStore):
    """Can't be reached by those who settle jobs, for as long as it is told so."""

    is_silent = False

    async def apply(self, *args: Any, **options: Any) -> Any:
        if self.is_silent:
            raise OSError("no route")
        return await super().apply(*args, **options)


@all_kinds
@pytest.mark.asyncio
async def test_a_store_that_fails_holds_up_no_close(
    kind: str, crew: Crew, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with Silent(clock=clock) as store:
        worker = Worker("emails", getattr(crew, kind), store=store)
        job = await Queue("emails", store=store).add("send")
        await crew.has_begun()
        store.is_silent = True
        await worker.close(timeout=0)
        assert worker.status == "closed"
        crew.let_go()
        await crew.returned.wait()
        clock.patience = 60
        await clock.advance(5)
        assert (await job.refresh()).state is JobState.ACTIVE
        store.is_silent = False
        await clock.advance(5)
        assert (await job.refresh()).state is JobState.WAITING


@pytest.mark.asyncio
async def test_a_job_whose_end_the_store_could_not_keep_goes_back_when_its_worker_closes(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(MemoryStore):
        async def apply(self, *args: Any, **options: Any) -> Any:
            if isinstance(args[2], Complete):
                raise OSError("disk full")
            return await super().apply(*args, **options)

    async def send(job: Job) -> str:
        return "sent"

    caplog.set_level(logging.CRITICAL)
    async with Full(clock=clock) as store:
        worker = Worker("emails", send, store=store)
        job = await Queue("emails", store=store).add("send")
        await clock.settle()
        assert (await job.refresh()).state is JobState.ACTIVE
        await worker.close(timeout=0)
        await job.refresh()
        assert (job.state, job.attempts_made) == (JobState.WAITING, 0)


@pytest.mark.asyncio
async def test_a_new_job_with_the_id_of_one_whose_handler_goes_on_can_be_stopped(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    go_on, cancelled = asyncio.Event(), asyncio.Event()

    async def send(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if job.name == "new":
                cancelled.set()
                raise
            await go_on.wait()

    start(send, concurrency=2)
    old = await queue.add("old", job_id="same")
    await clock.settle()
    await old.remove()
    await clock.advance(2)  # past its second of grace
    new = await queue.add("new", job_id="same")
    await clock.settle()
    assert (await new.refresh()).state is JobState.ACTIVE
    go_on.set()
    await clock.settle()  # the old one has ended
    await new.cancel()
    await clock.settle()

    assert cancelled.is_set()
    assert (await new.refresh()).failed_reason == "cancelled"


@pytest.mark.asyncio
async def test_what_a_thread_gives_to_be_awaited_is_not_begun_after_it_was_told_to_stop(
    queue: Queue, clock: VirtualClock, start: Start, go_on: threading.Event
) -> None:
    begun: list[str] = []
    loop = asyncio.get_running_loop()
    started = asyncio.Event()

    async def rest(job: Any) -> None:
        begun.append(job.id)

    def send(job: Any) -> Any:
        loop.call_soon_threadsafe(started.set)
        go_on.wait()
        return rest(job)

    worker = start(send)
    job = await queue.add("send", timeout=5)
    await started.wait()
    await clock.advance(5)
    go_on.set()
    clock.patience = 60
    await clock.settle()

    assert (await job.refresh()).failed_reason == "timed out after 5s"
    assert (begun, worker.slots_held) == ([], 0)


def test_the_job_of_a_process_goes_back_when_its_loop_ends() -> None:
    store = MemoryStore()
    queue = Queue("emails", store=store)

    def send(job: Any) -> None:
        job.log("here")
        while True:
            pass

    async def begin() -> None:
        begun = asyncio.Event()

        def listen(event: StoreEvent) -> None:
            if event.type == "job:log":
                begun.set()

        store.subscribe("emails", listen)
        Worker("emails", send, store=store, executor="process")
        await queue.add("send")
        await begun.wait()

    asyncio.run(begin())
    [job] = asyncio.run(queue.get_jobs())
    assert (job.state, job.attempts_made) == (JobState.WAITING, 0)
    assert job.attempt_logs[0].error == "the event loop of its worker ended"


SCRIPT = """
import asyncio, threading
from conveyor_nb import MemoryStore, Queue, Worker

begun = threading.Event()

def stuck(job):
    begun.set()
    threading.Event().wait()

async def main():
    store = MemoryStore()
    queue = Queue("emails", store=store)
    worker = Worker("emails", stuck, store=store, concurrency=2)
    await queue.add("send", timeout="10ms")
    await queue.add("send")
    await asyncio.to_thread(begun.wait)
    if CLOSE:
        await worker.close(timeout=0)
    print(worker, flush=True)

asyncio.run(main())
print("over")
"""


@pytest.mark.parametrize("close", [False, True], ids=["left", "closed"])
def test_a_thread_that_can_not_be_stopped_keeps_no_program_from_ending(
    close: bool, tmp_path: Path, checkout: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("CLOSE", str(close)))
    result = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.endswith("over\n")
    assert ("stopped, 2 of 2 slots in use, 2 held" in result.stdout) == close
    assert (result.stderr, result.returncode) == ("", 0)
