"""How many jobs settled in a span of time, and how long they waited and took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from conveyor_nb.core.values.text import Word, inline

__all__ = ["MetricsPeriod", "MetricsPoint"]


class MetricsPeriod(Word):
    """How long one point of the metrics is."""

    MINUTE = "minute"
    HOUR = "hour"


@dataclass(frozen=True, slots=True, repr=False)
class MetricsPoint:
    """How many jobs settled in a span of time, and how long they waited and took, in seconds.

    Times are percentiles over the jobs that a worker took; ``None`` if there was none.
    """

    queue_name: str | None
    start: datetime
    end: datetime
    completed: int
    failed: int
    processing_p50: float | None
    processing_p95: float | None
    waiting_p50: float | None
    waiting_p95: float | None

    def __repr__(self) -> str:
        whose = "all queues" if self.queue_name is None else inline(self.queue_name)
        span = f"{self.start:%Y-%m-%d %H:%M} to {self.end:%H:%M} UTC"
        return (
            f"<MetricsPoint of {whose}, {span}: {self.completed} completed, {self.failed} failed>"
        )
