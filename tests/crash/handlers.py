"""What the workers run: each start is noted in a file, whatever becomes of it."""

from __future__ import annotations

import asyncio
import os
import random

from conveyor_nb import Job
from tests.crash.faults import arm

__all__ = ["LEDGER", "work"]

LEDGER = "CRASH_LEDGER"
"""The variable of the environment that names the file."""


arm()  # as a worker imports this before it opens its store


async def work(job: Job) -> str:
    """Note the start, and take a little while."""
    line = f"{job.queue_name} {job.id} {job.attempt_logs[-1].attempt} {os.getpid()}\n"
    ledger = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)
    await asyncio.sleep(random.uniform(0, 0.01))
    return job.id
