"""Schedulers: chains of runs, each created by the end of the one before."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Cancel, Fail, Promote, Retry
from conveyor_nb.core.errors import PayloadError
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.options.keep import Keep
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.events import capture_events
from conveyor_nb.testing.steps import QUEUE, apply, complete, fail, stall, take

__all__ = [
    "HOURLY",
    "NIGHTLY",
    "SchedulerTests",
    "pending",
    "plan",
    "planned",
    "scheduler",
    "settle_run",
]

HOURLY = Repeat(every="1 hour")
NIGHTLY = Repeat(cron="0 3 * * *")
"""The clock of the tests starts at midnight, so the first night is three hours away."""

Step = Callable[[StoreInterface, VirtualClock], Awaitable[object]]


async def plan(
    store: StoreInterface,
    repeat: Repeat = HOURLY,
    name: str = "report",
    data: Any = None,
    **options: Any,
) -> JobScheduler:
    """Create the scheduler, or change it."""
    return await store.upsert_job_scheduler(
        JobScheduler("s", QUEUE, repeat, name, data, JobOptions(**options))
    )


async def scheduler(store: StoreInterface) -> JobScheduler:
    """The scheduler as it is, which must be the only one."""
    [found] = await store.get_job_schedulers(QUEUE)
    return found


async def pending(store: StoreInterface) -> JobData | None:
    """The run to come: the only unsettled one, which must also be the one the scheduler names."""
    jobs = (await store.search_jobs(QUEUE)).jobs
    unsettled = [job for job in jobs if job.state not in (JobState.COMPLETED, JobState.FAILED)]
    known = [one.pending_job_id for one in await store.get_job_schedulers(QUEUE)]
    assert [job.id for job in unsettled] == [job_id for job_id in known if job_id]
    return unsettled[0] if unsettled else None


async def planned(store: StoreInterface, clock: VirtualClock) -> float | None:
    """In how many hours the next run is planned; ``None`` if there is none to come."""
    job = await pending(store)
    if job is None:
        return None
    assert job.planned_at is not None
    assert job.planned_at == (await scheduler(store)).next_run
    return (job.planned_at - clock.now()) / timedelta(hours=1)


async def settle_run(store: StoreInterface, clock: VirtualClock) -> datetime:
    """Wait for the next run, and complete it at once; gives the instant."""
    due = await store.get_next_delayed_timestamp(QUEUE)
    if due is not None and due > clock.now():
        await clock.advance(due - clock.now())
    await complete(store, await take(store))
    return clock.now()


async def _complete(store: StoreInterface, clock: VirtualClock) -> None:
    await complete(store, await take(store))


async def _fail_for_good(store: StoreInterface, clock: VirtualClock) -> None:
    await apply(store, await take(store), Fail("boom", final=True))


async def _stall(store: StoreInterface, clock: VirtualClock) -> None:
    await stall(store, clock, await take(store))


async def _cancel(store: StoreInterface, clock: VirtualClock) -> None:
    run = await pending(store)
    assert run is not None
    await store.apply(QUEUE, run.id, Cancel())


async def _cancel_active(store: StoreInterface, clock: VirtualClock) -> None:
    run = await take(store)
    await store.apply(QUEUE, run.id, Cancel())
    await complete(store, run)


async def _remove(store: StoreInterface, clock: VirtualClock) -> None:
    run = await pending(store)
    assert run is not None
    await store.remove_job(QUEUE, run.id)


async def _remove_active(store: StoreInterface, clock: VirtualClock) -> None:
    await store.remove_job(QUEUE, (await take(store)).id)


async def _drain(store: StoreInterface, clock: VirtualClock) -> None:
    assert await store.drain(QUEUE) == 1


async def _clean(store: StoreInterface, clock: VirtualClock) -> None:
    assert await store.clean(QUEUE, JobState.WAITING) == 1


ENDS: dict[str, Step] = {
    "completes": _complete,
    "fails for good": _fail_for_good,
    "stalls out": _stall,
    "is cancelled": _cancel,
    "is cancelled while it is active": _cancel_active,
    "is removed": _remove,
    "is removed while it is active": _remove_active,
    "is drained": _drain,
    "is cleaned away": _clean,
}
"""How a run may end."""


class SchedulerTests(StoreTests):
    """Chains of runs, as every store does it."""

    # -- the first run ------------------------------------------------------------------------

    async def test_a_scheduler_is_found_by_its_id(self, store: StoreInterface) -> None:
        saved = await plan(store, data={"to": ["ada"]})
        found = await store.get_job_scheduler(QUEUE, "s")
        assert found == saved
        assert found is not None
        found.data["to"].append("eve")
        assert await store.get_job_scheduler(QUEUE, "s") == saved
        assert await store.get_job_scheduler(QUEUE, "t") is None
        assert await store.get_job_scheduler("nowhere", "s") is None

    async def test_every_so_long_first_runs_at_once(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        async with capture_events(store, QUEUE) as events:
            saved = await plan(store, data={"to": "ada"}, attempts=2, priority=3)
        run = await pending(store)
        assert run is not None
        assert events.story == [f"job:waiting {run.id}"]
        assert (run.name, run.data, run.priority) == ("report", {"to": "ada"}, 3)
        assert (run.opts.attempts, run.scheduler_id, run.planned_at) == (2, "s", clock.now())
        assert (saved.runs, saved.next_run, saved.pending_job_id) == (1, clock.now(), run.id)
        assert saved == await scheduler(store)

    async def test_cron_first_runs_at_the_next_match(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store, NIGHTLY)
        run = await pending(store)
        assert run is not None
        assert (run.state, run.delay_until) == (JobState.DELAYED, clock.now() + timedelta(hours=3))

    @pytest.mark.parametrize(
        ("hours", "every", "first", "second"),
        [(2, 1, 2, 1), (-2.5, 1, -0.5, 0.5), (-5, 2, -1, 1), (0, 1, 0, 1)],
    )
    async def test_every_so_long_counts_from_a_start_date(
        self,
        store: StoreInterface,
        clock: VirtualClock,
        hours: float,
        every: int,
        first: float,
        second: float,
    ) -> None:
        start = clock.now() + timedelta(hours=hours)
        await plan(store, Repeat(every=every * 3600, start_date=start))
        assert await planned(store, clock) == first
        at = await settle_run(store, clock)
        assert await planned(store, clock) == second
        assert ((at - start) / timedelta(hours=1)) == max(hours, 0) - hours

    @pytest.mark.parametrize(("start", "first"), [(-24, 3), (2, 3), (3, 3), (3.5, 27)])
    async def test_cron_first_runs_at_a_match_after_the_start_date(
        self, store: StoreInterface, clock: VirtualClock, start: float, first: float
    ) -> None:
        begin = clock.now() + timedelta(hours=start)
        await plan(store, Repeat(cron="0 3 * * *", start_date=begin))
        assert await planned(store, clock) == first

    async def test_a_bad_payload_makes_no_scheduler(self, store: StoreInterface) -> None:
        async with capture_events(store, QUEUE) as events:
            with pytest.raises(PayloadError):
                await plan(store, data=threading.Lock())
        assert await store.get_job_schedulers(QUEUE) == []
        assert await pending(store) is None
        assert events == []

    async def test_a_scheduler_keeps_a_payload_of_its_own(self, store: StoreInterface) -> None:
        mine = {"to": ["ada"]}
        saved = await plan(store, data=mine)
        for held in (mine, saved.data, (await scheduler(store)).data, (await take(store)).data):
            held["to"].append("changed")
        assert (await scheduler(store)).data == {"to": ["ada"]}
        await store.drain(QUEUE)
        run = await pending(store)
        assert run is not None
        assert run.data == {"to": ["ada"]}

    # -- the runs after it --------------------------------------------------------------------

    @pytest.mark.parametrize("end", ENDS)
    async def test_the_next_run_is_made_in_the_step_that_ends_one(
        self, store: StoreInterface, clock: VirtualClock, end: str
    ) -> None:
        first = await plan(store)
        async with capture_events(store, QUEUE) as events:
            await ENDS[end](store, clock)
        run = await pending(store)
        assert run is not None
        assert first.next_run is not None
        assert run.planned_at == first.next_run + timedelta(hours=1)
        assert run.state is JobState.DELAYED
        after = await scheduler(store)
        assert (after.runs, after.last_run) == (2, first.next_run)
        ended = [event for event in events if event.job_id == first.pending_job_id][-1]
        [made] = [event for event in events if event.job_id == run.id]
        assert made.timestamp == ended.timestamp == clock.now()

    async def test_a_failed_attempt_makes_no_run(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        first = await plan(store, attempts=2, backoff=5)
        await fail(store, await take(store))
        run = await pending(store)
        assert run is not None
        assert run.id == first.pending_job_id

    async def test_a_run_that_is_not_kept_has_a_next_one(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store, remove_on_complete=True, remove_on_fail=Keep(count=0))
        await complete(store, await take(store))
        await clock.advance("1 hour")
        await fail(store, await take(store))
        assert await store.count_jobs(QUEUE) == 1
        assert await planned(store, clock) == 1

    async def test_a_run_that_is_retried_by_hand_makes_no_second_chain(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store)
        first = await take(store)
        await fail(store, first)
        await store.apply(QUEUE, first.id, Retry())
        await complete(store, await take(store))
        assert await planned(store, clock) == 1
        assert (await scheduler(store)).runs == 2

    async def test_runs_do_not_drift(self, store: StoreInterface, clock: VirtualClock) -> None:
        begin = clock.now()
        await plan(store)
        starts = []
        for late in (0, 10, 59, 1, 30):
            due = await store.get_next_delayed_timestamp(QUEUE) or clock.now()
            await clock.advance(due - clock.now() + timedelta(minutes=late))
            starts.append((due - begin) / timedelta(hours=1))
            await complete(store, await take(store))
        assert starts == [0, 1, 2, 3, 4]

    async def test_a_run_that_is_promoted_moves_no_other(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store, NIGHTLY)
        run = await pending(store)
        assert run is not None
        await store.apply(QUEUE, run.id, Promote())
        await complete(store, await take(store))
        assert await planned(store, clock) == 27

    @pytest.mark.parametrize(
        ("repeat", "away", "then"), [(HOURLY, 4.5, 0.5), (HOURLY, 4, 1), (NIGHTLY, 80, 19)]
    )
    async def test_missed_runs_collapse_into_one(
        self, store: StoreInterface, clock: VirtualClock, repeat: Repeat, away: float, then: float
    ) -> None:
        await plan(store, repeat)
        await clock.advance(away * 3600)
        await complete(store, await take(store))
        assert await planned(store, clock) == then
        assert (await scheduler(store)).runs == 2

    @pytest.mark.parametrize(
        ("repeat", "ends", "then"), [(HOURLY, 4.5, [-0.5, 0.5]), (NIGHTLY, 80, [-5, 19])]
    )
    async def test_runs_missed_by_a_long_one_collapse_into_one(
        self,
        store: StoreInterface,
        clock: VirtualClock,
        repeat: Repeat,
        ends: float,
        then: list[float],
    ) -> None:
        begin = clock.now()
        saved = await plan(store, repeat)
        assert saved.next_run is not None
        await clock.advance(saved.next_run - begin)
        run = await take(store)
        await clock.advance(begin + timedelta(hours=ends) - clock.now())
        await complete(store, run)
        late = await pending(store)
        assert late is not None
        assert late.state is JobState.WAITING
        assert await planned(store, clock) == then[0]
        await complete(store, await take(store))
        assert await planned(store, clock) == then[1]

    async def test_a_late_run_that_is_drained_is_gone(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store)
        await clock.advance(4.5 * 3600)
        await store.drain(QUEUE)
        assert await store.count_jobs(QUEUE, JobState.WAITING) == 0
        assert await planned(store, clock) == 0.5

    async def test_a_limit_is_the_number_of_runs(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        await plan(store, Repeat(every="1 hour", limit=3))
        for _ in range(3):
            await settle_run(store, clock)
        assert await pending(store) is None
        assert await store.count_jobs(QUEUE) == 3
        assert (await scheduler(store)).pending_job_id is None

    @pytest.mark.parametrize(("hours", "runs"), [(2.9, 3), (3, 4), (0, 1)])
    async def test_no_run_is_later_than_the_end_date(
        self, store: StoreInterface, clock: VirtualClock, hours: float, runs: int
    ) -> None:
        await plan(store, Repeat(every=3600, end_date=clock.now() + timedelta(hours=hours)))
        for _ in range(runs):
            await settle_run(store, clock)
        assert await pending(store) is None

    async def test_there_may_be_no_run_at_all(
        self, store: StoreInterface, clock: VirtualClock
    ) -> None:
        saved = await plan(
            store, Repeat(cron="0 3 * * *", end_date=clock.now() + timedelta(hours=2))
        )
        assert (saved.runs, saved.pending_job_id) == (0, None)
        assert await store.count_jobs(QUEUE) == 0
        assert await scheduler(store) == saved

    async def test_an_unknown_queue_has_no_schedulers(self, store: StoreInterface) -> None:
        assert await store.get_job_schedulers("nowhere") == []
        for step in (
            store.pause_job_scheduler,
            store.resume_job_scheduler,
            store.remove_job_scheduler,
        ):
            assert await step("nowhere", "s") is False
