"""Rate limits: how many jobs started in a sliding window of time."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.core.turns import opens_at, room

__all__ = ["SlidingWindow"]


class SlidingWindow:
    """The latest starts, as many and for as long as the widest limiter seen needs.

    Starts are noted from the first time a limiter asks: without one, nothing is kept.
    """

    __slots__ = ("_longest", "_starts", "is_asked_for")

    def __init__(self) -> None:
        self.is_asked_for = False
        self._starts: deque[datetime] = deque(maxlen=0)
        self._longest = timedelta(0)

    def opens_at(self, limiter: Limiter) -> datetime | None:
        """When one more may start, by the limiter; ``None``: at any time."""
        self.is_asked_for = True
        self._longest = max(self._longest, timedelta(seconds=limiter.duration))
        if limiter.max > (self._starts.maxlen or 0):
            self._starts = deque(self._starts, maxlen=limiter.max)
        return opens_at(self._starts, limiter)

    def room(self, limiter: Limiter, now: datetime) -> int:
        """How many may start now, by the limiter; for who looks, and starts nothing."""
        return room(self._starts, limiter, now)

    def note_start(self, now: datetime) -> None:
        """Note that a job started."""
        self._starts.append(now)
        self.forget(now)

    def forget(self, now: datetime) -> None:
        """Forget the starts that count no more."""
        starts = self._starts
        while starts and starts[0] + self._longest <= now:
            starts.popleft()

    def over_at(self) -> datetime | None:
        """When no start counts any more; ``None``: none does."""
        return self._starts[-1] + self._longest if self._starts else None
