"""Handlers for worker processes, which import this module."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from conveyor_nb import Job


async def send(job: Job) -> int:
    """Do what the payload says: fail, or take some time."""
    if "fail" in job.data:
        raise ValueError(job.data["fail"])
    await asyncio.sleep(job.data.get("seconds", 0))
    print("sent", job.data["to"], flush=True)
    return 1


async def hold(_: Job) -> None:
    """Run until it is stopped."""
    print("held", flush=True)
    await asyncio.Event().wait()


def block(job: Job) -> None:
    """Take some time in a thread."""
    time.sleep(job.data["seconds"])


async def pool() -> AsyncIterator[dict[str, Any]]:
    """What jobs have at hand."""
    yield {"from": "the pool"}


async def broken() -> AsyncIterator[None]:
    """A lifespan that can't be opened."""
    raise OSError("no route to the pool")
    yield


async def use(job: Job) -> object:
    """Give what the lifespan gave."""
    return job.resources["from"]


HANDLERS = {"send": send, "hold": hold}
NOT_A_HANDLER = 7
