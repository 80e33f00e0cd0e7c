"""What a job costs in a store that lasts, beside that of peers with the same disk and server."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from conveyor_nb import Job, Queue, Worker, open_store
from tests.benchmarks.durable_held import measure_held
from tests.benchmarks.durable_peers import (
    ON_A_SERVER,
    DurablePeer,
    huey_flow,
    is_installed,
    ten_at_a_time,
)
from tests.benchmarks.durable_places import Kind, kinds_here, new_file, new_schema_of
from tests.benchmarks.engine import OURS
from tests.benchmarks.measuring import MICRO, PAYLOAD, Figure, Plan, Sample, Stopwatch, medians
from tests.benchmarks.peers import CONCURRENCY

__all__ = ["measure_durable", "note_start"]

_FLOW = "a job {}, added and worked on ten at a time"
_BULK = "a job of add_bulk in a store that lasts"
_STARTS = "start on an idle worker of another process"
_MOST = 10_000
_BULK_TARGET = 20.0
_STARTED = 40


def measure_durable(plan: Plan, *, with_peers: bool = True) -> Iterator[Figure]:
    """A job's cost on a disk, of this engine and of peers, and how soon another process starts."""
    with kinds_here(plan.say) as kinds:
        yield from _measure_flows(plan, list(_systems(plan, kinds, with_peers=with_peers)))
        for kind in kinds:
            for size in _sizes(plan):
                taken = [_bulk(kind, size) for _ in plan.rounds(f"bulk, {kind.name}, {size:,}")]
                values, cpu = medians(taken, size)
                yield Figure(_BULK, kind.name, size, "µs", values, cpu, at_most=_BULK_TARGET)
        for kind in kinds:
            plan.say(f"starts, {kind.name}")
            starts = _starts(kind, min(_STARTED, plan.sizes[0] // 10))
            values = tuple(one * MICRO for one in starts)
            yield Figure(_STARTS, kind.name, len(values), "µs", values, at_most=kind.start)
        yield from measure_held(plan, kinds)


# -- a job's whole way --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _System:
    group: str
    name: str
    run: Callable[[int], Sample]
    target: float | None = None
    remark: str = ""


def _systems(plan: Plan, kinds: Sequence[Kind], *, with_peers: bool) -> Iterator[_System]:
    """Ours and its peers, in one group if they keep a job through the same."""
    file, *servers = kinds
    crash = _FLOW.format("in a file, kept through a crash")
    power = _FLOW.format("in a file, kept through a loss of power")
    yield _System(crash, OURS, functools.partial(_flow, file), file.flow)
    yield _System(power, OURS, functools.partial(_flow, file, durability="full"))
    if with_peers and _may_measure("huey", plan):
        remark = "SqliteStorage, ten threads; one after the other is added"
        for group, synchronous in ((crash, "NORMAL"), (power, "FULL")):
            run = functools.partial(_flow_of_huey, synchronous)
            yield _System(group, "huey", run, remark=remark)
    for server in servers:
        group = _FLOW.format("on PostgreSQL, kept through a loss of power")
        yield _System(group, OURS, functools.partial(_flow, server), server.flow)
        for peer in ON_A_SERVER if with_peers else ():
            if _may_measure(peer.name, plan):
                run = functools.partial(_flow_of_peer, server, peer)
                yield _System(group, peer.name, run, remark=peer.remark)


def _may_measure(package: str, plan: Plan) -> bool:
    if not is_installed(package):
        plan.say(f"{package} is not installed, and so not measured")
    return is_installed(package)


def _sizes(plan: Plan) -> list[int]:
    return list(dict.fromkeys(min(size, _MOST) for size in plan.sizes))


def _measure_flows(plan: Plan, systems: Sequence[_System]) -> Iterator[Figure]:
    for system in systems:
        system.run(10)  # what is made on first use is made before anything is measured
    for size in _sizes(plan):
        taken: dict[_System, list[Sample]] = {system: [] for system in systems}
        for _ in plan.rounds(f"durable, {size:,}"):
            for system in systems:
                taken[system].append(system.run(size))
        for one, samples in taken.items():
            values, cpu = medians(samples, size)
            about = {"at_most": one.target, "remark": one.remark}
            yield Figure(one.group, one.name, size, "µs", values, cpu, **about)  # type: ignore[arg-type]


async def _no_op(_: Job) -> None:
    """The handler: nothing to do."""


def _flow(kind: Kind, jobs: int, **options: Any) -> Sample:
    with kind.store(**options) as made:

        async def run() -> Sample:
            async with made as store, Queue("benchmark", store=store) as queue:
                with Stopwatch() as watch:
                    await ten_at_a_time(range(jobs), lambda _: queue.add("send", PAYLOAD))
                    async with Worker("benchmark", _no_op, store=store, concurrency=CONCURRENCY):
                        await queue.join()
                assert await store.count_jobs("benchmark", "completed") == jobs
                return watch.sample

        return asyncio.run(run())


def _flow_of_huey(synchronous: str, jobs: int) -> Sample:
    with new_file() as path:
        return huey_flow(synchronous, path, jobs)


def _flow_of_peer(server: Kind, peer: DurablePeer, jobs: int) -> Sample:
    with new_schema_of(server.dsn) as schema:
        return peer.flow(server.dsn, schema, jobs)


# -- bulk, and starts elsewhere -----------------------------------------------------------------


def _bulk(kind: Kind, jobs: int) -> Sample:
    with kind.store() as made:

        async def run() -> Sample:
            async with made as store:
                queue = Queue("benchmark", store=store)
                items: Any = [{"name": "send", "data": PAYLOAD}] * jobs
                with Stopwatch() as watch:
                    await queue.add_bulk(items)
                return watch.sample

        return asyncio.run(run())


async def note_start(_: Job) -> float:
    """The handler of a worker in another process: when it started, by the machine's clock."""
    return time.time()


def _starts(kind: Kind, count: int) -> list[float]:
    """Seconds from ``add`` to the first line of a handler in another process that is idle."""
    with kind.place() as url:
        handler = "benchmark=tests.benchmarks.durable:note_start"
        command = [sys.executable, "-m", "conveyor_nb", "worker", handler, "--store", url]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **quiet) as worker:
            try:
                return asyncio.run(_starts_in_another_process(url, count))
            finally:
                worker.kill()


async def _starts_in_another_process(url: str, count: int) -> list[float]:
    async with open_store(url) as store:
        queue = Queue("benchmark", store=store)
        await (await queue.add("send")).wait_until_finished(timeout=60)
        taken = []
        for _ in range(count):
            await asyncio.sleep(0.02)  # it falls asleep
            began = time.time()
            started = await (await queue.add("send")).wait_until_finished(timeout=60)
            taken.append(started - began)
        return taken
