"""Handlers in processes of their own: they come back with what they did, or end with their job."""

from __future__ import annotations

import asyncio
import linecache
import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conveyor_nb import (
    Batch,
    Job,
    JobState,
    LostLockError,
    MemoryStore,
    Queue,
    StoreEvent,
    VirtualClock,
    Worker,
)

# Handlers stand inside of the tests: so they are copied, as those of a notebook's cells are.

Start = Callable[..., Worker]


@pytest.fixture(autouse=True)
def _busy_machine(clock: VirtualClock) -> None:
    clock.patience = 60  # to start a Python takes what it takes


class Line:
    """Waits for a line in a job's log."""

    def __init__(self, store: MemoryStore) -> None:
        self._found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        store.subscribe(None, self._hear)

    def _hear(self, event: StoreEvent) -> None:
        if event.type == "job:log" and not self._found.done():
            self._found.set_result(event.data["line"])

    def __await__(self) -> Any:
        return self._found.__await__()


def is_gone(pid: int) -> bool:
    """Whether a child has ended, and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.asyncio
async def test_what_a_handler_does_comes_back(
    queue: Queue,
    clock: VirtualClock,
    start: Start,
    events: list[StoreEvent],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Point:  # as a notebook's own
        __module__, __qualname__ = "__main__", "Point"

        def __init__(self, x: int) -> None:
            self.x = x

    monkeypatch.setattr("__main__.Point", Point, raising=False)

    def double(point: Point) -> Point:
        return Point(2 * point.x)

    def handler(job: Any) -> Any:
        job.update_progress(25)
        job.log(f"{job.id} {job.name} {job.queue_name} {job.attempts_made}")
        print("a line,", end=" ")
        print("and its end")
        print("oh", file=sys.stderr)
        job.raise_if_cancelled()
        assert not job.cancel_requested
        job.update_progress(75)
        return os.getpid(), double(job.data)

    start(handler, executor="process")
    first, second = [await queue.add("send", Point(x)) for x in (1, 2)]
    await clock.settle()

    pid, point = (await first.refresh()).returnvalue
    assert pid != os.getpid()
    assert isinstance(point, Point)
    assert point.x == 2
    assert (await second.refresh()).returnvalue[0] == pid, "a process is used again"
    assert (first.progress, first.logs) == (75, ("emails-1 send emails 0",))
    told = [str(event.type) for event in events if event.job_id == first.id]
    assert told == [
        *("job:waiting", "job:active", "job:progress", "job:log", "job:progress", "job:completed")
    ]
    assert capsys.readouterr() == ("a line, and its end\n" * 2, "oh\n" * 2)


@pytest.fixture
def _interrupts_are_ignored() -> Iterator[None]:
    """As they are in a kernel in which no cell runs."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interrupts_are_ignored")
