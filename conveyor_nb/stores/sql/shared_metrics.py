"""The counts of settled jobs that dashboards of Conveyor show: of each minute, by queue and name.

They add to these rows, and so do we: what is counted there is what both have run.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from conveyor_nb.core.metrics import MetricsPeriod
from conveyor_nb.core.model import ALL_NAMES, COMPLETED, JobData
from conveyor_nb.stores.metrics import LENGTHS, floor
from conveyor_nb.stores.sql.asking import Asking, Many

__all__ = ["SharedMetrics"]

_KEPT = timedelta(days=30)
"""For how long minutes are kept that nobody has summed up: programs of Conveyor, which do so, keep
hours for as long."""

_COUNTS = ("completed_count", "failed_count", "total_process_ms")
_MIN, _MAX = "min_process_ms", "max_process_ms"
_OLD = "conveyor_metrics."


def _bound(name: str, sign: str) -> str:
    """The smaller or larger one of two, either of which may be none: in any database's words."""
    return (
        f"{name} = CASE WHEN {_OLD}{name} {sign}= excluded.{name} THEN {_OLD}{name}"
        f" ELSE coalesce(excluded.{name}, {_OLD}{name}) END"
    )


_ADD = (
    "INSERT INTO conveyor_metrics (queue_name, job_name, period_start, granularity,"
    f" {', '.join(_COUNTS)}, {_MIN}, {_MAX}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (queue_name, job_name, period_start, granularity) DO UPDATE SET "
    + ", ".join(f"{name} = {_OLD}{name} + excluded.{name}" for name in _COUNTS)
    + f", {_bound(_MIN, '<')}, {_bound(_MAX, '>')}"
)
_FORGET = "DELETE FROM conveyor_metrics WHERE granularity = 'minute' AND period_start <= ?"


class SharedMetrics:
    """What settled within a transaction.

    Args:
        to_value: how an instant is written.
    """

    def __init__(self, to_value: Callable[[datetime], Any]) -> None:
        self._to_value = to_value
        self._added: dict[tuple[str, str, datetime], list[int]] = {}

    def forget(self) -> None:
        """Know nothing of what was to be written."""
        self._added.clear()

    def note(self, job: JobData, now: datetime) -> None:
        """Count a job that has just settled, as they do: only one that was started."""
        if not job.attempt_logs:
            return
        last = job.attempt_logs[-1]
        took = round(((last.ended_at or now) - last.started_at).total_seconds() * 1_000)
        completed = job.state is COMPLETED
        minute = floor(now, LENGTHS[MetricsPeriod.MINUTE])
        for name in (job.name, ALL_NAMES):
            key = (job.queue_name, name, minute)
            row = self._added.get(key)
            if row is None:
                row = self._added[key] = [0, 0, 0, took, took]
            row[0] += completed
            row[1] += not completed
            row[2] += took
            row[3], row[4] = min(row[3], took), max(row[4], took)

    def drop_old(self, now: datetime) -> Asking[None]:
        """Drop what is kept no longer."""
        yield _FORGET, (self._to_value(now - _KEPT),)

    def write(self) -> Asking[None]:
        """Keep what was noted."""
        if self._added:
            rows = [
                (queue_name, name, self._to_value(minute), "minute", *row)
                for (queue_name, name, minute), row in sorted(self._added.items())
            ]
            self._added.clear()
            yield Many(_ADD, rows)
