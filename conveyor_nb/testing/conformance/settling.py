"""How attempts end: completed, failed, tried again, stalled, put off; and running once more."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from datetime import timedelta

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Complete, Discard, Fail, MoveToDelayed, Retry, Stall
from conveyor_nb.core.errors import InvalidJobStateError, JobNotFoundError
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import AttemptStatus, EventType, JobState
from conveyor_nb.core.options.backoff import Backoff
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    LOCK_DURATION,
    QUEUE,
    add,
    apply,
    complete,
    fail,
    get,
    in_state,
    lock_of,
    next_id,
    other_than,
    served,
    stall,
    state_of,
    take,
)

__all__ = ["SettlingTests"]


class SettlingTests(StoreTests):
    """How attempts end, as every store does it."""

    # -- completed ----------------------------------------------------------------------------

    async def test_the_record_of_an_attempt_tells_in_which_slot_it_ran(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", attempts=3)
        for slot in (3, None, 1):
            asked = FetchOptions(slot=slot)
            [taken] = (await store.fetch_jobs(QUEUE, "w1", LOCK_DURATION, asked)).jobs
            assert taken.attempt_logs[-1].slot == slot
            assert (await fail(store, taken)).attempt_logs[-1].slot == slot
        assert [record.slot for record in (await get(store, "a")).attempt_logs] == [3, None, 1]

    async def test_a_completed_job_has_its_result_and_its_times(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        started = clock.now()
        job = await in_state(store, JobState.ACTIVE)
        await clock.advance(5)
        async with capture_events(store, QUEUE) as events:
            done = await complete(store, job, {"sent": True})
        assert done.state is JobState.COMPLETED
        assert done.returnvalue == {"sent": True}
        assert (done.processed_at, done.completed_at) == (started, clock.now())
        assert (done.locked_by, done.lock_until) == (None, None)
        assert done.attempts_made == 0
        assert events.story == ["job:completed a", "queue:drained"]
        assert "returnvalue" not in events[0].data, "the record has it"
        assert await get(store, "a") == done

    async def test_an_attempt_that_completed_is_on_record(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await clock.advance(5)
        [record] = (await complete(store, job)).attempt_logs
        assert (record.attempt, record.worker_id) == (1, "w1")
        assert (record.started_at, record.ended_at) == (job.processed_at, clock.now())
        assert (record.status, record.error) == (AttemptStatus.COMPLETED, None)

    async def test_a_queue_is_drained_when_nothing_waits_or_runs(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a")
        await add(store, "b")
        await add(store, "c", delay=60)
        first, second = await take(store), await take(store)
        async with capture_events(store, QUEUE) as events:
            await complete(store, first)
            await complete(store, second)
        assert events.story == ["job:completed a", "job:completed b", "queue:drained"]

    # -- failed -------------------------------------------------------------------------------

    async def test_a_job_out_of_attempts_fails(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a")
        job = await take(store)
        async with capture_events(store, QUEUE) as events:
            failed = await apply(store, job, Fail("boom", "Traceback ..."))
        assert failed.state is JobState.FAILED
        assert (failed.failed_reason, failed.stacktrace) == ("boom", ("Traceback ...",))
        assert failed.failed_at == clock.now()
        assert failed.attempts_made == 1
        assert (failed.locked_by, failed.lock_until) == (None, None)
        assert events.story == ["job:failed a", "queue:drained"]
        assert events[0].data["reason"] == "boom"
        assert await get(store, "a") == failed

    async def test_an_attempt_that_failed_is_on_record(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a")
        job = await take(store)
        await clock.advance(5)
        [record] = (await apply(store, job, Fail("boom", "Traceback ..."))).attempt_logs
        assert record.status is AttemptStatus.FAILED
        assert (record.error, record.stacktrace) == ("boom", "Traceback ...")
        assert record.ended_at == clock.now()

    async def test_a_final_failure_leaves_attempts_unused(self, store: StoreInterface) -> None:
        await add(store, "a", attempts=5)
        failed = await apply(store, await take(store), Fail("boom", final=True))
        assert failed.state is JobState.FAILED
        assert failed.attempts_made == 1

    async def test_a_discarded_job_fails_at_once(self, store: StoreInterface) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await store.apply(QUEUE, "a", Discard())
        assert (await fail(store, job)).state is JobState.FAILED

    async def test_a_job_discarded_before_it_ran_has_one_attempt(
        self, store: StoreInterface
    ) -> None:
        await add(store, "a", attempts=5)
        await store.apply(QUEUE, "a", Discard())
        assert (await fail(store, await take(store))).state is JobState.FAILED

    # -- tried again --------------------------------------------------------------------------

    async def test_a_failed_attempt_without_backoff_waits_at_once(
        self, store: StoreInterface
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        async with capture_events(store, QUEUE) as events:
            failed = await fail(store, job)
        assert failed.state is JobState.WAITING
        assert (failed.attempts_made, failed.failed_reason) == (1, "boom")
        assert (failed.locked_by, failed.failed_at) == (None, None)
        assert events.story == ["job:retrying a", "job:waiting a"]
        assert (events[0].data["reason"], events[0].data["attempts_made"]) == ("boom", 1)

    async def test_attempts_are_spent_one_by_one(self, store: StoreInterface) -> None:
        await add(store, "a", attempts=3)
        made = [await fail(store, await take(store)) for _ in range(3)]
        assert [job.attempts_made for job in made] == [1, 2, 3]
        assert [job.state for job in made] == ["waiting", "waiting", "failed"]
        assert [record.attempt for record in made[-1].attempt_logs] == [1, 2, 3]
        assert await next_id(store) is None

    async def test_a_fixed_backoff_delays_the_next_attempt(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", attempts=3, backoff="10s")
        job = await take(store)
        async with capture_events(store, QUEUE) as events:
            failed = await fail(store, job)
        assert failed.state is JobState.DELAYED
        assert failed.delay_until == clock.now() + timedelta(seconds=10)
        assert events.story == ["job:retrying a", "job:delayed a"]
        assert events[0].data["delay"] == 10
        assert await next_id(store) is None
        await clock.advance(10)
        again = await fail(store, await take(store))
        assert again.delay_until == clock.now() + timedelta(seconds=10)

    async def test_an_exponential_backoff_doubles_with_some_jitter(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", attempts=9, backoff=Backoff("exponential", "1s"))
        for doubled in (1, 2, 4, 8, 16):
            failed = await fail(store, await take(store))
            assert failed.delay_until is not None
            delay = (failed.delay_until - clock.now()).total_seconds()
            assert 0.75 * doubled <= delay <= 1.25 * doubled
            await clock.advance(delay)

    async def test_full_jitter_takes_any_wait_up_to_the_whole(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        waits = []
        backoff = Backoff("fixed", "10s", jitter="full")
        await add(store, "a", attempts=31, backoff=backoff)
        for _ in range(30):
            failed = await fail(store, await take(store))
            waits.append(((failed.delay_until or clock.now()) - clock.now()).total_seconds())
            await clock.advance("10s")
        assert failed.opts.backoff == backoff
        assert 0 <= min(waits) < 5 < max(waits) <= 10

    async def test_an_exponential_backoff_is_a_day_at_most(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", attempts=9, backoff=Backoff("exponential", "20h"))
        await fail(store, await take(store))
        await clock.advance("1 day")
        for _ in range(3):
            failed = await fail(store, await take(store))
            assert failed.delay_until is not None
            assert failed.delay_until - clock.now() <= timedelta(days=1)
            await clock.advance("1 day")

    # -- stalled ------------------------------------------------------------------------------

    async def test_a_job_whose_lock_ran_out_is_listed_as_stalled(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await clock.advance(LOCK_DURATION - 0.001)
        assert await store.get_stalled_jobs(QUEUE) == []
        await clock.advance(0.001)
        assert await store.get_stalled_jobs(QUEUE) == [job]
        await store.extend_lock(QUEUE, "a", lock_of(job), LOCK_DURATION)
        assert await store.get_stalled_jobs(QUEUE) == []

    async def test_a_stall_is_a_failed_attempt(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a", attempts=2, backoff=60)
        job = await take(store)
        async with capture_events(store, QUEUE) as events:
            stalled = await stall(store, clock, job)
        assert stalled.state is JobState.WAITING
        assert stalled.attempts_made == 1
        assert (stalled.locked_by, stalled.lock_until) == (None, None)
        assert stalled.attempt_logs[0].status is AttemptStatus.FAILED
        assert events.story == ["job:stalled a", "job:retrying a", "job:waiting a"]
        assert events[0].data["worker_id"] == "w1"

    async def test_a_stall_at_the_last_attempt_fails_the_job(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(store, "a")
        job = await take(store)
        async with capture_events(store, QUEUE) as events:
            stalled = await stall(store, clock, job)
        assert stalled.state is JobState.FAILED
        assert stalled.failed_reason is not None
        assert stalled.failed_reason.startswith("stalled")
        assert events.story == ["job:stalled a", "job:failed a", "queue:drained"]

    async def test_a_discarded_job_that_stalls_fails(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await store.apply(QUEUE, "a", Discard())
        assert (await stall(store, clock, job)).state is JobState.FAILED

    @pytest.mark.parametrize("state", JobState)
    async def test_a_job_whose_lock_holds_can_not_be_said_to_stall(
        self, store: StoreInterface, state: JobState
    ) -> None:
        before = await in_state(store, state)
        async with capture_events(store, QUEUE) as events:
            assert await store.apply(QUEUE, "a", Stall()) == before
        assert await get(store, "a") == before
        assert events == []

    # -- put off ------------------------------------------------------------------------------

    async def test_a_job_that_is_put_off_spends_no_attempt(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        until = clock.now() + timedelta(hours=1)
        async with capture_events(store, QUEUE) as events:
            delayed = await apply(store, job, MoveToDelayed(until))
        assert delayed.state is JobState.DELAYED
        assert (delayed.delay_until, delayed.attempts_made) == (until, 0)
        assert (delayed.locked_by, delayed.lock_until) == (None, None)
        assert delayed.attempt_logs[0].ended_at == clock.now()
        assert delayed.attempt_logs[0].outcome == "put back"
        assert events.story == ["job:delayed a"]
        await clock.advance("1 hour")
        assert await served(store) == ["a"]

    async def test_a_job_that_is_put_off_until_now_waits(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        waiting = await apply(store, job, MoveToDelayed(clock.now()))
        assert (waiting.state, waiting.delay_until) == (JobState.WAITING, None)

    # -- once more ----------------------------------------------------------------------------

    @pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
    async def test_a_settled_job_can_be_retried_from_the_start(
        self, store: StoreInterface, state: JobState
    ) -> None:
        settled = await in_state(store, state)
        async with capture_events(store, QUEUE) as events:
            retried = await store.apply(QUEUE, "a", Retry())
        assert retried.state is JobState.WAITING
        assert (retried.attempts_made, retried.progress) == (0, 0)
        assert (retried.returnvalue, retried.failed_reason) == (None, None)
        assert (retried.completed_at, retried.failed_at) == (None, None)
        assert retried.attempt_logs == settled.attempt_logs
        assert retried.created_at == settled.created_at
        assert events.story == ["job:waiting a"]
        assert events[0].data["previous"] == state
        assert await get(store, "a") == retried

    async def test_a_retried_job_has_all_its_attempts_again(self, store: StoreInterface) -> None:
        await in_state(store, JobState.FAILED)
        await store.apply(QUEUE, "a", Retry())
        assert (await fail(store, await take(store))).state is JobState.WAITING
        last = await fail(store, await take(store))
        assert last.state is JobState.FAILED
        assert [record.attempt for record in last.attempt_logs] == [1, 2, 3]

    async def test_a_discarded_job_that_is_retried_may_fail_again(
        self, store: StoreInterface
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await store.apply(QUEUE, "a", Discard())
        await fail(store, job)
        assert not (await store.apply(QUEUE, "a", Retry())).discarded
        assert (await fail(store, await take(store))).state is JobState.WAITING

    @pytest.mark.parametrize("state", other_than(JobState.COMPLETED, JobState.FAILED))
    async def test_an_unfinished_job_can_not_be_retried(
        self, store: StoreInterface, state: JobState
    ) -> None:
        before = await in_state(store, state)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(InvalidJobStateError):
                await store.apply(QUEUE, "a", Retry())
        assert await get(store, "a") == before
        assert events == []

    @pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
    async def test_a_settled_job_can_not_be_discarded(
        self, store: StoreInterface, state: JobState
    ) -> None:
        await in_state(store, state)
        with pytest.raises(InvalidJobStateError):
            await store.apply(QUEUE, "a", Discard())

    async def test_a_job_that_is_not_there_is_not_found(self, store: StoreInterface) -> None:
        await add(store, "a", queue="reports")
        with pytest.raises(JobNotFoundError):
            await store.apply(QUEUE, "a", Retry())
        with pytest.raises(JobNotFoundError):
            await store.apply("nowhere", "a", Complete())

    # -- the whole story ----------------------------------------------------------------------

    async def test_the_events_of_a_job_tell_its_whole_life(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        async with capture_events(store, QUEUE) as events:
            await add(store, "a", attempts=3, backoff=5, delay=1)
            await clock.advance(1)
            await fail(store, await take(store))
            await clock.advance(5)
            await stall(store, clock, await take(store))
            await complete(store, await take(store))
        assert events.types == [
            EventType.DELAYED,
            EventType.WAITING,
            EventType.ACTIVE,
            EventType.RETRYING,
            EventType.DELAYED,
            EventType.WAITING,
            EventType.ACTIVE,
            EventType.STALLED,
            EventType.RETRYING,
            EventType.WAITING,
            EventType.ACTIVE,
            EventType.COMPLETED,
            EventType.DRAINED,
        ]
        assert await state_of(store, "a") is JobState.COMPLETED
