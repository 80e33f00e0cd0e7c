"""Flows: saved in one step, parents that wait for their children, and what these returned."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import threading
from typing import Any

import pytest
from msgspec.structs import replace

from conveyor_nb.core.errors import (
    GroupFullError,
    InvalidJobStateError,
    JobNotFoundError,
    PayloadError,
)
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.options.job_options import Group
from conveyor_nb.core.values.ids import is_placeholder, placeholder
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import EventLog, capture_events
from conveyor_nb.testing.steps import LOCK_DURATION, QUEUE, complete, fail, likely_id, new_job

__all__ = [
    "CHILDREN",
    "FAMILY",
    "FlowTests",
    "child",
    "family",
    "fetch",
    "of_jobs",
    "parent_of",
    "save_family",
    "states",
]

CHILDREN = "attachments"
"""The queue of the children; their parent is in ``QUEUE``."""

FAMILY = {"p": JobState.WAITING_CHILDREN, "a": JobState.WAITING, "b": JobState.WAITING}
"""The flow that most of the tests begin with: a parent and two children."""


def family(parent: JobData, *children: list[JobData] | JobData) -> list[JobData]:
    """The jobs of a flow as ``save_flow`` takes them; a child may be such a list itself."""
    branches = [child if isinstance(child, list) else [child] for child in children]
    for branch in branches:
        branch[0] = replace(branch[0], parent_id=parent.id, parent_queue_name=parent.queue_name)
    ids = tuple(head.id for head, *_ in branches)
    parent = replace(parent, children_ids=ids, pending_children_count=len(ids))
    return [parent, *(job for branch in branches for job in branch)]


def child(job_id: str, **options: Any) -> JobData:
    """A job that is to be a child."""
    return new_job(job_id, "attach", queue=CHILDREN, **options)


async def save_family(store: StoreInterface, policy: str = "fail", **options: Any) -> None:
    """Save ``FAMILY``; ``options`` are those of the children."""
    parent = new_job("p", fail_parent_on_child_failure=policy)
    await store.save_flow(family(parent, child("a", **options), child("b", **options)))


async def fetch(store: StoreInterface, queue: str = CHILDREN) -> JobData:
    """Take the next job of a queue, which must be there."""
    job = await store.fetch_next_job(queue, "w1", LOCK_DURATION)
    assert job is not None, f"there was no job to fetch from {queue!r}"
    return job


async def states(store: StoreInterface) -> dict[str, JobState]:
    """The state of every job of the store."""
    return {job.id: job.state for job in (await store.search_jobs()).jobs}


async def parent_of(store: StoreInterface) -> JobData:
    """The parent as it is now."""
    parent = await store.get_job(QUEUE, "p")
    assert parent is not None, "the parent is gone"
    return parent


def of_jobs(events: EventLog) -> list[str]:
    """The story of the events, without those about whole queues."""
    return [line for line in events.story if line.startswith("job:")]


def _half_families() -> dict[str, tuple[list[JobData], str]]:
    parent, first, second = family(new_job("p"), child("a"), child("b"))
    return {
        "no parent": ([first], "'a' has the parent 'p' .* not among the jobs of the flow before"),
        "the parent comes later": (
            [first, parent, second],
            "not among the jobs of the flow before",
        ),
        "no child": ([parent, first], "'p' .* has the child 'b', which is not in the flow"),
        "a child too many": ([parent, first, second, replace(first, id="c")], "does not have it"),
        "a child twice": (
            [parent, first, second, replace(first, queue_name="c")],
            "'a' .* does not have it as a child, or has it already",
        ),
        "its own parent": (
            [replace(new_job("p"), parent_id="p", parent_queue_name=QUEUE)],
            "'p' has the parent 'p'|does not have it",
        ),
        "half an address": ([replace(first, parent_queue_name=None)], "has the parent 'p'"),
        "a count that is too low": (
            [replace(parent, pending_children_count=1), first, second],
            "has 1 pending children",
        ),
        "a count that is too high": (
            [replace(parent, pending_children_count=3), first, second],
            "has 3 pending children",
        ),
        "a count of nobody": ([replace(new_job("p"), pending_children_count=1)], "has 1 pending"),
        "children twice": (
            [replace(parent, children_ids=("a", "a")), first],
            "has 2 pending children",
        ),
        "a deduplication key": (
            [parent, first, replace(second, deduplication_key="k")],
            "'b': a job of a flow takes no deduplication",
        ),
    }


HALF_FAMILIES = _half_families()
"""Jobs that are no whole family, and what the error says."""


class FlowTests(StoreTests):
    """Flows in which nothing fails, as every store does it."""

    # -- saving -------------------------------------------------------------------------------

    async def test_a_parent_waits_for_its_children_from_the_start(
        self, store: StoreInterface
    ) -> None:
        parent, first, second = family(new_job("p"), child("a"), child("b", delay=60))
        async with capture_events(store, None) as events:
            saved = await store.save_flow([parent, first, second])
        assert [job.id for job in saved] == ["p", "a", "b"]
        assert await states(store) == FAMILY | {"b": JobState.DELAYED}
        assert events.story == ["job:waiting-children p", "job:waiting a", "job:delayed b"]
        assert (saved[0].pending_children_count, saved[0].children_ids) == (2, ("a", "b"))
        assert {(job.parent_queue_name, job.parent_id) for job in saved[1:]} == {(QUEUE, "p")}
        assert saved == (await store.list_jobs(QUEUE)) + (await store.list_jobs(CHILDREN))

    async def test_jobs_get_their_ids_in_the_step_that_saves_the_flow(
        self, store: StoreInterface
    ) -> None:
        top, middle, leaf, own = (placeholder(0), placeholder(1), placeholder(2), "own")
        jobs = family(new_job(top), family(child(middle), new_job(leaf), child(own)), new_job("x"))
        async with capture_events(store, None) as events:
            saved = await store.save_flow(jobs)
        ids = [job.id for job in saved]
        assert not any(map(is_placeholder, ids))
        assert ids[3:] == ["own", "x"]
        assert [event.job_id for event in events if event.job_id] == ids
        assert [job.parent_id for job in saved] == [None, ids[0], ids[1], ids[1], ids[0]]
        assert [job.children_ids for job in saved[:2]] == [(ids[1], "x"), (ids[2], "own")]
        for job in saved:
            assert await store.get_job(job.queue_name, job.id) == job
        for queue in (QUEUE, CHILDREN, QUEUE):
            while taken := await store.fetch_next_job(queue, "w1", LOCK_DURATION):
                await complete(store, taken)
        assert set((await states(store)).values()) == {JobState.COMPLETED}

    async def test_a_given_id_wins_over_one_that_is_made_for_the_flow(
        self, store: StoreInterface
    ) -> None:
        likely = await likely_id(store)
        jobs = family(new_job(placeholder(0)), new_job(placeholder(1)), child(likely))
        saved = await store.save_flow(jobs)
        assert len({job.id for job in saved}) == 3
        assert saved[2].id == likely

    async def test_a_flow_without_children_is_a_job(self, store: StoreInterface) -> None:
        await store.save_flow([new_job("p")])
        assert await states(store) == {"p": JobState.WAITING}

    @pytest.mark.parametrize("bad", [0, 1, 3])
    async def test_a_flow_with_a_bad_payload_is_not_saved(
        self, store: StoreInterface, bad: int
    ) -> None:
        jobs = family(new_job("r"), family(new_job("m"), child("a"), child("b")))
        jobs[bad] = replace(jobs[bad], data={"to": threading.Lock()})
        async with capture_events(store, None) as events:
            with pytest.raises(PayloadError):
                await store.save_flow(jobs)
        assert await states(store) == {}
        assert events == []

    @pytest.mark.parametrize("taken", [0, 1, 2])
    async def test_a_flow_with_a_taken_id_is_not_saved(
        self, store: StoreInterface, taken: int
    ) -> None:
        jobs = family(new_job("p"), child("a"), child("b"))
        other = await store.save_job(new_job(jobs[taken].id, queue=jobs[taken].queue_name))
        async with capture_events(store, None) as events:
            with pytest.raises(ValueError, match=other.id):
                await store.save_flow(jobs)
        assert (await store.search_jobs()).jobs == [other]
        assert events == []

    async def test_a_flow_with_an_id_twice_is_not_saved(self, store: StoreInterface) -> None:
        async with capture_events(store, None) as events:
            with pytest.raises(ValueError, match="'a'"):
                await store.save_flow(family(new_job("p"), child("a"), child("a")))
        assert await states(store) == {}
        assert events == []

    async def test_a_flow_that_would_overfill_a_group_is_not_saved(
        self, store: StoreInterface
    ) -> None:
        small = Group("ada", max_size=1)
        async with capture_events(store, None) as events:
            with pytest.raises(GroupFullError):
                await store.save_flow(
                    family(new_job("p"), child("a", group=small), child("b", group=small))
                )
        assert await states(store) == {}
        assert events == []

    async def test_a_parent_that_waits_for_its_children_takes_no_room_in_its_group(
        self, store: StoreInterface
    ) -> None:
        small = Group("ada", max_size=1)
        await store.save_job(new_job("full", group=small))
        await store.save_flow(family(new_job("p", group=small), child("a")))
        assert (await states(store))["p"] is JobState.WAITING_CHILDREN

    async def test_an_id_may_be_used_again_in_another_queue(self, store: StoreInterface) -> None:
        await store.save_flow(family(new_job("a"), child("a")))
        await complete(store, await fetch(store), "from the child")
        assert (await fetch(store, QUEUE)).id == "a"
        assert await store.get_children_values(QUEUE, "a") == {"a": "from the child"}

    @pytest.mark.parametrize("fault", HALF_FAMILIES)
    async def test_half_a_family_is_refused(self, store: StoreInterface, fault: str) -> None:
        jobs, message = HALF_FAMILIES[fault]
        async with capture_events(store, None) as events:
            with pytest.raises(ValueError, match=message):
                await store.save_flow(jobs)
        assert await states(store) == {}
        assert events == []

    @pytest.mark.parametrize("relative", [0, 1])
    async def test_a_relative_is_saved_by_no_other_step(
        self, store: StoreInterface, relative: int
    ) -> None:
        await save_family(store)
        before = await states(store)
        job = family(new_job("q"), child("c"))[relative]
        counted = replace(new_job("q"), pending_children_count=1)
        async with capture_events(store, None) as events:
            for one in (job, replace(job, parent_id="p", parent_queue_name=QUEUE), counted):
                with pytest.raises(ValueError, match=f"job '{one.id}' has .*save_flow"):
                    await store.save_job(one)
                with pytest.raises(ValueError, match=f"job '{one.id}' has .*save_flow"):
                    await store.save_bulk([new_job("alone"), one])
        assert events == []
        assert await states(store) == before

    # -- waiting ------------------------------------------------------------------------------

    async def test_a_parent_is_not_served_while_it_waits(self, store: StoreInterface) -> None:
        await save_family(store)
        assert await store.fetch_next_job(QUEUE, "w1", LOCK_DURATION) is None
        await complete(store, await fetch(store))
        assert await store.fetch_next_job(QUEUE, "w1", LOCK_DURATION) is None
        assert (await parent_of(store)).pending_children_count == 1

    async def test_a_parent_is_served_when_its_last_child_has_settled(
        self, store: StoreInterface
    ) -> None:
        await save_family(store)
        first, last = await fetch(store), await fetch(store)
        await complete(store, last)
        async with capture_events(store, None) as events:
            await complete(store, first)
        assert of_jobs(events) == ["job:completed a", "job:waiting p"]
        assert events.of_type("job:waiting")[0].data["previous"] == "waiting-children"
        assert (await fetch(store, QUEUE)).pending_children_count == 0

    async def test_a_failed_attempt_settles_no_child(self, store: StoreInterface) -> None:
        await save_family(store, attempts=2)
        await fail(store, await fetch(store))
        assert await states(store) == FAMILY
        for _ in "ab":
            await complete(store, await fetch(store))
        assert (await parent_of(store)).state is JobState.WAITING

    async def test_levels_run_from_the_leaves_to_the_root(self, store: StoreInterface) -> None:
        middle = family(new_job("m"), child("a"))
        await store.save_flow(family(new_job("r", queue="reports"), middle, child("b")))
        order = []
        for queue in (CHILDREN, CHILDREN, QUEUE, "reports"):
            job = await fetch(store, queue)
            order.append(job.id)
            await complete(store, job)
        assert order == ["a", "b", "m", "r"]

    # -- values -------------------------------------------------------------------------------

    async def test_values_are_those_of_the_completed_children(self, store: StoreInterface) -> None:
        await save_family(store)
        assert await store.get_children_values(QUEUE, "p") == {}
        first, last = await fetch(store), await fetch(store)
        await complete(store, last, {"size": [2]})
        assert await store.get_children_values(QUEUE, "p") == {"b": {"size": [2]}}
        await complete(store, first, None)
        values = await store.get_children_values(QUEUE, "p")
        assert list(values.items()) == [("a", None), ("b", {"size": [2]})]
        values["b"]["size"].append("mine")
        assert (await store.get_children_values(QUEUE, "p"))["b"] == {"size": [2]}

    async def test_values_outlive_children_that_are_removed(self, store: StoreInterface) -> None:
        parent = new_job("p")
        await store.save_flow(family(parent, child("a", remove_on_complete=True), child("b")))
        for size in (1, 2):
            await complete(store, await fetch(store), size)
        await store.remove_job(CHILDREN, "b")
        assert await store.get_children_jobs(QUEUE, "p") == []
        assert await store.get_children_values(QUEUE, "p") == {"a": 1, "b": 2}
        assert (await parent_of(store)).state is JobState.WAITING

    async def test_a_child_is_told_of_before_it_is_removed(self, store: StoreInterface) -> None:
        await store.save_flow(family(new_job("p"), child("a", remove_on_complete=True)))
        job = await fetch(store)
        async with capture_events(store, None) as events:
            await complete(store, job)
        assert of_jobs(events) == ["job:completed a", "job:waiting p", "job:removed a"]

    async def test_children_are_listed_as_the_flow_has_them(self, store: StoreInterface) -> None:
        await store.save_flow(family(new_job("p"), child("b"), new_job("c"), child("a")))
        await complete(store, await fetch(store))
        jobs = await store.get_children_jobs(QUEUE, "p")
        assert [(job.id, job.state) for job in jobs] == [
            ("b", JobState.COMPLETED),
            ("c", JobState.WAITING),
            ("a", JobState.WAITING),
        ]

    async def test_a_job_without_children_has_none(self, store: StoreInterface) -> None:
        await store.save_job(new_job("p"))
        for job_id in ("p", "nobody"):
            assert await store.get_children_jobs(QUEUE, job_id) == []
            assert await store.get_children_values(QUEUE, job_id) == {}

    async def test_the_parents_are_listed(self, store: StoreInterface) -> None:
        assert await store.list_flow_parents() == []
        middle = family(new_job("m"), child("a"))
        await store.save_flow(family(new_job("r", queue="reports"), middle, child("b")))
        await store.save_job(new_job("alone"))
        assert [job.id for job in await store.list_flow_parents()] == ["m", "r"]
        assert [job.id for job in await store.list_flow_parents(QUEUE)] == ["m"]
        assert await store.list_flow_parents(CHILDREN) == []
        await complete(store, await fetch(store))
        assert [job.id for job in await store.list_flow_parents(QUEUE)] == ["m"]

    # -- repairs ------------------------------------------------------------------------------

    @pytest.mark.parametrize("policy", ["fail", "ignore"])
    async def test_telling_a_parent_again_is_no_news(
        self, store: StoreInterface, policy: str
    ) -> None:
        await save_family(store, policy)
        await complete(store, await fetch(store))
        await fail(store, await fetch(store))
        before = await parent_of(store)
        async with capture_events(store, None) as events:
            for _ in range(2):
                assert await store.notify_child_completed(CHILDREN, "a") is False
                assert await store.fail_parent_on_child_failure(CHILDREN, "b") is False
        assert await parent_of(store) == before
        assert events == []

    async def test_a_parent_is_told_of_no_end_that_was_not(self, store: StoreInterface) -> None:
        await save_family(store)
        for tell in (store.notify_child_completed, store.fail_parent_on_child_failure):
            with pytest.raises(InvalidJobStateError):
                await tell(CHILDREN, "a")
            with pytest.raises(JobNotFoundError):
                await tell(CHILDREN, "nobody")
        assert await states(store) == FAMILY

    async def test_a_job_without_a_parent_tells_nobody(self, store: StoreInterface) -> None:
        await store.save_bulk([child("a"), child("b")])
        await complete(store, await fetch(store))
        await fail(store, await fetch(store))
        assert await store.notify_child_completed(CHILDREN, "a") is False
        assert await store.fail_parent_on_child_failure(CHILDREN, "b") is False
