"""Deduplication: while an unfinished job holds a key, adding another one gives that job."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import pytest
from msgspec.structs import replace

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Cancel, Retry
from conveyor_nb.core.errors import RetryRefusedError
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.options.job_options import Deduplication
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    QUEUE,
    add,
    complete,
    fail,
    get,
    ids_in,
    new_job,
    take,
)

__all__ = ["DeduplicatingTests"]

KEY = Deduplication(key="daily")
KEY_FOR_A_MINUTE = Deduplication(key="daily", ttl="1m")


async def holder(store: StoreInterface) -> str | None:
    """The id of the job that holds the key."""
    job = await store.find_by_deduplication_key(QUEUE, "daily")
    return job.id if job else None


def hashed(job_id: str, name: str) -> JobData:
    """A job of which the payload's hash is the key."""
    job = new_job(job_id, name, deduplication=Deduplication(hash=True))
    return replace(job, deduplication_key="0" * 64)


class DeduplicatingTests(StoreTests):
    """Deduplication, as every store does it."""

    async def test_nobody_holds_a_new_key(self, store: StoreInterface) -> None:
        assert await holder(store) is None

    async def test_a_key_that_is_held_gives_the_job_that_holds_it(
        self, store: StoreInterface
    ) -> None:
        first = await add(store, "a", data=1, deduplication=KEY)
        async with capture_events(store, QUEUE) as events:
            second = await add(store, "b", data=2, deduplication=KEY)
        assert second == first
        assert await ids_in(store) == ["a"]
        assert events == []
        assert await holder(store) == "a"

    async def test_a_delayed_job_holds_its_key(self, store: StoreInterface) -> None:
        await add(store, "a", delay=60, deduplication=KEY)
        assert (await add(store, "b", deduplication=KEY)).id == "a"

    async def test_an_active_job_holds_its_key(self, store: StoreInterface) -> None:
        await add(store, "a", deduplication=KEY)
        await take(store)
        assert (await add(store, "b", deduplication=KEY)).id == "a"

    async def test_a_job_between_two_attempts_holds_its_key(self, store: StoreInterface) -> None:
        await add(store, "a", attempts=2, backoff=60, deduplication=KEY)
        await fail(store, await take(store))
        assert (await add(store, "b", deduplication=KEY)).id == "a"

    async def test_a_completed_job_lets_go_of_its_key(self, store: StoreInterface) -> None:
        await add(store, "a", deduplication=KEY)
        await complete(store, await take(store))
        assert await holder(store) is None
        assert (await add(store, "b", deduplication=KEY)).id == "b"

    async def test_a_failed_job_lets_go_of_its_key(self, store: StoreInterface) -> None:
        await add(store, "a", deduplication=KEY)
        await fail(store, await take(store))
        assert (await add(store, "b", deduplication=KEY)).id == "b"

    async def test_a_cancelled_job_lets_go_of_its_key(self, store: StoreInterface) -> None:
        await add(store, "a", deduplication=KEY)
        await store.apply(QUEUE, "a", Cancel())
        assert (await add(store, "b", deduplication=KEY)).id == "b"

    async def test_a_removed_job_lets_go_of_its_key(self, store: StoreInterface) -> None:
        await add(store, "a", deduplication=KEY)
        await store.remove_job(QUEUE, "a")
        assert await holder(store) is None
        assert (await add(store, "b", deduplication=KEY)).id == "b"

    async def test_a_drained_job_lets_go_of_its_key(self, store: StoreInterface) -> None:
        await add(store, "a", deduplication=KEY)
        await store.drain(QUEUE)
        assert (await add(store, "b", deduplication=KEY)).id == "b"

    async def test_a_retried_job_holds_its_key_again(self, store: StoreInterface) -> None:
        await add(store, "a", deduplication=KEY)
        await fail(store, await take(store))
        await store.apply(QUEUE, "a", Retry())
        assert (await add(store, "b", deduplication=KEY)).id == "a"

    async def test_a_retry_never_makes_two_unfinished_jobs_of_one_key(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", deduplication=KEY)
        failed = await fail(store, await take(store))
        await add(store, "b", deduplication=KEY)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(RetryRefusedError) as caught:
                await store.apply(QUEUE, "a", Retry())
        assert (caught.value.job_id, caught.value.holder_id) == ("a", "b")
        assert "'b' has its deduplication key" in str(caught.value)
        assert await get(store, "a") == failed
        assert events == []
        assert await holder(store) == "b"

    async def test_a_job_may_be_retried_when_its_key_is_free_again(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", deduplication=KEY)
        await fail(store, await take(store))
        await add(store, "b", deduplication=KEY)
        await complete(store, await take(store))
        await store.apply(QUEUE, "a", Retry())
        assert await holder(store) == "a"

    async def test_of_many_retried_jobs_those_whose_key_is_held_are_left_out(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", deduplication=KEY)
        await fail(store, await take(store))
        await add(store, "b", deduplication=KEY)
        await fail(store, await take(store))
        await add(store, "c")
        await fail(store, await take(store))
        async with capture_events(store, QUEUE) as events:
            assert await store.retry_jobs(QUEUE) == 2
        assert events.story == ["job:waiting a", "queue:error b", "job:waiting c"]
        assert "'a' has its deduplication key" in events[1].data["error"]
        assert (await get(store, "b")).state is JobState.FAILED

    # -- hashes of payloads -------------------------------------------------------------------

    async def test_the_hash_of_a_payload_is_held_for_each_job_name(
        self, store: StoreInterface
    ) -> None:
        saved = [await store.save_job(hashed(name, name)) for name in ("send", "call")]
        again = await store.save_job(hashed("again", "send"))
        assert [job.id for job in (*saved, again)] == ["send", "call", "send"]
        for name in ("send", "call"):
            found = await store.find_by_deduplication_key(QUEUE, "0" * 64, name)
            assert found is not None
            assert found.id == name
        assert await store.find_by_deduplication_key(QUEUE, "0" * 64, "other") is None

    async def test_a_batch_tells_the_names_of_one_hash_apart_too(
        self, store: StoreInterface
    ) -> None:
        batch = [hashed("a", "send"), hashed("b", "call"), hashed("c", "send")]
        assert [job.id for job in await store.save_bulk(batch)] == ["a", "b", "a"]

    async def test_a_retried_job_holds_its_key_though_an_older_one_let_it_go(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", deduplication=KEY_FOR_A_MINUTE)
        await clock.advance(60)
        await add(store, "b", deduplication=KEY)
        await store.apply(QUEUE, "b", Cancel())
        await store.apply(QUEUE, "b", Retry())
        assert await holder(store) == "b"
        assert (await add(store, "c", deduplication=KEY)).id == "b"

    async def test_a_key_belongs_to_its_queue(self, store: StoreInterface) -> None:
        await add(store, "a", deduplication=KEY)
        other = await add(store, "b", queue="reports", deduplication=KEY)
        assert other.id == "b"

    @pytest.mark.parametrize(("seconds", "given"), [(59.9, "a"), (60, "b")])
    async def test_a_key_with_a_ttl_is_held_for_that_long(
        self, store: StoreInterface, clock: VirtualClock, seconds: float, given: str
    ) -> None:
        await add(store, "a", deduplication=KEY_FOR_A_MINUTE)
        await clock.advance(seconds)
        assert await holder(store) == ("a" if given == "a" else None)
        assert (await add(store, "b", deduplication=KEY_FOR_A_MINUTE)).id == given

    async def test_a_key_is_not_lost_when_an_older_holder_ends(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", deduplication=KEY_FOR_A_MINUTE)
        older = await take(store)
        await clock.advance(60)
        await add(store, "b", deduplication=KEY_FOR_A_MINUTE)
        await complete(store, older)
        assert await holder(store) == "b"

    async def test_a_key_with_a_ttl_is_let_go_of_at_the_end_too(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", deduplication=KEY_FOR_A_MINUTE)
        await complete(store, await take(store))
        assert (await add(store, "b", deduplication=KEY_FOR_A_MINUTE)).id == "b"

    async def test_a_batch_is_deduplicated_within_itself(self, store: StoreInterface) -> None:
        batch = [
            new_job("a", data=1, deduplication=KEY),
            new_job("b", data=2),
            new_job("c", data=3, deduplication=KEY),
            new_job("b", data=4),
        ]
        async with capture_events(store, QUEUE) as events:
            saved = await store.save_bulk(batch)
        assert [(job.id, job.data) for job in saved] == [("a", 1), ("b", 2), ("a", 1), ("b", 2)]
        assert events.story == ["job:waiting a", "job:waiting b"]
        assert await ids_in(store) == ["a", "b"]

    async def test_a_batch_is_deduplicated_against_what_is_there(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", data=1, deduplication=KEY)
        saved = await store.save_bulk(
            [new_job("x", deduplication=KEY), new_job("a"), new_job("b", data=2)]
        )
        assert [(job.id, job.data) for job in saved] == [("a", 1), ("a", 1), ("b", 2)]
        assert await ids_in(store) == ["a", "b"]
