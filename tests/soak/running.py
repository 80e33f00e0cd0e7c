"""One soak from its begin to its end."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from conveyor_nb import Job, JobState, MemoryStore
from tests.soak.leaks import Memory, left_behind, living
from tests.soak.rules import SETTLED, Rules
from tests.soak.users import Crew, User

__all__ = ["Report", "soak"]

USERS = 6
PATIENCE = 60.0
"""Seconds that the last jobs may take on a busy machine."""


@dataclass
class Report:
    """What was done, what came of it, and what should not be."""

    seed: int
    seconds: float
    done: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    looks: int = 0
    memory: Memory = field(default_factory=Memory)
    violations: list[str] = field(default_factory=list)


def soak(seconds: float, seed: int, say: Callable[[str], None] = lambda text: None) -> Report:
    """Use the queues for so long, and watch over them.

    Args:
        seconds: for how long, in real time.
        seed: what is done is the same for the same; when it is done is not.
        say: told each minute how it goes.
    """
    report = Report(seed, seconds)
    asyncio.run(_soak(report, say))
    report.violations += living()
    report.violations += report.memory.trend()[1]
    return report


async def _soak(report: Report, say: Callable[[str], None]) -> None:
    silent = logging.Logger("soak", level=logging.CRITICAL)
    store = MemoryStore(ids="sequential", seed=report.seed, metrics=True, logger=silent)
    crew = Crew(store, rules := Rules(store), silent)
    rng = random.Random(report.seed)
    over = asyncio.Event()
    users = [
        asyncio.create_task(User(crew, rules, random.Random(rng.random()), report.done).go_on(over))
        for _ in range(USERS)
    ]
    await _watch(report, rules, crew, say)
    over.set()
    await asyncio.gather(*users)
    if not rules.violations:
        await _finish(crew, rules)
    await crew.close()
    rules.close()
    report.violations += rules.violations
    report.events, report.runs = rules.events, rules.runs
    await store.disconnect()
    report.violations += await left_behind()


async def _watch(report: Report, rules: Rules, crew: Crew, say: Callable[[str], None]) -> None:
    """Look each second, until the time is over or something does not hold."""
    end = time.monotonic() + report.seconds
    while (left := end - time.monotonic()) > 0 and not rules.violations:
        await crew.store.clock.sleep(min(1.0, left))
        await rules.look(crew.queues.values())
        report.memory.sample()
        report.looks += 1
        if report.looks % 60 == 0:
            say(f"{report.looks} looks, {rules.runs:,} runs, {report.memory.samples[-1]}")


async def _finish(crew: Crew, rules: Rules) -> None:
    """Let all that is left come to its end: no job may be stuck."""
    for queue in crew.queues.values():
        for scheduler in await queue.get_job_schedulers():
            await queue.remove_job_scheduler(scheduler.id)
        await queue.resume()
        await queue.resume("naps")
    end = time.monotonic() + PATIENCE
    while left := _unsettled(rules):
        if time.monotonic() > end:
            rules.violate(f"stuck for {PATIENCE} s: {left}")
            return
        for queue in crew.queues.values():
            await queue.promote_jobs()
            for parent in await queue.get_jobs("waiting-children"):
                await _give_up(parent)
        await crew.store.clock.sleep("50ms")
    await rules.look(crew.queues.values())


async def _give_up(parent: Job) -> None:
    """Cancel a parent that waits for failed children to be retried, which nobody does any more."""
    children = await parent.get_dependencies()
    failed = any(child.state == JobState.FAILED for child in children)
    if failed and all(child.state in SETTLED for child in children):
        await parent.cancel()


def _unsettled(rules: Rules) -> dict[str, dict[JobState, int]]:
    left = {
        name: {state: count for state, count in held.items() if count and state not in SETTLED}
        for name, held in rules.held.items()
    }
    return {name: counts for name, counts in left.items() if counts}
