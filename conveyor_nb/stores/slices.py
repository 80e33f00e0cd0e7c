"""Long steps of a store, done in slices, so that the loop's other tasks have their turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from conveyor_nb.clock import SLICE, Clock, checkpoint

__all__ = ["Slices", "Step", "in_turn", "sliced"]

T = TypeVar("T")
P = ParamSpec("P")

Step = Generator[None, None, T]
"""A step that may be interrupted wherever it yields; what it returns is its result.

It yields after each whole slice of its items, so that one of fewer never waits.
"""


def sliced(items: Sequence[T]) -> Generator[Sequence[T], None, None]:
    """The items by the slice.

    >>> [len(each) for each in sliced(range(600))]
    [256, 256, 88]
    """
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))


class Slices:
    """Takes the long steps of a store.

    While one is under way, whoever else wants something of the store waits until it is over: to
    them it is one step, like all others.

    Args:
        clock: tells when others should have a turn.
        flush: called after each slice, to publish what it changed.
    """

    def __init__(self, clock: Clock, flush: Callable[[], None]) -> None:
        self.under_way: asyncio.Event | None = None
        self._clock = clock
        self._flush = flush

    async def take(self, step: Step[T]) -> T:
        """Take a step when none is under way; returns its result, and raises what it raises."""
        assert self.under_way is None, "who takes one waits for his turn"
        result = self._go_on(step)
        if result:
            return result[0]
        self.under_way = asyncio.Event()
        # in a task of its own: an interrupt of whoever waits must not leave the step half done
        task = asyncio.get_running_loop().create_task(self._finish(step))
        task.add_done_callback(lambda _: self._end(step))
        return await asyncio.shield(task)

    async def all_over(self) -> None:
        """Wait until no step is under way."""
        while self.under_way is not None:
            await self.under_way.wait()

    async def _finish(self, step: Step[T]) -> T:
        while True:
            await checkpoint()
            if result := self._go_on(step):
                return result[0]

    def _end(self, step: Step[T]) -> None:
        """Let others go on; a step whose task was cancelled, as loops do at their end, is taken."""
        try:
            for _ in step:
                pass
        finally:
            self._flush()
            assert self.under_way is not None
            under_way, self.under_way = self.under_way, None
            under_way.set()

    def _go_on(self, step: Step[T]) -> list[T]:
        """Go on until others should have a turn; returns the result, if it is over."""
        try:
            next(step)
            while not self._clock.overdue():
                next(step)
        except StopIteration as end:
            return [end.value]
        finally:
            self._flush()
        return []


class _HasSlices(Protocol):
    _slices: Slices


_Store = TypeVar("_Store", bound=_HasSlices)


def in_turn(
    method: Callable[Concatenate[_Store, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[_Store, P], Coroutine[Any, Any, T]]:
    """Let a method of a store wait until no long step is under way."""

    @wraps(method)
    async def waiting(store: _Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if store._slices.under_way is not None:
            await store._slices.all_over()
        return await method(store, *args, **kwargs)

    return waiting
