"""The first lines that a person writes, in each of their forms."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import conveyor_nb
from conveyor_nb import (
    Job,
    JobState,
    MemoryStore,
    Queue,
    QueueClosedError,
    Worker,
    default_store,
    set_default_store,
)

SCRIPT = """
import asyncio

from conveyor_nb import MemoryStore, Queue, Worker

{handler}

async def main():
    store = MemoryStore()
    await store.connect()
    queue = Queue("emails", store=store)
    worker = Worker("emails", send, store=store)
    job = await queue.add("send", {{"to": "ada@example.org"}})
    print(await job.wait_until_finished())
    await worker.close()
    await queue.close()
    await store.disconnect()


asyncio.run(main())
"""
ASYNC = """
async def send(job):
    print("Sending email to", job.data["to"])
    return "sent"
"""
PLAIN = ASYNC.replace("async def", "def")


@pytest.fixture
def new_default_store() -> Iterator[None]:
    set_default_store(None)
    yield
    set_default_store(None)


@pytest.mark.parametrize("handler", [ASYNC, PLAIN], ids=["async", "plain"])
def test_runs_as_a_plain_script(handler: str, tmp_path: Path) -> None:
    script = tmp_path / "quick_start.py"
    script.write_text(SCRIPT.format(handler=handler))
    command = [sys.executable, "-W", "error", "-X", "dev", str(script)]
    root = Path(conveyor_nb.__file__).parent.parent

    done = subprocess.run(
        command,
        cwd=root,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout == "Sending email to ada@example.org\nsent\n"


@pytest.mark.asyncio
async def test_async_with_closes_everything() -> None:
    async def send(job: Job) -> str:
        return f"sent to {job.data['to']}"

    async with MemoryStore() as store:
        async with (
            Queue("emails", store=store) as queue,
            Worker("emails", send, store=store) as worker,
        ):
            job = await queue.add("send", {"to": "ada"})
            assert await job.wait_until_finished() == "sent to ada"
        assert queue.closed
        assert worker.status == "closed"
        assert await store.count_jobs("emails", JobState.COMPLETED) == 1
    assert await store.count_jobs("emails") == 0


@pytest.mark.asyncio
async def test_async_with_closes_when_the_block_raises() -> None:
    async def send(job: Job) -> None: ...

    store = MemoryStore()
    queue = Queue("emails", store=store)
    worker = Worker("emails", send, store=store)
    with contextlib.suppress(ZeroDivisionError):
        async with store, queue, worker:
            await queue.add("send")
            raise ZeroDivisionError

    assert queue.closed
    assert worker.status == "closed"
    with pytest.raises(QueueClosedError, match="emails"):
        await queue.add("send")


@pytest.mark.asyncio
async def test_a_plain_handler_runs_in_a_thread_and_does_not_block_the_loop(
    go_on: threading.Event,
) -> None:
    seen: list[threading.Thread] = []

    def send(job: Any) -> str:
        seen.append(threading.current_thread())
        go_on.wait()
        return "sent"

    async with MemoryStore() as store, Worker("emails", send, store=store):
        job = await Queue("emails", store=store).add("send")
        # were the handler on the loop, this line would never be reached
        asyncio.get_running_loop().call_soon(go_on.set)
        assert await job.wait_until_finished() == "sent"

    assert seen[0] is not threading.main_thread()


@pytest.mark.asyncio
@pytest.mark.usefixtures("new_default_store")
async def test_queue_and_worker_share_the_default_store() -> None:
    async with Queue("emails") as queue, Worker("emails", lambda job: job.data * 2) as worker:
        assert queue.store is worker.store is default_store()
        job = await queue.add("double", 21)
        assert await job.wait_until_finished() == 42


@pytest.mark.asyncio
@pytest.mark.usefixtures("new_default_store")
async def test_another_default_store_can_be_set() -> None:
    mine = MemoryStore()
    set_default_store(mine)
    async with Queue("emails") as queue:
        await queue.add("send")

    assert queue.store is mine
    assert await mine.count_jobs("emails") == 1


def _double(job: Any) -> Any:
    return job.data * 2


async def _double_async(job: Job) -> Any:
    return job.data * 2


class _Doubler:
    async def __call__(self, job: Job) -> Any:
        return job.data * 2

    def plain(self, job: Any) -> Any:
        return job.data * 2

    @staticmethod
    async def static(job: Job) -> Any:
        return job.data * 2


@pytest.mark.parametrize(
    "handler",
    [
        _double,
        _double_async,
        _Doubler(),
        _Doubler().plain,
        _Doubler.static,
        lambda job: job.data * 2,
        lambda job: _double_async(job),
    ],
    ids=["plain", "async", "object", "method", "static", "lambda", "lambda giving a coroutine"],
)
@pytest.mark.asyncio
async def test_whatever_can_be_called_is_a_handler(handler: Callable[..., Any]) -> None:
    async with MemoryStore() as store, Worker("emails", handler, store=store):
        job = await Queue("emails", store=store).add("double", 21)
        assert await job.wait_until_finished() == 42


LAZY = """
import asyncio

from conveyor_nb import MemoryStore, Queue, Worker


async def count(job):
    await job.update_progress(50)
    await job.log("half")
    return "counted"


async def main():
    async with MemoryStore() as store, Worker("emails", lambda job: count(job), store=store):
        job = await Queue("emails", store=store).add("count")
        print(await job.wait_until_finished())
        print((await job.refresh()).logs)


asyncio.run(main())
"""


def test_a_coroutine_from_a_plain_handler_can_await_the_jobs_methods() -> None:
    # in a process of its own, as a loop that waits for itself can't be stopped from within
    root = Path(conveyor_nb.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", LAZY],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "counted\n('half',)\n", done.stderr
