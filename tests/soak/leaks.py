"""What must not grow while the soak goes on, and what may not be left at its end."""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

from conveyor_nb import Job, JobObservable, Queue, Worker

__all__ = ["Memory", "left_behind", "living"]

GROWTH = 1.05
"""By which factor the use may grow from the second third of the time to the last."""

FEWEST = 30
"""Samples from which on there is a trend."""

LAST_SECONDS = 3.0
"""How long handlers that don't stop when told may still be at work."""


class Sample(NamedTuple):
    """What the process uses."""

    blocks: int
    objects: int
    kilobytes: int


class Memory:
    """Samples of what the process uses."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def sample(self) -> None:
        """Take one."""
        gc.collect()
        self.samples.append(
            Sample(sys.getallocatedblocks(), len(gc.get_objects()), resident_kilobytes())
        )

    def trend(self) -> tuple[dict[str, tuple[float, float]], list[str]]:
        """Medians of the second and of the last third, and what has grown too much."""
        third = len(self.samples) // 3
        if not third:
            return {}, []
        medians = {
            name: (
                statistics.median(getattr(one, name) for one in self.samples[third : 2 * third]),
                statistics.median(getattr(one, name) for one in self.samples[2 * third :]),
            )
            for name in Sample._fields
        }
        grown = [
            f"{name} grew from {before:,.0f} to {after:,.0f}"
            for name, (before, after) in medians.items()
            if after > before * GROWTH and len(self.samples) >= FEWEST
        ]
        return medians, grown


def resident_kilobytes() -> int:
    """The memory that the process has now; 0 where nobody says."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * 4


async def left_behind() -> list[str]:
    """Tasks, timers and threads that are there though everything is closed."""
    loop = asyncio.get_running_loop()
    await loop.shutdown_default_executor()
    for thread in threading.enumerate():
        if thread.name.startswith("conveyor_nb"):
            thread.join(LAST_SECONDS)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    _, tasks = await asyncio.wait(others, timeout=LAST_SECONDS) if others else ((), ())
    timers = [one for one in getattr(loop, "_scheduled", ()) if not one.cancelled()]
    threads = [one for one in threading.enumerate() if one is not threading.main_thread()]
    return [f"left behind: {one!r}" for one in (*tasks, *timers, *threads)]


def living() -> list[str]:
    """Objects of ours that are there though nobody has them any more."""
    gc.collect()
    kinds: tuple[type[Any], ...] = (Job, JobObservable, Queue, Worker)
    found = [type(one).__name__ for one in gc.get_objects() if isinstance(one, kinds)]
    return [f"still in memory: {found.count(kind)} x {kind}" for kind in sorted(set(found))]
