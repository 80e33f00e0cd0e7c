"""Metrics of a busy queue: a fair choice of its times is kept, and no more than that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import AttemptRecord, AttemptStatus, JobData, JobState
from conveyor_nb.stores.metrics import MOST_SAMPLES, Metrics

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
MANY = 5 * MOST_SAMPLES


def settled(took: float, waited: float = 0.0, *, queue: str = "emails") -> JobData:
    """A job that waited and took so many seconds."""
    began = NOON + timedelta(seconds=waited)
    ended = began + timedelta(seconds=took)
    attempt = AttemptRecord(1, "w1", began, ended, AttemptStatus.COMPLETED)
    return JobData(
        "",
        "send",
        queue,
        state=JobState.COMPLETED,
        created_at=NOON,
        attempt_logs=(attempt,),
    )


def summed_up(times: Sequence[float]) -> MetricsPoint:
    """What is known of one minute in which jobs took these times, and waited as long."""
    metrics = Metrics()
    for time in times:
        metrics.record(settled(time, time), NOON)
    [point] = metrics.points("emails", MetricsPeriod.MINUTE, None, None, NOON)
    return point


def test_every_job_is_counted() -> None:
    assert summed_up(range(MANY)).completed == MANY


def test_percentiles_are_exact_as_long_as_all_times_are_kept() -> None:
    point = summed_up(range(MOST_SAMPLES))
    median, p95 = MOST_SAMPLES / 2 - 1, MOST_SAMPLES * 0.95 - 1
    assert (point.processing_p50, point.processing_p95) == (median, p95)
    assert (point.waiting_p50, point.waiting_p95) == (median, p95)


@pytest.mark.parametrize("times", [range(MANY), range(MANY)[::-1]], ids=["rising", "falling"])
def test_early_and_late_times_count_alike(times: Sequence[float]) -> None:
    point = summed_up(times)
    for median in (point.processing_p50, point.waiting_p50):
        assert median == pytest.approx(MANY * 0.5, rel=0.1)
    for p95 in (point.processing_p95, point.waiting_p95):
        assert p95 == pytest.approx(MANY * 0.95, rel=0.03)


def test_so_many_times_are_kept_and_no_more() -> None:
    metrics = Metrics()
    for _ in range(MANY):
        metrics.record(settled(1.0), NOON)
    for bucket in metrics._buckets["emails", MetricsPeriod.MINUTE].values():
        assert (len(bucket.processing), len(bucket.waiting)) == (MOST_SAMPLES, MOST_SAMPLES)


@pytest.mark.parametrize(
    ("period", "kept"), [(MetricsPeriod.MINUTE, 24 * 60), (MetricsPeriod.HOUR, 30 * 24)]
)
def test_old_periods_are_dropped(period: MetricsPeriod, kept: int) -> None:
    metrics, length = Metrics(), {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
    for number in range(2 * kept):
        metrics.record(settled(1.0), NOON + number * length[period])
    assert len(metrics._buckets["emails", period]) == kept
    metrics.record(settled(1.0, queue="reports"), NOON + 4 * kept * length[period])
    assert ("emails", period) not in metrics._buckets, "nothing settles in that queue any more"
