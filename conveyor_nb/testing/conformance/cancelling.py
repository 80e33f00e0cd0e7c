"""Cancelling: at once where nothing runs, by way of the handler where something does."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from datetime import timedelta

import pytest

from conveyor_nb.clocks.virtual import VIRTUAL_START, VirtualClock
from conveyor_nb.core.actions import Action, Cancel, Complete, Fail, MoveToDelayed, Release, Retry
from conveyor_nb.core.errors import JobNotFoundError
from conveyor_nb.core.model import JobState
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    apply,
    complete,
    fail,
    get,
    in_state,
    served,
    stall,
    state_of,
    take,
)

__all__ = ["CancellingTests"]

PENDING = [JobState.WAITING, JobState.DELAYED, JobState.WAITING_CHILDREN]
ENDS: list[Action] = [
    Complete("too late"),
    Fail("CancelledError"),
    Release(),
    MoveToDelayed(VIRTUAL_START + timedelta(days=1)),
]


class CancellingTests(StoreTests):
    """Cancelling, as every store does it."""

    @pytest.mark.parametrize("state", PENDING)
    async def test_a_job_that_does_not_run_is_cancelled_at_once(
        self, store: StoreInterface, clock: VirtualClock, state: JobState
    ) -> None:
        await in_state(store, state)
        async with capture_events(store, QUEUE) as events:
            cancelled = await store.cancel_job(QUEUE, "a")
        assert (cancelled.state, cancelled.failed_reason) == (JobState.FAILED, "cancelled")
        assert cancelled.cancelled_at == cancelled.failed_at == clock.now()
        assert (cancelled.attempts_made, cancelled.delay_until) == (0, None)
        assert events.story == ["job:cancelled a", "job:failed a", "queue:drained"]
        assert events[1].data["cancelled"] is True
        assert await get(store, "a") == cancelled
        assert await served(store) == []

    async def test_a_running_job_is_told_and_runs_on(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await in_state(store, JobState.ACTIVE)
        async with capture_events(store, QUEUE) as events:
            told = await store.cancel_job(QUEUE, "a")
        assert told.state is JobState.ACTIVE
        assert told.cancelled_at == clock.now()
        assert events.story == ["job:cancelled a"]
        assert events[0].data["worker_id"] == "w1"

    @pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
    async def test_a_cancelled_job_fails_however_its_handler_ends(
        self, store: StoreInterface, end: Action
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await store.cancel_job(QUEUE, "a")
        async with capture_events(store, QUEUE) as events:
            ended = await apply(store, job, end)
        assert (ended.state, ended.failed_reason) == (JobState.FAILED, "cancelled")
        assert (ended.returnvalue, ended.attempts_made) == (None, 0)
        assert (ended.locked_by, ended.lock_until, ended.delay_until) == (None, None, None)
        assert ended.attempt_logs[0].error == "cancelled"
        assert events.story == ["job:failed a", "queue:drained"]
        assert events[0].data["cancelled"] is True

    async def test_a_cancelled_job_that_stalls_fails_with_attempts_left(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await store.cancel_job(QUEUE, "a")
        async with capture_events(store, QUEUE) as events:
            ended = await stall(store, clock, job)
        assert (ended.state, ended.failed_reason) == (JobState.FAILED, "cancelled")
        assert events.story == ["job:stalled a", "job:failed a", "queue:drained"]

    async def test_a_job_that_failed_by_itself_is_not_told_as_cancelled(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a")
        job = await take(store)
        async with capture_events(store, QUEUE) as events:
            await fail(store, job)
        assert events[0].data["cancelled"] is False

    @pytest.mark.parametrize("state", [*PENDING, JobState.ACTIVE])
    async def test_cancelling_twice_is_cancelling_once(
        self, store: StoreInterface, clock: VirtualClock, state: JobState
    ) -> None:
        await in_state(store, state)
        first = await store.cancel_job(QUEUE, "a")
        await clock.advance(1)
        async with capture_events(store, QUEUE) as events:
            assert await store.cancel_job(QUEUE, "a") == first
        assert await get(store, "a") == first
        assert events == []

    @pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
    async def test_cancelling_a_settled_job_has_no_effect(
        self, store: StoreInterface, state: JobState
    ) -> None:
        settled = await in_state(store, state)
        async with capture_events(store, QUEUE) as events:
            assert await store.cancel_job(QUEUE, "a") == settled
        assert await get(store, "a") == settled
        assert events == []

    async def test_cancelling_a_job_that_is_not_there_is_an_error(
        self, store: StoreInterface
    ) -> None:
        with pytest.raises(JobNotFoundError):
            await store.cancel_job(QUEUE, "a")

    @pytest.mark.parametrize("state", [JobState.WAITING, JobState.DELAYED])
    async def test_a_cancelled_job_can_be_retried(
        self, store: StoreInterface, state: JobState
    ) -> None:
        await in_state(store, state)
        await store.cancel_job(QUEUE, "a")
        retried = await store.apply(QUEUE, "a", Retry())
        assert (retried.state, retried.cancelled_at) == (JobState.WAITING, None)
        assert (await complete(store, await take(store), "done")).returnvalue == "done"

    async def test_cancelling_the_last_waiting_job_leaves_running_ones(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a")
        await add(store, "b")
        await take(store)
        async with capture_events(store, QUEUE) as events:
            await store.apply(QUEUE, "b", Cancel())
        assert events.story == ["job:cancelled b", "job:failed b"]
        assert await state_of(store, "a") is JobState.ACTIVE

    async def test_a_cancelled_job_is_kept_by_the_rule_for_failed_ones(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", remove_on_fail=True)
        async with capture_events(store, QUEUE) as events:
            await store.cancel_job(QUEUE, "a")
        assert events.types == ["job:cancelled", "job:failed", "job:removed", "queue:drained"]
        assert await store.get_job(QUEUE, "a") is None
