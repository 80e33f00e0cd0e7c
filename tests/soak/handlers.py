"""What the handlers of the soak do: they work, fail, hang, and don't stop when told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from conveyor_nb import Job, Queue
from tests.soak.rules import Rules

__all__ = ["make_handler"]


def make_handler(queue: Queue, rules: Rules, *, plain: bool) -> Callable[[Job], Any]:
    """A new handler for a queue, as a cell that is run again makes one."""

    async def work(job: Job) -> str:
        with rules.running(job):
            await _check_limits(job, rules)
            await _work(job, queue, rules)
        return job.name

    def work_in_thread(job: Job) -> str:
        with rules.running(job):
            _work_in_thread(job)
        return job.name

    return work_in_thread if plain else work


async def _check_limits(job: Job, rules: Rules) -> None:
    if job.group_id is not None:
        active = await job.store.get_group_active_count(job.queue_name, job.group_id)
        if active > 2:
            rules.violate(f"{active} jobs of {job.group_id} are active at once")


async def _work(job: Job, queue: Queue, rules: Rules) -> None:
    match job.name:
        case "naps":
            await job.sleep(job.data["nap"])
        case "logs":
            for number in range(3):
                await job.log(f"line {number}")
                await job.update_progress(number * 50)
        case "adds":
            added = await queue.add("quick", job.data)
            rules.acknowledge(added.queue_name, added.id)
        case "hangs":
            await asyncio.Event().wait()
        case "swallows":
            until = time.monotonic() + job.data["long"]
            while (left := until - time.monotonic()) > 0:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(left)
        case _:
            _fail(job)


def _work_in_thread(job: Any) -> None:
    match job.name:
        case "naps":
            threading.Event().wait(job.data["nap"])
        case "logs":
            job.log("a line")
            job.update_progress(50)
        case "hangs":
            while not job.cancel_requested:
                threading.Event().wait(0.005)
            job.raise_if_cancelled()
        case "swallows":
            threading.Event().wait(job.data["long"])
        case _:
            _fail(job)


def _fail(job: Any) -> None:
    if job.name == "fails" or (job.name == "flaky" and job.attempts_made == 0):
        raise ValueError(f"{job.name} at attempt {job.attempts_made + 1}")
