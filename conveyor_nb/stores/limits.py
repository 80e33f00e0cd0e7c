"""Rate limits: how many jobs started in a sliding window of time."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from conveyor_nb.worker_options import Limiter

__all__ = ["SlidingWindow"]


class SlidingWindow:
    """The latest starts, as many as the widest limiter seen needs.

    Starts are noted from the first time a limiter asks: without one, nothing is kept.
    """

    __slots__ = ("_starts", "is_asked_for")

    def __init__(self) -> None:
        self.is_asked_for = False
        self._starts: deque[datetime] = deque(maxlen=0)

    def opens_at(self, limiter: Limiter) -> datetime | None:
        """When one more may start, by the limiter; ``None``: at any time."""
        self.is_asked_for = True
        if limiter.max > (self._starts.maxlen or 0):
            self._starts = deque(self._starts, maxlen=limiter.max)
        if len(self._starts) < limiter.max:
            return None
        return self._starts[-limiter.max] + timedelta(seconds=limiter.duration)

    def note_start(self, now: datetime) -> None:
        """Note that a job started."""
        self._starts.append(now)
