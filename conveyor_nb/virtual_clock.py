"""A clock that stands still until it is told to move: for tests, demonstrations and lessons."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from conveyor_nb.checks import to_instant
from conveyor_nb.clock import (
    REAL_TIME,
    Callback,
    Clock,
    TimerHandle,
    checkpoint,
    is_undisturbed,
    resolve,
)
from conveyor_nb.durations import Duration, to_seconds

__all__ = ["VIRTUAL_START", "VirtualClock"]

VIRTUAL_START = datetime(2027, 1, 1, tzinfo=UTC)


class VirtualClock(Clock):
    """A clock that stands still until :meth:`advance` moves it.

    Args:
        start: its first instant, an aware datetime; the first of January 2027 if not given.

    >>> import asyncio
    >>> async def main():
    ...     clock = VirtualClock()
    ...     nap = asyncio.ensure_future(clock.sleep("1 hour"))
    ...     await clock.advance("2 hours")
    ...     return nap.done(), clock.now().isoformat()
    >>> asyncio.run(main())
    (True, '2027-01-01T02:00:00+00:00')
    """

    patience: float = 1.0
    """For how many real seconds :meth:`advance` waits for work in threads and processes, counted
    anew each time that some of it ends; and thirty times as long for all that is done at one
    instant."""

    def __init__(self, start: datetime = VIRTUAL_START) -> None:
        self._now = to_instant(start, what="start")
        self._timers: list[_VirtualTimer] = []
        self._order = itertools.count()
        self._asked = 0
        self._off_loop = 0
        self._ended_off_loop = 0
        self._change_off_loop: asyncio.Future[Any] | None = None
        self._patient = True
        self._settling = False
        self._joined: list[asyncio.Future[Any]] = []

    def now(self) -> datetime:
        return self._now

    def overdue(self) -> bool:
        """Counts how often it is asked, as what happens may not depend on the real time."""
        self._asked += 1
        return self._asked % _LONG_TURN_ASKED == 0 and not is_undisturbed()

    def call_at(self, when: datetime, callback: Callback) -> TimerHandle:
        timer = _VirtualTimer(max(when, self._now), next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    async def advance(self, duration: Duration) -> None:
        """Move time on, running every timer that falls due, in order.

        Before the first timer and after each one, all that can run now runs until it waits.
        What it may wait for:

        - This clock (``job.sleep``): it goes on in its turn, if that falls within ``duration``.
        - Another task or job: it goes on when that has done its part, at whatever instant. If
          the two wait for each other, or for what never comes, time moves on without them.
        - A thread or process that runs a plain handler: time stands still until the handler is
          done, or waits for this clock in turn.
        - The outside world (a socket, a pipe, ``asyncio.to_thread``): what has arrived is taken
          in, what has not is not waited for, so time moves on meanwhile. A handler can have it
          stand still: ``with clock.off_loop(): await reader.read()``.

        It always comes to an end. A handler in a thread that goes on for ever, a task that
        never waits for anything and jobs that make ever more jobs are waited for with
        ``patience``; when that has run out, the timers that are left are run without waiting.
        Only a task that blocks the loop itself blocks this too.

        Raises:
            ValueError: ``duration`` is negative or not a duration.
        """
        target = self._now + timedelta(seconds=to_seconds(duration, what="advance"))
        await self.settle()
        while (timer := self._next_timer()) is not None and timer.when <= target:
            heapq.heappop(self._timers)
            self._now = max(self._now, timer.when)  # a handler may advance the clock as well
            timer.fire()
            await self._settle_in_turn()
        self._now = max(self._now, target)
        await self._settle_in_turn()

    async def settle(self) -> None:
        """Let everything that can run now run, without moving time; see :meth:`advance`."""
        self._patient = True
        await self._settle_in_turn()

    async def _settle_in_turn(self) -> None:
        if self._settling:  # two that wait for quiet would never see it
            turn = asyncio.get_running_loop().create_future()
            self._joined.append(turn)
            await turn
            return
        self._settling = True
        try:
            await self._settle()
            while self._joined:
                resolve(self._joined.pop(0), True)
                await self._settle()
        finally:
            self._settling = False
            while self._joined:
                resolve(self._joined.pop(0), True)

    async def _settle(self) -> None:
        """Let the loop become quiet and work off the loop end, for as long as patience lasts."""
        if not self._patient:
            await _until_quiet(most_turns=_QUIET_TURNS)
            return
        patience = timedelta(seconds=self.patience)
        at_last = REAL_TIME.now() + _WHOLE_INSTANT * patience
        seen, until = self._ended_off_loop, REAL_TIME.now() + patience
        while await _until_quiet(at_last):
            if not self._off_loop:
                return
            if seen != self._ended_off_loop:
                seen, until = self._ended_off_loop, REAL_TIME.now() + patience
            left = (min(until, at_last) - REAL_TIME.now()).total_seconds()
            if left <= 0:
                break
            self._change_off_loop = asyncio.get_running_loop().create_future()
            await REAL_TIME.wait(self._change_off_loop, left)
        self._patient = False

    async def wait_in_real_time(
        self, future: asyncio.Future[Any], timeout: Duration | None
    ) -> bool:
        """Time stands still while one waits, so what has not ended when the loop is quiet won't."""
        if timeout is not None:
            await self.settle()
        if not future.done() and (self._off_loop or timeout is None):
            return await super().wait_in_real_time(future, timeout)
        return future.done()

    @contextlib.contextmanager
    def off_loop(self) -> Iterator[None]:
        self._count_off_loop(+1)
        try:
            yield
        finally:
            self._ended_off_loop += 1
            self._count_off_loop(-1)

    @contextlib.contextmanager
    def back_on_loop(self) -> Iterator[None]:
        self._count_off_loop(-1)
        try:
            yield
        finally:
            self._count_off_loop(+1)

    def _count_off_loop(self, change: int) -> None:
        self._off_loop += change
        if change < 0 and self._change_off_loop is not None:
            resolve(self._change_off_loop, True)

    def _next_timer(self) -> _VirtualTimer | None:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0] if self._timers else None

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now.isoformat()}>"


