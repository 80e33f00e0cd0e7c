"""What a step costs, and what a job weighs, in a queue that holds few jobs and in one with many.

A step never waits, so it is measured in processor time, which other programs do not change.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Iterator

from tests.benchmarks.held import CONDITIONS, OPS, STEPS, Held, fill, restore
from tests.benchmarks.measuring import MICRO, Figure, Plan, relative

__all__ = ["measure_memory", "measure_steps", "visits"]

STEP_TARGET_RATIO = 2.0
BYTES_TARGET = 1_200.0
_ROUNDS = 5
"""For each repeat; a round is short, so a figure takes many."""
_MEMORY_MOST = 100_000
"""The allocations are traced one by one, which takes its time."""
_FEW = 10
"""Jobs with which all is there that a queue has once."""


def measure_steps(plan: Plan) -> Iterator[Figure]:
    """Every step under every condition, at the smallest size and at the largest."""
    sizes = sorted({plan.sizes[0], plan.sizes[-1]})
    figures: list[Figure] = []
    for condition in CONDITIONS:
        plan.say(f"steps with {sizes[-1]:,} jobs held: {condition}")
        figures += asyncio.run(_steps(condition, sizes, _ROUNDS * plan.repeats))
    groups = list(dict.fromkeys(figure.group for figure in figures))
    figures.sort(key=lambda figure: groups.index(figure.group))
    yield from relative(figures, at_most_ratio=STEP_TARGET_RATIO)


async def _steps(condition: str, sizes: list[int], rounds: int) -> list[Figure]:
    queues = {size: await fill(condition, size) for size in sizes}
    gc.collect()  # what filling has left
    samples: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds + 1):
        for size, held in queues.items():  # in turns: a busy moment hits both
            taken = await _round(held)
            if number:  # the first makes what is made on first use
                for step, seconds in taken.items():
                    samples.setdefault((step, size), []).append(seconds / OPS * MICRO)
    return [
        Figure(
            f"{step}, with jobs held, processor time",
            condition,
            size,
            "µs",
            tuple(samples[step, size]),
        )
        for step in STEPS
        for size in sizes
    ]


async def _round(held: Held) -> dict[str, float]:
    taken = {}
    for name, step in STEPS.items():
        began = time.process_time()
        await step(held)
        taken[name] = time.process_time() - began
    await restore(held)
    return taken


def measure_memory(plan: Plan) -> Iterator[Figure]:
    """The bytes of a job held, all indexes counted, as Python's allocator sees them."""
    jobs = plan.up_to(_MEMORY_MOST)
    for condition in CONDITIONS:
        plan.say(f"memory of {jobs:,} jobs: {condition}")
        empty = asyncio.run(_traced(condition, 0))
        size = asyncio.run(_traced(condition, jobs)) - empty
        group = "memory of a job held, with its indexes"
        yield Figure(group, condition, jobs, "bytes", (size / jobs,), at_most=BYTES_TARGET)


async def _traced(condition: str, jobs: int) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        held = await fill(condition, jobs)
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        del held
        return size
    finally:
        tracemalloc.stop()


def visits(condition: str, jobs: int) -> float:
    """How many objects the collector looks at for each job held, whenever it looks at all."""
    few, many = (_visits(condition, held) for held in (_FEW, _FEW + jobs))
    return (many - few) / jobs


def _visits(condition: str, jobs: int) -> int:
    held = asyncio.run(fill(condition, jobs))
    gc.collect()  # it finds out what it need not look at any more
    seen = sum(len(gc.get_referents(one)) for one in gc.get_objects())
    del held
    return seen
