"""How a store is looked at by who can't wait: reprs, displays and frames are plain calls.

What is to be read is written once, as a coroutine that asks :class:`Reads`. A store with
:class:`SynchronousReads` answers on the spot. Any other is asked by a thread with a loop of its
own, which is there only for that, and within a time limit: the loop that stands still meanwhile
may be the very one that the store needs.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from threading import Thread
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from weakref import WeakKeyDictionary

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.loops import at_once
from conveyor_nb.core.errors import ReadTimeoutError
from conveyor_nb.core.model import ALL_NAMES, JobData, JobState
from conveyor_nb.core.text import error_line, fit, inline, one_line
from conveyor_nb.core.worker_info import WorkerInfo

__all__ = [
    "GLANCE",
    "Look",
    "Reads",
    "SynchronousReads",
    "counts_in_words",
    "describe_queue",
    "describe_store",
    "pauses_in_words",
    "queue_in_words",
    "read_now",
    "reads_of",
    "store_in_words",
    "why_unread",
]

T = TypeVar("T")

GLANCE = 2.0
"""For how many seconds a repr or a display waits for a store."""

_BRIEFLY = 0.1
"""For how many seconds one waits for a store that has just let another one wait in vain."""

_LATELY = timedelta(seconds=10)
_MOST_NAMES = 5


class Reads(Protocol):
    """What views ask of a store; every ``StoreInterface`` answers it."""

    def list_jobs(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> Coroutine[Any, Any, list[JobData]]:
        """The jobs at some positions, of a state or of all."""

    def get_job_counts(self, queue_name: str) -> Coroutine[Any, Any, dict[JobState, int]]:
        """The number of jobs in each state."""

    def get_paused_job_names(self, queue_name: str) -> Coroutine[Any, Any, frozenset[str]]:
        """The paused names."""

    def list_queues(self) -> Coroutine[Any, Any, list[str]]:
        """The names of all queues."""

    def list_workers(self, queue_name: str | None = None) -> Coroutine[Any, Any, list[WorkerInfo]]:
        """The workers of a queue, or of all."""


Look = Callable[[Reads], Coroutine[Any, Any, T]]
"""Reads what a view shows; awaits nothing but what it asks."""


class Readable(Protocol):
    """A store, as far as it is only looked at."""

    def reader(self) -> AbstractAsyncContextManager[Reads]:
        """What the running loop may ask, for as long as it is in the context."""


class SynchronousReads(ABC):
    """Is declared by a store that shows what it holds without waiting, as one in memory does.

    Each method gives at once what the coroutine of ``StoreInterface`` gives that it names.
    """

    @abstractmethod
    def snapshot(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        """What ``list_jobs`` gives."""

    @abstractmethod
    def counts(self, queue_name: str) -> dict[JobState, int]:
        """What ``get_job_counts`` gives."""

    @abstractmethod
    def paused_names(self, queue_name: str) -> frozenset[str]:
        """What ``get_paused_job_names`` gives."""

    @abstractmethod
    def queue_names(self) -> list[str]:
        """What ``list_queues`` gives."""

    @abstractmethod
    def workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        """What ``list_workers`` gives."""


class _OnTheSpot:
    """The reads of a store that answers them without waiting."""

    def __init__(self, store: SynchronousReads) -> None:
        self._store = store

    async def list_jobs(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        return self._store.snapshot(queue_name, state, start, end, newest_first=newest_first)

    async def get_job_counts(self, queue_name: str) -> dict[JobState, int]:
        return self._store.counts(queue_name)

    async def get_paused_job_names(self, queue_name: str) -> frozenset[str]:
        return self._store.paused_names(queue_name)

    async def list_queues(self) -> list[str]:
        return self._store.queue_names()

    async def list_workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        return self._store.workers(queue_name)


def reads_of(store: Reads) -> Reads:
    """What a view on the store's own loop asks: answers without waiting where there are such."""
    return _OnTheSpot(store) if isinstance(store, SynchronousReads) else store


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
        return at_once(look(_OnTheSpot(store)))
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
            if self._answer.done():  # it is the store's own
                raise
            raise ReadTimeoutError(self._kind, limit) from None
        finally:
            if self._answer.done():
                self.thread.join()
            else:  # be it that an interrupt ends the wait
                self._give_up()

    def _run(self) -> None:
        try:
            answer = asyncio.run(self._read())
        except Exception as error:
            self._answer.set_exception(error)
        except BaseException as error:  # it is not this thread's caller that it is meant for
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


# -- in words ---------------------------------------------------------------------------------


def counts_in_words(counts: Mapping[JobState, int]) -> list[str]:
    """How many jobs are in each state, of those that have any.

    >>> counts_in_words({JobState.WAITING: 1_200, JobState.ACTIVE: 0})
    ['1,200 waiting']
    >>> counts_in_words({})
    ['no jobs']
    """
    return [f"{count:,} {state}" for state, count in counts.items() if count] or ["no jobs"]


def pauses_in_words(paused: frozenset[str]) -> str:
    """What of a queue is paused: all of it, some names, or nothing.

    >>> pauses_in_words(frozenset({"send", "log"})), pauses_in_words(frozenset({"send", ALL_NAMES}))
    ('paused: log, send', 'paused')
    """
    if not paused or ALL_NAMES in paused:
        return "paused" if paused else ""
    names = sorted(paused)
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return f"paused: {one_line(', '.join(names[:_MOST_NAMES]))}{more}"


async def queue_in_words(reads: Reads, name: str) -> str:
    """A queue's jobs and pauses in a few words, such as ``"12 waiting, 4 active, paused"``."""
    parts = counts_in_words(await reads.get_job_counts(name))
    paused = await reads.get_paused_job_names(name)
    return ", ".join(filter(None, [*parts, inline(pauses_in_words(paused))]))


async def store_in_words(reads: Reads) -> str:
    """What a store holds in a few words, such as ``"12 jobs in 3 queues"``."""
    names = await reads.list_queues()
    counts = [await reads.get_job_counts(name) for name in names]
    return f"{sum(sum(one.values()) for one in counts):,} jobs in {len(names):,} queues"


def describe_queue(store: Readable, name: str) -> str:
    """A queue in a few words, or why its store can't be read; it never raises."""
    try:
        return read_now(store, lambda reads: queue_in_words(reads, name))
    except Exception as error:  # whatever a store raises
        return f"in a {fit(type(store).__name__)} that {why_unread(error)}"


def describe_store(store: Readable) -> str:
    """A store in a few words, or why it can't be read; it never raises."""
    try:
        return read_now(store, store_in_words)
    except Exception as error:  # whatever a store raises
        return why_unread(error)


def why_unread(error: Exception) -> str:
    """What is said of a store that should have been read, and was not."""
    if isinstance(error, ReadTimeoutError):
        return f"did not answer within {error.limit:g} s"
    return f"can't be read now: {error_line(error)}"
