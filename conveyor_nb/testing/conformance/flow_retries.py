"""Flows that are run again: whom a parent waits for then, and retrying it with its children."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Release, Retry
from conveyor_nb.core.errors import InvalidJobStateError, JobNotFoundError, RetryRefusedError
from conveyor_nb.core.model import JobState
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.conformance.flows import (
    CHILDREN,
    child,
    family,
    fetch,
    of_jobs,
    parent_of,
    save_family,
    states,
)
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    LOCK_DURATION,
    QUEUE,
    apply,
    complete,
    fail,
    fail_for_good,
    get,
    new_job,
    stall,
    take,
)

__all__ = ["FlowRetryTests"]


class FlowRetryTests(StoreTests):
    """Flows that are run again, as every store does it."""

    # -- again --------------------------------------------------------------------------------

    @pytest.mark.parametrize("outcome", ["failed", "completed"])
    async def test_a_parent_waits_again_for_a_child_that_is_retried(
        self, store: StoreInterface, outcome: str
    ) -> None:
        await save_family(store, "ignore")
        if outcome == "failed":
            await fail(store, await fetch(store))
        else:
            await complete(store, await fetch(store), "old")
        await store.apply(CHILDREN, "a", Retry())
        assert (await parent_of(store)).pending_children_count == 2
        assert await store.get_children_values(QUEUE, "p") == {}
        again, other = await fetch(store), await fetch(store)
        await complete(store, other, "other")
        assert (await parent_of(store)).state is JobState.WAITING_CHILDREN
        await complete(store, again, "new")
        assert (await parent_of(store)).state is JobState.WAITING
        assert await store.get_children_values(QUEUE, "p") == {"a": "new", "b": "other"}

    async def test_a_retried_child_may_be_lost_again(self, store: StoreInterface) -> None:
        await save_family(store, "ignore")
        await fail(store, await fetch(store))
        await store.apply(CHILDREN, "a", Retry())
        await store.remove_job(CHILDREN, "a")
        assert (await parent_of(store)).pending_children_count == 1
        await complete(store, await fetch(store))
        assert (await parent_of(store)).state is JobState.WAITING

    async def test_a_retried_parent_waits_for_its_failed_children_and_says_so(
        self, store: StoreInterface
    ) -> None:
        await save_family(store)
        await complete(store, await fetch(store), "yes")
        await fail(store, await fetch(store))
        async with capture_events(store, QUEUE) as events:
            await store.apply(QUEUE, "p", Retry())
        parent = await parent_of(store)
        assert (parent.state, parent.pending_children_count) == (JobState.WAITING_CHILDREN, 1)
        assert parent.failed_at is None
        assert (parent.failed_reason or "").startswith("waits for failed child 'b': retry")
        assert of_jobs(events) == ["job:waiting-children p"]
        assert events[0].data["previous"] == "failed"
        assert events[0].data["reason"] == parent.failed_reason
        assert await store.fail_parent_on_child_failure(CHILDREN, "b") is False

        await store.apply(CHILDREN, "b", Retry())
        parent = await parent_of(store)
        assert (parent.pending_children_count, parent.failed_reason) == (1, None)
        await complete(store, await fetch(store), "mended")
        job = await fetch(store, QUEUE)
        assert await store.get_children_values(QUEUE, "p") == {"a": "yes", "b": "mended"}
        assert (await complete(store, job)).failed_reason is None

    async def test_a_parent_that_is_retried_twice_waits_for_each_child_once(
        self, store: StoreInterface
    ) -> None:
        await save_family(store)
        await fail(store, await fetch(store))
        await complete(store, await fetch(store))
        await store.apply(QUEUE, "p", Retry())
        await store.cancel_job(QUEUE, "p")
        await store.apply(QUEUE, "p", Retry())
        assert (await parent_of(store)).pending_children_count == 1
        await store.apply(CHILDREN, "a", Retry())
        await complete(store, await fetch(store))
        assert (await parent_of(store)).state is JobState.WAITING

    @pytest.mark.parametrize("order", ["p, then a", "a, then p"])
    @pytest.mark.parametrize("again", ["completes", "fails"])
    async def test_the_order_of_retries_does_not_matter(
        self, store: StoreInterface, order: str, again: str
    ) -> None:
        await save_family(store)
        await fail(store, await fetch(store))
        await complete(store, await fetch(store))
        for job_id in order.split(", then "):
            await store.apply(QUEUE if job_id == "p" else CHILDREN, job_id, Retry())
        assert (await parent_of(store)).state is JobState.WAITING_CHILDREN
        job = await fetch(store)
        if again == "completes":
            await complete(store, job)
            assert (await fetch(store, QUEUE)).id == "p"
        else:
            await fail(store, job, "still broken")
            parent = await parent_of(store)
            assert (parent.state, parent.failed_reason) == (
                JobState.FAILED,
                "child 'a' failed: still broken",
            )

    @pytest.mark.parametrize("state", ["waiting", "delayed", "active"])
    async def test_a_parent_never_begins_while_a_child_of_its_starts_afresh(
        self, store: StoreInterface, clock: VirtualClock, state: str
    ) -> None:
        parent = new_job("p", attempts=3, backoff=10)
        await store.save_flow(family(parent, child("a")))
        await complete(store, await fetch(store), "old")
        if state != "waiting":
            job = await fetch(store, QUEUE)
        if state == "delayed":
            await fail(store, job)
        assert (await parent_of(store)).state == state
        async with capture_events(store, QUEUE) as events:
            await store.apply(CHILDREN, "a", Retry())
            if state == "active":  # it has begun: only its next attempt waits
                await fail(store, job)
        told = ["job:retrying p", "job:delayed p"] if state == "active" else []
        assert of_jobs(events) == [*told, "job:waiting-children p"]
        after = await parent_of(store)
        assert (after.state, after.delay_until) == (JobState.WAITING_CHILDREN, None)
        await clock.advance(60)
        assert await store.fetch_next_job(QUEUE, "w1", LOCK_DURATION) is None
        await complete(store, await fetch(store), "new")
        assert (await fetch(store, QUEUE)).attempts_made == (state != "waiting")
        assert await store.get_children_values(QUEUE, "p") == {"a": "new"}

    @pytest.mark.parametrize("way", ["stalls", "is released"])
    async def test_a_parent_that_comes_back_waits_for_a_child_that_runs_again(
        self, store: StoreInterface, clock: VirtualClock, way: str
    ) -> None:
        await store.save_flow(family(new_job("p", attempts=3), child("a")))
        await complete(store, await fetch(store))
        job = await fetch(store, QUEUE)
        await store.apply(CHILDREN, "a", Retry())
        await (stall(store, clock, job) if way == "stalls" else apply(store, job, Release()))
        assert (await parent_of(store)).state is JobState.WAITING_CHILDREN
        await complete(store, await fetch(store))
        assert (await fetch(store, QUEUE)).id == "p"

    async def test_a_completed_parent_may_run_again_after_its_children(
        self, store: StoreInterface
    ) -> None:
        await save_family(store)
        for queue in (CHILDREN, CHILDREN, QUEUE):
            await complete(store, await fetch(store, queue), "old")
        await store.apply(CHILDREN, "a", Retry())
        assert (await parent_of(store)).state is JobState.COMPLETED
        await store.apply(QUEUE, "p", Retry())
        assert (await parent_of(store)).state is JobState.WAITING_CHILDREN
        await complete(store, await fetch(store), "new")
        assert (await fetch(store, QUEUE)).returnvalue is None

    async def test_a_retried_parent_that_ignores_failures_waits_for_none(
        self, store: StoreInterface
    ) -> None:
        await save_family(store, "ignore")
        for _ in "ab":
            await fail(store, await fetch(store))
        await fail(store, await fetch(store, QUEUE))
        await store.apply(QUEUE, "p", Retry())
        assert (await parent_of(store)).state is JobState.WAITING

    async def test_a_retried_parent_fails_when_the_child_that_it_waits_for_is_removed(
        self, store: StoreInterface
    ) -> None:
        await save_family(store)
        await fail(store, await fetch(store))
        await store.apply(QUEUE, "p", Retry())
        await store.remove_job(CHILDREN, "a")
        parent = await parent_of(store)
        assert (parent.state, parent.failed_reason) == (
            JobState.FAILED,
            "child 'a' failed: boom",
        )
        assert parent.pending_children_count == 1

    async def test_a_parent_whose_failed_child_is_gone_can_not_be_retried(
        self, store: StoreInterface
    ) -> None:
        await save_family(store, remove_on_fail=True)
        await fail(store, await fetch(store))
        await store.save_job(child("a"))  # another job that has its id
        before = await parent_of(store)
        for step in (store.apply(QUEUE, "p", Retry()), store.retry_family(QUEUE, "p")):
            with pytest.raises(RetryRefusedError, match="'a' failed and is gone"):
                await step
        async with capture_events(store, QUEUE) as events:
            assert await store.retry_jobs(QUEUE) == 0
        assert events.story == ["queue:error p"]
        assert await parent_of(store) == before

    # -- with its children --------------------------------------------------------------------

    async def test_a_family_is_retried_in_one_step(self, store: StoreInterface) -> None:
        middle = family(new_job("m"), child("a"), child("b"))
        await store.save_flow(family(new_job("r", queue="reports"), middle, child("c")))
        await fail(store, await fetch(store))
        await complete(store, await fetch(store))
        async with capture_events(store, None) as events:
            again = await store.retry_family("reports", "r")
        assert of_jobs(events) == [
            "job:waiting a",
            "job:waiting-children m",
            "job:waiting-children r",
        ]
        assert (again.state, again.pending_children_count) == (JobState.WAITING_CHILDREN, 2)
        assert again.failed_reason is None
        assert {job["a"] for job in [await states(store)]} == {JobState.WAITING}
        for queue in (CHILDREN, CHILDREN, QUEUE, "reports"):
            await complete(store, await fetch(store, queue))
        assert set((await states(store)).values()) == {JobState.COMPLETED}

    async def test_a_family_is_retried_as_a_whole_or_not_at_all(
        self, store: StoreInterface
    ) -> None:
        middle = family(new_job("m"), child("a", remove_on_fail=True))
        await store.save_flow(family(new_job("r", queue="reports"), middle, child("c")))
        first, second = await fetch(store), await fetch(store)
        await fail(store, first)
        await fail(store, second)
        before = await states(store)
        async with capture_events(store, None) as events:
            with pytest.raises(RetryRefusedError, match="'m'"):
                await store.retry_family("reports", "r")
        assert events == []
        assert await states(store) == before

    async def test_a_job_without_children_is_retried_alone(self, store: StoreInterface) -> None:
        await store.save_job(new_job("p"))
        with pytest.raises(InvalidJobStateError):
            await store.retry_family(QUEUE, "p")
        with pytest.raises(JobNotFoundError):
            await store.retry_family(QUEUE, "nobody")
        await complete(store, await fetch(store, QUEUE))
        assert (await store.retry_family(QUEUE, "p")).state is JobState.WAITING

    async def test_a_retried_parent_gets_what_its_retried_child_returned(
        self, store: StoreInterface
    ) -> None:
        await save_family(store)
        await fail(store, await fetch(store))
        await complete(store, await fetch(store), "other")
        await store.apply(CHILDREN, "a", Retry())
        async with capture_events(store, QUEUE) as events:
            await complete(store, await fetch(store), "mended")
        assert (await parent_of(store)).state is JobState.FAILED
        assert events == []
        await store.apply(QUEUE, "p", Retry())
        assert await store.get_children_values(QUEUE, "p") == {"a": "mended", "b": "other"}

    async def test_a_root_waits_again_for_a_parent_that_is_retried(
        self, store: StoreInterface
    ) -> None:
        root = new_job("r", queue="reports", fail_parent_on_child_failure="ignore")
        await store.save_flow(family(root, family(new_job("p"), child("a")), child("b")))
        await fail(store, await fetch(store))
        await store.retry_family(QUEUE, "p")
        for _ in "ab":
            await complete(store, await fetch(store), "b")
        assert (await states(store))["r"] is JobState.WAITING_CHILDREN
        await complete(store, await fetch(store, QUEUE), "p")
        assert (await states(store))["r"] is JobState.WAITING
        assert await store.get_children_values("reports", "r") == {"p": "p", "b": "b"}

    async def test_a_parent_that_runs_already_is_not_called_back(
        self, store: StoreInterface
    ) -> None:
        await save_family(store)
        for _ in "ab":
            await complete(store, await fetch(store))
        await fetch(store, QUEUE)
        await store.apply(CHILDREN, "a", Retry())
        assert (await parent_of(store)).state is JobState.ACTIVE
        await fail(store, await fetch(store))
        assert (await parent_of(store)).state is JobState.ACTIVE

    async def test_retrying_all_of_a_flow_keeps_count_of_its_children(
        self, store: StoreInterface
    ) -> None:
        await store.save_flow(family(new_job("p"), new_job("a")))
        await fail_for_good(store, await take(store))
        assert await states(store) == {"p": JobState.FAILED, "a": JobState.FAILED}
        assert await store.retry_jobs(QUEUE) == 2
        assert await states(store) == {"p": JobState.WAITING_CHILDREN, "a": JobState.WAITING}
        assert (await get(store, "p")).pending_children_count == 1
