"""A bar over jobs: what it yields, what it shows, and that it is gone in the end."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    Job,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    JobState,
    MemoryStore,
    Queue,
    VirtualClock,
    Worker,
    progress,
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest_asyncio.fixture
async def queue(clock: VirtualClock) -> AsyncIterator[Queue]:
    async def handler(job: Job) -> Any:
        await job.sleep(job.data)
        if job.name == "fail":
            raise ValueError("no such address")
        return job.data

    store = MemoryStore(clock=clock, ids="sequential")
    async with Worker("emails", handler, store=store, concurrency=10), store:
        yield Queue("emails", store=store)


def subscriptions(queue: Queue) -> int:
    assert isinstance(queue.store, MemoryStore)
    return len(queue.store._subscriptions)


async def follow(jobs: list[Job], seen: list[Job], **bar: Any) -> None:
    async for job in progress(jobs, **bar):
        seen += [job]


def last_line(file: io.StringIO) -> str:
    return file.getvalue().rstrip("\n").rpartition("\r")[2]


@pytest.mark.asyncio
async def test_jobs_come_as_they_finish(queue: Queue, clock: VirtualClock) -> None:
    file, seen = io.StringIO(), list[Job]()
    early = await queue.add("send", 1)
    await clock.advance(1)
    before = subscriptions(queue)
    jobs = [await queue.add("send", 30), await queue.add("fail", 20), early, early]
    jobs.append(await queue.add("send", 10, remove_on_complete=True))
    following = asyncio.ensure_future(follow(jobs, seen, file=file, desc="emails"))
    await clock.settle()
    assert seen == [early, early]
    await clock.advance(25)
    assert [job.id for job in seen[2:]] == [jobs[4].id, jobs[1].id]
    await clock.advance(25)
    await following

    assert seen[-1] is jobs[0]
    assert [str(job.state) for job in jobs] == ["completed", "failed", *["completed"] * 3]
    assert (jobs[4].returnvalue, jobs[1].failed_reason) == (10, "ValueError: no such address")
    assert last_line(file).startswith("emails: 100%|")
    assert " 5/5 [" in last_line(file)
    assert last_line(file).endswith("job/s, failed=1]")
    assert subscriptions(queue) == before


@pytest.mark.asyncio
async def test_the_bar_moves_while_the_body_is_busy(queue: Queue, clock: VirtualClock) -> None:
    shown, go_on = asyncio.Event(), asyncio.Event()

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            if " 3/3 [" in text:
                shown.set()
            return super().write(text)

    jobs = [await queue.add("send", data) for data in (1, 2, 3)]

    async def slow() -> None:
        async for _ in progress(jobs, file=Screen()):
            await go_on.wait()

    following = asyncio.ensure_future(slow())
    await clock.advance(10)
    await shown.wait()  # it is repainted in real time
    go_on.set()
    await following


@pytest.mark.parametrize("how", ["break", "error", "interrupt", "interrupt at rest"])
@pytest.mark.asyncio
async def test_leaving_the_loop_closes_the_bar(
    how: str, queue: Queue, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, before = io.StringIO(), subscriptions(queue)
    jobs = [await queue.add("send", data) for data in (0, 60)]

    async def leave() -> None:
        async for _ in progress(jobs, file=file):
            if how == "break":
                break
            if how == "error":
                raise KeyError
            if how == "interrupt at rest":
                await asyncio.Event().wait()

    leaving = asyncio.ensure_future(leave())
    await clock.settle()
    leaving.cancel()
    await asyncio.wait([leaving])

    assert subscriptions(queue) == before
    assert file.getvalue().endswith("\n"), "the line is finished"
    assert " 1/2 [" in last_line(file)
    assert leaving.cancelled() == how.startswith("interrupt")
    if how == "error":
        assert isinstance(leaving.exception(), KeyError)
    assert (await jobs[1].refresh()).state is JobState.ACTIVE


@pytest.mark.asyncio
async def test_jobs_of_a_store_that_is_disconnected_have_ended(
    queue: Queue, clock: VirtualClock
) -> None:
    jobs = [await queue.add("send", "1 day") for _ in range(2)]
    gathering = asyncio.create_task(progress.gather(jobs, return_exceptions=True))
    await clock.settle()
    await queue.store.disconnect()
    await clock.settle()
    assert gathering.done()
    assert [type(end) for end in await gathering] == [JobNotFoundError] * 2


@pytest.mark.asyncio
async def test_gather_gives_results_in_order(queue: Queue, clock: VirtualClock) -> None:
    file = io.StringIO()
    jobs = [await queue.add("send", data) for data in (3, 1, 2)]
    gathering = asyncio.ensure_future(progress.gather([*jobs, jobs[0]], file=file))
    await clock.advance(10)
    assert await gathering == [3, 1, 2, 3]
    assert " 4/4 [" in last_line(file)
    assert await progress.gather([], file=io.StringIO()) == []


@pytest.mark.asyncio
async def test_gather_raises_or_returns_errors(queue: Queue, clock: VirtualClock) -> None:
    before = subscriptions(queue)
    names = ("fail", "cancel", "remove", "send")
    jobs = [await queue.add(name, 60) for name in names]
    file = io.StringIO()
    returning = asyncio.ensure_future(progress.gather(jobs, return_exceptions=True, file=file))
    raising = asyncio.ensure_future(progress.gather(jobs, file=io.StringIO()))
    await clock.settle()
    await jobs[1].cancel()
    await clock.settle()
    assert isinstance(raising.exception(), JobCancelledError), "at once"
    await jobs[2].remove()
    await clock.advance(60)

    failed, cancelled, removed, sent = await returning
    assert type(failed) is JobFailedError
    assert isinstance(cancelled, JobCancelledError)
    assert isinstance(removed, JobNotFoundError)
    assert sent == 60
    assert "failed=3" in last_line(file)
    assert subscriptions(queue) == before


@pytest.mark.asyncio
async def test_what_is_no_job_is_told() -> None:
    with pytest.raises(
        TypeError, match=r"progress takes jobs, as queue\.add returns them, not 'a'"
    ):
        progress("abc")  # type: ignore[arg-type]


def test_it_is_imported_when_it_is_used() -> None:
    program = (
        "import sys, conveyor_nb as c; before = 'tqdm' in sys.modules; c.progress;"
        "print(before, 'tqdm' in sys.modules, 'pandas' in sys.modules, 'IPython' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "True", "False", "False"]
