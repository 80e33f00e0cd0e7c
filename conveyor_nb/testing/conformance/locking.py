"""Locks and fencing: only the holder of a job's lock settles it, and only for that attempt."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

from datetime import timedelta

import pytest

from conveyor_nb.clocks.virtual import VIRTUAL_START, VirtualClock
from conveyor_nb.core.actions import (
    Action,
    Complete,
    Discard,
    ExtendLock,
    Fail,
    Hold,
    LetGo,
    Log,
    MoveToDelayed,
    Release,
    Retry,
    SetProgress,
    UpdateData,
)
from conveyor_nb.core.errors import JobNotFoundError, LostLockError, RetryRefusedError
from conveyor_nb.core.model import AttemptRecord, JobData, JobState, Lock
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import (
    LOCK_DURATION,
    QUEUE,
    add,
    add_all,
    apply,
    complete,
    get,
    in_state,
    lock_of,
    other_than,
    stall,
    take,
)

__all__ = ["LockingTests"]

OUTCOMES: list[Action] = [
    Complete("late"),
    Fail("late"),
    Fail("late", final=True),
    Release(),
    Hold(Fail("late", final=True)),
    MoveToDelayed(VIRTUAL_START + timedelta(days=1)),
    ExtendLock(60.0),
]
REPORTS: list[Action] = [*OUTCOMES, SetProgress(50), Log("late"), Discard(), UpdateData("late")]


def name_of(value: object) -> str | None:
    return type(value).__name__


async def refused(store: StoreInterface, job: JobData, action: Action, lock: Lock | None) -> None:
    """Check that a report is refused, and changes nothing."""
    async with capture_events(store, None) as events:
        with pytest.raises(LostLockError) as caught:
            await store.apply(QUEUE, job.id, action, lock=lock)
    assert caught.value.job_id == job.id
    assert caught.value.worker_id == (lock.worker_id if lock else None)
    assert await get(store, job.id) == job
    assert events == []


class LockingTests(StoreTests):
    """Locks and fencing, as every store does it."""

    async def test_taking_a_job_locks_it(self, store: StoreInterface, clock: VirtualClock) -> None:
        await add(store, "a")
        await clock.advance(5)
        async with capture_events(store, QUEUE) as events:
            job = await take(store, "w1")
        assert job.state is JobState.ACTIVE
        assert job.locked_by == "w1"
        assert job.lock_until == clock.now() + timedelta(seconds=LOCK_DURATION)
        assert job.processed_at == clock.now()
        assert job.attempt_logs == (AttemptRecord(1, "w1", clock.now()),)
        assert job.attempts_made == 0
        assert events.story == ["job:active a"]
        assert events[0].data["worker_id"] == "w1"
        assert await get(store, "a") == job

    @pytest.mark.parametrize("action", OUTCOMES, ids=name_of)
    async def test_an_outcome_needs_the_lock(self, store: StoreInterface, action: Action) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await refused(store, job, action, None)

    @pytest.mark.parametrize("action", REPORTS, ids=name_of)
    async def test_another_worker_can_report_nothing(
        self, store: StoreInterface, action: Action
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await refused(store, job, action, Lock("w2", 1))

    @pytest.mark.parametrize("action", REPORTS, ids=name_of)
    async def test_a_late_report_after_a_stall_changes_nothing(
        self, store: StoreInterface, clock: VirtualClock, action: Action
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        waiting = await stall(store, clock, job)
        assert waiting.state is JobState.WAITING
        await refused(store, waiting, action, lock_of(job))

    @pytest.mark.parametrize("action", REPORTS, ids=name_of)
    async def test_the_next_worker_fences_off_the_one_before(
        self, store: StoreInterface, clock: VirtualClock, action: Action
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await stall(store, clock, job)
        again = await take(store, "w2")
        await refused(store, again, action, lock_of(job))

    @pytest.mark.parametrize("action", REPORTS, ids=name_of)
    async def test_a_second_attempt_of_one_worker_fences_off_its_first(
        self, store: StoreInterface, clock: VirtualClock, action: Action
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await stall(store, clock, job)
        again = await take(store, "w1")
        assert lock_of(again) != lock_of(job)
        await refused(store, again, action, lock_of(job))

    @pytest.mark.parametrize("action", REPORTS, ids=name_of)
    async def test_a_settled_job_takes_no_second_report(
        self, store: StoreInterface, action: Action
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        done = await complete(store, job, "first")
        await refused(store, done, action, lock_of(job))

    @pytest.mark.parametrize("state", other_than(JobState.ACTIVE))
    async def test_a_job_that_is_not_active_has_no_lock(
        self, store: StoreInterface, state: JobState
    ) -> None:
        job = await in_state(store, state)
        assert (job.locked_by, job.lock_until) == (None, None)
        await refused(store, job, Complete(), Lock("w1", len(job.attempt_logs)))

    async def test_a_lock_proves_nothing_for_another_job(self, store: StoreInterface) -> None:
        await add(store, "a")
        await add(store, "b")
        first, second = await take(store, "w1"), await take(store, "w2")
        await refused(store, second, Complete(), lock_of(first))

    async def test_a_lock_is_extended_from_now(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await clock.advance(20)
        async with capture_events(store, QUEUE) as events:
            extended = await store.extend_lock(QUEUE, "a", lock_of(job), 60)
        assert extended.lock_until == clock.now() + timedelta(seconds=60)
        assert (await get(store, "a")).lock_until == extended.lock_until
        assert events == []

    async def test_a_lock_that_ran_out_holds_until_somebody_says_so(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await clock.advance(LOCK_DURATION * 2)
        await store.extend_lock(QUEUE, "a", lock_of(job), LOCK_DURATION)
        assert (await complete(store, job)).state is JobState.COMPLETED

    async def test_a_released_job_waits_with_no_attempt_spent(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        async with capture_events(store, QUEUE) as events:
            released = await store.release_lock(QUEUE, "a", lock_of(job))
        assert released.state is JobState.WAITING
        assert (released.locked_by, released.lock_until) == (None, None)
        assert released.attempts_made == 0
        assert released.attempt_logs[0].ended_at == clock.now()
        assert released.attempt_logs[0].outcome == "put back"
        assert events.story == ["job:waiting a"]
        taken = await take(store, "w2")
        assert taken.attempt_logs[:-1] == released.attempt_logs, "it is kept as it was told"
        assert taken.attempt_logs[-1].attempt == 2

    async def test_a_release_fences_off_what_comes_after(self, store: StoreInterface) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await apply(store, job, Release())
        again = await take(store, "w1")
        await refused(store, again, Complete(), lock_of(job))
        assert (await complete(store, again)).state is JobState.COMPLETED

    @pytest.mark.parametrize("action", REPORTS, ids=name_of)
    async def test_a_job_that_is_gone_takes_no_report(
        self, store: StoreInterface, action: Action
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await store.remove_job(QUEUE, "a")
        async with capture_events(store, None) as events:
            with pytest.raises(JobNotFoundError) as caught:
                await store.apply(QUEUE, "a", action, lock=lock_of(job))
        assert (caught.value.job_id, caught.value.queue_name) == ("a", QUEUE)
        assert events == []

    async def test_a_run_that_goes_on_is_marked_and_its_job_stays_active(
        self, store: StoreInterface
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        async with capture_events(store, QUEUE) as events:
            held = await apply(store, job, Hold(Fail("late")))
        assert held.state is JobState.ACTIVE
        assert (held.locked_by, held.lock_until) == (job.locked_by, job.lock_until)
        assert held.attempt_logs[0].error == "late; its handler is still at work"
        assert events.story == ["job:held a"]
        failed = await apply(store, job, Fail("late"))
        assert (failed.state, failed.attempt_logs[0].error) == (JobState.WAITING, "late")

    async def test_what_is_final_is_so_at_once_and_is_not_retried_before_the_run_is_over(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        async with capture_events(store, QUEUE) as events:
            held = await apply(store, job, Hold(Fail("late", final=True)))
        assert (held.state, held.failed_reason) == (JobState.FAILED, "late")
        assert events.story[:2] == ["job:held a", "job:failed a"]
        await clock.advance(LOCK_DURATION / 2)
        await store.extend_lock(QUEUE, "a", lock_of(job), LOCK_DURATION)
        await clock.advance(LOCK_DURATION / 2)
        with pytest.raises(RetryRefusedError):
            await store.apply(QUEUE, "a", Retry())
        assert await store.retry_jobs(QUEUE) == 0
        assert await store.get_stalled_jobs(QUEUE) == []
        let_go = await apply(store, job, LetGo())
        assert (let_go.state, let_go.locked_by) == (JobState.FAILED, None)
        assert (await store.apply(QUEUE, "a", Retry())).state is JobState.WAITING

    async def test_the_locks_of_a_worker_are_renewed_together(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, "a", "b", "c")
        held = {job.id: lock_of(job).attempt for job in [await take(store), await take(store)]}
        other = await take(store, "w2")
        await clock.advance(LOCK_DURATION / 2)
        async with capture_events(store, None) as events:
            assert await store.renew_locks(QUEUE, "w1", held, LOCK_DURATION) == []
        assert events == []
        until = clock.now() + timedelta(seconds=LOCK_DURATION)
        assert [(await get(store, one)).lock_until for one in held] == [until, until]
        assert await get(store, other.id) == other
        await clock.advance(LOCK_DURATION / 2)
        assert await store.get_stalled_jobs(QUEUE) == [other]

    async def test_renewing_locks_tells_which_are_lost(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await add_all(store, *"abcdef", attempts=2)
        jobs = [await take(store) for _ in range(5)]
        other = await take(store, "w2")
        mine, stalled, again, done, gone = jobs
        await stall(store, clock, again)
        again = await take(store)
        assert lock_of(again) == Lock("w1", 2)
        await stall(store, clock, stalled)
        await complete(store, done)
        await store.remove_job(QUEUE, gone.id)
        before = [await get(store, job.id) for job in (stalled, again, done, other)]
        held = {job.id: 1 for job in (*jobs, other)} | {"never": 1}
        lost = await store.renew_locks(QUEUE, "w1", held, LOCK_DURATION)
        assert sorted(lost) == ["b", "c", "d", "e", "f", "never"]
        until = clock.now() + timedelta(seconds=LOCK_DURATION)
        assert (await get(store, mine.id)).lock_until == until
        assert [await get(store, job.id) for job in (stalled, again, done, other)] == before

    async def test_the_lock_of_a_job_that_ended_before_its_run_is_renewed(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await apply(store, job, Hold(Fail("late", final=True)))
        await clock.advance(LOCK_DURATION / 2)
        assert await store.renew_locks(QUEUE, "w1", {"a": 1}, LOCK_DURATION) == []
        await clock.advance(LOCK_DURATION / 2)
        with pytest.raises(RetryRefusedError):
            await store.apply(QUEUE, "a", Retry())
        await apply(store, job, LetGo())
        assert await store.renew_locks(QUEUE, "w1", {"a": 1}, LOCK_DURATION) == ["a"]

    async def test_a_run_whose_worker_is_gone_holds_its_job_no_longer_than_its_lock(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        job = await in_state(store, JobState.ACTIVE)
        await apply(store, job, Hold(Fail("late", final=True)))
        await clock.advance(LOCK_DURATION)
        again = await store.apply(QUEUE, "a", Retry())
        assert (again.state, again.locked_by, again.lock_until) == (JobState.WAITING, None, None)
        with pytest.raises(LostLockError):
            await apply(store, job, LetGo())
