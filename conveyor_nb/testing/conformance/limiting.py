"""Limits: groups served in turn, caps and rate limits for groups and for whole queues."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.errors import GroupFullError
from conveyor_nb.core.model import JobState
from conveyor_nb.core.options.job_options import Group
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    add_all,
    complete,
    fail,
    ids_in,
    new_job,
    next_id,
    served,
    take,
)

__all__ = ["LimitingTests"]


async def add_to(store: StoreInterface, group: str, *job_ids: str, **options: int) -> None:
    await add_all(store, *job_ids, group=Group(group), **options)


class LimitingTests(StoreTests):
    """Limits and groups, as every store does it."""

    # -- groups -------------------------------------------------------------------------------

    async def test_groups_are_served_in_turn(self, store: StoreInterface) -> None:
        await add_to(store, "x", "x1", "x2", "x3")
        await add_to(store, "y", "y1", "y2")
        await add_to(store, "z", "z1")
        assert await served(store) == ["x1", "y1", "z1", "x2", "y2", "x3"]

    async def test_jobs_without_a_group_form_one(self, store: StoreInterface) -> None:
        await add_all(store, "a1", "a2")
        await add_to(store, "x", "x1", "x2")
        assert await served(store) == ["a1", "x1", "a2", "x2"]

    async def test_the_group_least_recently_served_is_next(self, store: StoreInterface) -> None:
        await add_to(store, "x", "x1")
        await add_to(store, "y", "y1")
        assert await served(store) == ["x1", "y1"]
        await add_to(store, "y", "y2")
        await add_to(store, "x", "x2")
        assert await served(store) == ["x2", "y2"]

    async def test_a_group_that_was_never_served_is_next(self, store: StoreInterface) -> None:
        await add_to(store, "x", "x1", "x2", "x3")
        await take(store)
        await add_to(store, "new", "n1")
        assert await served(store) == ["n1", "x2", "x3"]

    async def test_priority_counts_within_a_group(self, store: StoreInterface) -> None:
        await add_to(store, "x", "x1", priority=1)
        await add_to(store, "x", "x2", priority=0)
        await add_to(store, "y", "y1", priority=-5)
        assert await served(store) == ["x2", "y1", "x1"]

    async def test_the_rate_limit_of_one_worker_holds_no_other_back(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_to(store, "x", "x1", "x2", "x3", "x4")
        hourly, minutely = Limiter(1, 3_600), Limiter(1, 60)
        assert await next_id(store, group_limiter=hourly) == "x1"
        assert await next_id(store, group_limiter=hourly) is None
        assert await next_id(store, group_limiter=minutely) is None
        await clock.advance(60)
        assert await next_id(store, group_limiter=minutely) == "x2"
        assert await next_id(store, group_limiter=hourly) is None
        assert await next_id(store) == "x3"
        await clock.advance(3_600)
        assert await next_id(store, group_limiter=hourly) == "x4"

    async def test_a_large_group_does_not_hold_up_small_ones(self, store: StoreInterface) -> None:
        await store.save_bulk([new_job(f"x{n}", group=Group("x")) for n in range(50)])
        await add_to(store, "y", "y1", "y2")
        assert [await next_id(store) for _ in range(4)] == ["x0", "y1", "x1", "y2"]

    async def test_a_group_whose_jobs_are_paused_loses_no_turn(self, store: StoreInterface) -> None:
        await add_all(store, "x1", "x2", name="log", group=Group("x"))
        await add_to(store, "y", "y1", "y2")
        await store.pause_job_name(QUEUE, "log")
        assert await served(store) == ["y1", "y2"]
        await store.resume_job_name(QUEUE, "log")
        await add_to(store, "y", "y3")
        assert await served(store) == ["x1", "y3", "x2"]

    async def test_the_jobs_of_a_group_are_counted(self, store: StoreInterface) -> None:
        await add_to(store, "x", "x1", "x2", "x3")
        await add(store, "a")
        await take(store)
        assert await store.get_group_active_count(QUEUE, "x") == 1
        assert await store.get_waiting_group_count(QUEUE, "x") == 2
        assert await store.get_group_active_count(QUEUE, None) == 0
        assert await store.get_waiting_group_count(QUEUE, None) == 1
        assert await store.get_group_active_count(QUEUE, "unknown") == 0
        assert await store.get_waiting_group_count("nowhere", "x") == 0

    # -- caps ---------------------------------------------------------------------------------

    async def test_a_group_has_no_more_active_jobs_than_its_cap(
        self, store: StoreInterface
    ) -> None:
        await add_to(store, "x", "x1", "x2")
        await add_to(store, "y", "y1", "y2")
        first = await take(store, group_concurrency=1)
        assert await served(store, group_concurrency=1) == ["y1"]
        await complete(store, first)
        assert await served(store, group_concurrency=1) == ["x2"]

    async def test_the_cap_of_a_group_holds_over_all_workers(self, store: StoreInterface) -> None:
        await add_to(store, "x", "x1", "x2", "x3")
        assert await next_id(store, "w1", group_concurrency=2) == "x1"
        assert await next_id(store, "w2", group_concurrency=2) == "x2"
        assert await next_id(store, "w3", group_concurrency=2) is None

    async def test_jobs_without_a_group_have_no_cap(self, store: StoreInterface) -> None:
        await add_all(store, "a1", "a2", "a3")
        assert await served(store, group_concurrency=1) == ["a1", "a2", "a3"]

    async def test_a_failed_attempt_makes_room_under_the_cap(self, store: StoreInterface) -> None:
        await add_to(store, "x", "x1", "x2", attempts=2)
        job = await take(store, group_concurrency=1)
        assert await next_id(store, group_concurrency=1) is None
        await fail(store, job)
        assert await next_id(store, group_concurrency=1) == "x1"

    async def test_a_removed_job_makes_room_under_the_cap(self, store: StoreInterface) -> None:
        await add_to(store, "x", "x1", "x2")
        await take(store, group_concurrency=1)
        await store.remove_job(QUEUE, "x1")
        assert await next_id(store, group_concurrency=1) == "x2"

    async def test_a_queue_has_no_more_active_jobs_than_its_cap(
        self, store: StoreInterface
    ) -> None:
        await add_all(store, "a", "b", "c")
        job = await take(store, "w1", max_global_concurrency=2)
        assert await next_id(store, "w2", max_global_concurrency=2) == "b"
        assert await next_id(store, "w3", max_global_concurrency=2) is None
        await complete(store, job)
        assert await next_id(store, "w3", max_global_concurrency=2) == "c"

    async def test_due_jobs_wait_even_if_the_cap_lets_none_start(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a")
        await add(store, "b", delay=1)
        await take(store)
        await clock.advance(1)
        async with capture_events(store, QUEUE) as events:
            assert await next_id(store, max_global_concurrency=1) is None
        assert events.story == ["job:waiting b"]

    # -- rates --------------------------------------------------------------------------------

    async def test_a_limiter_lets_so_many_start_in_a_window(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        limiter = Limiter(2, "10s")
        await add_all(store, *"abcdef")
        assert await served(store, limiter=limiter) == ["a", "b"]
        await clock.advance(9.999)
        assert await served(store, limiter=limiter) == []
        await clock.advance(0.001)
        assert await served(store, limiter=limiter) == ["c", "d"]

    async def test_the_window_of_a_limiter_slides(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        limiter = Limiter(2, "10s")
        await add_all(store, *"abcdef")
        starts = []
        for second in range(31):
            starts += [second for _ in await served(store, limiter=limiter)]
            if second == 0:
                assert starts == [0, 0]
            await clock.advance(1)
        assert starts == [0, 0, 10, 10, 20, 20]

    async def test_starts_apart_free_their_places_apart(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        limiter = Limiter(2, "10s")
        await add_all(store, *"abcd")
        await take(store, limiter=limiter)
        await clock.advance(4)
        await take(store, limiter=limiter)
        await clock.advance(6)
        assert await served(store, limiter=limiter) == ["c"]
        await clock.advance(4)
        assert await served(store, limiter=limiter) == ["d"]

    async def test_a_limiter_holds_over_all_workers(self, store: StoreInterface) -> None:
        limiter = Limiter(3, "1s")
        await add_all(store, *"abcde")
        workers = ["w1", "w2", "w1", "w2"]
        assert [await next_id(store, one, limiter=limiter) for one in workers] == [*"abc", None]

    async def test_a_limiter_counts_starts_and_not_jobs(self, store: StoreInterface) -> None:
        limiter = Limiter(2, "1s")
        await add(store, "a", attempts=5)
        for _ in range(2):
            await fail(store, await take(store, limiter=limiter))
        assert await next_id(store, limiter=limiter) is None

    async def test_a_limiter_holds_for_one_queue(self, store: StoreInterface) -> None:
        limiter = Limiter(1, "1s")
        await add(store, "a")
        await add(store, "b", queue="reports")
        await take(store, limiter=limiter)
        assert await store.fetch_next_job("reports", "w1", 30) is not None

    async def test_each_group_has_a_rate_of_its_own(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        limiter = Limiter(1, "10s")
        await add_to(store, "x", "x1", "x2")
        await add_to(store, "y", "y1", "y2")
        assert await served(store, group_limiter=limiter) == ["x1", "y1"]
        await clock.advance(10)
        assert await served(store, group_limiter=limiter) == ["x2", "y2"]

    async def test_jobs_without_a_group_have_no_rate(self, store: StoreInterface) -> None:
        await add_all(store, "a1", "a2", "a3")
        assert await served(store, group_limiter=Limiter(1, "10s")) == ["a1", "a2", "a3"]

    # -- size ---------------------------------------------------------------------------------

    async def test_a_full_group_takes_no_more(self, store: StoreInterface) -> None:
        small = Group("x", max_size=2)
        await add_all(store, "a", "b", group=small)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(GroupFullError) as caught:
                await add(store, "c", group=small)
        assert (caught.value.group_id, caught.value.max_size) == ("x", 2)
        assert events == []
        assert await ids_in(store) == ["a", "b"]

    async def test_a_running_job_takes_no_room_in_its_group(self, store: StoreInterface) -> None:
        small = Group("x", max_size=1)
        await add(store, "a", group=small)
        await take(store)
        await add(store, "b", group=small)
        assert await ids_in(store, JobState.WAITING) == ["b"]

    async def test_a_job_that_is_there_already_needs_no_room(self, store: StoreInterface) -> None:
        small = Group("x", max_size=1)
        await add(store, "a", group=small)
        assert (await add(store, "a", group=small)).id == "a"

    async def test_a_batch_that_does_not_fit_its_group_saves_nothing(
        self, store: StoreInterface
    ) -> None:
        small = Group("x", max_size=2)
        await add(store, "a", group=small)
        batch = [new_job("b"), new_job("c", group=small), new_job("d", group=small)]
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(GroupFullError):
                await store.save_bulk(batch)
        assert await ids_in(store) == ["a"]
        assert events == []
