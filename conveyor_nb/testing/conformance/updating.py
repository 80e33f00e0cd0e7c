"""Changing a job that is there: payload, progress, priority, log; and removing it."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import threading
from typing import Any

import pytest

from conveyor_nb.core.actions import ClearLogs, Log, SetProgress, UpdateData
from conveyor_nb.core.errors import InvalidJobStateError, JobNotFoundError
from conveyor_nb.core.model import JobState
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    add_all,
    apply,
    fail,
    get,
    ids_in,
    in_state,
    lock_of,
    next_id,
    other_than,
    served,
    take,
)

__all__ = ["UpdatingTests"]


class UpdatingTests(StoreTests):
    """Changing jobs, as every store does it."""

    # -- update_job ---------------------------------------------------------------------------

    async def test_an_update_changes_what_it_names(self, store: StoreInterface) -> None:
        before = await add(store, "a", data=1)
        changed = await store.update_job(QUEUE, "a", {"data": 2, "progress": 40, "priority": 3})
        assert (changed.data, changed.progress, changed.priority) == (2, 40, 3)
        assert (changed.state, changed.sequence) == (before.state, before.sequence)
        assert await get(store, "a") == changed

    async def test_an_update_of_the_payload_alone_is_silent(self, store: StoreInterface) -> None:
        await add(store, "a")
        async with capture_events(store, QUEUE) as events:
            await store.update_job(QUEUE, "a", {"data": 2})
        assert events == []

    async def test_an_update_of_the_progress_is_told(self, store: StoreInterface) -> None:
        await add(store, "a")
        async with capture_events(store, QUEUE) as events:
            await store.update_job(QUEUE, "a", {"progress": 40})
        assert events.story == ["job:progress a"]
        assert events[0].data["progress"] == 40

    async def test_an_update_may_expect_a_state(self, store: StoreInterface) -> None:
        await in_state(store, JobState.ACTIVE)
        changed = await store.update_job(QUEUE, "a", {"data": 2}, expected_state=JobState.ACTIVE)
        assert changed.data == 2

    @pytest.mark.parametrize("state", other_than(JobState.DELAYED))
    async def test_an_update_that_expected_another_state_changes_nothing(
        self, store: StoreInterface, state: JobState
    ) -> None:
        before = await in_state(store, state)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(InvalidJobStateError) as caught:
                await store.update_job(
                    QUEUE, "a", {"data": 2, "progress": 40}, expected_state=JobState.DELAYED
                )
        assert caught.value.current_state == state
        assert caught.value.expected_states == (JobState.DELAYED,)
        assert await get(store, "a") == before
        assert events == []

    @pytest.mark.parametrize("field", ["state", "id", "locked_by", "attempts_made", "nonsense"])
    async def test_an_update_names_no_other_field(self, store: StoreInterface, field: str) -> None:
        before = await add(store, "a")
        with pytest.raises(ValueError, match=field):
            await store.update_job(QUEUE, "a", {"data": 2, field: "x"})
        assert await get(store, "a") == before

    async def test_an_update_of_a_job_that_is_not_there_is_an_error(
        self, store: StoreInterface
    ) -> None:
        with pytest.raises(JobNotFoundError):
            await store.update_job(QUEUE, "a", {"data": 2})

    @pytest.mark.parametrize("good", [{"progress": 40}, {"priority": 4}], ids=str)
    async def test_an_update_that_is_refused_in_part_changes_nothing(
        self, store: StoreInterface, good: dict[str, Any]
    ) -> None:
        before = await add(store, "a", data=1)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(TypeError):
                await store.update_job(QUEUE, "a", {**good, "data": threading.Lock()})
            await add(store, "b")
        assert await get(store, "a") == before
        assert events.story == ["job:waiting b"]

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            ({"progress": 101}, ValueError),
            ({"progress": -1}, ValueError),
            ({"progress": float("nan")}, ValueError),
            ({"progress": "half"}, TypeError),
            ({"priority": float("nan")}, ValueError),
            ({"priority": "high"}, TypeError),
        ],
        ids=str,
    )
    async def test_an_update_with_a_bad_value_changes_nothing(
        self, store: StoreInterface, bad: dict[str, Any], error: type[Exception]
    ) -> None:
        before = await add(store, "a", data=1)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(error):
                await store.update_job(QUEUE, "a", {"data": 2, **bad})
        assert await get(store, "a") == before
        assert events == []

    async def test_an_update_of_a_settled_job_changes_all_or_nothing(
        self, store: StoreInterface
    ) -> None:
        before = await in_state(store, JobState.COMPLETED)
        with pytest.raises(InvalidJobStateError):
            await store.update_job(QUEUE, "a", {"data": 2, "priority": 5})
        assert await get(store, "a") == before

    async def test_a_running_job_that_gets_another_priority_has_not_started_again(
        self, store: StoreInterface
    ) -> None:
        limiter = Limiter(2, 60)
        await add_all(store, "a", "b", "c")
        await take(store, limiter=limiter)
        await store.update_job(QUEUE, "a", {"priority": 5})
        assert await next_id(store, limiter=limiter) == "b"
        assert await next_id(store, limiter=limiter) is None
        assert await ids_in(store, JobState.ACTIVE) == ["a", "b"]

    async def test_a_running_job_that_gets_another_priority_is_served_by_it_later(
        self, store: StoreInterface
    ) -> None:
        await add_all(store, "a", "b", attempts=2)
        job = await take(store)
        async with capture_events(store, QUEUE) as events:
            await store.update_job(QUEUE, "a", {"priority": 5})
        assert events == []
        await store.release_lock(QUEUE, "a", lock_of(job))
        assert await served(store) == ["b", "a"]

    # -- payload, progress and log ------------------------------------------------------------

    @pytest.mark.parametrize("state", JobState)
    async def test_a_payload_can_be_replaced_in_any_state(
        self, store: StoreInterface, state: JobState
    ) -> None:
        await in_state(store, state)
        assert (await store.apply(QUEUE, "a", UpdateData({"x": 1}))).data == {"x": 1}
        assert (await get(store, "a")).data == {"x": 1}

    async def test_progress_is_kept_and_told(self, store: StoreInterface) -> None:
        job = await in_state(store, JobState.ACTIVE)
        async with capture_events(store, QUEUE) as events:
            await apply(store, job, SetProgress(25))
            await apply(store, job, SetProgress(50))
        assert (await get(store, "a")).progress == 50
        assert events.story == ["job:progress a", "job:progress a"]
        assert [event.data["progress"] for event in events] == [25, 50]

    async def test_a_log_line_goes_to_the_job_and_to_its_attempt(
        self, store: StoreInterface
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        async with capture_events(store, QUEUE) as events:
            await apply(store, job, Log("one"))
            logged = await apply(store, job, Log("two"))
        assert logged.logs == logged.attempt_logs[0].logs == ("one", "two")
        assert events.story == ["job:log a", "job:log a"]
        assert [event.data["line"] for event in events] == ["one", "two"]

    async def test_each_attempt_keeps_its_own_lines(self, store: StoreInterface) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await apply(store, job, Log("one"))
        await fail(store, job)
        logged = await apply(store, await take(store), Log("two"))
        assert logged.logs == ("one", "two")
        assert [record.logs for record in logged.attempt_logs] == [("one",), ("two",)]

    async def test_a_job_that_does_not_run_can_be_logged_to(self, store: StoreInterface) -> None:
        await add(store, "a")
        assert (await store.apply(QUEUE, "a", Log("note"))).logs == ("note",)

    async def test_a_log_can_be_cleared(self, store: StoreInterface) -> None:
        await add(store, "a")
        await store.apply(QUEUE, "a", Log("note"))
        async with capture_events(store, QUEUE) as events:
            assert (await store.apply(QUEUE, "a", ClearLogs())).logs == ()
        assert events.story == ["job:log a"]

    # -- remove_job ---------------------------------------------------------------------------

    @pytest.mark.parametrize("state", JobState)
    async def test_a_job_can_be_removed_in_any_state(
        self, store: StoreInterface, state: JobState
    ) -> None:
        await in_state(store, state)
        async with capture_events(store, QUEUE) as events:
            assert await store.remove_job(QUEUE, "a") is True
        assert events.story == ["job:removed a"]
        assert events[0].data["previous"] == state
        assert await store.get_job(QUEUE, "a") is None
        assert set((await store.get_job_counts(QUEUE)).values()) == {0}
        assert await served(store) == []

    async def test_a_removed_job_that_ran_is_told_to_its_worker(
        self, store: StoreInterface
    ) -> None:
        await in_state(store, JobState.ACTIVE)
        async with capture_events(store, QUEUE) as events:
            await store.remove_job(QUEUE, "a")
        assert events[0].data["worker_id"] == "w1"
        assert await store.get_active_count(QUEUE) == 0

    async def test_a_job_that_is_not_there_is_not_removed(self, store: StoreInterface) -> None:
        await add(store, "a", queue="reports")
        async with capture_events(store, None) as events:
            assert await store.remove_job(QUEUE, "a") is False
            assert await store.remove_job("reports", "b") is False
        assert events == []
