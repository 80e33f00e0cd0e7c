"""The order of service: paused names, priority, first in first out, newest first."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import ChangePriority, Promote, Release, Retry
from conveyor_nb.core.model import ALL_NAMES, JobData, JobState
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    LOCK_DURATION,
    QUEUE,
    add,
    add_all,
    apply,
    fail,
    fail_for_good,
    ids_in,
    next_id,
    served,
    stall,
    take,
)

__all__ = ["ServingTests"]

Step = Callable[[StoreInterface, VirtualClock, JobData], Awaitable[object]]


async def _retry(store: StoreInterface, clock: VirtualClock, job: JobData) -> None:
    await fail_for_good(store, job)
    await store.apply(QUEUE, job.id, Retry())


WAYS_BACK: dict[str, Step] = {
    "retried after failing for good": _retry,
    "failed once": lambda store, clock, job: fail(store, job),
    "stalled": stall,
    "released": lambda store, clock, job: apply(store, job, Release()),
}


class ServingTests(StoreTests):
    """The order of service, as every store does it."""

    async def test_there_is_nothing_to_fetch_from_an_unknown_queue(
        self, store: StoreInterface
    ) -> None:
        async with capture_events(store, None) as events:
            assert await store.fetch_next_job("nowhere", "w1", LOCK_DURATION) is None
        assert events == []

    async def test_the_first_in_is_the_first_out(self, store: StoreInterface) -> None:
        await add_all(store, "c", "a", "b")
        assert await served(store) == ["c", "a", "b"]

    async def test_no_job_is_served_twice(self, store: StoreInterface) -> None:
        await add(store, "a")
        assert await next_id(store, "w1") == "a"
        assert await next_id(store, "w2") is None

    async def test_the_lower_priority_is_served_first(self, store: StoreInterface) -> None:
        for job_id, priority in {"a": 2, "b": -1, "c": 1, "d": 0, "e": -1}.items():
            await add(store, job_id, priority=priority)
        assert await served(store) == ["b", "e", "d", "c", "a"]

    async def test_a_lifo_job_is_served_before_older_ones(self, store: StoreInterface) -> None:
        await add(store, "a")
        await add(store, "b", lifo=True)
        await add(store, "c")
        assert await served(store) == ["b", "a", "c"]

    async def test_of_two_lifo_jobs_the_newer_is_served_first(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b", lifo=True)
        assert await served(store) == ["b", "a"]

    async def test_a_lifo_job_does_not_overtake_a_better_priority(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", priority=1)
        await add(store, "b", priority=2)
        await add(store, "c", priority=2, lifo=True)
        assert await served(store) == ["a", "c", "b"]

    async def test_a_lifo_worker_takes_the_newest_first(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b", "c")
        assert await served(store, lifo=True) == ["c", "b", "a"]

    async def test_a_lifo_worker_keeps_to_the_priorities(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b", priority=1)
        await add_all(store, "c", "d", priority=2)
        assert await served(store, lifo=True) == ["b", "a", "d", "c"]

    async def test_a_lifo_worker_takes_lifo_jobs_by_their_age_too(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", lifo=True)
        await add(store, "b")
        await add(store, "c", lifo=True)
        await add(store, "d", name="other")
        assert await served(store, lifo=True) == ["d", "c", "b", "a"]

    async def test_jobs_of_different_names_share_one_line(self, store: StoreInterface) -> None:
        for job_id, name in zip("abcd", ("send", "log", "send", "log"), strict=True):
            await add(store, job_id, name=name)
        assert await served(store) == ["a", "b", "c", "d"]

    async def test_a_paused_name_is_skipped(self, store: StoreInterface) -> None:
        await add(store, "a", name="send", priority=-1)
        await add(store, "b", name="log")
        await store.pause_job_name(QUEUE, "send")
        await add(store, "c", name="send", priority=-1)
        assert await served(store) == ["b"]
        assert await ids_in(store, JobState.WAITING) == ["a", "c"]

    async def test_a_lifo_worker_skips_a_paused_name_too(self, store: StoreInterface) -> None:
        await add(store, "a", name="log")
        await store.pause_job_name(QUEUE, "send")
        await add(store, "b", name="send")
        assert await served(store, lifo=True) == ["a"]

    async def test_a_resumed_name_has_kept_its_place(self, store: StoreInterface) -> None:
        await add(store, "a", name="send")
        await add(store, "b", name="log")
        await add(store, "c", name="send")
        await store.pause_job_name(QUEUE, "send")
        await store.resume_job_name(QUEUE, "send")
        assert await served(store) == ["a", "b", "c"]

    async def test_a_paused_queue_serves_nothing(self, store: StoreInterface) -> None:
        await add(store, "a", name="send")
        await add(store, "b", name="log")
        await store.pause_job_name(QUEUE, ALL_NAMES)
        assert await served(store) == []
        await store.resume_job_name(QUEUE, ALL_NAMES)
        assert await served(store) == ["a", "b"]

    async def test_resuming_the_queue_leaves_a_name_paused(self, store: StoreInterface) -> None:
        await add(store, "a", name="send")
        await add(store, "b", name="log")
        await store.pause_job_name(QUEUE, "send")
        await store.pause_job_name(QUEUE, ALL_NAMES)
        await store.resume_job_name(QUEUE, ALL_NAMES)
        assert await served(store) == ["b"]

    async def test_resuming_a_name_leaves_the_queue_paused(self, store: StoreInterface) -> None:
        await add(store, "a", name="send")
        await store.pause_job_name(QUEUE, "send")
        await store.pause_job_name(QUEUE, ALL_NAMES)
        await store.resume_job_name(QUEUE, "send")
        assert await served(store) == []

    async def test_a_pause_holds_for_one_queue(self, store: StoreInterface) -> None:
        await add(store, "a")
        await store.pause_job_name("reports", ALL_NAMES)
        assert await served(store) == ["a"]

    async def test_a_pause_holds_for_a_queue_that_is_not_there_yet(
        self, store: StoreInterface
    ) -> None:
        await store.pause_job_name(QUEUE, "send")
        await add(store, "a", name="send")
        assert await served(store) == []

    async def test_a_delayed_job_of_a_paused_name_falls_due_and_waits(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", delay=1)
        await store.pause_job_name(QUEUE, "send")
        await clock.advance(1)
        assert await served(store) == []
        assert await ids_in(store, JobState.WAITING) == ["a"]

    @pytest.mark.parametrize("way", WAYS_BACK)
    async def test_a_job_that_comes_back_has_kept_its_place(
        self, store: StoreInterface, clock: VirtualClock, way: str
    ) -> None:
        await add(store, "a", attempts=2)
        job = await take(store)
        await add(store, "b")
        await WAYS_BACK[way](store, clock, job)
        assert await served(store) == ["a", "b"]

    async def test_a_job_that_comes_back_is_behind_those_before_it(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, "a", "b", "c", attempts=3)
        first, second = await take(store), await take(store)
        await fail(store, second)
        await stall(store, clock, first)
        assert await served(store) == ["a", "b", "c"]

    async def test_a_promoted_job_has_kept_its_place(self, store: StoreInterface) -> None:
        await add(store, "a")
        await add(store, "b", delay=60)
        await add(store, "c")
        await store.apply(QUEUE, "b", Promote())
        assert await served(store) == ["a", "b", "c"]

    async def test_a_lifo_job_that_comes_back_is_as_new_as_it_was(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", lifo=True, attempts=2)
        job = await take(store)
        await add(store, "b", lifo=True)
        await fail(store, job)
        assert await served(store) == ["b", "a"]

    async def test_a_changed_priority_changes_the_order(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b", "c")
        await store.apply(QUEUE, "c", ChangePriority(-1))
        await store.apply(QUEUE, "a", ChangePriority(1))
        assert await served(store) == ["c", "b", "a"]

    async def test_a_changed_priority_is_told_as_a_new_place_in_the_same_state(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a")
        await add(store, "b", delay=60)
        async with capture_events(store, QUEUE) as events:
            await store.apply(QUEUE, "a", ChangePriority(5))
            await store.apply(QUEUE, "b", ChangePriority(5))
        assert events.story == ["job:waiting a", "job:delayed b"]
        assert [event.data["previous"] for event in events] == ["waiting", "delayed"]
