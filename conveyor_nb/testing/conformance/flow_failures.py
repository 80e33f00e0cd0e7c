"""Flows in which something fails: what that does to the parents."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Cancel, Fail, Retry
from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.bounds import MAX_CHILD_REASON
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
    QUEUE,
    apply,
    complete,
    fail,
    get,
    new_job,
    stall,
)

__all__ = ["FlowFailureTests"]

Step = Callable[[StoreInterface, VirtualClock], Awaitable[object]]


async def _fail_the_attempt(store: StoreInterface, clock: VirtualClock) -> None:
    await fail(store, await fetch(store))


async def _fail_for_good(store: StoreInterface, clock: VirtualClock) -> None:
    await apply(store, await fetch(store), Fail("boom", final=True))


async def _stall(store: StoreInterface, clock: VirtualClock) -> None:
    await stall(store, clock, await fetch(store))


async def _cancel_waiting(store: StoreInterface, clock: VirtualClock) -> None:
    await store.apply(CHILDREN, "a", Cancel())


async def _cancel_active(store: StoreInterface, clock: VirtualClock) -> None:
    job = await fetch(store)
    await store.apply(CHILDREN, "a", Cancel())
    await complete(store, job, "too late")


async def _remove_waiting(store: StoreInterface, clock: VirtualClock) -> None:
    await store.remove_job(CHILDREN, "a")


async def _remove_active(store: StoreInterface, clock: VirtualClock) -> None:
    await fetch(store)
    await store.remove_job(CHILDREN, "a")


LOSSES: dict[str, Step] = {
    "fails its only attempt": _fail_the_attempt,
    "fails for good": _fail_for_good,
    "stalls out": _stall,
    "is cancelled while it waits": _cancel_waiting,
    "is cancelled while it is active": _cancel_active,
    "is removed while it waits": _remove_waiting,
    "is removed while it is active": _remove_active,
}
"""How the child ``a`` may be lost."""


class FlowFailureTests(StoreTests):
    """Flows in which something fails, as every store does it."""

    # -- policies -----------------------------------------------------------------------------

    @pytest.mark.parametrize("loss", LOSSES)
    async def test_a_lost_child_fails_its_parent(
        self, store: StoreInterface, clock: VirtualClock, loss: str
    ) -> None:
        await save_family(store)
        async with capture_events(store, QUEUE) as events:
            await LOSSES[loss](store, clock)
        parent = await parent_of(store)
        assert parent.state is JobState.FAILED
        assert parent.failed_at == clock.now()
        assert "'a'" in (parent.failed_reason or "")
        assert of_jobs(events) == ["job:failed p"]
        assert (await states(store))["b"] is JobState.WAITING

    @pytest.mark.parametrize("loss", LOSSES)
    async def test_a_lost_child_may_be_done_without(
        self, store: StoreInterface, clock: VirtualClock, loss: str
    ) -> None:
        await save_family(store, "ignore")
        await LOSSES[loss](store, clock)
        parent = await parent_of(store)
        assert (parent.state, parent.pending_children_count) == (JobState.WAITING_CHILDREN, 1)
        await complete(store, await fetch(store), "yes")
        parent = await parent_of(store)
        assert (parent.state, parent.pending_children_count) == (JobState.WAITING, 0)
        assert parent.children_ids == ("a", "b")
        assert await store.get_children_values(QUEUE, "p") == {"b": "yes"}

    async def test_a_parent_may_run_with_no_child_left(self, store: StoreInterface) -> None:
        await save_family(store, "ignore")
        for _ in "ab":
            await fail(store, await fetch(store))
        assert (await fetch(store, QUEUE)).id == "p"
        assert await store.get_children_values(QUEUE, "p") == {}
        assert [job.id for job in await store.get_children_jobs(QUEUE, "p")] == ["a", "b"]

    @pytest.mark.parametrize("loss", LOSSES)
    async def test_a_lost_child_removes_its_parent_if_that_says_so(
        self, store: StoreInterface, clock: VirtualClock, loss: str
    ) -> None:
        await save_family(store, "remove")
        async with capture_events(store, QUEUE) as events:
            await LOSSES[loss](store, clock)
        assert of_jobs(events) == ["job:removed p"]
        assert events[0].data["previous"] == "waiting-children"
        assert "child 'a' failed: " in events[0].data["reason"]
        assert (await states(store)).get("b") is JobState.WAITING
        await complete(store, await fetch(store))
        assert await store.get_children_values(QUEUE, "p") == {}

    async def test_a_parent_that_is_removed_counts_as_failed_for_its_own(
        self, store: StoreInterface
    ) -> None:
        middle = family(new_job("m", fail_parent_on_child_failure="remove"), child("a"))
        top = family(new_job("t", fail_parent_on_child_failure="remove"), middle)
        await store.save_flow(family(new_job("r", queue="reports"), top))
        job = await fetch(store)
        async with capture_events(store, None) as events:
            await fail(store, job, "the disk is full")
        assert of_jobs(events) == ["job:failed a", "job:removed m", "job:removed t", "job:failed r"]
        assert await states(store) == {"a": JobState.FAILED, "r": JobState.FAILED}
        reason = (await get(store, "r", "reports")).failed_reason or ""
        assert reason.startswith("child 't' failed: child 'm' failed: child 'a' failed: ")
        assert "the disk is full" in reason

    @pytest.mark.parametrize(
        ("loss", "why"),
        [
            ("fails its only attempt", "boom"),
            ("stalls out", "stalled: worker w1 did not renew its lock"),
            ("is cancelled while it waits", "cancelled"),
            ("is removed while it waits", "it was removed"),
        ],
    )
    async def test_a_parent_says_which_child_failed_and_why(
        self, store: StoreInterface, clock: VirtualClock, loss: str, why: str
    ) -> None:
        await save_family(store)
        async with capture_events(store, QUEUE) as events:
            await LOSSES[loss](store, clock)
        reason = (await parent_of(store)).failed_reason or ""
        assert reason.startswith(f"child 'a' failed: {why}")
        assert events.of_type("job:failed")[0].data["reason"] == reason

    async def test_the_reason_of_a_child_is_told_in_part_if_it_is_long(
        self, store: StoreInterface
    ) -> None:
        await save_family(store)
        await fail(store, await fetch(store), "begin " + "x" * 100_000 + " end")
        reason = (await parent_of(store)).failed_reason or ""
        assert len(reason) < 2 * MAX_CHILD_REASON
        assert "begin" in reason
        assert "characters left out" in reason
        assert reason.endswith("end")

    @pytest.mark.parametrize("step", ["drain", "clean", "obliterate"])
    async def test_children_that_go_with_their_queue_are_lost(
        self, store: StoreInterface, step: str
    ) -> None:
        await save_family(store)
        match step:
            case "drain":
                await store.drain(CHILDREN)
            case "clean":
                await store.clean(CHILDREN, JobState.WAITING)
            case _:
                await store.obliterate(CHILDREN)
        assert await states(store) == {"p": JobState.FAILED}

    async def test_a_settled_child_may_be_removed(self, store: StoreInterface) -> None:
        await save_family(store)
        await complete(store, await fetch(store))
        await store.remove_job(CHILDREN, "a")
        parent = await parent_of(store)
        assert (parent.state, parent.pending_children_count) == (JobState.WAITING_CHILDREN, 1)

    # -- several levels -----------------------------------------------------------------------

    async def test_a_failure_travels_up_to_the_root(self, store: StoreInterface) -> None:
        middle = family(new_job("m"), family(new_job("n"), child("a")), child("b"))
        await store.save_flow(family(new_job("r", queue="reports"), middle, child("c")))
        job = await fetch(store)
        async with capture_events(store, None) as events:
            await fail(store, job)
        assert of_jobs(events) == [f"job:failed {job_id}" for job_id in "anmr"]
        assert {event.timestamp for event in events} == {store.clock.now()}
        after = await states(store)
        assert [job_id for job_id, state in after.items() if state is JobState.WAITING] == [
            "b",
            "c",
        ]

    async def test_a_failure_stops_at_a_parent_that_ignores_it(self, store: StoreInterface) -> None:
        bottom = family(new_job("n"), child("a"))
        middle = family(new_job("m", fail_parent_on_child_failure="ignore"), bottom)
        await store.save_flow(family(new_job("r", queue="reports"), middle))
        job = await fetch(store)
        async with capture_events(store, None) as events:
            await fail(store, job)
        assert of_jobs(events) == ["job:failed a", "job:failed n", "job:waiting m"]
        assert (await states(store))["r"] is JobState.WAITING_CHILDREN

    async def test_a_failed_parent_that_is_not_kept_fails_its_own(
        self, store: StoreInterface
    ) -> None:
        middle = family(new_job("m", remove_on_fail=True), child("a", remove_on_fail=True))
        await store.save_flow(family(new_job("r", queue="reports"), middle))
        job = await fetch(store)
        async with capture_events(store, None) as events:
            await fail(store, job)
        assert await states(store) == {"r": JobState.FAILED}
        assert sorted(of_jobs(events)) == [
            "job:failed a",
            "job:failed m",
            "job:failed r",
            "job:removed a",
            "job:removed m",
        ]
        assert events.story.index("job:failed a") < events.story.index("job:failed m")
        assert events.story.index("job:failed m") < events.story.index("job:failed r")

    @pytest.mark.parametrize("loss", ["cancelled", "removed"])
    async def test_a_parent_that_is_lost_while_it_waits_fails_its_own(
        self, store: StoreInterface, loss: str
    ) -> None:
        await store.save_flow(
            family(new_job("r", queue="reports"), family(new_job("m"), child("a")))
        )
        if loss == "cancelled":
            await store.apply(QUEUE, "m", Cancel())
        else:
            await store.remove_job(QUEUE, "m")
        after = await states(store)
        assert (after.get("m"), after["r"]) == (
            JobState.FAILED if loss == "cancelled" else None,
            JobState.FAILED,
        )
        assert after["a"] is JobState.WAITING

    # -- late children ------------------------------------------------------------------------

    async def test_late_children_leave_a_failed_parent_alone(self, store: StoreInterface) -> None:
        await save_family(store)
        first, late = await fetch(store), await fetch(store)
        await fail(store, first)
        before = await parent_of(store)
        async with capture_events(store, QUEUE) as events:
            await complete(store, late, "late")
        after = await parent_of(store)
        assert events == []
        assert (after.state, after.failed_reason) == (JobState.FAILED, before.failed_reason)
        assert (before.pending_children_count, after.pending_children_count) == (1, 0)
        assert await store.get_children_values(QUEUE, "p") == {"b": "late"}

    async def test_children_outlive_a_removed_parent(self, store: StoreInterface) -> None:
        await save_family(store)
        await store.remove_job(QUEUE, "p")
        first, last = await fetch(store), await fetch(store)
        async with capture_events(store, QUEUE) as events:
            await complete(store, first)
            await fail(store, last)
        assert await states(store) == {"a": JobState.COMPLETED, "b": JobState.FAILED}
        assert events == []
        await store.apply(CHILDREN, "b", Retry())
        await complete(store, await fetch(store))

    async def test_a_new_job_with_the_id_of_a_removed_parent_gets_no_children(
        self, store: StoreInterface
    ) -> None:
        await save_family(store)
        await store.remove_job(QUEUE, "p")
        await store.save_job(new_job("p"))
        await fail(store, await fetch(store))
        assert (await parent_of(store)).state is JobState.WAITING
        assert await store.get_children_jobs(QUEUE, "p") == []

    async def test_a_new_job_with_the_id_of_a_removed_child_is_no_child(
        self, store: StoreInterface
    ) -> None:
        await save_family(store, "ignore")
        await store.remove_job(CHILDREN, "a")
        await store.save_job(child("a"))
        assert [job.id for job in await store.get_children_jobs(QUEUE, "p")] == ["b"]
        await complete(store, await fetch(store), "b")
        assert (await fetch(store, QUEUE)).id == "p"
        await complete(store, await fetch(store), "not its child")
        assert await store.get_children_values(QUEUE, "p") == {"b": "b"}
