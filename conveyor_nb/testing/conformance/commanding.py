"""Workers that are told through the store what to do."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from dataclasses import replace

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.errors import WorkerNotFoundError
from conveyor_nb.core.worker_info import OBEYED_WITHIN, WorkerCommand, WorkerInfo, WorkerStatus
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import LOCK_DURATION, QUEUE

__all__ = ["CommandingTests"]

PAUSE, GO_ON = WorkerCommand("paused"), WorkerCommand("running")


class CommandingTests(StoreTests):
    """What workers are told stands in their record until they have done it."""

    async def save(self, store: StoreInterface) -> WorkerInfo:
        """A worker at work."""
        worker = WorkerInfo("w1", "w", QUEUE, 2, WorkerStatus.RUNNING, store.clock.now())
        await store.save_worker(worker)
        return worker

    async def told(self, store: StoreInterface) -> WorkerCommand | None:
        """What the worker has not done yet."""
        (worker,) = await store.list_workers(QUEUE)
        return worker.command

    async def test_a_worker_is_told_what_to_do(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        worker = await self.save(store)
        assert await self.told(store) is None
        async with capture_events(store, QUEUE) as events:
            told = await store.command_worker("w1", PAUSE)
        assert told == replace(worker, command=replace(PAUSE, given_at=clock.now()))
        assert await store.list_workers() == [told]
        assert events.types == ["worker:commanded"]
        assert events[0].data == {"worker_id": "w1", "name": "w", "status": "paused"}

    async def test_a_command_ends_when_it_is_obeyed(self, store: StoreInterface) -> None:
        worker = await self.save(store)
        await store.command_worker("w1", WorkerCommand("paused", concurrency=5))
        await store.save_worker(replace(worker, concurrency=5))
        left = await self.told(store)
        assert (left and left.status, left and left.concurrency) == ("paused", None)
        await store.save_worker(replace(worker, concurrency=5, status=WorkerStatus.PAUSED))
        assert await self.told(store) is None

    async def test_a_worker_that_closes_has_obeyed(self, store: StoreInterface) -> None:
        worker = await self.save(store)
        async with capture_events(store, QUEUE) as events:
            await store.command_worker("w1", WorkerCommand("closed", timeout="5s"))
        assert events[0].data["timeout"] == 5
        assert await self.told(store) is not None
        await store.save_worker(replace(worker, status=WorkerStatus.CLOSING))
        assert await self.told(store) is None

    async def test_of_two_commands_about_one_thing_the_later_holds(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await self.save(store)
        await store.command_worker("w1", WorkerCommand("paused", concurrency=5))
        await clock.advance(1)
        await store.command_worker("w1", WorkerCommand(concurrency=7))
        assert await self.told(store) == WorkerCommand("paused", 7, given_at=clock.now())
        await store.command_worker("w1", GO_ON)
        assert await self.told(store) == WorkerCommand(concurrency=7, given_at=clock.now())
        await store.command_worker("w1", WorkerCommand())
        assert await self.told(store) is None

    async def test_what_it_does_already_is_told_and_not_kept(self, store: StoreInterface) -> None:
        await self.save(store)
        async with capture_events(store, QUEUE) as events:
            await store.command_worker("w1", GO_ON)
        assert events.types == ["worker:commanded"]
        assert await self.told(store) is None

    async def test_being_seen_is_not_obeying(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await self.save(store)
        told = await store.command_worker("w1", PAUSE)
        await clock.advance(1)
        await store.renew_locks(QUEUE, "w1", {}, LOCK_DURATION)
        assert await self.told(store) == told.command

    async def test_a_command_survives_neither_its_worker_nor_its_time(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        worker = await self.save(store)
        await store.command_worker("w1", PAUSE)
        await store.save_worker(replace(worker, status=WorkerStatus.CLOSED))
        await store.save_worker(worker)
        assert await self.told(store) is None
        await store.command_worker("w1", PAUSE)
        await clock.advance(OBEYED_WITHIN + 1)
        await store.save_worker(worker)
        assert await self.told(store) is None
        await store.command_worker("w1", PAUSE)
        await clock.advance(OBEYED_WITHIN + 1)
        await store.command_worker("w1", WorkerCommand(concurrency=3))
        assert await self.told(store) == WorkerCommand(concurrency=3, given_at=clock.now())

    async def test_nobody_is_told_who_is_not_there(self, store: StoreInterface) -> None:
        worker = await self.save(store)
        await store.save_worker(replace(worker, status=WorkerStatus.CLOSED))
        async with capture_events(store, None) as events:
            with pytest.raises(WorkerNotFoundError, match="no worker 'w1' any more"):
                await store.command_worker("w1", PAUSE)
        assert events == []
        assert await store.list_workers() == []
