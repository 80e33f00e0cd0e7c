"""Who is told of which events, and what happens when one of them raises."""

from __future__ import annotations

import inspect
import itertools
import logging
from collections.abc import Callable
from operator import itemgetter

from conveyor_nb.model import StoreEvent
from conveyor_nb.stores.interface import EventCallback

__all__ = ["EventHandlerErrorCallback", "Subscriptions"]

EventHandlerErrorCallback = Callable[[BaseException, StoreEvent], None]

_Address = tuple[str | None, str | None]
"""Queue name (``None``: every queue) and job id (``None``: every job of the queue)."""


_NOBODY: dict[EventCallback, int] = {}
_by_place = itemgetter(1)


class Subscriptions:
    """The callbacks of a store, found by queue and job without looking at any other."""

    def __init__(
        self, logger: logging.Logger, on_error: EventHandlerErrorCallback | None = None
    ) -> None:
        self._logger = logger
        self._on_error = on_error
        # each callback with its place among all: they are called in the order they subscribed
        self._callbacks: dict[_Address, dict[EventCallback, int]] = {}
        self._order = itertools.count()

    def __len__(self) -> int:
        return sum(map(len, self._callbacks.values()))

    def add(self, queue_name: str | None, callback: EventCallback, job_id: str | None) -> None:
        """Call ``callback`` from now on; a second time for the same address has no effect."""
        if not callable(callback):
            raise TypeError(f"an event callback must be callable, not {callback!r}")
        if inspect.iscoroutinefunction(callback):
            raise TypeError(
                f"{callback.__qualname__} is async, but a store calls its subscribers directly; "
                "give a plain function, or use queue.on(...), which takes async handlers"
            )
        if queue_name is None and job_id is not None:
            raise ValueError(f"events of job {job_id!r}: say of which queue it is")
        callbacks = self._callbacks.setdefault((queue_name, job_id), {})
        callbacks.setdefault(callback, next(self._order))

    def remove(
        self, queue_name: str | None, callback: EventCallback | None, job_id: str | None
    ) -> None:
        """Stop calling ``callback``, or with ``None`` every callback of the address."""
        address = (queue_name, job_id)
        callbacks = self._callbacks.get(address, {})
        if callback is None:
            callbacks.clear()
        else:
            callbacks.pop(callback, None)
        if not callbacks:
            self._callbacks.pop(address, None)

    def clear(self) -> None:
        """Forget every callback."""
        self._callbacks.clear()

    def publish(self, event: StoreEvent) -> None:
        """Call those of the event's queue, of its job and of all queues, as they subscribed."""
        get = self._callbacks.get
        found = list(get((event.queue_name, None), _NOBODY).items())
        of_queue = len(found)
        if event.job_id is not None:
            found += get((event.queue_name, event.job_id), _NOBODY).items()
        found += get((None, None), _NOBODY).items()
        if len(found) > of_queue > 0:
            found.sort(key=_by_place)
        for callback, _ in found:  # a copy: a callback may subscribe or unsubscribe meanwhile
            self._call(callback, event)

    def _call(self, callback: EventCallback, event: StoreEvent) -> None:
        try:
            callback(event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a subscriber's fault must not reach others or the store
            self._report(error, event)

    def _report(self, error: BaseException, event: StoreEvent) -> None:
        if self._on_error is not None:
            try:
                self._on_error(error, event)
            except Exception:  # the reporter's own fault is reported the plain way
                self._logger.exception("on_event_handler_error raised for %s", event.type)
            else:
                return
        self._logger.warning(
            "a subscriber raised for %s of queue %r", event.type, event.queue_name, exc_info=error
        )
