"""A thread that does all calls that wait at once, for loops of whatever threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from conveyor_nb.clocks.clock import resolve
from conveyor_nb.stores.sql.awaited import Awaited

__all__ = ["Call", "Lane", "LoopLane"]

T = TypeVar("T")


class Call(Awaited[T]):
    """Something that is to be done in the thread, and who waits for it.

    Args:
        work: what is to be done; it is given what the thread has for it.
        looks_first: whether it may turn out that there is nothing to be written.
    """

    __slots__ = ("looks_first", "work")

    def __init__(self, work: Callable[[Any], T], *, looks_first: bool = False) -> None:
        super().__init__()
        self.work = work
        self.looks_first = looks_first


class Lane:
    """A thread and the calls that wait for it.

    Args:
        name: the thread's.
        serve: called in the thread with the calls that wait; settles them by :meth:`answer`.
        patience: called in the thread when there are none; returns for how many seconds to wait
            for one, ``None``: for ever.
        idle: called in the thread when none has come for so long.
        end: called in the thread at its end.
    """

    def __init__(
        self,
        name: str,
        serve: Callable[[list[Call[Any]]], object],
        patience: Callable[[], float | None],
        idle: Callable[[], object],
        end: Callable[[], object],
    ) -> None:
        self._serve, self._patience = serve, patience
        self._idle, self._end = idle, end
        self._guard = threading.Lock()
        self._calls: list[Call[Any]] = []
        self._is_asleep = False
        self._is_over = False
        self._ended: Callable[[], object] = lambda: None
        self._bell = threading.Lock()
        self._bell.acquire()
        # a daemon: a store that nobody disconnects must not keep the process from its end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def take(self, call: Call[T]) -> bool:
        """Take a call in; ``False``: the thread has come to its end."""
        with self._guard:
            if self._is_over:
                return False
            self._calls.append(call)
            if self._is_asleep:
                self._is_asleep = False
                self._bell.release()
        return True

    def wake(self) -> None:
        """Let it look at once for how long it may wait."""
        with self._guard:
            if self._is_asleep:
                self._is_asleep = False
                self._bell.release()

    async def close(self) -> None:
        """Serve what waits, end the thread, and wait for that."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[bool] = loop.create_future()
        self._ended = lambda: loop.call_soon_threadsafe(resolve, ended, True)
        with self._guard:
            self._is_over = True
        self.wake()
        await ended
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                calls = self._next_calls()
                if calls:
                    self._serve(calls)
                elif self._is_over:
                    return
        finally:
            self._end()
            self._ended()

    def _next_calls(self) -> list[Call[Any]]:
        timeout = self._patience()
        with self._guard:
            if self._calls or self._is_over:
                calls, self._calls = self._calls, []
                return calls
            self._is_asleep = True
        if not self._bell.acquire(timeout=-1 if timeout is None else timeout):
            with self._guard:
                if not self._is_asleep:  # it was rung for just then
                    self._bell.acquire()
                self._is_asleep = False
            self._idle()
        return []


class LoopLane:
    """Does what a :class:`Lane` does where there are no threads: in a turn of the loop.

    All calls that came in the turn before are done at once. Nothing else can write meanwhile, so
    nobody looks around.

    Args:
        serve, end: as those of a ``Lane``.
    """

    def __init__(
        self, serve: Callable[[list[Call[Any]]], object], end: Callable[[], object]
    ) -> None:
        self._serve, self._end = serve, end
        self._calls: list[Call[Any]] = []
        self._is_over = False

    def take(self, call: Call[T]) -> bool:
        """Take a call in; ``False``: it is closed."""
        if self._is_over:
            return False
        self._calls.append(call)
        if len(self._calls) == 1:
            call.loop.call_soon(self._serve_all)
        return True

    def wake(self) -> None:
        """Nothing: it never waits."""

    async def close(self) -> None:
        """Serve what waits, and take no more."""
        self._is_over = True
        self._serve_all()
        self._end()

    def _serve_all(self) -> None:
        calls, self._calls = self._calls, []
        if calls:
            self._serve(calls)