@pytest.mark.asyncio
async def test_an_interrupt_ends_a_program_that_a_handler_started(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    def handler(job: Any) -> str:
        endless = "import threading; print('ready', flush=True); threading.Event().wait()"
        command = [sys.executable, "-c", endless]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as program:
            assert program.stdout is not None
            assert program.stderr is not None
            program.stdout.readline()
            program.send_signal(signal.SIGINT)
            return program.stderr.read()

    start(handler, executor="process")
    job = await queue.add("send")
    await clock.settle()
    assert str((await job.refresh()).returnvalue).endswith("KeyboardInterrupt\n")


@pytest.mark.asyncio
async def test_what_goes_wrong_fails_the_job_and_says_where(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    class FussyError(Exception):
        def __init__(self, one: object, two: object) -> None:
            super().__init__(f"{one} and {two}")

    def handler(job: Any) -> Any:
        match job.name:
            case "raise":
                raise ValueError("bad address")
            case "fussy":
                raise FussyError(1, threading.Lock())
            case "exit":
                sys.exit(3)
            case "lock":
                return threading.Lock()
            case "fussy result":
                return FussyError(1, 2)
            case "refused":
                job.update_progress(500)
            case "promote":
                job.promote()
            case "set":
                job.no_such_thing()
        return "fine"

    start(handler, executor="process")
    names = ("raise", "fussy", "exit", "lock", "fussy result", "refused", "promote", "set", "fine")
    jobs = {name: await queue.add(name) for name in names}
    await clock.settle()

    for job in jobs.values():
        await job.refresh()
    assert jobs.pop("fine").returnvalue == "fine"
    assert {job.state for job in jobs.values()} == {JobState.FAILED}
    reasons = {name: job.failed_reason or "" for name, job in jobs.items()}
    assert reasons["raise"] == "ValueError: bad address"
    assert reasons["fussy"].startswith("FussyError: 1 and <unlocked")
    assert reasons["exit"] == "SystemExit: 3"
    assert reasons["lock"].startswith("PayloadError: returnvalue is a lock, which can't be copied")
    assert reasons["fussy result"].startswith("PayloadError: returnvalue is a ")
    assert reasons["refused"] == "ValueError: progress must be from 0 to 100, not 500"
    assert reasons["promote"].startswith("AttributeError: job.promote is not there in a process")
    assert "update_progress, log, sleep" in reasons["set"]
    trace = jobs["raise"].stacktrace[0].splitlines()
    assert trace[1].startswith(f'  File "{__file__}", line ')
    assert trace[2].strip() == 'raise ValueError("bad address")'


@pytest.mark.asyncio
async def test_a_traceback_shows_the_lines_of_a_cell(
    queue: Queue, clock: VirtualClock, start: Start
) -> None:
    source = "def handler(job):\n    return helper(job.data)\n"
    helper = "def helper(x):\n    return x / 0  # oh\n"
    cell = types.ModuleType("__main__")  # where a notebook's functions are
    for name, text in (("<cell 1>", helper), ("<cell 2>", source)):
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), cell.__dict__)

    start(cell.handler, executor="process")
    job = await queue.add("send", 1)
    await clock.settle()

    trace = (await job.refresh()).stacktrace[0]
    assert '  File "<cell 1>", line 2, in helper\n    return x / 0  # oh\n' in trace
    assert "process_child" not in trace


@pytest.mark.asyncio
async def test_a_crash_fails_that_one_job(queue: Queue, clock: VirtualClock, start: Start) -> None:
    def handler(job: Any) -> int:
        if job.name == "crash" and not job.attempts_made:
            if os.fork() == 0:  # whatever it left behind does not hide its end
                while True:
                    threading.Event().wait()
            os._exit(7)
        if job.name == "kill":
            os.kill(os.getpid(), 9)
        return os.getpid()

    start(handler, executor="process", concurrency=2)
    crash = await queue.add("crash")
    again = await queue.add("crash", attempts=2)
    kill = await queue.add("kill")
    fine = [await queue.add("fine") for _ in range(4)]
    await clock.settle()

    assert (await crash.refresh()).failed_reason == "its process ended with exit code 7"
    assert crash.state is JobState.FAILED
    assert (await kill.refresh()).failed_reason == "its process ended with exit code -9 (SIGKILL)"
    assert (await again.refresh()).state is JobState.COMPLETED
    assert [(await job.refresh()).state for job in fine] == [JobState.COMPLETED] * 4


