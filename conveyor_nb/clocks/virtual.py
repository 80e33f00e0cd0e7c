"""A clock that stands still until it is told to move: for tests, demonstrations and lessons."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakSet

from conveyor_nb.clocks.clock import (
    REAL_TIME,
    Callback,
    Clock,
    TimerHandle,
    checkpoint,
    is_undisturbed,
    resolve,
)
from conveyor_nb.clocks.loops import call_on, run_on
from conveyor_nb.core.values.checks import to_instant
from conveyor_nb.core.values.durations import Duration, to_seconds

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
        self._guard = threading.Lock()
        self._timers: list[_VirtualTimer] = []
        self._at_leisure: list[_VirtualTimer] = []
        self._order = itertools.count()
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        """The loops on which something waits for this clock."""
        self._asked = 0
        self._off_loop = 0
        self._ended_off_loop = 0
        self._waiting_for_change: set[asyncio.Future[Any]] = set()
        self._patient = True
        self._joined: dict[asyncio.AbstractEventLoop, list[asyncio.Future[Any]]] = {}
        """For each loop that is being settled: who else waits for that."""

    def now(self) -> datetime:
        return self._now

    def overdue(self) -> bool:
        """Counts how often it is asked, as what happens may not depend on the real time."""
        self._asked += 1
        return self._asked % _LONG_TURN_ASKED == 0 and not is_undisturbed()

    def call_at(self, when: datetime, callback: Callback) -> TimerHandle:
        with self._guard:
            timer = self._new_timer(when, callback)
            heapq.heappush(self._timers, timer)
        return timer

    def call_at_leisure(self, delay: Duration, callback: Callback) -> TimerHandle:
        with self._guard:
            timer = self._new_timer(self._now + timedelta(seconds=to_seconds(delay)), callback)
            waiting = [one for one in self._at_leisure if not one.cancelled]
            self._at_leisure = [*waiting, timer]
        return timer

    def _new_timer(self, when: datetime, callback: Callback) -> _VirtualTimer:
        loop = asyncio._get_running_loop()
        if loop is not None:
            self._loops.add(loop)
        return _VirtualTimer(max(when, self._now), next(self._order), callback, loop)

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
        Only a task that blocks the loop itself blocks this too. Timers fire on the loops where
        they were set; of loops in other threads each is waited for in the same way.

        Raises:
            ValueError: ``duration`` is negative or not a duration.
        """
        target = self._now + timedelta(seconds=to_seconds(duration, what="advance"))
        await self.settle()
        while (timer := self._pop_timer(target)) is not None:
            self._now = max(self._now, timer.when)  # a handler may advance the clock as well
            await self._fire(timer)
            await self._settle_in_turn()
        self._now = max(self._now, target)
        for timer in self._pop_at_leisure():
            await self._fire(timer)
        await self._settle_everywhere()

    def next_timer(self) -> datetime | None:
        """When the next timer falls due; ``None``: nothing waits for this clock.

        >>> VirtualClock().next_timer() is None
        True
        """
        with self._guard:
            while self._timers and self._timers[0].cancelled:
                heapq.heappop(self._timers)
            return self._timers[0].when if self._timers else None

    async def _fire(self, timer: _VirtualTimer) -> None:
        if timer.loop is None or timer.loop is asyncio.get_running_loop():
            timer.fire()
        else:
            await self._settle_there(timer.loop, timer.fire)

    async def settle(self) -> None:
        """Let everything that can run now run, without moving time; see :meth:`advance`."""
        self._patient = True
        await self._settle_everywhere()

    async def _settle_everywhere(self) -> None:
        here = asyncio.get_running_loop()
        with self._guard:
            elsewhere = [loop for loop in self._loops if loop is not here]
        for loop in elsewhere:
            await self._settle_there(loop)
        await self._settle_in_turn()

    async def _settle_there(
        self, loop: asyncio.AbstractEventLoop, first: Callback | None = None
    ) -> None:
        """Call ``first`` on the loop of another thread and settle it, while there is patience."""

        async def settle() -> None:
            if first is not None:
                first()
            await self._settle_in_turn()

        if loop.is_running():
            settled = asyncio.ensure_future(run_on(loop, settle))
            if not await REAL_TIME.wait(settled, _WHOLE_INSTANT * self.patience):
                settled.cancel()
            await asyncio.gather(settled, return_exceptions=True)  # it may have closed meanwhile
        elif first is not None:
            call_on(loop, first)  # it stands still, and may go on or not

    async def _settle_in_turn(self) -> None:
        loop = asyncio.get_running_loop()
        joined = self._joined.get(loop)
        if joined is not None:  # two that wait for quiet would never see it
            turn = loop.create_future()
            joined.append(turn)
            await turn
            return
        joined = self._joined[loop] = []
        try:
            await self._settle()
            while joined:
                resolve(joined.pop(0), True)
                await self._settle()
        finally:
            del self._joined[loop]
            for turn in joined:
                resolve(turn, True)

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
            await self._wait_for_change(left)
        self._patient = False

    async def _wait_for_change(self, most: float) -> None:
        change = asyncio.get_running_loop().create_future()
        with self._guard:
            self._waiting_for_change.add(change)
        await REAL_TIME.wait(change, most)
        with self._guard:
            self._waiting_for_change.discard(change)

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
            self._count_off_loop(-1, ended=1)

    @contextlib.contextmanager
    def back_on_loop(self) -> Iterator[None]:
        self._count_off_loop(-1)
        try:
            yield
        finally:
            self._count_off_loop(+1)

    def _count_off_loop(self, change: int, *, ended: int = 0) -> None:
        with self._guard:
            self._off_loop += change
            self._ended_off_loop += ended
            waiting = tuple(self._waiting_for_change) if change < 0 else ()
        for future in waiting:
            call_on(future.get_loop(), resolve, future, True)

    def _pop_timer(self, until: datetime) -> _VirtualTimer | None:
        """Take the next timer out that falls due by then."""
        with self._guard:
            while self._timers and self._timers[0].when <= until:
                timer = heapq.heappop(self._timers)
                if not timer.cancelled:
                    return timer
        return None

    def _pop_at_leisure(self) -> list[_VirtualTimer]:
        """Take out those that have fallen due by now, in order."""
        with self._guard:
            due = [one for one in self._at_leisure if one.when <= self._now]
            self._at_leisure = [one for one in self._at_leisure if one.when > self._now]
        return sorted(due)

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now.isoformat()}>"


class _VirtualTimer:
    __slots__ = ("callback", "loop", "order", "when")

    def __init__(
        self,
        when: datetime,
        order: int,
        callback: Callback,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.when = when
        self.order = order
        self.callback: Callback | None = callback
        self.loop = loop

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
