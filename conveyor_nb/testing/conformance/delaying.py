"""Delayed jobs: falling due, being promoted, and telling when to look again."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import ChangeDelay, Promote
from conveyor_nb.core.errors import InvalidJobStateError
from conveyor_nb.core.model import ALL_NAMES, JobState
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
    fetch_options,
    get,
    ids_in,
    in_state,
    next_id,
    other_than,
    served,
    state_of,
    take,
)

__all__ = ["DelayingTests"]


async def next_fetch_at(store: StoreInterface, clock: VirtualClock, **options: Any) -> float | None:
    """After how many seconds to fetch again, if a fetch finds nothing now."""
    fetched = await store.fetch_jobs(QUEUE, "w1", LOCK_DURATION, fetch_options(**options))
    assert not fetched.jobs
    return (fetched.next_at - clock.now()).total_seconds() if fetched.next_at else None


class DelayingTests(StoreTests):
    """Delayed jobs, as every store does it."""

    async def test_a_delayed_job_is_not_served_before_its_time(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", delay=10)
        await clock.advance(9.999)
        assert await next_id(store) is None
        assert await state_of(store, "a") is JobState.DELAYED
        await clock.advance(0.001)
        assert await next_id(store) == "a"

    async def test_fetching_makes_due_jobs_wait_first(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", delay=2)
        await add(store, "b", delay=1)
        await add(store, "c", delay=60)
        await clock.advance(2)
        async with capture_events(store, QUEUE) as events:
            job = await take(store)
        assert events.story == ["job:waiting b", "job:waiting a", "job:active a"]
        assert events[0].data["previous"] == "delayed"
        assert job.delay_until is None

    async def test_due_jobs_are_served_by_their_place_in_line(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", delay=2)
        await add(store, "b", delay=1)
        await add(store, "c")
        await clock.advance(2)
        assert await served(store) == ["a", "b", "c"]

    async def test_due_jobs_are_promoted_without_a_fetch_too(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, "a", "b", delay=1)
        await add(store, "c", delay=2)
        assert await store.promote_delayed_jobs(QUEUE) == 0
        await clock.advance(1)
        async with capture_events(store, QUEUE) as events:
            assert await store.promote_delayed_jobs(QUEUE) == 2
        assert events.story == ["job:waiting a", "job:waiting b"]
        assert await ids_in(store, JobState.DELAYED) == ["c"]

    async def test_promoting_in_an_unknown_queue_is_nothing(self, store: StoreInterface) -> None:
        assert await store.promote_delayed_jobs("nowhere") == 0
        assert await store.promote_jobs("nowhere") == 0

    async def test_a_delayed_job_can_be_promoted(self, store: StoreInterface) -> None:
        await add(store, "a", delay=60)
        async with capture_events(store, QUEUE) as events:
            job = await store.apply(QUEUE, "a", Promote())
        assert job.state is JobState.WAITING
        assert job.delay_until is None
        assert events.story == ["job:waiting a"]
        assert await next_id(store) == "a"

    @pytest.mark.parametrize("state", other_than(JobState.DELAYED))
    async def test_only_a_delayed_job_can_be_promoted(
        self, store: StoreInterface, state: JobState
    ) -> None:
        before = await in_state(store, state)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(InvalidJobStateError) as caught:
                await store.apply(QUEUE, "a", Promote())
        assert caught.value.current_state == state
        assert caught.value.expected_states == (JobState.DELAYED,)
        assert await get(store, "a") == before
        assert events == []

    async def test_all_delayed_jobs_can_be_promoted_at_once(self, store: StoreInterface) -> None:
        await add(store, "a", delay=60)
        await add(store, "b")
        await add(store, "c", delay=30)
        async with capture_events(store, QUEUE) as events:
            assert await store.promote_jobs(QUEUE) == 2
        assert events.story == ["job:waiting c", "job:waiting a"]
        assert await served(store) == ["a", "b", "c"]

    async def test_a_changed_delay_counts_from_now(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", delay=60)
        await clock.advance(10)
        async with capture_events(store, QUEUE) as events:
            job = await store.apply(QUEUE, "a", ChangeDelay(5))
        assert job.state is JobState.DELAYED
        assert job.delay_until == clock.now() + timedelta(seconds=5)
        assert events.story == ["job:delayed a"]
        assert events[0].data["delay_until"] == job.delay_until
        await clock.advance(5)
        assert await next_id(store) == "a"

    async def test_a_changed_delay_changes_which_job_is_due_first(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", delay=10)
        await add(store, "b", delay=20)
        await store.apply(QUEUE, "a", ChangeDelay(30))
        assert await ids_in(store, JobState.DELAYED) == ["b", "a"]

    @pytest.mark.parametrize("state", other_than(JobState.DELAYED))
    async def test_only_a_delayed_job_has_a_delay_to_change(
        self, store: StoreInterface, state: JobState
    ) -> None:
        before = await in_state(store, state)
        with pytest.raises(InvalidJobStateError):
            await store.apply(QUEUE, "a", ChangeDelay(5))
        assert await get(store, "a") == before

    async def test_the_store_tells_when_the_next_delayed_job_is_due(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        assert await store.get_next_delayed_timestamp(QUEUE) is None
        await add(store, "a", delay=20)
        await add(store, "b", delay=10)
        ten, twenty = (clock.now() + timedelta(seconds=n) for n in (10, 20))
        assert await store.get_next_delayed_timestamp(QUEUE) == ten
        await store.remove_job(QUEUE, "b")
        assert await store.get_next_delayed_timestamp(QUEUE) == twenty

    async def test_the_next_fetch_is_when_a_delayed_job_is_due(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        assert await next_fetch_at(store, clock) is None
        await add(store, "a", delay=20)
        assert await next_fetch_at(store, clock) == 20

    async def test_a_job_that_fell_due_but_may_not_start_asks_for_no_fetch_of_its_own(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", delay=1)
        await store.pause_job_name(QUEUE, ALL_NAMES)
        await clock.advance(1)
        assert await next_id(store) is None
        assert await next_fetch_at(store, clock) is None

    async def test_the_next_fetch_is_when_a_rate_limit_opens(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        limiter = Limiter(1, 10)
        await add_all(store, "a", "b")
        await take(store, limiter=limiter)
        await clock.advance(4)
        assert await next_id(store, limiter=limiter) is None
        assert await next_fetch_at(store, clock, limiter=limiter) == 6

    async def test_a_rate_limit_asks_for_no_fetch_while_nothing_waits(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        limiter = Limiter(1, 10)
        await add(store, "a")
        await take(store, limiter=limiter)
        assert await next_id(store, limiter=limiter) is None
        assert await next_fetch_at(store, clock, limiter=limiter) is None

    async def test_an_open_rate_limit_asks_for_no_fetch(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        limiter = Limiter(1, 10)
        await add_all(store, "a", "b")
        await take(store, limiter=limiter)
        await store.pause_job_name(QUEUE, ALL_NAMES)
        await clock.advance(10)
        assert await next_id(store, limiter=limiter) is None
        assert await next_fetch_at(store, clock, limiter=limiter) is None

    async def test_the_next_fetch_is_when_a_groups_rate_limit_opens(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        limiter = Limiter(1, 10)
        await add_all(store, "x1", "x2", group=Group("x"))
        await take(store, group_limiter=limiter)
        await clock.advance(4)
        await add_all(store, "y1", "y2", group=Group("y"))
        assert await served(store, group_limiter=limiter) == ["y1"]
        assert await next_fetch_at(store, clock, group_limiter=limiter) == 6

    async def test_the_next_fetch_is_the_first_of_all_that_may_happen(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        limiter = Limiter(1, 10)
        await add_all(store, "a", "b")
        await add(store, "c", delay=5)
        assert await served(store, limiter=limiter) == ["a"]
        assert await next_fetch_at(store, clock, limiter=limiter) == 5
        await clock.advance(5)
        assert await served(store, limiter=limiter) == []
        assert await next_fetch_at(store, clock, limiter=limiter) == 5
