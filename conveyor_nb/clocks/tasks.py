"""Tasks that nobody awaits: each is kept until it has ended, and what it raises is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from conveyor_nb.clocks.loops import call_on

__all__ = ["BackgroundTasks"]

T = TypeVar("T")

_logger = logging.getLogger("conveyor_nb")


class BackgroundTasks:
    """Tasks that go on by themselves.

    A loop does not keep its tasks alive, and an exception that nobody asks for is lost, or told
    of at some later time. So whoever lets something go on keeps it in one of these.

    Args:
        on_end: called with the name of the function and what it raised (``None``: nothing) as a
            task ends that was not cancelled; if not given, what is raised goes to the log.

    >>> async def main():
    ...     tasks = BackgroundTasks(on_end=lambda name, error: print(name, repr(error)))
    ...     async def divide(a, b):
    ...         return a / b
    ...     tasks.spawn(divide(1, 0))
    ...     await asyncio.gather(*tasks, return_exceptions=True)
    >>> asyncio.run(main())
    main.<locals>.divide ZeroDivisionError('division by zero')
    """

    __slots__ = ("_on_end", "_tasks")

    def __init__(self, on_end: Callable[[str, BaseException | None], object] | None = None) -> None:
        self._on_end = on_end or _log
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(tuple(self._tasks))

    def spawn(
        self, work: Coroutine[Any, Any, T], *, loop: asyncio.AbstractEventLoop | None = None
    ) -> asyncio.Task[T]:
        """Let something go on in a task of its own.

        Args:
            work: what is to be done.
            loop: where; on the running loop if not given.

        Raises:
            RuntimeError: there is no running loop; ``work`` is closed.
        """
        task = self._keep(work, loop)
        task.add_done_callback(self._tell)
        return task

    async def see_through(
        self, work: Coroutine[Any, Any, T], then: Callable[[], object] | None = None
    ) -> T:
        """Await something that goes on to its end, also when whoever awaits it is interrupted.

        What it raises is raised here, and told of only if nobody awaits it any more.

        Args:
            work: what is to be done.
            then: called at its end, also if it was cancelled before it began.
        """
        task = self._keep(work)
        if then is not None:
            task.add_done_callback(lambda _: then())
        try:
            # not a shield, which from Python 3.14 on tells the loop of what is told here
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.add_done_callback(self._tell)
            raise
        return task.result()

    def cancel(self) -> None:
        """Cancel all of them, from whatever thread."""
        for task in self:
            call_on(task.get_loop(), task.cancel)

    async def close(self) -> None:
        """Cancel those of the running loop until there is none, and wait for each."""
        loop = asyncio.get_running_loop()
        while mine := [task for task in self if task.get_loop() is loop]:
            for task in mine:
                task.cancel()
            await asyncio.gather(*mine, return_exceptions=True)

    def _keep(
        self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None = None
    ) -> asyncio.Task[T]:
        try:
            task = (loop or asyncio.get_running_loop()).create_task(work)
        except RuntimeError:
            work.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _tell(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            name = getattr(task.get_coro(), "__qualname__", "")
            self._on_end(name, task.exception())


def _log(name: str, error: BaseException | None) -> None:
    if error is not None:
        _logger.error("%s failed in the background", name, exc_info=error)
