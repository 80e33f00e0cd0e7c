"""One timer that is set again and again."""

from __future__ import annotations

import asyncio
from datetime import datetime

from conveyor_nb.clocks.clock import Callback, Clock, TimerHandle
from conveyor_nb.clocks.loops import call_on

__all__ = ["Timer"]


class Timer:
    """One timer that is set again and again, also from the loops of other threads.

    It fires on the loop where it was set first, for as long as that runs; then on the next.

    Args:
        clock: what it goes by.
        callback: what it calls.
    """

    def __init__(self, clock: Clock, callback: Callback) -> None:
        self._clock = clock
        self._callback = callback
        self.when: datetime | None = None
        """What it is set to."""
        self._handle: TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it is set, and its loop was closed before it fired."""
        return self.when is not None and self._loop is not None and self._loop.is_closed()

    def set(self, when: datetime | None) -> None:
        """Call back at ``when`` and at no other time; ``None``: not at all."""
        here = asyncio._get_running_loop()
        if when == self.when and not self.is_lost:
            return
        if self._loop is None or not self._loop.is_running():
            self._loop = here
        self.when = when
        if self._loop is None or self._loop is here:
            self._reset()
        else:
            call_on(self._loop, self._reset)

    def cancel(self) -> None:
        """Do not call back."""
        self.set(None)

    def _reset(self) -> None:
        """Let there be a timer for what it is set to by now."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self.when is not None:
            self._handle = self._clock.call_at(self.when, self._fire)

    def _fire(self) -> None:
        self.when = self._handle = None
        self._callback()
