"""Handlers that can't be stopped, of all kinds, and what lets them go on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from conveyor_nb import (
    Job,
    VirtualClock,
)

__all__ = ["ALL", "AT_WORK", "HANDLERS", "HELD", "Crew", "all_kinds", "returned"]

AT_WORK = "its handler is still at work"
HELD = "1 held by a handler that did not stop"


class Crew:
    """What the handlers of a test have in common: how many are at work, and what lets them go on.

    Each stays until it is told to go on; ``begun`` has the job's attempt for each that began.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.told: list[bool] = []
        self.most = 0
        self.at_work = 0
        self.go_on = threading.Event()
        self.returned = asyncio.Event()
        self._started = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._may_return = asyncio.Event()

    async def has_begun(self) -> None:
        """Wait until a handler has begun."""
        await self._started.wait()

    def let_go(self) -> None:
        """Let those that are at work return, and those to come return at once."""
        self.go_on.set()
        self._may_return.set()

    @contextlib.contextmanager
    def _at_work(self, jobs: Any) -> Any:
        with self._lock:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            self.begun += [len(job.attempt_logs) for job in jobs]
        self._loop.call_soon_threadsafe(self._started.set)
        try:
            yield
        finally:
            self.told += [job.cancel_requested for job in jobs]
            with self._lock:
                self.at_work -= 1
            with contextlib.suppress(RuntimeError):  # nobody waits on a loop that is gone
                self._loop.call_soon_threadsafe(self.returned.set)

    def in_thread(self, job: Any) -> str:
        """A plain handler."""
        with self._at_work([job]):
            self.go_on.wait()
        return "done"

    def batch_in_thread(self, jobs: Any) -> list[str]:
        """A plain handler of batches."""
        with self._at_work(jobs):
            self.go_on.wait()
        return ["done"] * len(jobs)

    async def catching(self, job: Job) -> str:
        """Catches its cancellation, however often it comes."""
        with self._at_work([job]):
            while not self._may_return.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await self._may_return.wait()
        return "done"

    async def cleaning_up(self, job: Job) -> None:
        """Takes long to clean up."""
        with self._at_work([job]):
            try:
                await asyncio.shield(self._may_return.wait())
            finally:
                await self._may_return.wait()

    async def catching_all(self, job: Job) -> str:
        """Catches everything, and goes on waiting."""
        with self._at_work([job]):
            try:
                await asyncio.wait_for(self._may_return.wait(), 3_600)
            except BaseException:
                await self._may_return.wait()
        return "done"

    async def catching_groups(self, job: Job) -> str:
        """Catches the cancellation as a part of a group, and goes on in a group."""
        with self._at_work([job]):
            try:
                await self._may_return.wait()
            except* asyncio.CancelledError:
                pass
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._may_return.wait())
        return "done"

    async def forgetting(self, job: Job) -> str:
        """Says to its task that it was never cancelled."""
        task = asyncio.current_task()
        assert task is not None
        with self._at_work([job]):
            try:
                await self._may_return.wait()
            except asyncio.CancelledError:
                task.uncancel()
                await self._may_return.wait()
        return "done"


HANDLERS = ["catching", "cleaning_up", "catching_all", "catching_groups", "forgetting"]
ALL = ["in_thread", *HANDLERS]
all_kinds = pytest.mark.parametrize("kind", ALL)


async def returned(crew: Crew, clock: VirtualClock) -> None:
    """Let the handlers return, and all that follows from it happen."""
    crew.let_go()
    await crew.returned.wait()
    clock.patience = 60
    await clock.settle()