class _VirtualTimer:
    __slots__ = ("callback", "order", "when")

    def __init__(self, when: datetime, order: int, callback: Callback) -> None:
        self.when = when
        self.order = order
        self.callback: Callback | None = callback

    @property
    def cancelled(self) -> bool:
        return self.callback is None

    def cancel(self) -> None:
        self.callback = None

    def fire(self) -> None:
        if (callback := self.callback) is not None:
            self.callback = None
            callback()

    def __lt__(self, other: _VirtualTimer) -> bool:
        return (self.when, self.order) < (other.when, other.order)


_LONG_TURN_ASKED = 100
"""How often it is asked before a virtual clock lets others have a turn."""

_QUIET_TURNS = 50
"""How many turns the loop is given for each timer when patience has run out."""

_IDLE_TURNS = 10
"""How many turns in which no task can run count as quiet, on a loop that hides its ready queue."""

_WHOLE_INSTANT = 30
"""For how many times its patience a clock waits for all that is done at one instant."""

_TURNS_PER_LOOK = 256
"""How many turns are taken from one look at the real time to the next."""


async def _until_quiet(until: datetime | None = None, *, most_turns: int | None = None) -> bool:
    """Give way to the other tasks until none of them can run; ``False``: there was no end to it.

    asyncio's own loops show the callbacks that are ready; when this task is resumed and none
    is left, every other task waits for something. Pyodide's loop leaves its callbacks to the
    browser: there each task is asked whether it waits, and a few turns more let callbacks run
    that are in no task.
    """
    loop = asyncio.get_running_loop()
    ready = getattr(loop, "_ready", None)
    idle = 0
    for turn in itertools.count():
        if ready is None:
            idle = 0 if _some_other_task_can_run(loop) else idle + 1
        if idle > _IDLE_TURNS or (turn and ready is not None and not ready):
            return True
        if turn == most_turns:
            break
        if until is not None and turn % _TURNS_PER_LOOK == 0 and turn and REAL_TIME.now() > until:
            break
        await checkpoint()
    return False


def _some_other_task_can_run(loop: asyncio.AbstractEventLoop) -> bool:
    this = asyncio.current_task(loop)
    for task in asyncio.all_tasks(loop):
        if task is not this:
            waits_for = getattr(task, "_fut_waiter", None)  # None: it gave way, or has yet to begin
            if waits_for is None or waits_for.done():
                return True
    return False
