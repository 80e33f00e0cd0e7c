"""What a job costs from ``add`` to its awaited result, ours beside that of the peers.

All systems take turns in each repeat, so that a busy moment of the machine hits them alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from conveyor_nb import BulkJob, Job, MemoryStore, Queue, Worker
from tests.benchmarks.measuring import (
    MICRO,
    PAYLOAD,
    Figure,
    Plan,
    Sample,
    Stopwatch,
    medians,
    relative,
)
from tests.benchmarks.peers import CONCURRENCY, PEERS, installed

__all__ = ["FLOW", "OURS", "flow", "measure_bulk", "measure_flow", "measure_idle", "no_op"]

OURS = "conveyor_nb"
FLOW = "a job, from add to its awaited result"
_BULK = "a job of add_bulk, to its awaited result"
_ADDED = "add_bulk alone, a job"
_IDLE = "idle start, from add to the handler's first line"

FLOW_TARGET = 25.0
FLOW_SIZE = 10_000
"""The size that the target is for, and that the target for larger sizes starts from."""
FLOW_TARGET_RATIO = 1.5
IDLE_TARGET = 50.0
_STARTS = 100
_PEERS_MOST = 100_000
"""The largest number of jobs that peers are measured with."""


_Measured = TypeVar("_Measured")


async def no_op(_: Job) -> int:
    """The handler: nothing to do, and a result."""
    return 1


def flow(jobs: int) -> Sample:
    """Add jobs one by one, then wait for each result."""

    async def run(queue: Queue) -> Sample:
        with Stopwatch() as watch:
            added = [await queue.add("send", PAYLOAD) for _ in range(jobs)]
            results = [await job.wait_until_finished() for job in added]
        assert results == [1] * jobs
        return watch.sample

    return asyncio.run(_with_worker(run))


def bulk(jobs: int) -> tuple[Sample, Sample]:
    """Add jobs with one ``add_bulk``, then wait for each result; all of it, and the adding."""

    async def run(queue: Queue) -> tuple[Sample, Sample]:
        item: BulkJob = {"name": "send", "data": PAYLOAD}
        items = [item] * jobs
        with Stopwatch() as watch:
            began = time.perf_counter(), time.process_time()
            added = await queue.add_bulk(items)
            adding = Sample(time.perf_counter() - began[0], time.process_time() - began[1])
            results = [await job.wait_until_finished() for job in added]
        assert results == [1] * jobs
        return watch.sample, adding

    return asyncio.run(_with_worker(run))


def starts(count: int) -> list[float]:
    """Seconds from ``add`` to the handler's first line, of a worker that is idle."""
    began: list[float] = []

    async def note(_: Job) -> None:
        began.append(time.perf_counter())

    async def run(queue: Queue) -> list[float]:
        sent = []
        for _ in range(count):
            await asyncio.sleep(0.001)  # the worker falls asleep
            sent.append(time.perf_counter())
            job = await queue.add("send", PAYLOAD)
            await job.wait_until_finished()
        return sent

    sent = asyncio.run(_with_worker(run, note))
    return [start - at for at, start in zip(sent, began, strict=True)]


async def _with_worker(
    run: Callable[[Queue], Coroutine[Any, Any, _Measured]],
    handler: Callable[[Job], Any] = no_op,
) -> _Measured:
    async with (
        MemoryStore() as store,
        Queue("benchmark", store=store) as queue,
        Worker("benchmark", handler, store=store, concurrency=CONCURRENCY),
    ):
        await asyncio.sleep(0)
        return await run(queue)


def measure_flow(plan: Plan, *, with_peers: bool = True) -> Iterator[Figure]:
    """A job's cost at each size, of this engine and of the peers that are installed."""
    systems: list[tuple[str, Callable[[int], Sample], str]] = [(OURS, flow, "")]
    for peer in PEERS if with_peers else ():
        if installed(peer):
            systems.append((peer.name, peer.flow, peer.remark))
        else:
            plan.say(f"{peer.name} is not installed, and so not measured")
    flow(100)  # what is made on first use is made before anything is measured
    figures: list[Figure] = []
    for size in plan.sizes:
        taken: dict[str, list[Sample]] = {}
        for _ in plan.rounds(f"flow of {size:,}"):
            for name, run, _ in systems:
                if name == OURS or size <= _PEERS_MOST:
                    taken.setdefault(name, []).append(run(size))
        for name, _, remark in systems:
            if name in taken:
                samples, cpu = medians(taken[name], size)
                figures.append(Figure(FLOW, name, size, "µs", samples, cpu, remark=remark))
    yield from sorted(map(_with_target, _from_the_target_size(figures)), key=_by_name_first)


def measure_bulk(plan: Plan) -> Iterator[Figure]:
    """The same with one ``add_bulk``, and what that alone costs."""
    figures: list[Figure] = []
    for size in plan.sizes:
        taken = [bulk(size) for _ in plan.rounds(f"bulk of {size:,}")]
        for group, part in ((_BULK, 0), (_ADDED, 1)):
            samples, cpu = medians([one[part] for one in taken], size)
            figures.append(Figure(group, OURS, size, "µs", samples, cpu))
    yield from sorted(relative(figures), key=lambda figure: figure.group)


def measure_idle(plan: Plan, *, with_peers: bool = True) -> Iterator[Figure]:
    """How soon an idle system starts a job."""
    systems: dict[str, Callable[[int], list[float]]] = {OURS: starts}
    if with_peers:
        systems |= {peer.name: peer.starts for peer in PEERS if installed(peer)}
    taken: dict[str, list[float]] = {name: [] for name in systems}
    for _ in plan.rounds("idle starts"):
        for name, run in systems.items():
            taken[name] += run(min(_STARTS, plan.sizes[0] // 10))
    for name, seconds in taken.items():
        samples = tuple(one * MICRO for one in seconds)
        target = IDLE_TARGET if name == OURS else None
        yield Figure(_IDLE, name, len(samples), "µs", samples, at_most=target)


def _with_target(figure: Figure) -> Figure:
    if figure.name == OURS and figure.size == FLOW_SIZE:
        return replace(figure, at_most=FLOW_TARGET)
    if figure.name == OURS and figure.size > FLOW_SIZE:
        return replace(figure, at_most_ratio=FLOW_TARGET_RATIO)
    return figure


def _from_the_target_size(figures: list[Figure]) -> list[Figure]:
    """Ratios are to the size that the target is for, if that was measured."""
    base = {figure.name: figure for figure in figures if figure.size == FLOW_SIZE}
    if not base:
        return relative(figures)
    return [
        replace(figure, small=base[figure.name].value)
        if figure.name in base and figure is not base[figure.name]
        else figure
        for figure in figures
    ]


def _by_name_first(figure: Figure) -> tuple[bool, str, int]:
    return (figure.name != OURS, figure.name, figure.size)
