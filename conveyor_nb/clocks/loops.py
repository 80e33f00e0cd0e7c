"""Event loops of several threads: what belongs to a loop is called on it, from wherever one is."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import Any, TypeVar, TypeVarTuple, cast

from conveyor_nb.clocks.clock import REAL_TIME

__all__ = [
    "LOOK",
    "Flag",
    "WouldWaitError",
    "at_once",
    "block_on",
    "call_on",
    "run_on",
    "runs_here",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LOOK = 1.0
"""Seconds from one look to the next whether a loop that is waited for is still there.

What a loop was given as it ended is never run, and nothing tells of that.
"""


def runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop is the one that runs in this thread.

    asyncio's own loops know their thread. To ask Python 3.11 for the loop that runs is a system
    call, which would be felt for each job.
    """
    thread = getattr(loop, "_thread_id", None)
    if thread is None:
        return asyncio._get_running_loop() is loop
    return bool(thread == get_ident())


def call_on(
    loop: asyncio.AbstractEventLoop,
    callback: Callable[[*Ts], object],
    *arguments: *Ts,
    context: contextvars.Context | None = None,
) -> bool:
    """Call back on a loop: at once if it is the one that runs here, else as soon as it can.

    Returns:
        ``False``: the loop is closed, and nothing will be called.
    """
    if runs_here(loop):
        if context is None:
            callback(*arguments)
        else:
            context.run(callback, *arguments)
        return True
    try:
        loop.call_soon_threadsafe(callback, *arguments, context=context)
    except RuntimeError:
        if not loop.is_closed():
            raise
        return False
    return True


async def run_on(loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await on a loop what ``make`` gives: here if it is this one, else from this one.

    Raises:
        RuntimeError: the loop is closed, or was before it had done so.
    """
    if runs_here(loop):
        return await make()
    coroutine = make()
    there = asyncio.wrap_future(_begin_on(loop, coroutine))
    try:
        while not await REAL_TIME.wait(there, LOOK):
            if loop.is_closed() and not there.done():
                raise _gone(coroutine)
    except asyncio.CancelledError:
        there.cancel()
        raise
    return await there


class WouldWaitError(Exception):
    """A coroutine that was to get to its end at once would have to wait; it was closed."""


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, if it gets there without ever waiting.

    Raises:
        WouldWaitError: it would have to wait. What it has begun by then stays half done.
    """
    try:
        work.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    work.close()
    raise WouldWaitError


def block_on(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Let a loop await a coroutine, and block this thread, which is another one, until it has.

    Raises:
        RuntimeError: the loop is closed, or was before it had done so.
    """
    there = _begin_on(loop, coroutine)
    while True:
        try:
            return there.result(LOOK)
        except TimeoutError:
            if there.done():  # it may be the coroutine's own
                return there.result()
            if loop.is_closed():
                raise _gone(coroutine) from None


def _begin_on(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]
) -> concurrent.futures.Future[T]:
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:
        coroutine.close()
        raise


def _gone(coroutine: Coroutine[Any, Any, object]) -> RuntimeError:
    coroutine.close()
    return RuntimeError("the event loop was closed before it had done this")


class Flag:
    """An ``asyncio.Event`` that is set from any thread, and awaited on any loop.

    >>> async def main():
    ...     flag = Flag()
    ...     await asyncio.to_thread(flag.set)
    ...     await flag.wait()
    ...     return flag.is_set()
    >>> asyncio.run(main())
    True
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[asyncio.Future[None]] = []

    def is_set(self) -> bool:
        """Whether those who wait go on at once."""
        return self._is_set

    def set(self) -> None:
        """Let everybody who waits go on."""
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            call_on(future.get_loop(), _resolve, future)

    def clear(self) -> None:
        """Let those who come wait from now on."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until the flag is set."""
        if self._is_set:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._is_set:  # set meanwhile, in another thread that may not have seen the future
            _resolve(future)
        try:
            await future
        finally:
            if not self._is_set and future in self._waiting:
                self._waiting.remove(future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
