"""The machine's time, made fit to go by: it never goes back, and timers notice when it jumps.

A wall clock may be set at any moment, and a machine that sleeps finds it hours later. Event loops
measure another time, which knows of neither and may stand still while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["RealTime", "TimerHandle", "call_after"]

_BEAT = 1.0
"""For how many seconds a timer may run with nobody looking whether the time has jumped."""

_JUMP = 0.5
"""The seconds by which two clocks are apart, from one beat to the next, if one has jumped."""

_utc_now = functools.partial(datetime.now, UTC)

_CATCHING_UP = 0.9
"""How fast time goes on while the machine's clock, which was set back, is behind."""


class TimerHandle(Protocol):
    """A timer that can be called off."""

    def cancel(self) -> None:
        """Don't call back; harmless when the callback has been called."""


class RealTime:
    """The machine's time, and timers by it.

    Set forward, also by a machine that slept, it is followed at once: what is due then is due.
    Set back, it is not followed, as what happened before must not come after what happens now:
    time goes on a little slower until the machine's clock has caught up, an hour in ten.

    Args:
        wall: the machine's clock, in UTC.
        monotonic: seconds that go on evenly whatever is done to that clock.
    """

    def __init__(
        self,
        wall: Callable[[], datetime] = _utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._latest = wall()
        self._set_back_at = (self._latest, monotonic())
        self._watches: dict[asyncio.AbstractEventLoop, _Watch] = {}

    def now(self) -> datetime:
        """The current instant, in UTC: never one before one that was given already."""
        now = self._wall()
        if now < self._latest:
            now = self._catching_up()
        self._latest = now
        return now

    def start_over(self) -> None:
        """Forget what instants were given: nothing has come of them that could come again."""
        self._latest = self._wall()
        self._set_back_at = (self._latest, self._monotonic())

    def _catching_up(self) -> datetime:
        """The current instant while the machine's clock is behind."""
        latest, passed = self._latest, self._monotonic()
        began, began_at = self._set_back_at
        now = began + timedelta(seconds=(passed - began_at) * _CATCHING_UP)
        if now < latest:  # the clock was set back since then
            self._set_back_at = (latest, passed)
            return latest
        return now

    def call_at(self, when: datetime, callback: Callable[[], object]) -> TimerHandle:
        """Call back on the running loop at an instant, never earlier."""
        delay = (when - self.now()).total_seconds()
        if delay <= _BEAT:
            return call_after(delay, callback)
        loop = asyncio.get_running_loop()
        watch = self._watches.get(loop)
        if watch is None:
            for one in [one for one in self._watches if one.is_closed()]:
                self._watches.pop(one, None)
            watch = self._watches[loop] = _Watch(self, functools.partial(self._forget, loop))
        return watch.add(when, callback)

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watches.pop(loop, None)

    def skew(self) -> float:
        """How many seconds this time is ahead of the even one; only differences mean anything."""
        return self.now().timestamp() - self._monotonic()


class _Watch:
    """The timers of a loop that run for long, and a look at the clock once a beat."""

    def __init__(self, real_time: RealTime, on_empty: Callable[[], None]) -> None:
        self._real_time = real_time
        self._on_empty = on_empty
        self._timers: dict[_Timer, None] = {}
        self._skew = real_time.skew()
        self._beat = call_after(_BEAT, self._look)

    def add(self, when: datetime, callback: Callable[[], object]) -> TimerHandle:
        """A timer that is looked after until it rings."""
        timer = _Timer(when, callback, self._real_time, self._remove)
        self._timers[timer] = None
        timer.set()
        return timer

    def _remove(self, timer: _Timer) -> None:
        self._timers.pop(timer, None)
        if not self._timers:
            self._beat.cancel()
            self._on_empty()

    def _look(self) -> None:
        """Set the timers anew if the time has jumped, those that fall due first at first."""
        before, self._skew = self._skew, self._real_time.skew()
        if self._skew - before > _JUMP:
            for timer in sorted(self._timers, key=lambda timer: timer.when):
                timer.set()
        self._beat = call_after(_BEAT, self._look)


class _Timer:
    """A timer that rings at an instant, whatever becomes of the machine's clock meanwhile."""

    __slots__ = ("_callback", "_handle", "_on_end", "_real_time", "when")

    def __init__(
        self,
        when: datetime,
        callback: Callable[[], object],
        real_time: RealTime,
        on_end: Callable[[_Timer], None],
    ) -> None:
        self.when = when
        self._callback = callback
        self._real_time = real_time
        self._on_end = on_end
        self._handle: TimerHandle | None = None

    def set(self) -> None:
        """Ring after the time that is left by now."""
        if self._handle is not None:
            self._handle.cancel()
        left = (self.when - self._real_time.now()).total_seconds()
        self._handle = call_after(left, self._ring)

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._on_end(self)

    def _ring(self) -> None:
        if self._real_time.now() < self.when:  # the loop's time runs faster
            self.set()
        else:
            self._on_end(self)
            self._callback()


def call_after(delay: float, callback: Callable[[], object]) -> TimerHandle:
    """Call back on the running loop after so many real seconds, never earlier.

    Pyodide's loop calls at once what is due within 2 ms, and drops the fraction of a longer delay.
    """
    if sys.platform == "emscripten" and delay > 0:
        delay += 0.003
    return asyncio.get_running_loop().call_later(max(0.0, delay), callback)
