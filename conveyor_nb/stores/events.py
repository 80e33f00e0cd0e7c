"""Listening to a queue or a worker: handlers by local name, and a bounded stream of events."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, overload
from weakref import ref

from msgspec.structs import replace

from conveyor_nb.clocks.loops import Flag, call_on
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.cell_reruns import current_origin, replace_earlier
from conveyor_nb.core.errors import FAULTS
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.values.checks import check_count, check_logger
from conveyor_nb.core.values.text import shown

__all__ = [
    "EventBus",
    "EventCallback",
    "EventHandler",
    "EventSource",
    "EventStream",
    "local_name",
    "note_event",
]

EventCallback = Callable[[StoreEvent], object]
"""What a store calls, at once and in its own thread."""

EventHandler = Callable[[Any], Awaitable[None] | None]
"""What an ``EventBus`` calls; plain or async."""

_Handler = TypeVar("_Handler", bound=EventHandler)

ERROR = "error"


def local_name(kind: str) -> str:
    """The name that a queue or worker uses for a type of event.

    >>> local_name("job:completed")
    'completed'
    """
    return kind.partition(":")[2]


class EventBus:
    """Calls handlers by the local name of an event, plain or async.

    A handler that raises is reported on ``"error"``, to handlers that get a ``StoreEvent`` whose
    data has the ``error``; with none of these, or when one of them raises, to the log.

    A handler runs on the loop and in the context in which it was added, not in those of whoever
    made the event: what it prints is shown by the cell that it is in, and is not taken for the
    print of a job. One that was added where no loop ran is called at once, wherever that is.

    Args:
        types: the types of event that this bus passes on.
        logger: where faults go that nobody handles.
        owner: who has this bus. In a notebook, a handler that a cell adds replaces those that an
            earlier run of the cell added under its name to a bus of the same owner.

    >>> bus = EventBus([EventType.COMPLETED])
    >>> @bus.on("completed")
    ... def shout(event):
    ...     print(event.job_id, "is done")
    >>> from datetime import UTC, datetime
    >>> bus.emit(StoreEvent("job:completed", "emails", "emails-1", {}, datetime.now(UTC)))
    emails-1 is done
    """

    def __init__(
        self,
        types: Iterable[EventType],
        logger: logging.Logger | None = None,
        owner: Hashable = None,
    ) -> None:
        self._owner = ref(self) if owner is None else owner
        self._names = {local_name(kind) for kind in types} | {ERROR}
        self._logger = check_logger(logger)
        self._handlers: dict[str, list[_Added]] = {}
        self.at_work = BackgroundTasks()
        """The async handlers that run."""
        self.on_idle: Callable[[EventBus], object] | None = None
        """Called when another cell's run has replaced the last handler."""

    def __len__(self) -> int:
        return sum(map(len, self._handlers.values()))

    @overload
    def on(self, name: str) -> Callable[[_Handler], _Handler]: ...
    @overload
    def on(self, name: str, handler: _Handler) -> _Handler: ...
    def on(self, name: str, handler: _Handler | None = None) -> Any:
        """Call ``handler(event)`` for each event of this name; also a decorator.

        Raises:
            ValueError: there is no such event.
            TypeError: the handler is not callable.
        """
        self._check(name)
        if handler is None:
            return lambda function: self.on(name, function)
        if not callable(handler):
            raise TypeError(f"an event handler must be callable, not {shown(handler)}")
        added = _Added(handler)
        self._handlers.setdefault(name, []).append(added)
        if current_origin() is not None:
            replace_earlier((self._owner, name), handler, self._dropper(name, added))
        return handler

    def off(self, name: str, handler: EventHandler | None = None) -> None:
        """Stop calling a handler, or all handlers of this name."""
        self._check(name)
        for added in tuple(self._handlers.get(name, ())):
            if handler is None or added.handler == handler:
                self._drop(name, added)

    def emit(self, event: StoreEvent) -> None:
        """Call the handlers of an event, in the order they were added."""
        name = local_name(event.type)
        for added in tuple(self._handlers.get(name, ())):
            # a copy: a handler may make the very event that it handles
            context = added.context.copy()
            if added.loop is None:
                context.run(self._call, added, event)
            elif not call_on(added.loop, self._call, added, event, context=context):
                self._drop(name, added)

    def close(self) -> None:
        """Drop every handler, and stop the async ones that still run."""
        for name, handlers in self._handlers.items():
            for added in tuple(handlers):
                self._drop(name, added)
        self.at_work.cancel()

    def _dropper(self, name: str, added: _Added) -> Callable[[], None]:
        """What drops a handler later, and keeps no bus for that."""
        here, this = ref(self), ref(added)

        def drop() -> None:
            if (bus := here()) is not None and (one := this()) is not None:
                bus._drop(name, one)
                if not len(bus) and bus.on_idle is not None:
                    bus.on_idle(bus)

        return drop

    def _drop(self, name: str, added: _Added) -> None:
        added.is_dropped = True
        self._handlers[name] = [one for one in self._handlers[name] if one is not added]

    def _call(self, added: _Added, event: StoreEvent) -> None:
        if added.is_dropped:  # since the event was made, on another thread
            return
        try:
            result = added.handler(event)
        except BaseException as error:
            # a handler's fault must not reach whoever made the event; a KeyboardInterrupt or
            # SystemExit would end the loop, and a kernel with it
            self._report(error, event)
            return
        if inspect.isawaitable(result):
            try:
                self.at_work.spawn(self._finish(result, event))
            except RuntimeError as error:
                if inspect.iscoroutine(result):
                    result.close()
                error.add_note("An async handler runs on the loop in which it is added.")
                self._report(error, event)

    async def _finish(self, result: Awaitable[None], event: StoreEvent) -> None:
        try:
            await result
        except FAULTS as error:
            self._report(error, event)

    def _report(self, error: BaseException, event: StoreEvent) -> None:
        note_event(error, event)
        if local_name(event.type) == ERROR or not self._handlers.get(ERROR):
            self._logger.warning("a handler of %s raised", event.type, exc_info=error)
            return
        data = {
            "error": error,
            "event": event,
            "reason": f"a handler raised {type(error).__name__}",
        }
        self.emit(replace(event, type=EventType.ERROR, data=data))

    def _check(self, name: str) -> None:
        if name not in self._names:
            raise ValueError(f"no event {shown(name)}; known are: {', '.join(sorted(self._names))}")


