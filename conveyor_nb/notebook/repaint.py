"""When a view repaints: soon after it was asked to, but not too often.

What a person sees follows the person's own time. A store on a ``VirtualClock`` stands still
between two ``advance`` calls; its panel must not.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from conveyor_nb.clocks.clock import REAL_TIME, TimerHandle

__all__ = ["INTERVAL", "Repainter"]

INTERVAL = timedelta(seconds=0.1)


class Repainter:
    """Calls ``paint`` once for any number of requests, at most ten times a second.

    Requests come from the loop's thread, and cost nothing while one is pending.
    """

    def __init__(self, paint: Callable[[], None]) -> None:
        self._paint = paint
        self._timer: TimerHandle | None = None
        self._last = REAL_TIME.now() - INTERVAL
        self.interval = INTERVAL
        """From one time to the next at least."""

    def request(self) -> None:
        """Have ``paint`` called, at once if the last time is long enough ago."""
        if self._timer is None:
            delay = max(timedelta(0), self._last + self.interval - REAL_TIME.now())
            self._timer = REAL_TIME.call_later(delay, self._fire)

    def cancel(self) -> None:
        """Forget a pending request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._last = REAL_TIME.now()
        self._paint()
