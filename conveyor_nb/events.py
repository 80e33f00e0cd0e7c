"""Listening to a queue or a worker: handlers by local name, and a bounded stream of events."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, overload

from conveyor_nb.model import EventType, StoreEvent

__all__ = ["EventBus", "EventHandler", "local_name"]

EventHandler = Callable[[Any], Awaitable[None] | None]
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

    Args:
        types: the types of event that this bus passes on.
        logger: where faults go that nobody handles.

    >>> bus = EventBus([EventType.COMPLETED])
    >>> @bus.on("completed")
    ... def shout(event):
    ...     print(event.job_id, "is done")
    >>> from datetime import UTC, datetime
    >>> bus.emit(StoreEvent("job:completed", "emails", "emails-1", {}, datetime.now(UTC)))
    emails-1 is done
    """

    def __init__(self, types: Iterable[EventType], logger: logging.Logger | None = None) -> None:
        self._names = {local_name(kind) for kind in types} | {ERROR}
        self._logger = logger or logging.getLogger("conveyor_nb")
        self._handlers: dict[str, list[EventHandler]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

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
            raise TypeError(f"an event handler must be callable, not {handler!r}")
        self._handlers.setdefault(name, []).append(handler)
        return handler

    def off(self, name: str, handler: EventHandler | None = None) -> None:
        """Stop calling a handler, or all handlers of this name."""
        self._check(name)
        handlers = self._handlers.get(name, [])
        self._handlers[name] = [one for one in handlers if handler is not None and one != handler]

    def emit(self, event: StoreEvent) -> None:
        """Call the handlers of an event, in the order they were added."""
        for handler in tuple(self._handlers.get(local_name(event.type), ())):
            self._call(handler, event)

    def close(self) -> None:
        """Drop every handler, and stop the async ones that still run."""
        self._handlers.clear()
        for task in self._tasks:
            task.cancel()

    def _call(self, handler: EventHandler, event: StoreEvent) -> None:
        try:
            result = handler(event)
        except Exception as error:  # a handler's fault must not reach whoever made the event
            self._report(error, event)
            return
        if inspect.isawaitable(result):
            task = asyncio.get_running_loop().create_task(self._finish(result, event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _finish(self, result: Awaitable[None], event: StoreEvent) -> None:
        try:
            await result
        except Exception as error:  # see _call
            self._report(error, event)

    def _report(self, error: Exception, event: StoreEvent) -> None:
        if local_name(event.type) == ERROR or not self._handlers.get(ERROR):
            self._logger.warning("a handler of %s raised", event.type, exc_info=error)
            return
        data = {"error": error, "event": event, "reason": f"a handler raised {error!r}"}
        self.emit(event._replace(type=EventType.ERROR, data=data))

    def _check(self, name: str) -> None:
        if name not in self._names:
            raise ValueError(f"no event {name!r}; known are: {', '.join(sorted(self._names))}")
