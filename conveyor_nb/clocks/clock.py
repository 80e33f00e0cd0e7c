"""The only source of time: what a clock is, the real one, and a faster one.

Nothing else in the package asks for the time, sleeps or sets a timer, but for ``real_time``.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

from conveyor_nb.clocks.real_time import RealTime, TimerHandle, call_after
from conveyor_nb.core.values.checks import check_number, to_instant
from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.text import shown

__all__ = [
    "REAL_TIME",
    "Callback",
    "Clock",
    "ScaledClock",
    "SystemClock",
    "TimerHandle",
    "checkpoint",
    "is_undisturbed",
    "resolve",
    "undisturbed",
]

T = TypeVar("T")

Callback = Callable[[], object]

_LONG_TURN = 0.005
"""For how many real seconds, in a turn of the loop, those who work on and on may keep it."""

_FASTEST = 1e6
"""A clock that goes faster comes to the end of all dates; one as much slower stands still."""

_SHORTEST = 1e-6
"""The shortest sleep, in seconds."""


async def checkpoint() -> None:
    """Let every other task of the loop have its turn."""
    await asyncio.sleep(0)


class _Turn(threading.local):
    """The turn of this thread's loop: shared by all who ask whether it has been long."""

    of: asyncio.AbstractEventLoop | None = None
    ends = 0.0
    undisturbed = 0


_turn = _Turn()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let nobody be overdue meanwhile: for what must get to its end without giving way."""
    _turn.undisturbed += 1
    try:
        yield
    finally:
        _turn.undisturbed -= 1


def is_undisturbed() -> bool:
    """Whether that is so now."""
    return _turn.undisturbed > 0


class Clock(ABC):
    """What the engine asks of time."""

    @abstractmethod
    def now(self) -> datetime:
        """The current instant, in UTC."""

    @abstractmethod
    def call_at(self, when: datetime, callback: Callback) -> TimerHandle:
        """Call ``callback`` on the running loop at ``when``, or soon if that has passed."""

    def call_later(self, delay: Duration, callback: Callback) -> TimerHandle:
        """Call ``callback`` on the running loop after ``delay``."""
        return self.call_at(self.now() + timedelta(seconds=to_seconds(delay)), callback)

    def call_at_leisure(self, delay: Duration, callback: Callback) -> TimerHandle:
        """Call ``callback`` on the running loop after ``delay``, or later if that does as well.

        A clock that is moved by hand calls it once that stands still again: however far it is
        moved, what tells again and again that somebody is there has told it once.
        """
        return self.call_later(delay, callback)

    def overdue(self) -> bool:
        """Whether those who ask have kept the loop for so long that others should have a turn.

        Who is told so awaits :func:`checkpoint`. The time counts from the first time that one
        of them asked in this turn of the loop, and all of them share it.
        """
        now = time.perf_counter()
        if now <= _turn.ends:
            return False
        if is_undisturbed():
            return False
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop runs, so there are no other tasks
            return False
        if _turn.of is loop:
            return True
        _turn.of, _turn.ends = loop, now + _LONG_TURN
        loop.call_soon(_end_turn)
        return False

    async def sleep(self, delay: Duration) -> None:
        """Wait for ``delay``, a duration, as this clock measures it."""
        seconds = to_seconds(delay, what="delay")
        if seconds == 0:
            await checkpoint()
            return
        done = asyncio.get_running_loop().create_future()
        # never less than this, as sleeping again and again must let time move on
        timer = self.call_later(max(seconds, _SHORTEST), lambda: resolve(done, True))
        try:
            await done
        finally:
            timer.cancel()

    async def wait(self, future: asyncio.Future[Any], timeout: Duration | None) -> bool:
        """Wait until ``future`` is done, for up to ``timeout``; return whether it is.

        The future is neither cancelled nor asked for its result.
        """
        if future.done():
            return True
        reached = asyncio.get_running_loop().create_future()

        def settle(_: object) -> None:
            resolve(reached, True)

        future.add_done_callback(settle)
        timer = None
        if timeout is not None:
            timer = self.call_later(timeout, lambda: resolve(reached, False))
        try:
            await reached
        finally:
            future.remove_done_callback(settle)
            if timer is not None:
                timer.cancel()
        return future.done()

    async def wait_in_real_time(
        self, future: asyncio.Future[Any], timeout: Duration | None
    ) -> bool:
        """As :meth:`wait`, but never longer than ``timeout`` of the person's own time.

        For shutdowns, which must end whatever the clock does.
        """
        return await REAL_TIME.wait(future, timeout)

    @contextlib.contextmanager
    def off_loop(self) -> Iterator[None]:
        """Marks work in a thread or a process, which a clock can't see on the loop."""
        yield

    @contextlib.contextmanager
    def back_on_loop(self) -> Iterator[None]:
        """Marks a time in which work in a thread only waits for something on the loop."""
        yield


def _end_turn() -> None:
    _turn.of, _turn.ends = None, 0.0


class SystemClock(RealTime, Clock):
    """The machine's clock, which never goes back: see ``RealTime``.

    When the machine's is set back, it goes on a little slower until that has caught up. When it
    is set forward, or the machine has slept, what is due by then runs at once.

    >>> SystemClock().now().tzinfo
    datetime.timezone.utc
    """

    def __repr__(self) -> str:
        return "<SystemClock>"


def check_clock(clock: Clock | None) -> Clock:
    """The clock that was given; a ``SystemClock`` if none was.

    Raises:
        TypeError: it is no clock.
    """
    if clock is not None and not isinstance(clock, Clock):
        raise TypeError(f"clock must be a Clock, for instance VirtualClock(), not {shown(clock)}")
    return clock or SystemClock()


REAL_TIME = SystemClock()


class ScaledClock(Clock):
    """A clock that runs ``speed`` times as fast as the real one: for live demonstrations.

    It goes on evenly, whatever the machine's clock is set to.

    Args:
        speed: how many of its seconds pass in a real one; above zero.
        start: its first instant; the real one if not given.

    >>> ScaledClock(60)
    <ScaledClock x60>
    """

    def __init__(self, speed: float, *, start: datetime | None = None) -> None:
        self.speed = float(check_number(speed, what="speed"))
        if not 1 / _FASTEST <= self.speed <= _FASTEST:
            raise ValueError(f"speed must be above zero, and at most a million, not {shown(speed)}")
        self._began = time.monotonic()
        self._start = REAL_TIME.now() if start is None else to_instant(start, what="start")

    def now(self) -> datetime:
        return self._start + timedelta(seconds=(time.monotonic() - self._began) * self.speed)

    def call_at(self, when: datetime, callback: Callback) -> TimerHandle:
        return call_after((when - self.now()).total_seconds() / self.speed, callback)

    def __repr__(self) -> str:
        return f"<ScaledClock x{self.speed:g}>"


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Set a future's result, unless it is done."""
    if not future.done():
        future.set_result(value)
