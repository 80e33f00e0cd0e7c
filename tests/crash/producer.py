"""``python -m tests.crash.producer URL PREFIX``: add jobs of all kinds, and say what was added."""

from __future__ import annotations

import asyncio
import itertools
import sys

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    JobOptions,
    Queue,
    StoreUnavailableError,
    open_store,
)
from conveyor_nb.clocks.clock import REAL_TIME
from tests.crash.faults import arm

__all__ = ["QUEUE", "SUMS", "main"]

QUEUE, SUMS = "crash", "sums"

_PAUSE = 0.01
"""Seconds from one step to the next: so all jobs of a long run can be accounted for."""

_PAUSE_WITHOUT_STORE = 0.2


def say(text: str) -> None:
    """Write a line that outlasts whatever comes next."""
    print(text, flush=True)


async def produce(url: str, prefix: str) -> None:
    """Add jobs until the process is killed."""
    async with open_store(url) as store:
        queue, flows = Queue(QUEUE, store=store), FlowProducer(store=store)
        has_schedule = False
        for number in itertools.count():
            await REAL_TIME.sleep(_PAUSE)
            try:
                if not has_schedule:
                    await queue.every("1s", "tick", job_id="tick", attempts=100)
                    has_schedule = True
                await add_some(queue, flows, number, f"{prefix}-{number}")
            except StoreUnavailableError:  # nobody was told that they were added
                await REAL_TIME.sleep(_PAUSE_WITHOUT_STORE)


async def add_some(queue: Queue, flows: FlowProducer, number: int, name: str) -> None:
    """Add a job, or some, of the kind whose turn it is."""
    match number % 8:
        case 0:
            ids = [f"{name}-{n}" for n in range(3)]
            children = [
                FlowJob("part", QUEUE, None, JobOptions(job_id=one, attempts=100)) for one in ids
            ]
            opts = JobOptions(job_id=name, attempts=100)
            await flows.add(FlowJob("whole", SUMS, None, opts, children))
            say(f"ack {SUMS} {name}")
            for one in ids:
                say(f"ack {QUEUE} {one}")
        case 1:
            ids = [f"{name}-{n}" for n in range(5)]
            await queue.add_bulk([{"name": "some", "job_id": one, "attempts": 100} for one in ids])
            for one in ids:
                say(f"ack {QUEUE} {one}")
        case 2:
            await queue.add("later", job_id=name, attempts=100, delay=0.3)
            say(f"ack {QUEUE} {name}")
        case _:
            await queue.add("send", {"n": number}, job_id=name, attempts=100)
            say(f"ack {QUEUE} {name}")


def main() -> None:
    """What the command does."""
    arm()
    asyncio.run(produce(*sys.argv[1:3]))


if __name__ == "__main__":
    main()
