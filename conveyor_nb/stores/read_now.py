"""How a store is looked at by a plain call, which can't await it: a repr, a display, a frame.

What is to be read is written once, as a coroutine that asks :class:`Reads`. A store with
:class:`SynchronousReads` answers on the spot. Any other is asked by a thread with a loop of its
own, which is there only for that, and within a time limit: the loop that stands still meanwhile
may be the very one that the store needs.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from datetime import datetime, timedelta
from threading import Thread
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.loops import at_once
from conveyor_nb.core.errors import ReadTimeoutError
from conveyor_nb.stores.reads import Look, Readable, SynchronousReads, on_the_spot

__all__ = ["GLANCE", "read_now"]

T = TypeVar("T")

GLANCE = 2.0
"""For how many seconds a repr or a display waits for a store."""

_BRIEFLY = 0.1
"""For how many seconds it waits for one that has lately let another wait in vain."""

_LATELY = timedelta(seconds=10)


def read_now(store: Readable, look: Look[T], limit: float | None = None) -> T:
    """What a look at a store gives, without awaiting it.

    Args:
        store: the store.
        look: asks for what is wanted; on another thread, if the store can't answer at once.
        limit: for how many seconds this waits for the answer; ``GLANCE`` if not given, and only
            briefly when a look at this store has just been in vain.

    Raises:
        ReadTimeoutError: it did not come in time.

    >>> from conveyor_nb import MemoryStore
    >>> read_now(MemoryStore(), lambda reads: reads.list_queues())
    []
    """
    if isinstance(store, SynchronousReads):
        return at_once(look(on_the_spot(store)))
    if limit is None:
        limit = GLANCE
        if (late := _late.get(store)) is not None and late.is_recent():
            limit = _BRIEFLY
    if (late := _late.get(store)) is not None and late.thread.is_alive():
        raise ReadTimeoutError(type(store).__name__, limit)
    reading = _Reading(store, look)
    try:
        answer = reading.ask(limit)
    except ReadTimeoutError:
        _late[store] = _Late(reading.thread, REAL_TIME.now())
        raise
    _late.pop(store, None)
    return answer


class _Late(NamedTuple):
    """A look at a store that was in vain."""

    thread: Thread
    """Where it may still be under way; no other one is sent after it."""

    at: datetime

    def is_recent(self) -> bool:
        return REAL_TIME.now() - self.at < _LATELY


_late: WeakKeyDictionary[Readable, _Late] = WeakKeyDictionary()
"""The last look at each store, if it was in vain: ten queues in a list must not take ten limits."""


class _Reading(Generic[T]):
    """A look from a thread with a loop of its own, which ends with it, or when it is given up."""

    def __init__(self, store: Readable, look: Look[T]) -> None:
        self._kind = type(store).__name__
        self._store = store
        self._look = look
        self._answer: Future[T] = Future()
        self._work: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._is_given_up = False
        # a daemon: a store that never answers must not keep the process from its end
        self.thread = Thread(target=self._run, name=f"reader of a {self._kind}", daemon=True)

    def ask(self, limit: float) -> T:
        """What the look gives, within so many seconds; raises what it raises."""
        self.thread.start()
        try:
            return self._answer.result(limit)
        except TimeoutError:
            if self._answer.done():  # the error is the store's own
                raise
            raise ReadTimeoutError(self._kind, limit) from None
        finally:
            if self._answer.done():
                self.thread.join()
            else:  # the time is over, or an interrupt has ended the wait
                self._give_up()

    def _run(self) -> None:
        try:
            answer = asyncio.run(self._read())
        except Exception as error:
            self._answer.set_exception(error)
        except BaseException as error:  # such as an exit, which must not end who asked
            self._answer.set_exception(RuntimeError(f"the read ended by {error!r}"))
        else:
            self._answer.set_result(answer)

    async def _read(self) -> T:
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None, "asyncio.run makes one"
        self._work = (asyncio.get_running_loop(), task)
        if self._is_given_up:
            task.cancel()
        async with self._store.reader() as reads:
            return await self._look(reads)

    def _give_up(self) -> None:
        self._is_given_up = True
        if self._work is not None:
            loop, task = self._work
            with contextlib.suppress(RuntimeError):  # it has ended in this very moment
                loop.call_soon_threadsafe(task.cancel)
