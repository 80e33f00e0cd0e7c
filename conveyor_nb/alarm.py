"""One timer that is set again and again."""

from __future__ import annotations

from datetime import datetime

from conveyor_nb.clock import Callback, Clock, TimerHandle

__all__ = ["Alarm"]


class Alarm:
    """One timer that is set again and again.

    Args:
        clock: what it goes by.
        callback: what it calls.
    """

    def __init__(self, clock: Clock, callback: Callback) -> None:
        self._clock = clock
        self._callback = callback
        self._when: datetime | None = None
        self._handle: TimerHandle | None = None

    def set(self, when: datetime | None) -> None:
        """Call back at ``when`` and at no other time; ``None``: not at all."""
        if when != self._when:
            self.cancel()
            if when is not None:
                self._when = when
                self._handle = self._clock.call_at(when, self._ring)

    def cancel(self) -> None:
        """Do not call back."""
        self._when = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._when = self._handle = None
        self._callback()
