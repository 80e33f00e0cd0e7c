"""Whole queues: pausing, draining, cleaning, retrying, obliterating."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Retry
from conveyor_nb.core.errors import InvalidJobStateError
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import ALL_NAMES, JobState
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import EventView, all_told, capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    add_all,
    complete,
    fail,
    fail_for_good,
    get,
    ids_in,
    in_state,
    new_job,
    other_than,
    served,
    state_of,
    take,
)

__all__ = ["MaintainingTests"]


async def one_in_each_state(store: StoreInterface) -> dict[JobState, str]:
    """A job in each state, in one queue; gives their ids."""
    ids = {state: f"is-{state}" for state in JobState}
    for state in (
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.ACTIVE,
        JobState.DELAYED,
        JobState.WAITING_CHILDREN,
        JobState.WAITING,
    ):
        await in_state(store, state, ids[state])
    return ids


async def save_a_family(
    store: StoreInterface, policy: str, leaves: str = QUEUE, number: str = ""
) -> None:
    """A root, its child and the child of that, all with one policy: ``r``, ``m`` and ``a``."""
    root, middle, leaf = (
        new_job(f"{job_id}{number}", queue=queue, fail_parent_on_child_failure=policy)
        for job_id, queue in (("r", QUEUE), ("m", QUEUE), ("a", leaves))
    )
    of_root = {"parent_id": root.id, "parent_queue_name": QUEUE}
    of_middle = {"parent_id": middle.id, "parent_queue_name": QUEUE}
    await store.save_flow(
        [
            replace(root, children_ids=(middle.id,), pending_children_count=1),
            replace(middle, **of_root, children_ids=(leaf.id,), pending_children_count=1),
            replace(leaf, **of_middle),
        ]
    )


class MaintainingTests(StoreTests):
    """Whole queues, as every store does it."""

    # -- pause and resume ---------------------------------------------------------------------

    async def test_nothing_is_paused_at_first(self, store: StoreInterface) -> None:
        assert await store.get_paused_job_names(QUEUE) == frozenset()

    async def test_paused_names_are_listed(self, store: StoreInterface) -> None:
        await store.pause_job_name(QUEUE, "send")
        await store.pause_job_name(QUEUE, ALL_NAMES)
        assert await store.get_paused_job_names(QUEUE) == {"send", ALL_NAMES}
        await store.resume_job_name(QUEUE, "send")
        assert await store.get_paused_job_names(QUEUE) == {ALL_NAMES}
        assert await store.get_paused_job_names("reports") == frozenset()

    @pytest.mark.parametrize("name", ["send", ALL_NAMES])
    async def test_a_pause_is_told_only_when_it_changes_something(
        self, store: StoreInterface, name: str
    ) -> None:
        async with capture_events(store, QUEUE) as events:
            await store.resume_job_name(QUEUE, name)
            await store.pause_job_name(QUEUE, name)
            await store.pause_job_name(QUEUE, name)
            await store.resume_job_name(QUEUE, name)
            await store.resume_job_name(QUEUE, name)
        assert events.types == ["queue:paused", "queue:resumed"]
        assert {event.data["job_name"] for event in events} == {name}
        assert {event.job_id for event in events} == {None}

    async def test_a_pause_leaves_jobs_in_their_states(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b")
        job = await take(store)
        await store.pause_job_name(QUEUE, ALL_NAMES)
        assert await state_of(store, "b") is JobState.WAITING
        assert (await complete(store, job)).state is JobState.COMPLETED

    # -- drain --------------------------------------------------------------------------------

    async def test_draining_removes_all_that_waits(self, store: StoreInterface) -> None:
        ids = await one_in_each_state(store)
        assert await store.drain(QUEUE) == 3
        left = {JobState.ACTIVE, JobState.COMPLETED, JobState.FAILED}
        assert set(await ids_in(store)) == {ids[state] for state in left}

    @pytest.mark.parametrize("policy", ["fail", "ignore", "remove"])
    async def test_a_drained_family_goes_without_a_word_from_the_children(
        self, store: StoreInterface, policy: str
    ) -> None:
        await save_a_family(store, policy)
        async with capture_events(store, QUEUE) as events:
            assert await store.drain(QUEUE) == 3
        assert events.story == [
            *(f"job:removed {job_id}" for job_id in ("r", "m", "a")),
            "queue:drained",
        ]
        assert await store.count_jobs(QUEUE) == 0

    async def test_children_of_a_drained_parent_go_on_as_jobs_of_their_own(
        self, store: StoreInterface
    ) -> None:
        await save_a_family(store, "fail", leaves="leaves")
        assert await store.drain(QUEUE) == 2
        job = await store.fetch_next_job("leaves", "w1", 30)
        assert job is not None
        async with capture_events(store, None) as events:
            await complete(store, job)
        assert events.story == ["job:completed a", "queue:drained"]

    async def test_draining_plans_the_next_run_of_each_schedule_as_ever(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        hourly = JobScheduler("s", QUEUE, Repeat(every=3_600), "run", None, JobOptions())
        await store.upsert_job_scheduler(hourly)
        await add(store, "a")
        for hours in (1, 2):
            await store.drain(QUEUE)
            [run] = await store.list_jobs(QUEUE)
            assert (run.scheduler_id, run.state) == ("s", JobState.DELAYED)
            assert run.planned_at == clock.now() + timedelta(hours=1)
            await clock.advance(3_600)
            await store.promote_delayed_jobs(QUEUE)
            assert (await store.get_job_schedulers(QUEUE))[0].runs == hours + 1

    async def test_draining_is_told(self, store: StoreInterface) -> None:
        await add(store, "a", delay=60)
        await add(store, "b")
        async with capture_events(store, QUEUE) as events:
            await store.drain(QUEUE)
        assert sorted(events.story[:-1]) == ["job:removed a", "job:removed b"]
        assert events.types[-1] == "queue:drained"

    async def test_draining_an_empty_queue_is_told_too(self, store: StoreInterface) -> None:
        async with capture_events(store, QUEUE) as events:
            assert await store.drain(QUEUE) == 0
        assert events.types == ["queue:drained"]

    async def test_draining_leaves_other_queues_alone(self, store: StoreInterface) -> None:
        await add(store, "a", queue="reports")
        await store.drain(QUEUE)
        assert await store.count_jobs("reports") == 1

    async def test_draining_a_paused_queue_leaves_it_paused(self, store: StoreInterface) -> None:
        await add(store, "a")
        await store.pause_job_name(QUEUE, ALL_NAMES)
        await store.drain(QUEUE)
        assert await store.get_paused_job_names(QUEUE) == {ALL_NAMES}

    # -- clean --------------------------------------------------------------------------------

    @pytest.mark.parametrize("as_text", [False, True])
    async def test_cleaning_takes_no_active_job(
        self, store: StoreInterface, clock: VirtualClock, as_text: bool
    ) -> None:
        await one_in_each_state(store)
        before = await store.list_jobs(QUEUE)
        await clock.advance(10)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(ValueError, match="active"):
                await store.clean(QUEUE, "active" if as_text else JobState.ACTIVE)
        assert events == []
        assert await store.list_jobs(QUEUE) == before

    @pytest.mark.parametrize("state", other_than(JobState.ACTIVE))
    async def test_cleaning_removes_the_jobs_of_one_state(
        self, store: StoreInterface, state: JobState
    ) -> None:
        ids = await one_in_each_state(store)
        async with capture_events(store, QUEUE) as events:
            assert await store.clean(QUEUE, state) == 1
        assert events.story == [f"job:removed {ids[state]}"]
        assert set(await ids_in(store)) == set(ids.values()) - {ids[state]}

    @pytest.mark.parametrize("state", other_than(JobState.ACTIVE))
    async def test_cleaning_spares_what_is_younger_than_the_grace(
        self, store: StoreInterface, clock: VirtualClock, state: JobState
    ) -> None:
        await in_state(store, state)
        await clock.advance(9.999)
        assert await store.clean(QUEUE, state, 10) == 0
        await clock.advance(0.001)
        assert await store.clean(QUEUE, state, 10) == 1

    @pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
    async def test_the_grace_of_a_settled_job_counts_from_its_end(
        self, store: StoreInterface, clock: VirtualClock, state: JobState
    ) -> None:
        await add(store, "a")
        await clock.advance(3_600)
        job = await take(store)
        await clock.advance(3_600)
        await (complete if state is JobState.COMPLETED else fail)(store, job)
        assert await store.clean(QUEUE, state, 10) == 0
        await clock.advance(10)
        assert await store.clean(QUEUE, state, 10) == 1

    async def test_cleaning_takes_parents_before_their_children(
        self, store: StoreInterface
    ) -> None:
        families = range(300)
        for number in families:
            await save_a_family(store, "fail", leaves="leaves", number=str(number))
        while job := await store.fetch_next_job("leaves", "w1", 30):
            await fail(store, job)
        for job_id in ("m", "r"):  # so that each child came to wait before its parent did
            for number in families:
                await store.apply(QUEUE, f"{job_id}{number}", Retry())
        assert await store.clean(QUEUE, JobState.WAITING_CHILDREN) == 2 * len(families)
        assert await store.count_jobs(QUEUE) == 0

    async def test_cleaning_takes_the_older_of_two(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, "a", "b")
        first, second = await take(store), await take(store)
        await complete(store, second)
        await clock.advance(5)
        await complete(store, first)
        await clock.advance(5)
        assert await store.clean(QUEUE, JobState.COMPLETED, 10) == 1
        assert await ids_in(store) == ["a"]

    # -- retry_jobs ---------------------------------------------------------------------------

    async def test_all_failed_jobs_can_be_retried_at_once(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, "a", "b", "c", attempts=2)
        jobs = [await take(store) for _ in range(3)]
        await fail_for_good(store, jobs[1])
        await clock.advance(1)
        await fail_for_good(store, jobs[0])
        await complete(store, jobs[2])
        async with capture_events(store, QUEUE) as events:
            assert await store.retry_jobs(QUEUE) == 2
        assert events.story == ["job:waiting b", "job:waiting a"]
        assert await ids_in(store, JobState.FAILED) == []
        assert await state_of(store, "c") is JobState.COMPLETED
        assert (await get(store, "a")).attempts_made == 0
        assert await served(store) == ["a", "b"]

    async def test_all_completed_jobs_can_be_run_again(self, store: StoreInterface) -> None:
        await in_state(store, JobState.COMPLETED)
        assert await store.retry_jobs(QUEUE, JobState.COMPLETED) == 1
        retried = await get(store, "a")
        assert (retried.state, retried.returnvalue) == (JobState.WAITING, None)

    @pytest.mark.parametrize("state", ["waiting", JobState.ACTIVE, "done"])
    async def test_only_settled_jobs_are_retried(self, store: StoreInterface, state: str) -> None:
        await one_in_each_state(store)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(ValueError, match=str(state)):
                await store.retry_jobs(QUEUE, state)
        assert events == []

    async def test_retrying_nothing_is_nothing(self, store: StoreInterface) -> None:
        assert await store.retry_jobs("nowhere") == 0

    # -- obliterate ---------------------------------------------------------------------------

    async def test_an_obliterated_queue_is_gone(self, store: StoreInterface) -> None:
        await add_all(store, "a", "b")
        await complete(store, await take(store))
        await store.pause_job_name(QUEUE, "send")
        await add(store, "a", queue="reports")
        async with capture_events(store, None) as events:
            assert await store.obliterate(QUEUE) == 2
        assert events.story == ["job:removed a", "job:removed b", "queue:resumed"]
        assert await store.list_queues() == ["reports"]
        assert await store.count_jobs(QUEUE) == 0
        assert await store.get_paused_job_names(QUEUE) == frozenset()

    async def test_a_queue_with_a_running_job_is_not_obliterated(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a")
        job = await take(store)
        await add(store, "b")
        await store.pause_job_name(QUEUE, "send")
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(InvalidJobStateError) as caught:
                await store.obliterate(QUEUE)
        assert caught.value.job_id == "a"
        assert events == []
        assert await get(store, "a") == job
        assert await ids_in(store) == ["a", "b"]
        assert await store.get_paused_job_names(QUEUE) == {"send"}

    async def test_a_queue_is_obliterated_by_force(self, store: StoreInterface) -> None:
        await one_in_each_state(store)
        assert await store.obliterate(QUEUE, force=True) == len(JobState)
        assert await ids_in(store) == []
        assert await store.get_active_count(QUEUE) == 0

    async def test_obliterating_an_unknown_queue_is_nothing(self, store: StoreInterface) -> None:
        async with capture_events(store, None) as events:
            assert await store.obliterate("nowhere") == 0
        assert events == []

    async def test_an_obliterated_queue_can_begin_again(self, store: StoreInterface) -> None:
        await add(store, "a", data=1, remove_on_complete="10s")
        await complete(store, await take(store))
        await store.obliterate(QUEUE)
        await add(store, "a", data=2)
        assert (await take(store)).data == 2

    # -- the view that is fed by events alone -------------------------------------------------

    async def test_the_events_of_it_all_add_up_to_what_is_there(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        view = EventView()
        store.subscribe(QUEUE, view)
        ids = await one_in_each_state(store)
        await add(store, "x", delay=1, remove_on_fail=True)
        await clock.advance(1)
        await store.pause_job_name(QUEUE, "log")
        await store.cancel_job(QUEUE, "x")
        await store.retry_jobs(QUEUE, JobState.COMPLETED)
        await store.promote_jobs(QUEUE)
        await store.remove_job(QUEUE, ids[JobState.WAITING])
        await take(store, "w2")
        listed = {job.id: job.state for job in await store.list_jobs(QUEUE)}
        await all_told(store)
        assert view.states_in(QUEUE) == listed
        assert len(listed) == len(JobState) - 1
        assert view.paused == {QUEUE: await store.get_paused_job_names(QUEUE)}
        await store.drain(QUEUE)
        await store.obliterate(QUEUE, force=True)
        await all_told(store)
        assert (view.states, view.paused) == ({}, {})