@pytest.mark.parametrize("how", ["cancel", "remove", "timeout"])
@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "computing"])
@pytest.mark.asyncio
async def test_stopping_a_job_ends_its_process(
    how: str, waits: bool, store: MemoryStore, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    def handler(job: Any) -> int:
        if job.name == "first":
            job.log(os.getpid())
            while not waits:
                pass
            job.sleep("1 hour")
        return os.getpid()

    start(handler, executor="process")
    line = Line(store)
    first = await queue.add("first", timeout=5)
    second = await queue.add("second")
    pid = int(await line)

    match how:
        case "cancel":
            await first.cancel()
        case "remove":
            await first.remove()
        case "timeout":
            clock.patience = 0.001  # it computes for ever
            await clock.advance(5)
            clock.patience = 60
    await second.wait_until_finished()

    assert second.returnvalue != pid
    assert is_gone(pid)
    if how != "remove":
        reason = {"cancel": "cancelled", "timeout": "timed out after 5s"}[how]
        assert (await first.refresh()).failed_reason == reason


@pytest.mark.asyncio
async def test_sleep_follows_the_clock(queue: Queue, clock: VirtualClock, start: Start) -> None:
    def handler(job: Any) -> None:
        job.sleep("1 hour")

    start(handler, executor="process")
    job = await queue.add("send")
    await clock.advance("2 hours")

    await job.refresh()
    assert job.processed_at is not None
    assert job.completed_at is not None
    assert (job.completed_at - job.processed_at).total_seconds() == 3600


@pytest.mark.asyncio
async def test_a_batch(queue: Queue, clock: VirtualClock, start: Start) -> None:
    def handler(jobs: Any) -> list[Any]:
        for job in jobs:
            job.log(f"about {job.data}")
        return [ValueError("odd") if job.data % 2 else job.data for job in jobs]

    worker = start(handler, executor="process", batch=Batch(3), auto_start=False)
    jobs = await queue.add_bulk([{"name": "send", "data": data} for data in range(3)])
    worker.start()
    await clock.settle()

    assert [(await job.refresh()).returnvalue for job in jobs] == [0, None, 2]
    assert jobs[1].failed_reason == "ValueError: odd"
    assert [job.logs for job in jobs] == [("about 0",), ("about 1",), ("about 2",)]


@pytest.mark.asyncio
async def test_close_ends_every_process_and_puts_jobs_back(
    store: MemoryStore, queue: Queue, clock: VirtualClock, start: Start
) -> None:
    def handler(job: Any) -> int:
        job.log(os.getpid())
        while job.name == "endless":
            pass
        return os.getpid()

    worker = start(handler, executor="process", concurrency=2)
    idle = (await queue.add("short")).id
    await clock.settle()
    line = Line(store)
    endless = [await queue.add("endless") for _ in range(2)]
    pids = {int(await line)}
    clock.patience = 0.001  # they compute for ever
    await worker.close(timeout=0)

    done = await queue.get_job(idle)
    assert done is not None
    pids.add(done.returnvalue)
    assert all(map(is_gone, pids))
    for job in endless:
        await job.refresh()
        assert (job.state, job.attempts_made) == (JobState.WAITING, 0)


@pytest.mark.asyncio
async def test_a_handler_that_can_not_go_there_is_refused(store: MemoryStore) -> None:
    async def asynchronous(job: Job) -> None: ...

    lock = threading.Lock()

    def locked(job: Any) -> None:
        lock.acquire()

    with pytest.raises(TypeError, match="write the handler with 'def' in place of 'async def'"):
        Worker("emails", asynchronous, store=store, executor="process")
    with pytest.raises(TypeError, match=r"handler locked can't be sent to a process \(TypeError"):
        Worker("emails", locked, store=store, executor="process")
    with pytest.raises(ValueError, match="executor must be 'process' or None, not 'processes'"):
        Worker("emails", locked, store=store, executor="processes")  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_a_module_that_is_not_there_is_named(
    queue: Queue, clock: VirtualClock, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("gone_module")
    exec("def handler(job): ...", module.__dict__)
    monkeypatch.setitem(sys.modules, "gone_module", module)

    start(module.handler, executor="process")
    jobs = [await queue.add("send") for _ in range(2)]
    await clock.settle()
    for job in jobs:
        reason = (await job.refresh()).failed_reason
        assert reason == "ModuleNotFoundError: No module named 'gone_module'"


def test_errors_of_ours_can_be_copied() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(LostLockError("emails-1", "w")))
    assert str(error) == str(LostLockError("emails-1", "w"))
    assert (error.job_id, error.worker_id) == ("emails-1", "w")


SCRIPT = """
import asyncio, os
from conveyor_nb import MemoryStore, Queue, Worker

print("once", flush=True)

def handler(job):
    job.log("here")
    while job.name == "endless":
        pass
    return job.data + 1

async def main():
    store = MemoryStore()
    queue = Queue("sums", store=store)
    async with Worker("sums", handler, store=store, executor="process", concurrency=2):
        print(await (await queue.add("add", 1)).wait_until_finished(), flush=True)
        if END:
            store.subscribe("sums", lambda event: event.type == "job:log" and os._exit(5))
            await (await queue.add("endless")).wait_until_finished()

asyncio.run(main())
"""


@pytest.mark.parametrize("end", [False, True], ids=["to its end", "killed"])
def test_a_script_runs_once_and_leaves_no_process(
    end: bool, tmp_path: Path, checkout: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("END", str(end)))
    # its output is at its end when the last process that may write there has ended
    result = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("once\n2\n", "")
    assert result.returncode == (5 if end else 0)
