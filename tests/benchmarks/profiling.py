"""Where the time of a job goes: its profile, and how many Python functions it calls."""

from __future__ import annotations

import asyncio
import cProfile
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from conveyor_nb import MemoryStore, Queue, Worker
from tests.benchmarks.engine import flow, no_op
from tests.benchmarks.held import OPS, STEPS, fill, restore
from tests.benchmarks.measuring import MICRO, PAYLOAD
from tests.benchmarks.peers import CONCURRENCY

__all__ = ["calls_of_life", "calls_of_steps", "counted", "profile"]

_JOBS = 10_000
_TOP = 10
_ROOT = Path(__file__).resolve().parents[2]


def profile(jobs: int = _JOBS) -> str:
    """The functions with the most time of their own, in the flow of so many jobs.

    A profile makes calls dearer than they are, and most of all small ones: its times are for
    comparing, and their sum is not the cost of a job.
    """
    flow(100)
    profiler = cProfile.Profile()
    profiler.runcall(flow, jobs)
    # the profiler has one entry for each function; that of what measures is no part of a job
    entries = [one for one in profiler.getstats() if "_lsprof" not in str(one.code)]
    entries.sort(key=lambda one: -one.inlinetime)
    calls = sum(one.callcount for one in entries) / jobs
    total = sum(one.inlinetime for one in entries) / jobs * MICRO
    lines = [f"a job of {jobs:,}: {calls:.0f} calls, {total:.1f} µs when profiled"]
    lines.append(f"{'own µs':>8}{'with its calls':>16}{'calls':>8}  function")
    for one in entries[:_TOP]:
        own, whole = (seconds / jobs * MICRO for seconds in (one.inlinetime, one.totaltime))
        lines.append(f"{own:8.2f}{whole:16.2f}{one.callcount / jobs:8.2f}  {_where(one.code)}")
    return "\n".join(lines)


def _where(code: CodeType | str) -> str:
    if isinstance(code, str):  # a function of C
        return code
    path = Path(code.co_filename)
    shown = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else Path(*path.parts[-2:])
    return f"{code.co_qualname} ({shown}:{code.co_firstlineno})"


class Calls:
    """How many Python functions were called; a coroutine that goes on counts again."""

    def __init__(self) -> None:
        self.count = 0

    def note(self, _: FrameType, event: str, __: Any) -> None:
        """Take note of what ``sys.setprofile`` tells."""
        if event == "call":
            self.count += 1


@contextmanager
def counted() -> Iterator[Calls]:
    """Count the calls of Python functions in this thread."""
    calls = Calls()
    before = sys.getprofile()
    sys.setprofile(calls.note)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def calls_of_life(jobs: int) -> float:
    """Python calls of one job's whole life: added, taken, run, settled, its result awaited."""

    async def run() -> int:
        async with (
            MemoryStore() as store,
            Queue("benchmark", store=store) as queue,
            Worker("benchmark", no_op, store=store, concurrency=CONCURRENCY),
        ):
            await _live(queue, 10)  # what is made on first use is made now
            with counted() as calls:
                await _live(queue, jobs)
            return calls.count

    return asyncio.run(run()) / jobs


async def _live(queue: Queue, jobs: int) -> None:
    added = [await queue.add("send", PAYLOAD) for _ in range(jobs)]
    for job in added:
        await job.wait_until_finished()


def calls_of_steps(condition: str, jobs: int) -> dict[str, float]:
    """Python calls of each step in a queue that holds so many jobs."""

    async def run() -> dict[str, float]:
        held = await fill(condition, jobs)
        taken: dict[str, float] = {}
        for _ in range(2):  # the first round makes what is made on first use
            for name, step in STEPS.items():
                taken[name] = await _count(lambda step=step: step(held))  # type: ignore[misc]
            await restore(held)
        return taken

    return asyncio.run(run())


async def _count(step: Callable[[], Awaitable[None]]) -> float:
    with counted() as calls:
        await step()
    return calls.count / OPS