_NOTE = "Raised by a subscriber that was told of "


def note_event(error: BaseException, event: StoreEvent) -> None:
    """Note on an error which event it was raised for; one that is raised again has one note."""
    about = f" of job {shown(event.job_id)}" if event.job_id is not None else ""
    note = f"{_NOTE}{event.type}{about} in queue {shown(event.queue_name)} at {event.timestamp}"
    others = [one for one in getattr(error, "__notes__", ()) if not str(one).startswith(_NOTE)]
    with contextlib.suppress(AttributeError):  # an error may be frozen, as dataclasses can be
        error.__notes__ = [*others, note]


class _Added:
    """A handler, with where it was added."""

    __slots__ = ("__weakref__", "context", "handler", "is_dropped", "loop")

    def __init__(self, handler: EventHandler) -> None:
        self.handler = handler
        self.context = contextvars.copy_context()
        self.loop = asyncio._get_running_loop()
        self.is_dropped = False


class EventSource(Protocol):
    """What events come from: a store."""

    def subscribe(
        self,
        queue_name: str | None,
        callback: EventCallback,
        *,
        job_id: str | None = None,
        kinds: Collection[str] | None = None,
    ) -> None:
        """Call back with each event, or with those of some types."""

    def unsubscribe(
        self,
        queue_name: str | None,
        callback: EventCallback | None = None,
        *,
        job_id: str | None = None,
    ) -> None:
        """Call back no more."""


class EventStream:
    """Events from the moment it is made until it, its queue or its store is closed.

    They are there for ``async for``.

    A reader that is slower than the events are made misses the oldest of those it has not read;
    in their place it gets an event ``"stream:missed"`` whose data says how many they were.

    Args:
        source: whose events; a store.
        queue_name: the queue; ``None``: every queue.
        size: how many unread events are kept at most.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore, Queue
    >>> async def main():
    ...     queue = Queue("emails", store=MemoryStore(ids="sequential"))
    ...     async with queue.events() as events:
    ...         await queue.add("send")
    ...         event = await anext(events)
    ...         return str(event.type), event.job_id
    >>> asyncio.run(main())
    ('job:waiting', 'emails-1')
    """

    def __init__(self, source: EventSource, queue_name: str | None, size: int = 1_000) -> None:
        size = check_count(size, what="size")
        self.missed = 0
        """How many events were missed in all."""
        self._source = source
        self._queue_name = queue_name
        self._unread: deque[StoreEvent] = deque(maxlen=size)
        self._missed_now = 0
        self._guard = threading.Lock()
        self._readable = Flag()
        self._closed = False
        source.subscribe(queue_name, self._take)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StoreEvent:
        while True:
            self._readable.clear()
            with self._guard:
                if self._missed_now:
                    return self._note_missed()
                if self._unread:
                    return self._unread.popleft()
            if self._closed:
                raise StopAsyncIteration
            await self._readable.wait()

    async def aclose(self) -> None:
        """Take no more events; those unread can still be read."""
        self.dispose()

    def dispose(self) -> None:
        """What :meth:`aclose` does, without waiting."""
        self._closed = True
        self._source.unsubscribe(self._queue_name, self._take)
        self._readable.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _take(self, event: StoreEvent) -> None:
        if event.type == EventType.DISCONNECTED:
            self.dispose()
            return
        with self._guard:
            if len(self._unread) == self._unread.maxlen:
                self.missed += 1
                self._missed_now += 1
            self._unread.append(event)
        self._readable.set()

    def _note_missed(self) -> StoreEvent:
        oldest = self._unread[0]
        data = {"missed": self._missed_now}
        self._missed_now = 0
        return StoreEvent(EventType.MISSED, oldest.queue_name, None, data, oldest.timestamp)
