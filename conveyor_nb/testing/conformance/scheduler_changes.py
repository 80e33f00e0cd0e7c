"""Schedulers that are changed, paused, resumed and removed, and what becomes of their runs."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.errors import InvalidJobStateError, PayloadError
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobState
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.conformance.schedulers import (
    HOURLY,
    NIGHTLY,
    pending,
    plan,
    planned,
    scheduler,
    settle_run,
)
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import QUEUE, add, complete, get, take

__all__ = ["SchedulerChangeTests"]


class SchedulerChangeTests(StoreTests):
    """Changes of schedulers, as every store does it."""

    # -- changing -----------------------------------------------------------------------------

    @pytest.mark.parametrize("repeat", [HOURLY, NIGHTLY])
    async def test_the_same_scheduler_twice_is_one_chain(
        self, store: StoreInterface, clock: VirtualClock, repeat: Repeat
    ) -> None:
        first = await plan(store, repeat)
        await clock.advance("30 minutes")
        second = await plan(store, repeat)
        assert (second.runs, second.next_run) == (1, first.next_run)
        assert await pending(store) is not None
        await settle_run(store, clock)
        assert (await scheduler(store)).runs == 2
        assert await pending(store) is not None

    async def test_a_new_template_leaves_the_run_its_time(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        old = await plan(store, NIGHTLY, data="old")
        await clock.advance("1 hour")
        async with capture_events(store, QUEUE) as events:
            new = await plan(store, NIGHTLY, "summary", "new", priority=2)
        run = await pending(store)
        assert run is not None
        assert events.story == [f"job:removed {old.pending_job_id}", f"job:delayed {run.id}"]
        assert (run.name, run.data, run.priority) == ("summary", "new", 2)
        assert await planned(store, clock) == 2
        assert (new.name, new.data, new.runs) == ("summary", "new", 1)

    async def test_a_new_template_leaves_a_late_run_its_time(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store, data="old")
        await clock.advance("20 minutes")
        await plan(store, data="new")
        run = await pending(store)
        assert run is not None
        assert (run.state, run.data) == (JobState.WAITING, "new")
        await complete(store, await take(store))
        assert await planned(store, clock) == pytest.approx(2 / 3)

    @pytest.mark.parametrize(
        ("old", "new", "first"),
        [
            (NIGHTLY, Repeat(cron="0 5 * * *"), 4),
            (NIGHTLY, Repeat(cron="0 3 * * *", tz="Europe/Paris"), 1),
            (NIGHTLY, HOURLY, 0),
            (HOURLY, Repeat(every="2 hours"), 0),
            (HOURLY, NIGHTLY, 2),
        ],
    )
    async def test_a_new_repeat_plans_the_run_anew(
        self, store: StoreInterface, clock: VirtualClock, old: Repeat, new: Repeat, first: float
    ) -> None:
        before = await plan(store, old)
        await clock.advance("1 hour")
        after = await plan(store, new)
        assert after.pending_job_id != before.pending_job_id
        assert (after.runs, after.repeat) == (1, new)
        assert await planned(store, clock) == first

    async def test_a_run_that_is_active_is_left_alone(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store, data="old")
        run = await take(store)
        async with capture_events(store, QUEUE) as events:
            saved = await plan(store, Repeat(every="3 hours"), data="new")
        assert events == []
        assert await get(store, run.id) == run
        assert (saved.pending_job_id, saved.runs, saved.data) == (run.id, 1, "new")
        await complete(store, run)
        job = await pending(store)
        assert job is not None
        assert job.data == "new"
        assert await planned(store, clock) == 3

    async def test_a_start_date_holds_for_the_run_after_an_active_one(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store)
        run = await take(store)
        start = clock.now() + timedelta(hours=10)
        await plan(store, Repeat(every="1 hour", start_date=start))
        await complete(store, run)
        assert await planned(store, clock) == 10

    async def test_a_lower_limit_may_leave_no_run(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store)
        for _ in range(2):
            await settle_run(store, clock)
        assert (await scheduler(store)).runs == 3
        saved = await plan(store, Repeat(every="1 hour", limit=2))
        assert (saved.runs, saved.pending_job_id) == (2, None)
        assert await pending(store) is None

    async def test_a_chain_that_ended_begins_afresh(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store, Repeat(every="1 hour", limit=1))
        await complete(store, await take(store))
        assert await pending(store) is None
        await clock.advance("10 minutes")
        saved = await plan(store, Repeat(every="1 hour", limit=2))
        assert saved.runs == 1
        assert await planned(store, clock) == 0

    async def test_a_bad_payload_changes_nothing(self, store: StoreInterface) -> None:
        before = await plan(store)
        run = await pending(store)
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(PayloadError):
                await plan(store, NIGHTLY, data=threading.Lock())
        assert await scheduler(store) == before
        assert await pending(store) == run
        assert events == []

    async def test_schedulers_are_listed_as_they_were_created(self, store: StoreInterface) -> None:
        for queue, name in ((QUEUE, "b"), (QUEUE, "a"), ("reports", "c"), (QUEUE, "b")):
            await store.upsert_job_scheduler(
                JobScheduler(name, queue, HOURLY, "report", None, JobOptions())
            )
        assert [one.id for one in await store.get_job_schedulers(QUEUE)] == ["b", "a"]
        assert [one.id for one in await store.get_job_schedulers("reports")] == ["c"]
        assert await store.count_jobs(QUEUE) == 2

    # -- pausing ------------------------------------------------------------------------------

    async def test_pausing_takes_the_run_back(self, store: StoreInterface) -> None:
        saved = await plan(store)
        async with capture_events(store, QUEUE) as events:
            assert await store.pause_job_scheduler(QUEUE, "s") is True
        assert events.story == [f"job:removed {saved.pending_job_id}"]
        assert await pending(store) is None
        paused = await scheduler(store)
        assert (paused.paused, paused.runs, paused.pending_job_id) == (True, 0, None)

    async def test_an_active_run_of_a_paused_scheduler_is_the_last(
        self, store: StoreInterface
    ) -> None:
        await plan(store)
        run = await take(store)
        await store.pause_job_scheduler(QUEUE, "s")
        assert (await get(store, run.id)).state is JobState.ACTIVE
        await complete(store, run)
        assert await pending(store) is None
        assert (await scheduler(store)).runs == 1

    @pytest.mark.parametrize(
        ("repeat", "away", "first"),
        [
            (HOURLY, 0, 0),
            (HOURLY, 0.25, 0),
            (HOURLY, 2.5, 0),
            (NIGHTLY, 0, 3),
            (NIGHTLY, 1, 2),
            (NIGHTLY, 50, 1),
        ],
    )
    async def test_a_resumed_chain_that_never_ran_begins_afresh(
        self,
        store: StoreInterface,
        clock: VirtualClock,
        repeat: Repeat,
        away: float,
        first: float,
    ) -> None:
        await plan(store, repeat)
        await store.pause_job_scheduler(QUEUE, "s")
        await clock.advance(away * 3600)
        assert await store.resume_job_scheduler(QUEUE, "s") is True
        assert await planned(store, clock) == first
        resumed = await scheduler(store)
        assert (resumed.paused, resumed.runs) == (False, 1)

    @pytest.mark.parametrize(
        ("repeat", "away", "first"),
        [
            (HOURLY, 0, 1),
            (HOURLY, 0.25, 0.75),
            (HOURLY, 2.5, 0.5),
            (NIGHTLY, 0, 24),
            (NIGHTLY, 1, 23),
            (NIGHTLY, 50, 22),
        ],
    )
    async def test_a_resumed_chain_goes_on_without_the_missed_runs(
        self,
        store: StoreInterface,
        clock: VirtualClock,
        repeat: Repeat,
        away: float,
        first: float,
    ) -> None:
        await plan(store, repeat)
        await settle_run(store, clock)
        await store.pause_job_scheduler(QUEUE, "s")
        await clock.advance(away * 3600)
        assert await store.resume_job_scheduler(QUEUE, "s") is True
        assert await planned(store, clock) == first
        resumed = await scheduler(store)
        assert (resumed.paused, resumed.runs) == (False, 2)

    async def test_a_chain_is_resumed_after_its_active_run(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store)
        run = await take(store)
        await store.pause_job_scheduler(QUEUE, "s")
        await store.resume_job_scheduler(QUEUE, "s")
        assert (await scheduler(store)).pending_job_id == run.id
        await complete(store, run)
        assert await planned(store, clock) == 1

    async def test_resuming_what_is_not_paused_changes_nothing(self, store: StoreInterface) -> None:
        saved = await plan(store)
        async with capture_events(store, QUEUE) as events:
            await store.resume_job_scheduler(QUEUE, "s")
        assert await scheduler(store) == saved
        assert events == []

    async def test_a_pause_spends_nothing_of_the_limit(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store, Repeat(every="1 hour", limit=2))
        for _ in range(3):
            await store.pause_job_scheduler(QUEUE, "s")
            await store.resume_job_scheduler(QUEUE, "s")
        for _ in range(2):
            await settle_run(store, clock)
        assert await pending(store) is None
        assert await store.count_jobs(QUEUE, JobState.COMPLETED) == 2

    async def test_a_paused_scheduler_that_is_changed_stays_paused(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store)
        await store.pause_job_scheduler(QUEUE, "s")
        saved = await plan(store, NIGHTLY, data="new")
        assert (saved.paused, saved.repeat, saved.pending_job_id) == (True, NIGHTLY, None)
        assert await pending(store) is None
        await store.resume_job_scheduler(QUEUE, "s")
        run = await pending(store)
        assert run is not None
        assert run.data == "new"
        assert await planned(store, clock) == 3

    @pytest.mark.parametrize("every", [True, False])
    async def test_a_resumed_chain_keeps_to_a_new_start_date(
        self, store: StoreInterface, clock: VirtualClock, every: bool
    ) -> None:
        start = clock.now() + timedelta(hours=27)
        await plan(store)
        await store.pause_job_scheduler(QUEUE, "s")
        if every:
            await plan(store, Repeat(every="1 hour", start_date=start))
        else:
            await plan(store, Repeat(cron="0 3 * * *", start_date=start))
        await clock.advance("30 minutes")
        await store.resume_job_scheduler(QUEUE, "s")
        assert await planned(store, clock) == 26.5

    # -- removing -----------------------------------------------------------------------------

    async def test_removing_takes_the_run_back(self, store: StoreInterface) -> None:
        saved = await plan(store)
        other = await add(store, "other")
        async with capture_events(store, QUEUE) as events:
            assert await store.remove_job_scheduler(QUEUE, "s") is True
        assert events.story == [f"job:removed {saved.pending_job_id}"]
        assert await store.list_jobs(QUEUE) == [other]
        assert await store.get_job_schedulers(QUEUE) == []
        assert await store.remove_job_scheduler(QUEUE, "s") is False

    async def test_an_active_run_of_a_removed_scheduler_is_the_last(
        self, store: StoreInterface
    ) -> None:
        await plan(store)
        run = await take(store)
        await store.remove_job_scheduler(QUEUE, "s")
        assert (await get(store, run.id)).state is JobState.ACTIVE
        await complete(store, run)
        assert await store.list_jobs(QUEUE, JobState.DELAYED) == []

    async def test_an_active_run_of_a_replaced_scheduler_makes_no_second_chain(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store, NIGHTLY)
        await clock.advance("3 hours")
        run = await take(store)
        await store.remove_job_scheduler(QUEUE, "s")
        await plan(store, NIGHTLY)
        await complete(store, run)
        assert await planned(store, clock) == 24
        assert (await scheduler(store)).runs == 1

    async def test_an_obliterated_queue_has_no_schedulers(self, store: StoreInterface) -> None:
        await plan(store)
        await take(store)
        with pytest.raises(InvalidJobStateError):
            await store.obliterate(QUEUE)
        assert await pending(store) is not None
        assert await store.obliterate(QUEUE, force=True) == 1
        assert await store.get_job_schedulers(QUEUE) == []
        assert await store.list_queues() == []
