"""The queue: where jobs are added, looked up and managed."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar, Unpack, overload
from weakref import WeakSet, ref

from conveyor_nb.context.deadlocks import refuse_circular_join
from conveyor_nb.context.runs import current_run
from conveyor_nb.core.handlers import check_handler
from conveyor_nb.core.model import EventType
from conveyor_nb.core.options.declaring import spelled_out
from conveyor_nb.core.options.job_options import (
    JobOptions,
    SharedKeywords,
)
from conveyor_nb.core.options.worker_options import DecoratorKeywords, WorkerOptions
from conveyor_nb.core.values.checks import check_text, reject_unknown
from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.text import inline, shown
from conveyor_nb.display import Displayable
from conveyor_nb.observable import JobObservable
from conveyor_nb.queue_parts.adding import Adding
from conveyor_nb.queue_parts.looking import Looking
from conveyor_nb.queue_parts.maintaining import Maintaining
from conveyor_nb.registry import HandlerFunction, install_handler
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.events import EventBus, EventHandler, EventStream
from conveyor_nb.stores.following import QueueChanges
from conveyor_nb.stores.in_words import describe_queue, queue_in_words
from conveyor_nb.stores.tapes.recording import Recording

__all__ = ["Queue"]

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

_QUEUE_EVENTS = [kind for kind in EventType if not kind.startswith("worker:")]


class Queue(Displayable, Adding, Looking, Maintaining):
    """A named queue of jobs in a store.

    Args:
        name: 1 to 255 characters.
        store: where the jobs are kept; the default ``MemoryStore`` if not given.
        default_job_options: options for every job that does not say otherwise; a
            ``JobOptions`` or a mapping. ``job_id`` and ``repeat``, which are for one job, are not
            among them.
        logger: where faults of event handlers are reported.

    Raises:
        ValueError, TypeError: a bad name, store or option.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore
    >>> async def main():
    ...     store = MemoryStore(ids="sequential")
    ...     async with Queue("emails", store=store) as queue:
    ...         job = await queue.add("send", {"to": "ada@example.org"}, priority=1)
    ...         return job, queue
    >>> asyncio.run(main())
    (<Job emails-1 'send': waiting>, <Queue emails: closed>)
    """

    def __init__(
        self,
        name: str,
        *,
        store: StoreInterface | None = None,
        default_job_options: JobOptions | SharedKeywords | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        super().__init__(name, store, default_job_options)
        self._bus = EventBus(_QUEUE_EVENTS, logger, owner=(ref(self.store), self.name))
        self._bus.on_idle = functools.partial(_stop_listening, self.store, self.name)
        self._followers: WeakSet[Follower] = WeakSet()

    def __repr__(self) -> str:
        if self._closed:
            return f"<Queue {inline(self.name)}: closed>"
        return f"<Queue {inline(self.name)}: {describe_queue(self.store, self.name)}>"

    async def join(self, timeout: Duration | None = None) -> None:
        """Wait until nothing is waiting, active, or delayed and due.

        Raises:
            TimeoutError: there still is something after ``timeout``, a duration.
            RuntimeError: a handler waits so whose own job is of this queue.
        """
        self._require_open()
        if (run := current_run()) is not None:
            refuse_circular_join(run, self.name, self.store)
        if timeout is not None:
            timeout = to_seconds(timeout, what="timeout")
        began = self.store.clock.now()
        with QueueChanges(self.store, self.name, _MAY_END_WORK) as changes:
            while work := await self._count_work():
                left = None
                if timeout is not None:
                    spent = (self.store.clock.now() - began).total_seconds()
                    left = max(0.0, timeout - spent)
                # as many jobs have to leave before it is worth while to ask again
                change = await changes.next(left, count=work)
                if change is None:
                    raise TimeoutError(f"{await self._told()} still has work after {timeout:g}s")
                if change.type == EventType.DISCONNECTED:
                    return  # all work is gone, and nobody here would be told of new work

    async def _told(self) -> str:
        """What ``repr`` says, for who can await it."""
        return f"<Queue {inline(self.name)}: {await queue_in_words(self.store, self.name)}>"

    async def _count_work(self) -> int:
        """How many jobs at least have to leave before there is nothing to do."""
        busy = await self.store.count_busy_jobs(self.name, _MOST_BUSY)
        if busy:
            return busy
        due = await self.store.get_next_delayed_timestamp(self.name)
        return int(due is not None and due <= self.store.clock.now())

    # -- workers and events -------------------------------------------------------------------

    @overload
    def worker(self, handler: Callable[P, R], /) -> HandlerFunction[P, R]: ...
    @overload
    def worker(
        self, **options: Unpack[DecoratorKeywords]
    ) -> Callable[[Callable[P, R]], HandlerFunction[P, R]]: ...
    @spelled_out(WorkerOptions)
    def worker(self, *handler: Any, **options: Unpack[DecoratorKeywords]) -> Any:
        """Make the decorated function the handler of a worker of this queue.

        ``@queue.worker``, or with options ``@queue.worker(concurrency=2)``. The function stays
        what it is: it can be called, also in a test with a job made up for it, and be decorated
        again. Its worker is at hand as ``function.worker``.

        The worker is known by its ``name`` (the queue's, if not given): decorating again, as a
        cell that runs again does, lets the new handler take over from the old one, whose
        running jobs finish.

        With ``job_name`` the function is for the jobs of that name (``"*"``: of all other
        names), in one worker with those decorated so for other names: decorating again swaps
        that handler alone. Jobs of a name that has none fail for good, and say so; once there
        is one, ``queue.retry_jobs()`` runs them.

        A function without ``job_name`` takes the jobs of every name, and takes over from all that
        have one. One with a ``job_name`` takes over from the one without: as jobs of other names
        have no handler then, a ``HandlerReplacedWarning`` says so. To have both, decorate the
        general one with ``job_name="*"``.

        Args:
            handler: the function, in the form without parentheses.
            options: see ``Worker``; and ``job_name``. Functions for several names have one set
                of options, of which those that were given last hold.

        Raises:
            TypeError, ValueError: a bad handler or option; an old worker stays as it is.

        >>> import asyncio
        >>> from conveyor_nb import MemoryStore
        >>> async def main():
        ...     queue = Queue("emails", store=MemoryStore())
        ...     @queue.worker
        ...     async def send(job):
        ...         return f"sent to {job.data}"
        ...     job = await queue.add("send", "ada@example.org")
        ...     print(await job.wait_until_finished(), "by", send.worker)
        ...     await send.worker.close()
        >>> asyncio.run(main())
        sent to ada@example.org by <Worker emails of emails: running, 0 of 1 slots in use>
        """
        self._require_open()
        reject_unknown(options, frozenset(DecoratorKeywords.__annotations__), what="worker option")
        install: Callable[[Any], Any] = functools.partial(
            install_handler, self.name, store=self.store, **options
        )
        if not handler:
            return install
        if inspect.iscoroutine(handler[0]):
            check_handler(handler[0])  # the call says what is wrong with it
        if len(handler) > 1 or not callable(handler[0]):
            given = ", ".join(map(shown, handler))
            raise TypeError(
                f"@queue.worker is given nothing but options, by name, such as concurrency=2, "
                f"not {given}"
            )
        return install(handler[0])

    def observe(self, job_id: str) -> JobObservable:
        """Follow one job: its start, its progress and its end."""
        self._require_open()
        observable = JobObservable(self.store, self.name, check_text(job_id, what="job_id"))
        self._followers.add(observable)
        return observable

    def events(self, size: int = 1_000) -> EventStream:
        """The events of this queue from now on, for ``async for``.

        Args:
            size: how many unread events are kept; a reader that falls behind further misses
                the oldest, and is told so by an event ``"stream:missed"``.
        """
        self._require_open()
        stream = EventStream(self.store, self.name, size)
        self._followers.add(stream)
        return stream

    def record(self, *, limit: int = 10_000) -> Recording:
        """Record what happens in this queue while one is in a block, as a :class:`Tape`.

        ``with queue.record() as tape:``, and in a coroutine ``async with`` as well. The tape begins
        with what there is, and has every event of the block with its job as it was after that. A
        store in a database tells of some a little later: ``async with`` waits for them, and after
        a plain ``with`` the tape says until then that it is still being recorded.

        Args:
            limit: how many events are kept; those after that are counted.

        Raises:
            TypeError, ValueError: a bad limit.
            RuntimeError: at ``with``, for a store in a database where no loop runs.

        >>> import asyncio
        >>> from conveyor_nb import MemoryStore
        >>> async def main():
        ...     queue = Queue("emails", store=MemoryStore(ids="sequential"))
        ...     with queue.record() as tape:
        ...         job = await queue.add("send")
        ...         await job.cancel()
        ...     return tape.story
        >>> asyncio.run(main())
        ['job:waiting emails-1', 'job:cancelled emails-1', 'job:failed emails-1', 'queue:drained']
        """
        self._require_open()
        return Recording(self.store, self.name, limit)

    def on(self, name: str, handler: EventHandler | None = None) -> Any:
        """Call ``handler(event)`` for each event of this queue with this local name.

        The names: ``waiting``, ``active``, ``completed``, ``failed``, ``progress``, ``paused`` and
        so on. Handlers may be async; also a decorator: ``@queue.on("completed")``.

        In a notebook, when a cell is run again its handler replaces the one of before, found by
        its name: see ``conveyor_nb.core.cell_reruns``.
        """
        self._require_open()
        self.store.subscribe(self.name, self._bus.emit)
        return self._bus.on(name, handler) if handler else self._bus.on(name)

    def off(self, name: str, handler: EventHandler | None = None) -> None:
        """Stop calling a handler, or all handlers of this name."""
        self._bus.off(name, handler)

    # -- life ---------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the queue was closed."""
        return self._closed

    async def close(self) -> None:
        """Take no more calls, and call nobody any more; the jobs stay in the store.

        What :meth:`observe` and :meth:`events` gave ends as well.
        """
        self._closed = True
        for follower in tuple(self._followers):
            follower.dispose()
        self.store.unsubscribe(self.name, self._bus.emit)
        self._bus.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def end_with(queue: Queue, follower: Follower) -> None:
    """Have something disposed of when a queue is closed; it is not kept alive for that."""
    queue._followers.add(follower)


def _stop_listening(store: StoreInterface, name: str, bus: EventBus) -> None:
    store.unsubscribe(name, bus.emit)


_MOST_BUSY = 1_000
"""How many of the jobs that wait or are active are counted at a time."""

_MAY_END_WORK = frozenset(
    {
        EventType.WAITING_CHILDREN,
        EventType.COMPLETED,
        EventType.FAILED,
        EventType.DELAYED,
        EventType.REMOVED,
        EventType.CANCELLED,
        EventType.DRAINED,
    }
)


class Follower(Protocol):
    """What ends with a queue."""

    def dispose(self) -> object:
        """End it."""
