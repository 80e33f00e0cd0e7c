"""Steps of a store: each is done at once under its lock, a long one in slices.

A long step lets the loop's other tasks have their turns. While it is under way, whoever else wants
something of the store waits until it is over: to them it is one step, like all others. Who
waits on the loop of another thread helps it to its end, since that loop may stand still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from conveyor_nb.clocks.clock import Clock, checkpoint
from conveyor_nb.clocks.loops import Flag
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.slicing import Step

__all__ = ["Slices", "StoreLock", "in_slices", "in_turn"]

T = TypeVar("T")
P = ParamSpec("P")

StoreLock = AbstractContextManager[Any]
"""What a store is changed and read under; whoever has it may take it again."""


class Slices:
    """Takes the long steps of a store.

    Args:
        clock: tells when others should have a turn.
        lock: the store's.
        flush: called after each slice, to publish what it changed.
    """

    def __init__(self, clock: Clock, lock: StoreLock, flush: Callable[[], None]) -> None:
        self.under_way: _LongStep[Any] | None = None
        self._clock = clock
        self._lock = lock
        self._flush = flush
        self._tasks = BackgroundTasks()

    async def take(self, make: Callable[[], Step[T]]) -> T:
        """Make a step and take it when none is under way.

        Returns:
            Its result; raises what it raises.
        """
        while True:
            with self._lock:
                if self.under_way is None:
                    step = _LongStep(make())
                    self._go_on(step)
                    if step.over.is_set():
                        return step.result()
                    step.loop = asyncio.get_running_loop()
                    self.under_way = step
                    break
            await self.all_over()
        # in a task of its own: an interrupt of whoever waits must not leave the step half done
        return await self._tasks.see_through(self._finish(step), lambda: self._end(step))

    async def all_over(self) -> None:
        """Wait until no step is under way."""
        while (step := self.under_way) is not None:
            if step.loop is asyncio.get_running_loop():
                await step.over.wait()
            else:
                self._help(step)
                await checkpoint()

    async def _finish(self, step: _LongStep[T]) -> T:
        while not step.over.is_set():
            await checkpoint()
            self._help(step)
        return step.result()

    def _end(self, step: _LongStep[Any]) -> None:
        """Take the rest of a step whose task was cancelled, as loops do at their end."""
        while not step.over.is_set():
            self._help(step)

    def _help(self, step: _LongStep[Any]) -> None:
        with self._lock:
            if not step.over.is_set():
                self._go_on(step)

    def _go_on(self, step: _LongStep[Any]) -> None:
        """Go on until others should have a turn; whoever has the lock does."""
        try:
            self._take_slice(step)
            while not step.is_done and not self._clock.overdue():
                self._take_slice(step)
        finally:
            if step.is_done:
                self.under_way = None
                step.over.set()

    def _take_slice(self, step: _LongStep[Any]) -> None:
        """Go on for a slice: the events of more of them, kept, would call the collector."""
        try:
            step.go_on()
        finally:
            self._flush()


class _LongStep(Generic[T]):
    """A step that is under way.

    Args:
        step: the step.
    """

    loop: asyncio.AbstractEventLoop
    """Where it is taken, if it takes more than one turn; others may help."""

    def __init__(self, step: Step[T]) -> None:
        self.is_done = False
        self.over = Flag()
        """Set when it is done, and all that it changed was published."""
        self._step = step
        self._result: list[T] = []
        self._error: BaseException | None = None

    def go_on(self) -> None:
        """Take the next slice of it."""
        try:
            next(self._step)
        except StopIteration as end:
            self.is_done = True
            self._result.append(end.value)
        except BaseException as error:  # raised where the result is asked for
            self.is_done = True
            self._error = error

    def result(self) -> T:
        """What it gave; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result[0]


class _HasSlices(Protocol):
    _slices: Slices
    _lock: StoreLock


_Store = TypeVar("_Store", bound=_HasSlices)


def in_turn(
    method: Callable[Concatenate[_Store, P], T],
) -> Callable[Concatenate[_Store, P], Coroutine[Any, Any, T]]:
    """Make a plain method a step of a store: done under its lock, when no long one is under way."""

    @wraps(method)
    async def step(store: _Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            with store._lock:
                if store._slices.under_way is None:
                    return method(store, *args, **kwargs)
            await store._slices.all_over()

    return step


def in_slices(
    method: Callable[Concatenate[_Store, P], Step[T]],
) -> Callable[Concatenate[_Store, P], Coroutine[Any, Any, T]]:
    """Make a method that is a generator a long step of a store."""

    @wraps(method)
    async def step(store: _Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store._slices.take(lambda: method(store, *args, **kwargs))

    return step
