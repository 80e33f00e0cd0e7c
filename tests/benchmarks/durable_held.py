"""What the steps of a job cost in a store that lasts, ten at a time, by how many jobs it holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from conveyor_nb.core.actions import Complete
from conveyor_nb.core.model import JobData, Lock
from tests.benchmarks.durable_peers import ten_at_a_time
from tests.benchmarks.durable_places import Kind
from tests.benchmarks.held import LOCK_SECONDS, OPS, WORKER, Held, fill, restore
from tests.benchmarks.measuring import MICRO, PAYLOAD, Figure, Plan, relative

__all__ = ["measure_held"]

_GROUP = "{} in a {}, with jobs held"
_CONDITIONS = ("waiting", "completed", "groups")
_TARGET_RATIO = 2.0


async def _add(held: Held) -> None:
    await ten_at_a_time(range(OPS), lambda _: held.queue.add("send", PAYLOAD))


async def _take(held: Held) -> None:
    async def take(_: int) -> None:
        store, name = held.queue.store, held.queue.name
        data = await store.fetch_next_job(name, WORKER, LOCK_SECONDS, held.fetch_options)
        assert data is not None
        held.taken.append(data)

    await ten_at_a_time(range(OPS), take)


async def _settle(held: Held) -> None:
    async def settle(data: JobData) -> None:
        lock = Lock(WORKER, data.attempt_logs[-1].attempt)
        await held.queue.store.apply(held.queue.name, data.id, Complete(1), lock=lock)

    await ten_at_a_time(held.taken, settle)


_STEPS: Mapping[str, Callable[[Held], Awaitable[None]]] = {
    "add": _add,
    "fetch": _take,
    "settle": _settle,
}
"""In the order of a round: what is added is taken, what is taken is settled, then removed."""


def measure_held(plan: Plan, kinds: Sequence[Kind]) -> Iterator[Figure]:
    """Adding, taking and settling jobs, with few of them held and with many."""
    sizes = sorted({plan.sizes[0], plan.sizes[-1]})
    figures: list[Figure] = []
    for kind in kinds:
        for condition in _CONDITIONS:
            plan.say(f"{kind.name} with {sizes[-1]:,} jobs held: {condition}")
            for size in sizes:
                figures += _measure(kind, condition, size, plan.repeats)
    yield from sorted(relative(figures, at_most_ratio=_TARGET_RATIO), key=lambda one: one.group)


def _measure(kind: Kind, condition: str, size: int, rounds: int) -> list[Figure]:
    with kind.store() as made:

        async def run() -> dict[str, list[float]]:
            async with made as store:
                held = await fill(condition, size, store)
                taken: dict[str, list[float]] = {step: [] for step in _STEPS}
                for number in range(rounds + 1):
                    for step, seconds in (await _round(held)).items():
                        if number:  # the first makes what is made on first use
                            taken[step].append(seconds / OPS * MICRO)
                return taken

        taken = asyncio.run(run())
    return [
        Figure(_GROUP.format(step, kind.name), condition, size, "µs", tuple(samples))
        for step, samples in taken.items()
    ]


async def _round(held: Held) -> dict[str, float]:
    taken = {}
    for name, step in _STEPS.items():
        began = time.perf_counter()
        await step(held)
        taken[name] = time.perf_counter() - began
    await restore(held)
    return taken
