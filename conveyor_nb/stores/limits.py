"""Rate limits: how many jobs started in a sliding window of time."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from conveyor_nb.durations import to_seconds
from conveyor_nb.options import Limiter

__all__ = ["SlidingWindow"]


class SlidingWindow:
    """The latest starts, as many as the widest limiter seen needs.

    Starts are noted from the first time a limiter asks: without one, nothing is kept.
    """

    __slots__ = ("_capacity", "_starts")

    def __init__(self) -> None:
        self._starts: deque[datetime] = deque()
        self._capacity = 0

    def opens_at(self, limiter: Limiter) -> datetime | None:
        """When one more may start, by the limiter; ``None``: at any time."""
        self._capacity = max(self._capacity, limiter.max)
        if len(self._starts) < limiter.max:
            return None
        return self._starts[-limiter.max] + timedelta(seconds=to_seconds(limiter.duration))

    def note_start(self, now: datetime) -> None:
        """Note that a job started."""
        if self._capacity:
            self._starts.append(now)
            if len(self._starts) > self._capacity:
                self._starts.popleft()
