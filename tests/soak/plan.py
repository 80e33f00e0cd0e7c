"""What the soak works on: six queues, each with limits of another kind, and their jobs."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from conveyor_nb import Backoff, Deduplication, Group, GroupLimits, JobKeywords, Keep, Limiter

__all__ = ["KEPT", "PLANS", "QueuePlan", "random_job"]

KEPT: JobKeywords = {"remove_on_complete": Keep(count=100), "remove_on_fail": Keep(count=100)}
"""It keeps the number of held jobs, and with it the memory, the same."""

GROUPS = tuple(f"group-{number}" for number in range(5))


@dataclass(frozen=True)
class QueuePlan:
    """A queue: its name, the options of its workers, and whether their handlers are plain."""

    name: str
    worker: dict[str, Any] = field(default_factory=dict)
    plain: bool = False
    grouped: bool = False


PLANS = (
    QueuePlan("mixed", {"concurrency": 8}),
    QueuePlan("threads", {"concurrency": 6}, plain=True),
    QueuePlan(
        "limited", {"concurrency": 4, "limiter": Limiter(15, "300ms"), "max_global_concurrency": 3}
    ),
    QueuePlan("groups", {"concurrency": 6, "group": GroupLimits(concurrency=2)}, grouped=True),
    QueuePlan("flows", {"concurrency": 8, "lifo": True}),
    QueuePlan("schedules", {"concurrency": 4, "lock_duration": "1s", "stalled_interval": "200ms"}),
)

WORK = {
    "quick": 30,
    "naps": 20,
    "logs": 10,
    "adds": 4,
    "fails": 8,
    "flaky": 10,
    "hangs": 4,
    "swallows": 2,
}
"""What handlers do, by the job's name, and how often."""


def random_job(rng: random.Random, plan: QueuePlan) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A job's name, payload and options."""
    [name] = rng.choices(list(WORK), list(WORK.values()))
    options: dict[str, Any] = {}
    if name in ("hangs", "swallows") or rng.random() < 0.1:
        options["timeout"] = rng.uniform(0.05, 0.3)
    if name in ("fails", "flaky", "hangs", "swallows") or rng.random() < 0.2:
        options["attempts"] = rng.randint(1, 4)
        options["backoff"] = rng.choice(
            [0, "10ms", Backoff("exponential", "20ms"), Backoff("custom", strategy=_tenth)]
        )
    if rng.random() < 0.15:
        options["delay"] = rng.uniform(0, 0.5)
    if rng.random() < 0.2:
        options["priority"] = rng.randint(-2, 2)
    if rng.random() < 0.1:
        options["lifo"] = True
    if rng.random() < 0.1:
        options["deduplication"] = Deduplication(key=f"key-{rng.randrange(5)}")
    if rng.random() < 0.1:
        options["remove_on_complete"] = rng.choice([True, "200ms"])
        options["remove_on_fail"] = rng.choice([True, "200ms"])
    if plan.grouped and rng.random() < 0.9:
        options["group"] = Group(rng.choice(GROUPS), max_size=40)
    return name, {"nap": rng.uniform(0, 0.03), "long": rng.uniform(0.2, 1.6)}, options


def _tenth(attempts: int) -> float:
    return attempts / 100
