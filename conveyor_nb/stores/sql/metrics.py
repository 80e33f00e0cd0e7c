"""The metrics of a store on a database: a row for each minute and hour in which jobs settled."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import JobData
from conveyor_nb.core.values.checks import check_choice
from conveyor_nb.stores.metrics import LENGTHS, RETENTIONS, Bucket, chosen, floor, instant, point
from conveyor_nb.stores.sql.asking import Asking, Many
from conveyor_nb.stores.sql.shared_metrics import SharedMetrics

__all__ = ["SqlMetrics"]

_COLUMNS = "completed, failed, processing, waiting"
_READ = (
    f"SELECT {_COLUMNS} FROM conveyor_nb_metrics WHERE queue_name = ? AND period = ? AND start = ?"
)
_WRITE = (
    f"INSERT INTO conveyor_nb_metrics (queue_name, period, start, {_COLUMNS})"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (queue_name, period, start) DO UPDATE SET"
    " completed = excluded.completed, failed = excluded.failed,"
    " processing = excluded.processing, waiting = excluded.waiting"
)
_FORGET = "DELETE FROM conveyor_nb_metrics WHERE period = ? AND start <= ?"
_LIST = f"SELECT start, {_COLUMNS} FROM conveyor_nb_metrics WHERE period = ?"


class SqlMetrics:
    """What settled within a transaction: rows are read when they are first needed.

    Args:
        to_value: how an instant is written.
        to_datetime: how one is read.
    """

    def __init__(
        self, to_value: Callable[[datetime], Any], to_datetime: Callable[[Any], datetime | None]
    ) -> None:
        self._to_value, self._to_datetime = to_value, to_datetime
        # not the store's random source: watching must not change what happens
        self._random = random.Random(0)
        self._buckets: dict[tuple[str, MetricsPeriod, datetime], Bucket] = {}
        self._minute: datetime | None = None
        self._shared = SharedMetrics(to_value)

    def forget(self) -> None:
        """Know nothing: another one may have written."""
        self._buckets.clear()
        self._shared.forget()

    def note(self, settled: Iterable[tuple[JobData, datetime]]) -> Asking[None]:
        """Take note of jobs that have just settled."""
        for job, now in settled:
            minute = floor(now, LENGTHS[MetricsPeriod.MINUTE])
            if minute != self._minute:
                yield from self._drop_old(now)
                self._minute = minute
            self._shared.note(job, now)
            for period, length in LENGTHS.items():
                bucket = yield from self._bucket(job.queue_name, period, floor(now, length))
                bucket.record(job, self._random)

    def _bucket(self, queue_name: str, period: MetricsPeriod, start: datetime) -> Asking[Bucket]:
        key = (queue_name, period, start)
        bucket = self._buckets.get(key)
        if bucket is None:
            rows = yield _READ, (queue_name, period.value, self._to_value(start))
            bucket = self._buckets[key] = _bucket_of(*rows[0]) if rows else Bucket()
        return bucket

    def _drop_old(self, now: datetime) -> Asking[None]:
        for period, length in LENGTHS.items():
            oldest = floor(now, length) - RETENTIONS[period]
            yield _FORGET, (period.value, self._to_value(oldest))
        yield from self._shared.drop_old(now)

    def write(self) -> Asking[None]:
        """Keep what was noted."""
        if self._buckets:
            rows = [
                (
                    *(queue_name, period.value, self._to_value(start)),
                    *(bucket.completed, bucket.failed),
                    *(bucket.processing.tobytes(), bucket.waiting.tobytes()),
                )
                for (queue_name, period, start), bucket in self._buckets.items()
            ]
            self._buckets.clear()
            yield Many(_WRITE, rows)
            yield from self._shared.write()

    # -- looking ------------------------------------------------------------------------------

    def points(
        self,
        queue_name: str,
        period: MetricsPeriod | str,
        start: datetime | None,
        end: datetime | None,
        now: datetime,
    ) -> Asking[list[MetricsPoint]]:
        """As ``StoreInterface.get_metrics``."""
        wanted = check_choice(MetricsPeriod, period, what="period")
        start, end = instant(start, "start"), instant(end, "end")
        found = yield from self._between(queue_name, wanted, start, end, now)
        length = LENGTHS[wanted]
        return [point(queue_name, begin, begin + length, [one]) for begin, one in found]

    def total(
        self, queue_name: str | None, start: datetime | None, end: datetime | None, now: datetime
    ) -> Asking[MetricsPoint]:
        """As ``StoreInterface.aggregate_metrics``."""
        start, end = instant(start, "start"), instant(end, "end")
        found = yield from self._between(queue_name, MetricsPeriod.MINUTE, start, end, now)
        first = start or min((begin for begin, _ in found), default=now)
        return point(queue_name, first, end or now, [bucket for _, bucket in found])

    def _between(
        self,
        queue_name: str | None,
        period: MetricsPeriod,
        start: datetime | None,
        end: datetime | None,
        now: datetime,
    ) -> Asking[list[tuple[datetime, Bucket]]]:
        if queue_name is None:
            rows = yield _LIST, (period.value,)
        else:
            rows = yield f"{_LIST} AND queue_name = ? ORDER BY start", (period.value, queue_name)
        buckets = [(self._to_datetime(row[0]), _bucket_of(*row[1:])) for row in rows]
        known = ((begin, bucket) for begin, bucket in buckets if begin is not None)
        return chosen(known, period, start, end, now)


def _bucket_of(completed: int, failed: int, processing: bytes, waiting: bytes) -> Bucket:
    bucket = Bucket()
    bucket.completed, bucket.failed = completed, failed
    bucket.processing, bucket.waiting = array("d", processing), array("d", waiting)
    return bucket
