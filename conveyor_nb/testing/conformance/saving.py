"""Adding jobs: ids, the state a job begins in, and batches."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import JobState
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    add_all,
    get,
    ids_in,
    in_state,
    likely_id,
    new_job,
    served,
)

__all__ = ["SavingTests"]


class SavingTests(StoreTests):
    """Adding jobs, as every store does it."""

    async def test_a_saved_job_waits_and_knows_when_it_was_created(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        saved = await add(store, "a", name="send", data={"to": "ada"})
        assert (saved.id, saved.name, saved.queue_name) == ("a", "send", QUEUE)
        assert saved.state is JobState.WAITING
        assert saved.data == {"to": "ada"}
        assert saved.created_at == clock.now()
        assert saved == await get(store, "a")

    async def test_a_saved_job_is_announced_as_waiting(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        async with capture_events(store, QUEUE) as events:
            await add(store, "a", name="welcome")
        assert events.story == ["job:waiting a"]
        assert events[0].queue_name == QUEUE
        assert events[0].timestamp == clock.now()
        assert events[0].data["name"] == "welcome"

    async def test_a_job_with_a_delay_begins_delayed(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        async with capture_events(store, QUEUE) as events:
            saved = await add(store, "a", delay="10 minutes")
        assert saved.state is JobState.DELAYED
        assert saved.delay_until == clock.now() + timedelta(minutes=10)
        assert events.story == ["job:delayed a"]
        assert events[0].data["delay_until"] == saved.delay_until

    async def test_a_job_without_an_id_gets_one_of_its_own(self, store: StoreInterface) -> None:
        first, second = await add(store), await add(store)
        assert first.id
        assert second.id
        assert first.id != second.id
        assert await ids_in(store) == [first.id, second.id]

    async def test_new_worker_ids_differ_and_show_the_name(self, store: StoreInterface) -> None:
        first, second = store.new_worker_id("mailer"), store.new_worker_id("mailer")
        assert first != second
        assert "mailer" in first

    @pytest.mark.parametrize("state", JobState)
    async def test_an_id_that_exists_gives_that_job_unchanged(
        self, store: StoreInterface, state: JobState
    ) -> None:
        existing = await in_state(store, state)
        async with capture_events(store, QUEUE) as events:
            again = await add(store, "a", name="other", data="other", priority=9)
        assert again == existing
        assert await get(store, "a") == existing
        assert await ids_in(store) == ["a"]
        assert events == []

    async def test_an_id_belongs_to_its_queue(self, store: StoreInterface) -> None:
        await add(store, "a", data=1)
        other = await add(store, "a", data=2, queue="reports")
        assert other.data == 2
        assert (await get(store, "a")).data == 1

    async def test_an_id_is_free_again_when_its_job_is_removed(self, store: StoreInterface) -> None:
        await add(store, "a", data=1)
        await store.remove_job(QUEUE, "a")
        assert (await add(store, "a", data=2)).data == 2

    async def test_places_are_given_in_order_and_not_given_again(
        self, store: StoreInterface
    ) -> None:
        await add_all(store, "a", "b")
        await store.remove_job(QUEUE, "b")
        await add(store, "c")
        places = [(await get(store, job_id)).sequence for job_id in "ac"]
        assert places == sorted(set(places))
        assert await served(store) == ["a", "c"]

    async def test_a_batch_is_saved_in_order(self, store: StoreInterface) -> None:
        async with capture_events(store, QUEUE) as events:
            saved = await store.save_bulk([new_job(name) for name in "bca"])
        assert [job.id for job in saved] == ["b", "c", "a"]
        assert events.story == ["job:waiting b", "job:waiting c", "job:waiting a"]
        assert await served(store) == ["b", "c", "a"]

    async def test_a_batch_may_go_to_several_queues(self, store: StoreInterface) -> None:
        async with capture_events(store, None) as events:
            await store.save_bulk([new_job("a"), new_job("b", queue="reports")])
        assert await store.count_jobs(QUEUE) == 1
        assert await store.count_jobs("reports") == 1
        assert [event.queue_name for event in events] == [QUEUE, "reports"]

    async def test_an_empty_batch_is_nothing(self, store: StoreInterface) -> None:
        async with capture_events(store, None) as events:
            assert await store.save_bulk([]) == []
        assert events == []

    async def test_a_batch_with_a_bad_payload_saves_nothing(self, store: StoreInterface) -> None:
        batch = [new_job("a"), new_job("b", data={"lock": threading.Lock()}), new_job("c")]
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(TypeError):
                await store.save_bulk(batch)
        assert await ids_in(store) == []
        assert events == []

    async def test_jobs_of_a_batch_without_ids_get_different_ones(
        self, store: StoreInterface
    ) -> None:
        saved = await store.save_bulk([new_job(data=n) for n in range(3)])
        assert len({job.id for job in saved}) == 3
        assert [job.data for job in saved] == [0, 1, 2]
        assert await store.count_jobs(QUEUE) == 3

    async def test_a_given_id_wins_over_one_that_is_made_for_the_batch(
        self, store: StoreInterface
    ) -> None:
        likely = await likely_id(store)
        saved = await store.save_bulk([new_job(), new_job(likely), new_job()])
        assert saved[1].id == likely
        assert len({job.id for job in saved}) == 3
        assert await store.count_jobs(QUEUE) == 3
        assert len(await served(store)) == 3
