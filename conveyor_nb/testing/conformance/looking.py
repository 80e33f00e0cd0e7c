"""Look-ups: by id, by state in order, in pages, counted; queues and workers."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import ChangePriority
from conveyor_nb.core.errors import InvalidJobStateError
from conveyor_nb.core.model import ALL_NAMES, JobState
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    add_all,
    complete,
    fail,
    get,
    ids_in,
    in_state,
    other_than,
    take,
)

__all__ = ["LookingTests"]


WITH_A_STATE: dict[str, Callable[[StoreInterface, str], Awaitable[object]]] = {
    "list_jobs": lambda store, state: store.list_jobs(QUEUE, state),
    "count_jobs": lambda store, state: store.count_jobs(QUEUE, state),
    "search_jobs": lambda store, state: store.search_jobs(QUEUE, states=["failed", state]),
    "update_job": lambda store, state: store.update_job(
        QUEUE, "a", {"data": 1}, expected_state=state
    ),
    "retry_jobs": lambda store, state: store.retry_jobs(QUEUE, state),
    "clean": lambda store, state: store.clean(QUEUE, state),
}
"""The steps that take a state."""


class LookingTests(StoreTests):
    """Look-ups, as every store does it."""

    # -- by id --------------------------------------------------------------------------------

    async def test_a_job_that_is_not_there_is_none(self, store: StoreInterface) -> None:
        await add(store, "a")
        assert await store.get_job(QUEUE, "b") is None
        assert await store.get_job("nowhere", "a") is None

    async def test_a_job_is_found_by_its_id_in_any_queue(self, store: StoreInterface) -> None:
        await add(store, "a")
        await add(store, "b", queue="reports")
        found = await store.find_job_by_id("b")
        assert found is not None
        assert found.queue_name == "reports"
        assert await store.find_job_by_id("c") is None

    # -- states given as text -----------------------------------------------------------------

    @pytest.mark.parametrize("state", JobState)
    async def test_a_state_may_be_given_as_text(
        self, store: StoreInterface, state: JobState
    ) -> None:
        job = await in_state(store, state)
        text = str(state.value)
        listed = await store.list_jobs(QUEUE, text)
        assert listed == await store.list_jobs(QUEUE, state) == [job]
        assert await store.count_jobs(QUEUE, text) == 1
        assert (await store.search_jobs(QUEUE, states=[text])).jobs == [job]
        updated = await store.update_job(QUEUE, job.id, {"data": 1}, expected_state=text)
        assert updated.data == 1
        other = next(str(one.value) for one in JobState if one is not state)
        with pytest.raises(InvalidJobStateError):
            await store.update_job(QUEUE, job.id, {"data": 2}, expected_state=other)
        if state in (JobState.COMPLETED, JobState.FAILED):
            assert await store.retry_jobs(QUEUE, text) == 1
            text = "waiting"
        if state is not JobState.ACTIVE:
            assert await store.clean(QUEUE, text) == 1

    @pytest.mark.parametrize("step", WITH_A_STATE)
    async def test_a_state_that_is_none_is_named(self, store: StoreInterface, step: str) -> None:
        await add(store, "a")
        told = r"'active', .* not 'wating'; did you mean 'waiting'\?"
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(ValueError, match=told):
                await WITH_A_STATE[step](store, "wating")
        assert events == []

    async def test_other_words_may_be_given_as_text_too(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        worker = WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now())
        running: Any = "running"
        await store.save_worker(replace(worker, status=running))
        assert await store.list_workers() == [worker]
        assert (await store.list_workers())[0].status is WorkerStatus.RUNNING
        wrong: Any = "runing"
        with pytest.raises(ValueError, match="not 'runing'; did you mean 'running'"):
            await store.save_worker(replace(worker, status=wrong))

    # -- in order -----------------------------------------------------------------------------

    @pytest.mark.parametrize(("start", "end"), [(-1, 5), (0, -1), (1.5, None), (0, "5")])
    async def test_a_position_is_a_whole_number(
        self, store: StoreInterface, start: Any, end: Any
    ) -> None:
        await add_all(store, "a", "b")
        with pytest.raises((TypeError, ValueError), match=r"(start|end) must be"):
            await store.list_jobs(QUEUE, JobState.WAITING, start, end)
        with pytest.raises((TypeError, ValueError), match=r"(start|end) must be"):
            await store.search_jobs(QUEUE, start=start, end=end)

    async def test_an_unknown_queue_lists_nothing(self, store: StoreInterface) -> None:
        assert await store.list_jobs("nowhere") == []
        assert await store.count_jobs("nowhere") == 0

    async def test_jobs_of_all_states_are_listed_as_they_were_added(
        self, store: StoreInterface
    ) -> None:
        await add(store, "c", priority=5)
        await add(store, "a", delay=60)
        await add(store, "b")
        await complete(store, await take(store))
        assert await ids_in(store) == ["c", "a", "b"]

    async def test_waiting_jobs_are_listed_in_order_of_service(self, store: StoreInterface) -> None:
        await add(store, "a", priority=1)
        await add(store, "b", name="log")
        await add(store, "c", lifo=True)
        await add(store, "d", priority=-1)
        await add(store, "e")
        assert await ids_in(store, JobState.WAITING) == ["d", "c", "b", "e", "a"]
        await store.apply(QUEUE, "a", ChangePriority(-2))
        assert await ids_in(store, JobState.WAITING) == ["a", "d", "c", "b", "e"]

    async def test_paused_jobs_are_listed_as_waiting(self, store: StoreInterface) -> None:
        await add(store, "a", name="send")
        await add(store, "b", name="log")
        await store.pause_job_name(QUEUE, "send")
        assert await ids_in(store, JobState.WAITING) == ["a", "b"]
        await store.pause_job_name(QUEUE, ALL_NAMES)
        assert await ids_in(store, JobState.WAITING) == ["a", "b"]

    async def test_delayed_jobs_are_listed_as_they_fall_due(self, store: StoreInterface) -> None:
        for job_id, delay in {"a": 30, "b": 10, "c": 20, "d": 10}.items():
            await add(store, job_id, delay=delay)
        assert await ids_in(store, JobState.DELAYED) == ["b", "d", "c", "a"]

    @pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
    async def test_settled_jobs_are_listed_as_they_settled(
        self, store: StoreInterface, clock: VirtualClock, state: JobState
    ) -> None:
        settle = complete if state is JobState.COMPLETED else fail
        await add_all(store, "a", "b", "c")
        first, second, third = [await take(store) for _ in range(3)]
        for job in (third, first, second):
            await settle(store, job)
            await clock.advance(1)
        assert await ids_in(store, state) == ["c", "a", "b"]

    async def test_jobs_that_settled_in_one_instant_are_listed_as_they_settled(
        self, store: StoreInterface
    ) -> None:
        await add_all(store, "a", "b")
        first, second = await take(store), await take(store)
        await complete(store, second)
        await complete(store, first)
        assert await ids_in(store, JobState.COMPLETED) == ["b", "a"]

    async def test_active_jobs_are_listed_as_they_started(self, store: StoreInterface) -> None:
        await add(store, "a", priority=1)
        await take(store)
        await add(store, "b")
        await take(store)
        assert await ids_in(store, JobState.ACTIVE) == ["a", "b"]

    # -- in pages -----------------------------------------------------------------------------

    @pytest.mark.parametrize("state", [*JobState, None], ids=str)
    async def test_pages_add_up_to_the_whole(
        self, store: StoreInterface, state: JobState | None
    ) -> None:
        ids = [f"job-{n}" for n in range(7)]
        for job_id in ids:
            await in_state(store, state or JobState.WAITING, job_id)
        for size in (1, 2, 3, 7, 9):
            pages = [
                [job.id for job in await store.list_jobs(QUEUE, state, start, start + size)]
                for start in range(0, 8, size)
            ]
            assert [job_id for page in pages for job_id in page] == ids
            assert max(map(len, pages)) <= size

    @pytest.mark.parametrize("state", [JobState.WAITING, JobState.DELAYED, None], ids=str)
    @pytest.mark.parametrize("start", range(6))
    @pytest.mark.parametrize("end", [*range(7), None])
    async def test_a_page_is_a_slice(
        self, store: StoreInterface, state: JobState | None, start: int, end: int | None
    ) -> None:
        ids = list("abcd")
        await add_all(store, *ids, delay=60 if state is JobState.DELAYED else 0)
        page = await store.list_jobs(QUEUE, state, start, end)
        assert [job.id for job in page] == ids[start:end]

    # -- counted ------------------------------------------------------------------------------

    async def test_every_state_is_counted(self, store: StoreInterface) -> None:
        assert await store.get_job_counts("nowhere") == dict.fromkeys(JobState, 0)
        await add_all(store, "a", "b", "c", "d")
        await complete(store, await take(store))
        await fail(store, await take(store))
        await take(store)
        await add(store, "e", delay=60)
        counts = {JobState.WAITING_CHILDREN: 0} | dict.fromkeys(
            other_than(JobState.WAITING_CHILDREN), 1
        )
        assert await store.get_job_counts(QUEUE) == counts
        assert {state: await store.count_jobs(QUEUE, state) for state in JobState} == counts
        assert await store.count_jobs(QUEUE) == 5

    async def test_active_jobs_are_counted_over_all_workers(self, store: StoreInterface) -> None:
        assert await store.get_active_count(QUEUE) == 0
        await add_all(store, "a", "b", "c")
        job = await take(store, "w1")
        await take(store, "w2")
        assert await store.get_active_count(QUEUE) == 2
        await complete(store, job)
        assert await store.get_active_count(QUEUE) == 1

    async def test_jobs_that_wait_or_run_are_counted_up_to_a_limit(
        self, store: StoreInterface
    ) -> None:
        assert await store.count_busy_jobs(QUEUE, 10) == 0
        await add_all(store, "a", "b", "c")
        await add(store, "d", delay=60)
        await complete(store, await take(store))
        await take(store)
        assert await store.count_busy_jobs(QUEUE, 10) == 2
        assert await store.count_busy_jobs(QUEUE, 1) == 1

    # -- queues -------------------------------------------------------------------------------

    async def test_queues_are_listed_by_name(self, store: StoreInterface) -> None:
        assert await store.list_queues() == []
        await add(store, "a", queue="reports")
        await add(store, "a", queue="emails")
        assert await store.list_queues() == ["emails", "reports"]

    async def test_a_queue_is_listed_when_its_last_job_is_gone(self, store: StoreInterface) -> None:
        await add(store, "a")
        await store.remove_job(QUEUE, "a")
        assert await store.list_queues() == [QUEUE]

    async def test_looking_at_a_queue_does_not_make_one(self, store: StoreInterface) -> None:
        await store.get_job_counts("nowhere")
        await store.list_jobs("nowhere")
        await store.fetch_next_job("nowhere", "w1", 30)
        await store.get_paused_job_names("nowhere")
        await store.drain("nowhere")
        assert await store.list_queues() == []

    # -- workers ------------------------------------------------------------------------------

    async def test_workers_are_listed_in_order_of_start(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        assert await store.list_workers() == []
        first = WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now())
        later = clock.now() + timedelta(seconds=1)
        second = WorkerInfo("w0", "w", "reports", 2, WorkerStatus.RUNNING, later)
        third = WorkerInfo("w2", "w", QUEUE, 3, WorkerStatus.PAUSED, later)
        for worker in (first, second, third):
            await store.save_worker(worker)
        assert await store.list_workers() == [first, second, third]
        assert await store.list_workers(QUEUE) == [first, third]

    async def test_a_worker_that_is_saved_again_is_replaced(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        first = WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now())
        second = replace(first, id="w2")
        paused = replace(first, status=WorkerStatus.PAUSED)
        for worker in (first, second, paused):
            await store.save_worker(worker)
        assert await store.list_workers() == [paused, second]

    async def test_a_closed_worker_is_listed_no_more(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        worker = WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now())
        await store.save_worker(worker)
        await store.save_worker(replace(worker, status=WorkerStatus.CLOSED))
        assert await store.list_workers() == []

    async def test_a_worker_that_closes_is_listed_until_it_has_closed(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        worker = WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now())
        closing = replace(worker, status=WorkerStatus.CLOSING)
        await store.save_worker(worker)
        await store.save_worker(closing)
        assert await store.list_workers() == [closing]

    async def test_a_worker_that_stopped_is_listed_no_more(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        worker = WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now())
        await store.save_worker(worker)
        async with capture_events(store, QUEUE) as events:
            await store.save_worker(replace(worker, status=WorkerStatus.STOPPED))
        assert await store.list_workers() == []
        assert events.types == ["worker:closed"]

    async def test_it_is_told_when_a_worker_was_last_seen(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        worker = WorkerInfo("w1", "w", QUEUE, 1, WorkerStatus.RUNNING, clock.now())
        await store.save_worker(worker)
        await store.save_worker(replace(worker, id="w2"))
        began = clock.now()
        assert [one.last_seen for one in await store.list_workers()] == [began, began]
        await clock.advance(10)
        async with capture_events(store, None) as events:
            assert await store.renew_locks(QUEUE, "w1", {}, 30) == []
        assert events == []
        first, second = await store.list_workers()
        assert first.last_seen == clock.now()
        if store.idle_beat is not None:  # other stores may see it by themselves
            assert second.last_seen == began

    async def test_nobody_is_listed_for_being_seen(self, store: StoreInterface) -> None:
        assert await store.renew_locks(QUEUE, "w1", {}, 30) == []
        assert await store.list_workers() == []

    async def test_the_life_of_a_worker_is_told(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        worker = WorkerInfo("w1", "mailer", QUEUE, 1, WorkerStatus.RUNNING, clock.now())
        async with capture_events(store, QUEUE) as events:
            await store.save_worker(worker)
            await store.save_worker(replace(worker, status=WorkerStatus.PAUSED))
            await store.save_worker(worker)
            await store.save_worker(replace(worker, status=WorkerStatus.CLOSING))
            await store.save_worker(replace(worker, status=WorkerStatus.CLOSED))
        assert events.types == [
            "worker:started",
            "worker:paused",
            "worker:started",
            "worker:paused",
            "worker:closed",
        ]
        assert {event.data["worker_id"] for event in events} == {"w1"}
        assert {event.data["name"] for event in events} == {"mailer"}

    async def test_a_job_knows_its_worker_after_a_look_up(self, store: StoreInterface) -> None:
        await add(store, "a")
        await take(store, "w7")
        assert (await get(store, "a")).locked_by == "w7"
