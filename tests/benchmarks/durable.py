"""What a job costs in a store that lasts, beside that of a peer with the same disk."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from conveyor_nb import Job, Queue, SqliteStore, Worker
from tests.benchmarks.measuring import MICRO, PAYLOAD, Figure, Plan, Sample, Stopwatch, medians
from tests.benchmarks.peers import CONCURRENCY, huey_consumer

__all__ = ["measure_durable", "note_start"]

_FLOW = "a job in a store that lasts, from add to its end, ten at a time"
_BULK = "a job of add_bulk in a store that lasts"
_STARTS = "start on an idle worker of another process"
_MOST = 10_000
_TARGET, _BULK_TARGET, _START_TARGET = 200.0, 20.0, 15_000.0
_STARTED = 40
_LOOK = 0.001


@contextlib.contextmanager
def _file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="conveyor-benchmark-") as folder:
        yield Path(folder) / "queue.db"


async def _no_op(_: Job) -> None:
    """The handler: nothing to do."""


def _flow(durability: Any, jobs: int) -> Sample:
    async def run(path: Path) -> Sample:
        async with (
            SqliteStore(path, durability=durability) as store,
            Queue("benchmark", store=store) as queue,
        ):
            left = iter(range(jobs))

            async def add() -> None:
                for _ in left:
                    await queue.add("send", PAYLOAD)

            with Stopwatch() as watch:
                await asyncio.gather(*(add() for _ in range(CONCURRENCY)))
                async with Worker("benchmark", _no_op, store=store, concurrency=CONCURRENCY):
                    await queue.join()
            assert await store.count_jobs("benchmark", "completed") == jobs
            return watch.sample

    with _file() as path:
        return asyncio.run(run(path))


def _huey_flow(jobs: int) -> Sample:
    huey_module = importlib.import_module("huey")
    with _file() as path:
        huey = huey_module.SqliteHuey("benchmark", filename=str(path), immediate=False)
        task = huey.task()(_no_op_of_huey)
        with Stopwatch() as watch:
            for _ in range(jobs):
                task(PAYLOAD)
            with huey_consumer(huey, CONCURRENCY):
                while huey.storage.result_store_size() < jobs:
                    time.sleep(_LOOK)
        huey.storage.close()
        return watch.sample


def _no_op_of_huey(_: dict[str, Any]) -> int:
    return 1


def measure_durable(plan: Plan) -> Iterator[Figure]:
    """A job's cost on a disk, of this engine and of a peer, and how soon another process starts."""
    systems: dict[str, Callable[[int], Sample]] = {
        "SqliteStore": functools.partial(_flow, "normal"),
        "SqliteStore, durability full": functools.partial(_flow, "full"),
    }
    if importlib.util.find_spec("huey") is not None:
        systems["huey on SQLite, ten threads"] = _huey_flow
    sizes = dict.fromkeys(min(size, _MOST) for size in plan.sizes)
    for run in systems.values():
        run(10)  # what is made on first use is made before anything is measured
    for size in sizes:
        taken: dict[str, list[Sample]] = {name: [] for name in systems}
        for _ in plan.rounds(f"durable, {size:,}"):
            for name, run in systems.items():
                taken[name].append(run(size))
        for name, samples in taken.items():
            values, cpu = medians(samples, size)
            target = _TARGET if name == "SqliteStore" else None
            yield Figure(_FLOW, name, size, "µs", values, cpu, at_most=target)
        bulk = [asyncio.run(_bulk(size)) for _ in plan.rounds(f"durable bulk, {size:,}")]
        values, cpu = medians(bulk, size)
        yield Figure(_BULK, "SqliteStore", size, "µs", values, cpu, at_most=_BULK_TARGET)
    values = tuple(one * MICRO for one in asyncio.run(_starts(min(_STARTED, plan.sizes[0] // 10))))
    yield Figure(_STARTS, "SqliteStore", len(values), "µs", values, at_most=_START_TARGET)


async def _bulk(jobs: int) -> Sample:
    with _file() as path:
        async with SqliteStore(path) as store:
            queue = Queue("benchmark", store=store)
            items: Any = [{"name": "send", "data": PAYLOAD}] * jobs
            with Stopwatch() as watch:
                await queue.add_bulk(items)
            return watch.sample


async def note_start(_: Job) -> float:
    """The handler of a worker in another process: when it started, by the machine's clock."""
    return time.time()


async def _starts(count: int) -> list[float]:
    """Seconds from ``add`` to the first line of a handler in another process that is idle."""
    with _file() as path:
        handler = "benchmark=tests.benchmarks.durable:note_start"
        command = [sys.executable, "-m", "conveyor_nb", "worker", handler]
        command += ["--store", f"sqlite:///{path}"]
        async with SqliteStore(path) as store:
            queue = Queue("benchmark", store=store)
            quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            with subprocess.Popen(command, **quiet) as worker:  # noqa: ASYNC220 -- once
                try:
                    await (await queue.add("send")).wait_until_finished(timeout=60)
                    taken = []
                    for _ in range(count):
                        await asyncio.sleep(0.02)
                        began = time.time()
                        started = await (await queue.add("send")).wait_until_finished(timeout=60)
                        taken.append(started - began)
                    return taken
                finally:
                    worker.kill()
