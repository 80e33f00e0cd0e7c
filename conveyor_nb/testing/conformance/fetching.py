"""Asking for jobs: several at a time, or when to ask again; and looking at what comes next."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Complete, Release
from conveyor_nb.core.errors import LostLockError
from conveyor_nb.core.fetching import Fetched
from conveyor_nb.core.model import ALL_NAMES, JobData, JobState
from conveyor_nb.core.options.job_options import Group
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    LOCK_DURATION,
    QUEUE,
    add,
    add_all,
    complete,
    fetch_options,
    get,
    ids_in,
    lock_of,
    take,
)

__all__ = ["FetchingTests"]


async def fetch(store: StoreInterface, limit: int, **options: Any) -> Fetched:
    """Ask for so many jobs; ``options`` as for ``fetch_options``."""
    wanted = fetch_options(**options)
    return await store.fetch_jobs(QUEUE, "w1", LOCK_DURATION, wanted, limit=limit)


async def look(store: StoreInterface, count: int, **options: Any) -> list[str]:
    """Look at the next jobs; gives their ids."""
    return [job.id for job in await store.next_jobs(QUEUE, count, fetch_options(**options))]


async def fetch_ids(store: StoreInterface, limit: int, **options: Any) -> list[str]:
    """Ask for so many jobs; gives their ids."""
    return [job.id for job in (await fetch(store, limit, **options)).jobs]


async def settle_and_fetch(
    store: StoreInterface, job: JobData, **options: Any
) -> tuple[JobData, Fetched | None]:
    """Complete a job and take the next one; ``options`` as for ``fetch_options``."""
    given = (QUEUE, job.id, Complete("done"), "w1", LOCK_DURATION, fetch_options(**options))
    return await store.apply_and_fetch(*given, lock=lock_of(job))


class FetchingTests(StoreTests):
    """Fetching several jobs at a time, as every store does it."""

    async def test_several_jobs_are_taken_in_one_call(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, "a", "b", "c")
        async with capture_events(store, QUEUE) as events:
            fetched = await fetch(store, 2)
        assert events.story == ["job:active a", "job:active b"]
        assert [job.id for job in fetched.jobs] == ["a", "b"]
        for job in fetched.jobs:
            assert (job.state, job.locked_by) == (JobState.ACTIVE, "w1")
            assert job.lock_until == clock.now() + timedelta(seconds=LOCK_DURATION)
            assert await get(store, job.id) == job
        assert await ids_in(store, JobState.WAITING) == ["c"]

    async def test_there_are_fewer_than_asked_for_if_no_more_wait(
        self, store: StoreInterface
    ) -> None:
        await add_all(store, "a", "b", priority=1)
        await add(store, "c")
        assert await fetch_ids(store, 10) == ["c", "a", "b"]

    async def test_one_is_fetched_if_no_number_is_given(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b")
        fetched = await store.fetch_jobs(QUEUE, "w1", LOCK_DURATION)
        assert [job.id for job in fetched.jobs] == ["a"]

    @pytest.mark.parametrize("limit", [0, -1])
    async def test_fewer_than_one_is_refused(self, store: StoreInterface, limit: int) -> None:
        await add(store, "a")
        with pytest.raises(ValueError, match=f"limit must be 1 or more, not {limit}"):
            await fetch(store, limit)
        assert await ids_in(store, JobState.WAITING) == ["a"]

    async def test_jobs_that_are_due_are_among_them(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", delay=1)
        await add_all(store, "b", "c")
        await clock.advance(1)
        assert await fetch_ids(store, 3) == ["a", "b", "c"]

    async def test_groups_have_their_turns_within_one_call(self, store: StoreInterface) -> None:
        await add_all(store, "x1", "x2", "x3", group=Group("x"))
        await add_all(store, "y1", "y2", group=Group("y"))
        assert await fetch_ids(store, 4) == ["x1", "y1", "x2", "y2"]

    async def test_limits_hold_within_one_call(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, *"abcde")
        assert await fetch_ids(store, 5, limiter=Limiter(2, 10)) == ["a", "b"]
        fetched = await fetch(store, 5, limiter=Limiter(2, 10))
        assert fetched == Fetched(next_at=clock.now() + timedelta(seconds=10))
        assert await fetch_ids(store, 5, max_global_concurrency=3) == ["c"]

    async def test_limits_of_groups_hold_within_one_call(self, store: StoreInterface) -> None:
        await add_all(store, "x1", "x2", "x3", group=Group("x"))
        await add_all(store, "y1", "y2", group=Group("y"))
        assert await fetch_ids(store, 5, group_concurrency=1) == ["x1", "y1"]
        assert await fetch_ids(store, 5, group_concurrency=2, group_limiter=Limiter(2, 10)) == [
            "x2",
            "y2",
        ]
        assert await fetch_ids(store, 5) == ["x3"]

    async def test_with_none_to_be_had_it_is_told_when_to_ask_again(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        assert await fetch(store, 1) == Fetched()
        await add(store, "a", delay=20)
        assert await fetch(store, 3) == Fetched(next_at=clock.now() + timedelta(seconds=20))

    # -- looking at what comes ----------------------------------------------------------------

    async def test_a_look_at_the_next_jobs_takes_none(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b", priority=1)
        await add(store, "c")
        async with capture_events(store, None) as events:
            assert await look(store, 2) == ["c", "a"]
            assert await look(store, 5) == ["c", "a", "b"]
            assert await look(store, 0) == []
            assert await store.next_jobs("nowhere", 5) == []
        assert events == []
        assert [await get(store, job.id) for job in await store.next_jobs(QUEUE, 3)] == (
            await store.next_jobs(QUEUE, 3)
        )
        assert await fetch_ids(store, 5) == ["c", "a", "b"]
        assert await look(store, 5) == []

    @pytest.mark.parametrize("count", [-1, 1.5, "3"])
    async def test_a_look_is_at_a_whole_number_of_jobs(
        self, store: StoreInterface, count: Any
    ) -> None:
        with pytest.raises((TypeError, ValueError), match="count"):
            await store.next_jobs(QUEUE, count)

    async def test_a_look_promotes_no_job_that_is_due(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", delay=1)
        await add(store, "b")
        await add(store, "c", delay=2)
        await clock.advance(1)
        async with capture_events(store, None) as events:
            assert await look(store, 5) == ["b"]
        assert events == []
        assert await store.promote_delayed_jobs(QUEUE) == 1
        assert await look(store, 5) == ["a", "b"]

    async def test_paused_jobs_are_not_among_the_next(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b", name="log")
        await add_all(store, "c", "d")
        await store.pause_job_name(QUEUE, "log")
        assert await look(store, 5) == ["c", "d"]
        await store.pause_job_name(QUEUE, ALL_NAMES)
        assert await look(store, 5) == []
        await store.resume_job_name(QUEUE, ALL_NAMES)
        await store.resume_job_name(QUEUE, "log")
        assert await look(store, 5) == ["a", "b", "c", "d"]

    async def test_a_lifo_worker_would_take_the_newest_first(self, store: StoreInterface) -> None:
        await add(store, "a", lifo=True)
        await add(store, "b", name="other")
        await add(store, "c")
        await add(store, "d", lifo=True, priority=1)
        await add(store, "e", priority=1)
        assert await look(store, 5, lifo=True) == ["c", "b", "a", "e", "d"]
        assert await look(store, 5) == ["a", "b", "c", "d", "e"]

    async def test_the_turns_of_groups_are_looked_at_as_they_are(
        self, store: StoreInterface
    ) -> None:
        await add_all(store, "x1", "x2", "x3", group=Group("x"))
        await add_all(store, "y1", "y2", group=Group("y"))
        await add_all(store, "a", "b")
        assert (await take(store)).id == "x1"
        assert await look(store, 6) == ["y1", "a", "x2", "y2", "b", "x3"]

    async def test_limits_hold_in_a_look_as_if_no_job_ended(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, "x1", "x2", "x3", "x4", group=Group("x"))
        await add_all(store, "a", "b")
        limiter = Limiter(2, 10)
        assert (await take(store, limiter=limiter, group_limiter=limiter)).id == "x1"
        assert await look(store, 6, group_concurrency=2) == ["a", "x2", "b"]
        assert await look(store, 6, group_limiter=limiter) == ["a", "x2", "b"]
        assert await look(store, 6, limiter=limiter) == ["a"]
        assert await look(store, 6, max_global_concurrency=3) == ["a", "x2"]
        assert await look(store, 6, max_global_concurrency=1) == []
        await clock.advance(10)
        assert await look(store, 6, limiter=limiter) == ["a", "x2"]

    # -- settling a job and taking the next at once -------------------------------------------

    async def test_a_job_is_settled_and_the_next_one_taken_in_one_call(
        self, store: StoreInterface
    ) -> None:
        await add_all(store, "a", "b", "c")
        first = await take(store)
        async with capture_events(store, QUEUE) as events:
            done, fetched = await settle_and_fetch(store, first, max_global_concurrency=1)
        assert (done.state, done.returnvalue) == (JobState.COMPLETED, "done")
        assert fetched is not None
        (second,) = fetched.jobs
        assert (second.id, second.state, second.locked_by) == ("b", JobState.ACTIVE, "w1")
        assert events.story == ["job:completed a", "job:active b"]
        assert await get(store, "a") == done
        assert await get(store, "b") == second

    async def test_what_is_not_settled_takes_no_job(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b")
        first = await take(store)
        await complete(store, first)
        with pytest.raises(LostLockError):
            await settle_and_fetch(store, first)
        assert await ids_in(store, JobState.WAITING) == ["b"]

    async def test_a_job_is_settled_though_there_is_no_other(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a")
        await add(store, "b", delay=60)
        done, fetched = await settle_and_fetch(store, await take(store))
        assert done.state is JobState.COMPLETED
        assert fetched == Fetched(next_at=clock.now() + timedelta(seconds=60))

    async def test_a_job_that_is_put_back_may_be_the_next(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b")
        first = await take(store)
        given = (QUEUE, first.id, Release("not now"), "w1", LOCK_DURATION)
        _, fetched = await store.apply_and_fetch(*given, lock=lock_of(first), limit=2)
        assert fetched is not None
        assert [job.id for job in fetched.jobs] == ["a", "b"]

    async def test_a_job_that_ends_asks_for_no_fetch_at_a_time(self, store: StoreInterface) -> None:
        """A cap opens with an event, not as time goes by."""
        await add_all(store, "a", "b")
        first = await take(store)
        assert await fetch(store, 1, max_global_concurrency=1) == Fetched()
        await complete(store, first)
        assert await fetch_ids(store, 1, max_global_concurrency=1) == ["b"]
