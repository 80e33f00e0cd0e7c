"""Metrics: how many jobs settled in each minute and hour, and how long they waited and took."""

# ruff: noqa: D102 (the name of a test says what it shows)

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from msgspec.structs import replace

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Cancel
from conveyor_nb.core.errors import MetricsDisabledError
from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.testing.conformance.base import StoreTests
from conveyor_nb.testing.steps import QUEUE, add, complete, fail, new_job, take

__all__ = ["MetricsTests"]

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


async def run(
    store: StoreInterface,
    clock: VirtualClock,
    waits: float = 0,
    takes: float = 0,
    *,
    fails: bool = False,
) -> None:
    """One job that waits and takes so many seconds."""
    await add(store)
    await clock.advance(waits)
    job = await take(store)
    await clock.advance(takes)
    await (fail if fails else complete)(store, job)


def percentile(values: list[float], percent: int) -> float:
    """The least value that so many percent of all values do not exceed, found the slow way."""
    return min(
        one
        for one in values
        if sum(other <= one for other in values) * 100 >= percent * len(values)
    )


def counts(points: list[MetricsPoint]) -> list[tuple[int, int]]:
    """How many completed and failed in each point."""
    return [(point.completed, point.failed) for point in points]


class MetricsTests(StoreTests):
    """Metrics, as every store collects them."""

    @pytest_asyncio.fixture
    async def metrics(self, clock: VirtualClock) -> AsyncIterator[StoreInterface]:
        """The store under test, which collects metrics."""
        async with self.make_store(clock, metrics=True) as store:
            yield store

    async def test_a_period_may_be_given_as_text(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        await run(metrics, clock)
        assert await metrics.get_metrics(QUEUE, "hour") == await metrics.get_metrics(
            QUEUE, MetricsPeriod.HOUR
        )
        with pytest.raises(ValueError, match="'minute', 'hour', not 'hours'; did you mean 'hour'"):
            await metrics.get_metrics(QUEUE, "hours")

    async def test_metrics_are_off_unless_asked_for(self, store: StoreInterface) -> None:
        with pytest.raises(MetricsDisabledError):
            await store.get_metrics(QUEUE)
        with pytest.raises(MetricsDisabledError):
            await store.aggregate_metrics()

    async def test_there_is_nothing_to_measure(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        for period in MetricsPeriod:
            assert await metrics.get_metrics(QUEUE, period) == []
        total = await metrics.aggregate_metrics()
        assert (total.completed, total.failed) == (0, 0)
        assert (total.processing_p50, total.waiting_p95) == (None, None)

    # -- points -------------------------------------------------------------------------------

    async def test_jobs_are_counted_in_the_minute_in_which_they_settle(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        begin = clock.now()
        await run(metrics, clock, takes=59.999)
        await run(metrics, clock, takes=0.001, fails=True)
        await clock.advance(2 * MINUTE)
        await run(metrics, clock)
        await run(metrics, clock)
        points = await metrics.get_metrics(QUEUE)
        assert counts(points) == [(1, 0), (0, 1), (2, 0)]
        assert [point.start for point in points] == [begin, begin + MINUTE, begin + 3 * MINUTE]
        assert all(point.end == point.start + MINUTE for point in points)
        assert {point.queue_name for point in points} == {QUEUE}

    async def test_jobs_are_counted_in_the_hour_in_which_they_settle(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        begin = clock.now()
        for _ in range(3):
            await clock.advance(25 * MINUTE)
            await run(metrics, clock)
        points = await metrics.get_metrics(QUEUE, MetricsPeriod.HOUR)
        assert counts(points) == [(2, 0), (1, 0)]
        assert [point.start for point in points] == [begin, begin + HOUR]
        assert all(point.end == point.start + HOUR for point in points)

    async def test_points_are_told_apart_by_queue(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        await run(metrics, clock)
        assert await metrics.get_metrics("reports") == []
        assert (await metrics.aggregate_metrics("reports")).completed == 0

    async def test_only_what_settles_is_counted(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(metrics, "a", attempts=2)
        await fail(metrics, await take(metrics))
        await metrics.remove_job(QUEUE, "a")
        await add(metrics, "b", delay=60)
        await add(metrics, "c")
        await take(metrics)
        assert await metrics.get_metrics(QUEUE) == []

    async def test_a_job_that_is_not_kept_is_counted(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(metrics, "a", remove_on_complete=True)
        await complete(metrics, await take(metrics))
        assert counts(await metrics.get_metrics(QUEUE)) == [(1, 0)]

    async def test_a_parent_that_its_child_fails_is_counted(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        parent = replace(
            new_job("p", queue="reports"), pending_children_count=1, children_ids=("a",)
        )
        child = replace(new_job("a"), parent_id="p", parent_queue_name="reports")
        await metrics.save_flow([parent, child])
        await fail(metrics, await take(metrics))
        [point] = await metrics.get_metrics("reports")
        assert (point.failed, point.processing_p50, point.waiting_p50) == (1, None, None)

    async def test_a_job_that_no_worker_took_has_no_times(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(metrics, "a")
        await metrics.apply(QUEUE, "a", Cancel())
        [point] = await metrics.get_metrics(QUEUE)
        assert (point.completed, point.failed) == (0, 1)
        assert (point.processing_p50, point.processing_p95) == (None, None)
        assert (point.waiting_p50, point.waiting_p95) == (None, None)

    # -- times --------------------------------------------------------------------------------

    @pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 60, 100])
    async def test_times_are_summed_up_by_percentiles(
        self, metrics: StoreInterface, clock: VirtualClock, count: int
    ) -> None:
        pick = random.Random(count)
        waits = [float(pick.randrange(50)) for _ in range(count)]
        takes = [float(pick.randrange(20)) for _ in range(count)]
        for waited, took in zip(waits, takes, strict=True):
            await run(metrics, clock, waited, took, fails=pick.random() < 0.3)
        total = await metrics.aggregate_metrics(QUEUE)
        assert total.completed + total.failed == count
        assert total.waiting_p50 == percentile(waits, 50)
        assert total.waiting_p95 == percentile(waits, 95)
        assert total.processing_p50 == percentile(takes, 50)
        assert total.processing_p95 == percentile(takes, 95)

    async def test_the_time_of_a_job_is_that_of_its_last_attempt(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        await add(metrics, "a", attempts=2)
        job = await take(metrics)
        await clock.advance(7)
        await fail(metrics, job)
        job = await take(metrics)
        await clock.advance(3)
        await complete(metrics, job)
        [point] = await metrics.get_metrics(QUEUE)
        assert (point.processing_p50, point.waiting_p50) == (3, 0)

    async def test_a_delay_is_no_wait(self, metrics: StoreInterface, clock: VirtualClock) -> None:
        await add(metrics, "a", delay=10)
        await clock.advance(14)
        await complete(metrics, await take(metrics))
        [point] = await metrics.get_metrics(QUEUE)
        assert point.waiting_p50 == 4

    # -- spans --------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("first", "last", "found"),
        [
            (None, None, [1, 2, 3, 4]),
            (1, None, [2, 3, 4]),
            (1.5, None, [2, 3, 4]),
            (None, 2, [1, 2]),
            (None, 2.5, [1, 2, 3]),
            (1, 3, [2, 3]),
            (5, 9, []),
        ],
    )
    async def test_points_are_chosen_by_time(
        self,
        metrics: StoreInterface,
        clock: VirtualClock,
        first: float | None,
        last: float | None,
        found: list[int],
    ) -> None:
        begin = clock.now()
        for number in (1, 2, 3, 4):
            for _ in range(number):
                await run(metrics, clock)
            await clock.advance(MINUTE)
        start = None if first is None else begin + first * MINUTE
        end = None if last is None else begin + last * MINUTE
        points = await metrics.get_metrics(QUEUE, start=start, end=end)
        assert [point.completed for point in points] == found
        total = await metrics.aggregate_metrics(QUEUE, start=start, end=end)
        assert total.completed == sum(found)

    async def test_queues_are_summed_up_together(
        self, metrics: StoreInterface, clock: VirtualClock
    ) -> None:
        begin = clock.now()
        await run(metrics, clock, takes=1)
        await metrics.save_job(new_job("a", queue="reports"))
        job = await metrics.fetch_next_job("reports", "w1", 30)
        assert job is not None
        await clock.advance(5)
        await fail(metrics, job)
        total = await metrics.aggregate_metrics()
        assert (total.queue_name, total.completed, total.failed) == (None, 1, 1)
        assert (total.processing_p50, total.processing_p95) == (1, 5)
        assert (total.start, total.end) == (begin, clock.now())
        assert (await metrics.aggregate_metrics(QUEUE)).queue_name == QUEUE

    # -- retention ----------------------------------------------------------------------------

    @pytest.mark.parametrize("work_goes_on", [True, False])
    @pytest.mark.parametrize(
        ("period", "keeps"), [(MetricsPeriod.MINUTE, 1), (MetricsPeriod.HOUR, 30)]
    )
    async def test_old_points_are_dropped(
        self,
        metrics: StoreInterface,
        clock: VirtualClock,
        period: MetricsPeriod,
        keeps: int,
        work_goes_on: bool,
    ) -> None:
        await run(metrics, clock)
        await clock.advance(timedelta(days=keeps) - HOUR)
        assert counts(await metrics.get_metrics(QUEUE, period)) == [(1, 0)]
        await clock.advance(2 * HOUR)
        if work_goes_on:
            await run(metrics, clock, fails=True)
        points = await metrics.get_metrics(QUEUE, period)
        assert counts(points) == ([(0, 1)] if work_goes_on else [])
