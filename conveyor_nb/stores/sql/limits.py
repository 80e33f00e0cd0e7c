"""When jobs started, for rate limits: noted from the first time that such a limit asks.

What is asked for is kept with the queue, so that all stores on a database note the starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from conveyor_nb.core.model import JobData
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.stores.sql.asking import Asking, Many

__all__ = ["Limits"]

_READ = "SELECT limit_seconds, group_limit_seconds FROM conveyor_nb_queues WHERE name = ?"
_WRITE = (
    "INSERT INTO conveyor_nb_queues (name, limit_seconds, group_limit_seconds, listed)"
    " VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
    " limit_seconds = excluded.limit_seconds, group_limit_seconds = excluded.group_limit_seconds"
)
_STARTS = (
    "SELECT fetched_at FROM conveyor_rate_limits WHERE queue_name = ?"
    " ORDER BY fetched_at DESC LIMIT ?"
)
_GROUP_STARTS = (
    "SELECT started_at FROM conveyor_nb_starts WHERE queue_name = ? AND group_id = ?"
    " ORDER BY started_at DESC LIMIT ?"
)
_NOTE = "INSERT INTO conveyor_rate_limits (queue_name, fetched_at) VALUES (?, ?)"
_NOTE_OF_GROUP = (
    "INSERT INTO conveyor_nb_starts (queue_name, group_id, started_at) VALUES (?, ?, ?)"
)
_FORGET = "DELETE FROM conveyor_rate_limits WHERE queue_name = ? AND fetched_at <= ?"
_FORGET_OF_GROUP = (
    "DELETE FROM conveyor_nb_starts WHERE queue_name = ? AND group_id = ? AND started_at <= ?"
)


class Limits:
    """The starts of jobs that count for rate limits.

    Args:
        instant: how an instant is written.
        to_datetime: how one is read.
        flag: how a yes or no is written.
    """

    def __init__(
        self,
        instant: Callable[[datetime], Any],
        to_datetime: Callable[[Any], datetime | None],
        flag: Callable[[bool], Any],
    ) -> None:
        self._instant, self._to_datetime, self._flag = instant, to_datetime, flag
        self._spans: dict[str, tuple[float, float]] = {}
        self._wider: set[str] = set()

    @property
    def is_wider(self) -> bool:
        """Whether a limit has asked that the queue does not know of."""
        return bool(self._wider)

    def asks_nothing(self, queue_name: str) -> bool:
        """Whether it is known that no rate limit asks for the starts in a queue."""
        return self._spans.get(queue_name) == (0, 0)

    def forget(self) -> None:
        """Know nothing: another one may have written."""
        self._spans.clear()
        self._wider.clear()

    def learn(self, queue_name: str, seconds: float | None, group_seconds: float | None) -> None:
        """Take in how far back the limits of a queue ask."""
        self._spans.setdefault(queue_name, (seconds or 0, group_seconds or 0))

    def starts(self, queue_name: str, limiter: Limiter) -> Asking[list[datetime]]:
        """The latest starts in a queue, the newest last."""
        yield from self._widen(queue_name, limiter.duration, 0)
        rows = yield _STARTS, (queue_name, limiter.max)
        return self._instants(rows)

    def group_starts(
        self, queue_name: str, group_id: str, limiter: Limiter
    ) -> Asking[list[datetime]]:
        """The latest starts in a group, the newest last."""
        yield from self._widen(queue_name, 0, limiter.duration)
        rows = yield _GROUP_STARTS, (queue_name, group_id, limiter.max)
        return self._instants(rows)

    def _instants(self, rows: list[Any]) -> list[datetime]:
        """The newest last."""
        found = (self._to_datetime(row[0]) for row in reversed(rows))
        return [one for one in found if one is not None]

    def _spans_of(self, queue_name: str) -> Asking[tuple[float, float]]:
        spans = self._spans.get(queue_name)
        if spans is None:
            rows = yield _READ, (queue_name,)
            spans = (rows[0][0] or 0, rows[0][1] or 0) if rows else (0, 0)
            self._spans[queue_name] = spans
        return spans

    def _widen(self, queue_name: str, seconds: float, group_seconds: float) -> Asking[None]:
        known = yield from self._spans_of(queue_name)
        wanted = (max(known[0], seconds), max(known[1], group_seconds))
        if wanted != known:
            self._spans[queue_name] = wanted
            self._wider.add(queue_name)

    def note(self, started: Iterable[JobData]) -> Asking[None]:
        """Take note of jobs that have just started."""
        ends: dict[tuple[str, str | None], datetime] = {}
        starts: list[tuple[str, Any]] = []
        group_starts: list[tuple[str, str, Any]] = []
        for job in started:
            span, group_span = yield from self._spans_of(job.queue_name)
            if not (span or group_span):
                continue
            assert job.processed_at is not None, "it has started"
            at = self._instant(job.processed_at)
            if span:
                starts.append((job.queue_name, at))
                ends[job.queue_name, None] = job.processed_at - timedelta(seconds=span)
            if group_span and job.group_id is not None:
                group_starts.append((job.queue_name, job.group_id, at))
                over = job.processed_at - timedelta(seconds=group_span)
                ends[job.queue_name, job.group_id] = over
        if starts:
            yield Many(_NOTE, starts)
        if group_starts:
            yield Many(_NOTE_OF_GROUP, group_starts)
        for (queue_name, group_id), end in ends.items():
            if group_id is None:
                yield _FORGET, (queue_name, self._instant(end))
            else:
                yield _FORGET_OF_GROUP, (queue_name, group_id, self._instant(end))

    def write(self) -> Asking[None]:
        """Keep how far back the limits ask."""
        for queue_name in self._wider:
            yield _WRITE, (queue_name, *self._spans[queue_name], self._flag(False))
        self._wider.clear()
