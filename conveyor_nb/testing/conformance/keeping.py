"""How long settled jobs are kept: not at all, for a time, or the latest few."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Retry
from conveyor_nb.core.model import JobState
from conveyor_nb.core.options.keep import Keep
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    add_all,
    complete,
    fail,
    fail_for_good,
    ids_in,
    state_of,
    take,
)

__all__ = ["KeepingTests"]


class KeepingTests(StoreTests):
    """Keeping settled jobs, as every store does it."""

    async def test_a_settled_job_is_kept_for_ever(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a")
        await complete(store, await take(store))
        await clock.advance("1 week")
        assert await state_of(store, "a") is JobState.COMPLETED

    async def test_a_job_can_be_removed_as_soon_as_it_completes(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", remove_on_complete=True)
        job = await take(store)
        async with capture_events(store, QUEUE) as events:
            last = await complete(store, job, "done")
        assert (last.state, last.returnvalue) == (JobState.COMPLETED, "done")
        assert events.story == ["job:completed a", "job:removed a", "queue:drained"]
        assert await store.get_job(QUEUE, "a") is None
        assert await store.count_jobs(QUEUE) == 0

    async def test_a_job_can_be_removed_as_soon_as_it_fails(self, store: StoreInterface) -> None:
        await add(store, "a", attempts=2, remove_on_fail=True)
        await fail(store, await take(store))
        assert await state_of(store, "a") is JobState.WAITING
        job = await take(store)
        async with capture_events(store, QUEUE) as events:
            last = await fail(store, job)
        assert last.state is JobState.FAILED
        assert events.story == ["job:failed a", "job:removed a", "queue:drained"]
        assert await store.get_job(QUEUE, "a") is None

    async def test_each_end_has_a_rule_of_its_own(self, store: StoreInterface) -> None:
        await add(store, "a", remove_on_complete=True)
        await add(store, "b", remove_on_fail=True)
        await fail(store, await take(store))
        await complete(store, await take(store))
        assert await state_of(store, "a") is JobState.FAILED
        assert await state_of(store, "b") is JobState.COMPLETED

    @pytest.mark.parametrize("keep", ["1m", Keep(age=60)], ids=["a duration", "Keep"])
    async def test_a_job_is_kept_for_a_time_and_removed_by_the_store(
        self, store: StoreInterface, clock: VirtualClock, keep: str | Keep
    ) -> None:
        await add(store, "a", remove_on_complete=keep)
        job = await take(store)
        await clock.advance(30)
        await complete(store, job)
        async with capture_events(store, QUEUE) as events:
            await clock.advance(59.999)
            assert await state_of(store, "a") is JobState.COMPLETED
            await clock.advance(0.001)
        assert await store.get_job(QUEUE, "a") is None
        assert events.story == ["job:removed a"]
        assert events[0].timestamp == clock.now()

    async def test_jobs_are_removed_in_the_order_their_time_is_up(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", remove_on_complete="30s")
        await add(store, "b", remove_on_complete="10s")
        await add(store, "c", remove_on_fail="20s")
        await complete(store, await take(store))
        await complete(store, await take(store))
        await fail(store, await take(store))
        async with capture_events(store, QUEUE) as events:
            await clock.advance(30)
        assert events.story == ["job:removed b", "job:removed c", "job:removed a"]

    async def test_the_latest_few_are_kept(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b", "c", remove_on_complete=Keep(count=2))
        first, second, third = [await take(store) for _ in range(3)]
        await complete(store, third)
        await complete(store, first)
        async with capture_events(store, QUEUE) as events:
            await complete(store, second)
        assert events.story == ["job:completed b", "job:removed c", "queue:drained"]
        assert await ids_in(store, JobState.COMPLETED) == ["a", "b"]

    async def test_a_smaller_count_holds_for_those_that_settled_before(
        self, store: StoreInterface
    ) -> None:
        await add_all(store, "a", "b", "c", remove_on_complete=Keep(count=5))
        await add(store, "d", remove_on_complete=Keep(count=1))
        jobs = [await take(store) for _ in range(4)]
        for job in jobs[:3]:
            await complete(store, job)
        async with capture_events(store, QUEUE) as events:
            await complete(store, jobs[3])
        removed = [f"job:removed {job_id}" for job_id in "abc"]
        assert events.story == ["job:completed d", *removed, "queue:drained"]
        assert await ids_in(store) == ["d"]

    async def test_none_at_all_can_be_kept(self, store: StoreInterface) -> None:
        await add(store, "a", remove_on_complete=Keep(count=0))
        await complete(store, await take(store))
        assert await store.get_job(QUEUE, "a") is None

    async def test_the_latest_few_are_counted_for_each_queue(self, store: StoreInterface) -> None:
        for queue in (QUEUE, "reports"):
            await add(store, "a", queue=queue, remove_on_complete=Keep(count=1))
            job = await store.fetch_next_job(queue, "w1", 30)
            assert job is not None
            await complete(store, job)
        assert await store.get_job(QUEUE, "a") is not None
        assert await store.get_job("reports", "a") is not None

    async def test_failed_and_completed_ones_are_counted_apart(self, store: StoreInterface) -> None:
        keep = Keep(count=1)
        await add_all(store, "a", "b", remove_on_complete=keep, remove_on_fail=keep)
        await complete(store, await take(store))
        await fail(store, await take(store))
        assert await ids_in(store) == ["a", "b"]

    async def test_age_and_count_hold_together(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, "a", "b", "c", remove_on_complete=Keep(age=60, count=2))
        for _ in range(3):
            await complete(store, await take(store))
        assert await ids_in(store) == ["b", "c"]
        await clock.advance(60)
        assert await ids_in(store) == []

    async def test_a_retried_job_is_not_removed_meanwhile(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", attempts=2, remove_on_fail="1m")
        await fail_for_good(store, await take(store))
        await clock.advance(30)
        await store.apply(QUEUE, "a", Retry())
        await clock.advance(60)
        assert await state_of(store, "a") is JobState.WAITING
        await fail_for_good(store, await take(store))
        await clock.advance(59)
        assert await state_of(store, "a") is JobState.FAILED
        await clock.advance(1)
        assert await store.get_job(QUEUE, "a") is None

    async def test_a_retried_job_is_not_counted_meanwhile(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, "a", "b", "c", remove_on_complete=Keep(count=2))
        await complete(store, await take(store))
        await complete(store, await take(store))
        await store.apply(QUEUE, "a", Retry())
        again = await take(store)
        await complete(store, await take(store))
        assert await ids_in(store, JobState.COMPLETED) == ["b", "c"]
        await clock.advance(1)
        await complete(store, again)
        assert await ids_in(store, JobState.COMPLETED) == ["c", "a"]

    async def test_a_job_removed_by_hand_is_not_removed_again(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", remove_on_complete="10s")
        await complete(store, await take(store))
        await store.remove_job(QUEUE, "a")
        await add(store, "a")
        await clock.advance(10)
        assert await state_of(store, "a") is JobState.WAITING
