"""Whatever is done to jobs and workers of all kinds, no job runs twice at once."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb import (
    Batch,
    InvalidJobStateError,
    Job,
    JobNotFoundError,
    Queue,
    RetryRefusedError,
    VirtualClock,
    Worker,
)

pytestmark = pytest.mark.usefixtures("_brief_patience")


class Watched:
    """Handlers of all kinds, and how many of them are at work on one job."""

    def __init__(self, seed: int, clock: VirtualClock) -> None:
        self.random = random.Random(seed)
        self.clock = clock
        self.at_work: collections.Counter[str] = collections.Counter()
        self.runs = 0
        self.twice: list[str] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def watching(self, jobs: Any) -> Iterator[int]:
        with self._lock:
            self.runs += 1
            for job in jobs:
                self.at_work[job.id] += 1
                if self.at_work[job.id] > 1:
                    self.twice.append(job.id)
            seconds = self.random.randint(1, 20)
        try:
            yield seconds
        finally:
            with self._lock:
                self.at_work.subtract(job.id for job in jobs)

    async def _stay(self, seconds: int) -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        while (left := (until - self.clock.now()).total_seconds()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await self.clock.sleep(left)

    async def obeying(self, job: Job) -> None:
        with self.watching([job]) as seconds:
            await job.sleep(seconds)

    async def catching(self, job: Job) -> None:
        with self.watching([job]) as seconds:
            await self._stay(seconds)

    async def catching_in_batches(self, jobs: list[Job]) -> list[None]:
        with self.watching(jobs) as seconds:
            await self._stay(seconds)
        return [None] * len(jobs)

    def in_thread(self, job: Any) -> None:
        with self.watching([job]) as seconds:
            job.sleep(seconds)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.asyncio
async def test_whatever_is_done_no_job_runs_twice_at_once(
    seed: int, queue: Queue, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # many a handler is named
    clock.patience = 60
    watched, dice = Watched(seed, clock), random.Random(seed)
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (watched.obeying, {}),
        (watched.catching, {}),
        (watched.catching_in_batches, {"batch": Batch(3)}),
        (watched.in_thread, {}),
    ]

    def hire() -> Worker:
        handler, options = dice.choice(kinds)
        return Worker(
            "emails",
            handler,
            store=queue.store,
            concurrency=dice.randint(1, 3),
            lock_duration=4,
            stalled_interval=3,
            **options,
        )

    crew = [hire() for _ in range(3)]
    gone: list[Worker] = []
    for _ in range(120):
        jobs = [job for job in await queue.get_jobs() if dice.random() < 0.1]
        with contextlib.suppress(RetryRefusedError, InvalidJobStateError, JobNotFoundError):
            match dice.randrange(7):
                case 0 | 1:
                    await queue.add(
                        "send", attempts=dice.randint(1, 3), timeout=dice.choice([None, 2, 6])
                    )
                case 2:
                    gone.append(crew.pop(dice.randrange(len(crew))))
                    closing = asyncio.ensure_future(gone[-1].close(timeout=0))
                    await clock.advance(dice.random())
                    await closing
                    crew.append(hire())
                case 3:
                    for job in jobs:
                        await job.cancel()
                case 4:
                    for job in jobs:
                        await job.retry()
                case 5:
                    for job in jobs[:1]:
                        await job.remove()
                case 6:
                    await queue.retry_jobs()
        await clock.advance(dice.random() * 3)
    await clock.advance("2 minutes")

    assert watched.runs > 30
    assert watched.twice == []
    assert not await queue.count("active")
    assert not await queue.count("waiting")
    assert [worker.slots_in_use for worker in gone] == [0] * len(gone)
    for worker in crew:
        await worker.close(timeout=0)
