"""How a worker closes: what runs may end, what does not is stopped, and all else is let go of."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME, Clock, resolve
from conveyor_nb.clocks.loops import LOOK, call_on
from conveyor_nb.running.dispatcher import Dispatcher
from conveyor_nb.running.execution import Verdict

__all__ = ["Closing"]

_LAST_WORDS = 1.0
"""Seconds that handlers have to clean up, once they were cancelled."""


class Closing:
    """The closing of a worker, which goes on whether anybody waits for it or not.

    Args:
        loop: where it closes: its own, or another one if that is gone.
        dispatcher: the worker's.
        clock: the store's.
        tasks: those of the worker that are to end first.
        finish: awaited when they have, or are waited for no more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dispatcher: Dispatcher,
        clock: Clock,
        tasks: Callable[[], Iterable[asyncio.Task[Any]]],
        finish: Callable[[], Awaitable[None]],
    ) -> None:
        self.over: concurrent.futures.Future[None] = concurrent.futures.Future()
        """Done when the worker is closed."""
        self.over.set_running_or_notify_cancel()  # those who wait for it can't call it off
        self._dispatcher = dispatcher
        self._clock = clock
        self._tasks = tasks
        self._finish = finish
        self._hurry = loop.create_future()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin, on the loop."""
        call_on(self._hurry.get_loop(), self._begin)

    async def wait(self, timeout: float | None) -> None:
        """Wait until the worker is closed; after so many real seconds, stop what still runs."""
        over = asyncio.wrap_future(self.over)
        home = self._hurry.get_loop()
        if timeout is not None and not await self._clock.wait_in_real_time(over, timeout):
            call_on(home, resolve, self._hurry, None)
        while not await REAL_TIME.wait(over, LOOK):
            if home.is_closed() and self._hurry.get_loop() is home:  # before it had closed there
                self._hurry = asyncio.get_running_loop().create_future()
                self._begin()
        await over

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._close())
        self._task.add_done_callback(self._tell)

    def _tell(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)

    async def _close(self) -> None:
        here = asyncio.get_running_loop()
        pending = [task for task in self._tasks() if task.get_loop() is here]
        if self._dispatcher.hearing.loop not in (None, here):
            await self._dispatcher.overruns.put_back()
        ends: asyncio.Future[Any] = asyncio.gather(*pending, return_exceptions=True)
        self._dispatcher.resources.call_off()
        try:
            await self._wait_for(ends)
        except GeneratorExit:  # it is thrown away with its loop, and can wait for nothing
            raise
        except BaseException:
            await self._let_go(ends)
            raise
        else:
            await self._let_go(ends)

    async def _wait_for(self, ends: asyncio.Future[Any]) -> None:
        await asyncio.wait({ends, self._hurry}, return_when=asyncio.FIRST_COMPLETED)
        if ends.done():
            return
        self._dispatcher.slots.stop_all(Verdict.RELEASED)
        if not await self._clock.wait_in_real_time(ends, _LAST_WORDS):
            await self._dispatcher.overruns.abandon()
            await self._clock.wait_in_real_time(ends, _LAST_WORDS)

    async def _let_go(self, ends: asyncio.Future[Any]) -> None:
        ends.cancel()
        self._hurry.cancel()
        await asyncio.gather(ends, return_exceptions=True)
        await self._dispatcher.close()
        await self._finish()
