"""How many jobs settled in each minute and hour, and how long they waited and took."""

from __future__ import annotations

import math
import random
from array import array
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta

from conveyor_nb.core.errors import MetricsDisabledError
from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.values.checks import check_choice, to_instant

__all__ = [
    "LENGTHS",
    "MOST_SAMPLES",
    "RETENTIONS",
    "Bucket",
    "Metrics",
    "chosen",
    "floor",
    "instant",
    "point",
    "require",
]

MOST_SAMPLES = 1_000
"""How many times of a period are kept, picked at random; percentiles are exact up to there."""


LENGTHS = {MetricsPeriod.MINUTE: timedelta(minutes=1), MetricsPeriod.HOUR: timedelta(hours=1)}
RETENTIONS = {MetricsPeriod.MINUTE: timedelta(days=1), MetricsPeriod.HOUR: timedelta(days=30)}


class Metrics:
    """The counts and times of settled jobs, by queue and period; old periods are dropped."""

    def __init__(self) -> None:
        # not the store's random source: watching must not change what happens
        self._random = random.Random(0)
        self._buckets: dict[tuple[str, MetricsPeriod], OrderedDict[datetime, Bucket]] = {}
        self._minute: datetime | None = None

    def record(self, job: JobData, now: datetime) -> None:
        """Note a job that has just settled."""
        minute = floor(now, LENGTHS[MetricsPeriod.MINUTE])
        if minute != self._minute:
            self._minute = minute
            self._drop_old(now)
        for period, length in LENGTHS.items():
            buckets = self._buckets.setdefault((job.queue_name, period), OrderedDict())
            start = floor(now, length)
            if start not in buckets:
                buckets[start] = Bucket()
            buckets[start].record(job, self._random)

    def forget(self, queue_name: str) -> None:
        """Note that a queue is gone."""
        for period in LENGTHS:
            self._buckets.pop((queue_name, period), None)

    def _drop_old(self, now: datetime) -> None:
        """Drop the periods that are too old, of queues in which nothing settles any more too."""
        for key, buckets in list(self._buckets.items()):
            oldest = floor(now, LENGTHS[key[1]]) - RETENTIONS[key[1]]
            while buckets and next(iter(buckets)) <= oldest:
                buckets.popitem(last=False)
            if not buckets:
                del self._buckets[key]

    def points(
        self,
        queue_name: str,
        period: MetricsPeriod | str,
        start: datetime | None,
        end: datetime | None,
        now: datetime,
    ) -> list[MetricsPoint]:
        """The periods in which a job settled, between two instants, the oldest first.

        Raises:
            TypeError, ValueError: there is no such period, or an instant is not an aware datetime.
        """
        wanted = check_choice(MetricsPeriod, period, what="period")
        start, end = instant(start, "start"), instant(end, "end")
        length = LENGTHS[wanted]
        return [
            point(queue_name, begin, begin + length, [bucket])
            for begin, bucket in self._between(queue_name, wanted, start, end, now)
        ]

    def total(
        self, queue_name: str | None, start: datetime | None, end: datetime | None, now: datetime
    ) -> MetricsPoint:
        """All minutes between two instants as one; of a queue, or of all of them.

        Raises:
            TypeError, ValueError: an instant is not an aware datetime.
        """
        start, end = instant(start, "start"), instant(end, "end")
        period = MetricsPeriod.MINUTE
        names = {name for name, _ in self._buckets} if queue_name is None else {queue_name}
        found = [pair for name in names for pair in self._between(name, period, start, end, now)]
        first = start or min((begin for begin, _ in found), default=now)
        return point(queue_name, first, end or now, [bucket for _, bucket in found])

    def _between(
        self,
        queue_name: str,
        period: MetricsPeriod,
        start: datetime | None,
        end: datetime | None,
        now: datetime,
    ) -> list[tuple[datetime, Bucket]]:
        buckets = self._buckets.get((queue_name, period))
        return chosen(buckets.items() if buckets else (), period, start, end, now)


def chosen(
    buckets: Iterable[tuple[datetime, Bucket]],
    period: MetricsPeriod,
    start: datetime | None,
    end: datetime | None,
    now: datetime,
) -> list[tuple[datetime, Bucket]]:
    """Those periods of a kind that are kept, and have a part between two instants."""
    length = LENGTHS[period]
    oldest = floor(now, length) - RETENTIONS[period]
    return [
        (begin, bucket)
        for begin, bucket in buckets
        if begin > oldest
        and (start is None or begin + length > start)
        and (end is None or begin < end)
    ]


def require(metrics: Metrics | None) -> Metrics:
    """The metrics of a store; raises ``MetricsDisabledError`` if it collects none."""
    if metrics is None:
        raise MetricsDisabledError
    return metrics


def instant(value: datetime | None, what: str) -> datetime | None:
    """An instant that was given as an argument, checked."""
    return None if value is None else to_instant(value, what=what)


class Bucket:
    """What settled in one period: how many jobs, and a fair choice of their times in seconds."""

    __slots__ = ("completed", "failed", "processing", "waiting")

    def __init__(self) -> None:
        self.completed = 0
        self.failed = 0
        self.processing = array("d")  # a minute of a busy queue has a thousand
        self.waiting = array("d")

    def record(self, job: JobData, rng: random.Random) -> None:
        """Count a job that has just settled."""
        if job.state is JobState.COMPLETED:
            self.completed += 1
        else:
            self.failed += 1
        if not job.attempt_logs:
            return
        seen = self.completed + self.failed
        last = job.attempt_logs[-1]
        if last.ended_at is not None:
            _sample(self.processing, (last.ended_at - last.started_at).total_seconds(), seen, rng)
        ready = job.planned_at or job.created_at + timedelta(seconds=job.opts.delay)
        waited = (job.attempt_logs[0].started_at - ready).total_seconds()
        _sample(self.waiting, max(0.0, waited), seen, rng)


def _sample(samples: array[float], value: float, seen: int, rng: random.Random) -> None:
    """Keep a fair choice of the values seen so far (reservoir sampling)."""
    if len(samples) < MOST_SAMPLES:
        samples.append(value)
    elif (slot := rng.randrange(seen)) < MOST_SAMPLES:
        samples[slot] = value


def point(
    queue_name: str | None, start: datetime, end: datetime, buckets: Iterable[Bucket]
) -> MetricsPoint:
    """Some periods as one point."""
    buckets = list(buckets)
    processing = sorted(value for bucket in buckets for value in bucket.processing)
    waiting = sorted(value for bucket in buckets for value in bucket.waiting)
    return MetricsPoint(
        queue_name=queue_name,
        start=start,
        end=end,
        completed=sum(bucket.completed for bucket in buckets),
        failed=sum(bucket.failed for bucket in buckets),
        processing_p50=_percentile(processing, 50),
        processing_p95=_percentile(processing, 95),
        waiting_p50=_percentile(waiting, 50),
        waiting_p95=_percentile(waiting, 95),
    )


def _percentile(ordered: list[float], percent: int) -> float | None:
    """The nearest-rank percentile."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None


def floor(instant: datetime, length: timedelta) -> datetime:
    """When the period began in which an instant is."""
    if length >= timedelta(hours=1):
        return instant.replace(minute=0, second=0, microsecond=0)
    return instant.replace(second=0, microsecond=0)
