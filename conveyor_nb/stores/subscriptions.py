"""Who is told of which events, and what happens when one of them raises."""

from __future__ import annotations

import inspect
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeVar
from weakref import ref

from msgspec.structs import replace

from conveyor_nb.core.cell_reruns import current_origin, replace_earlier
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.events import note_event
from conveyor_nb.stores.interface import EventCallback

__all__ = ["EventHandlerErrorCallback", "Subscriptions"]

EventHandlerErrorCallback = Callable[[BaseException], object]
"""Told what a subscriber raised; which event it was for is in the error's notes."""

_Wish = tuple[int, frozenset[str] | None]
"""The place of a callback among all, and of which types it wants events; ``None``: of all."""

_Callbacks = dict[EventCallback, _Wish]
"""Each callback with its wish: they are called in the order they subscribed."""

_MOST_QUEUES = 256
"""For how many queues the callbacks are remembered; for others they are found anew."""

_by_place = itemgetter(1)
_KINDS = frozenset[str](EventType)
_COMPLETED = EventType.COMPLETED
_DISCONNECTED, _MISSED = EventType.DISCONNECTED, EventType.MISSED
_NO_RESULTS: Mapping[tuple[str, str], Any] = {}


class Subscriptions:
    """The callbacks of a store, found by queue and job without looking at any other."""

    def __init__(
        self, logger: logging.Logger, on_error: EventHandlerErrorCallback | None = None
    ) -> None:
        self._logger = logger
        self._on_error = on_error
        self._of_queues: dict[str | None, _Callbacks] = {}  # None: of every queue
        self.of_jobs: dict[tuple[str, str], _Callbacks] = {}
        """Those who follow one job, by its queue and id: always this same dict."""
        self._in_order: dict[str, dict[str, tuple[EventCallback, ...]]] = {}
        """By queue and type, found when needed."""
        self.unheard: dict[str, set[str]] = {}
        """By queue, the types that were found to have none: always this same dict."""
        self._places = itertools.count()

    def __len__(self) -> int:
        return sum(map(len, (*self._of_queues.values(), *self.of_jobs.values())))

    @property
    def queue_names(self) -> set[str | None]:
        """The queues of which somebody is told; ``None``: all of them."""
        return {*self._of_queues, *(queue_name for queue_name, _ in self.of_jobs)}

    def add(
        self,
        queue_name: str | None,
        callback: EventCallback,
        job_id: str | None,
        kinds: Collection[str] | None = None,
    ) -> None:
        """Call ``callback`` from now on; what it wants of an address is what it wanted last."""
        if not callable(callback):
            raise TypeError(f"an event callback must be callable, not {shown(callback)}")
        if inspect.iscoroutinefunction(callback):
            raise TypeError(
                f"{callback.__qualname__} is async, but a store calls its subscribers directly; "
                "give a plain function, or use queue.on(...), which takes async handlers"
            )
        wanted = _to_kinds(kinds)
        if current_origin() is not None:
            self._replace_earlier(queue_name, callback, job_id)
        if job_id is None:
            callbacks = self._of_queues.setdefault(queue_name, {})
            self._forget_found()
        elif queue_name is None:
            raise ValueError(f"events of job {shown(job_id)}: say of which queue it is")
        else:
            callbacks = self.of_jobs.setdefault((queue_name, job_id), {})
        place, _ = callbacks.get(callback) or (next(self._places), None)
        callbacks[callback] = (place, wanted)

    def remove(
        self, queue_name: str | None, callback: EventCallback | None, job_id: str | None
    ) -> None:
        """Stop calling ``callback``, or with ``None`` every callback of the address."""
        if job_id is None:
            _take_out(self._of_queues, queue_name, callback)
            self._forget_found()
        elif queue_name is not None:
            _take_out(self.of_jobs, (queue_name, job_id), callback)

    def _replace_earlier(
        self, queue_name: str | None, callback: EventCallback, job_id: str | None
    ) -> None:
        here = ref(self)

        def drop() -> None:
            if (subscriptions := here()) is not None:
                subscriptions.remove(queue_name, callback, job_id)

        replace_earlier((here, queue_name, job_id), callback, drop)

    def disconnect(self, now: datetime) -> None:
        """Forget every callback, and call each for the last time."""
        of_queues, self._of_queues = self._of_queues, {}
        of_jobs = dict(self.of_jobs)
        self.of_jobs.clear()
        self._forget_found()
        for queue_name, callbacks in of_queues.items():
            self._call(StoreEvent(_DISCONNECTED, queue_name or "", None, {}, now), callbacks)
        for (queue_name, job_id), callbacks in of_jobs.items():
            self._call(StoreEvent(_DISCONNECTED, queue_name, job_id, {}, now), callbacks)

    def publish(
        self, events: Iterable[StoreEvent], results: Mapping[tuple[str, str], Any] = _NO_RESULTS
    ) -> None:
        """Call those of each event's queue, of its job and of all queues, as they subscribed.

        Args:
            events: what to tell of.
            results: what jobs returned that completed, by queue and job id, for those who
                subscribed to one of them: they may have no other way to it.
        """
        for event in events:
            in_order = self._in_order.get(event.queue_name)
            callbacks = None if in_order is None else in_order.get(event.type)
            if callbacks is None:
                callbacks = self._find(event)
            if self.of_jobs and event.job_id is not None:
                key = (event.queue_name, event.job_id)
                of_job = self.of_jobs.get(key)
                if of_job:
                    callbacks = self._sorted(event, of_job)
                    if results and event.type == _COMPLETED:
                        result = results.get(key)
                        self._call_with_result(event, callbacks, of_job, result)
                        continue
            for callback in callbacks:  # as _call does, without its cost
                try:
                    callback(event)
                except BaseException as error:
                    self._report(error, event)

    def wake(self, now: datetime, jobs: Iterable[tuple[str, str]]) -> None:
        """Have those look again who wait for something that may have happened untold.

        They are those of queues who ask by name for what tells of that, and all of ``jobs``.
        """
        for queue_name, callbacks in tuple(self._of_queues.items()):
            asking = [
                one
                for one, (_, kinds) in callbacks.items()
                if kinds is not None and _MISSED in kinds
            ]
            if asking:
                self._call(StoreEvent(_MISSED, queue_name or "", None, {"missed": 0}, now), asking)
        for key in jobs:
            if of_job := self.of_jobs.get(key):
                self._call(StoreEvent(_MISSED, *key, {"missed": 0}, now), tuple(of_job))

    def _call_with_result(
        self,
        event: StoreEvent,
        callbacks: Iterable[EventCallback],
        of_job: _Callbacks,
        result: object,
    ) -> None:
        told = replace(event, data={**event.data, "returnvalue": result})
        for callback in callbacks:
            self._call(told if callback in of_job else event, (callback,))

    def _call(self, event: StoreEvent, callbacks: Iterable[EventCallback]) -> None:
        for callback in callbacks:
            try:
                callback(event)
            except BaseException as error:
                # not even a KeyboardInterrupt or SystemExit may reach the other subscribers, the
                # store, or the loop, which would end with it
                self._report(error, event)

    def _find(self, event: StoreEvent) -> tuple[EventCallback, ...]:
        queue_name, kind = event.queue_name, event.type
        found = self._sorted(event, None)
        if kind not in _KINDS:  # people may publish anything, and any number of it
            return found
        if queue_name not in self._in_order:
            if len(self._in_order) >= _MOST_QUEUES:
                self._forget_found()
            self._in_order[queue_name], self.unheard[queue_name] = {}, set()
        self._in_order[queue_name][kind] = found
        if not found:
            self.unheard[queue_name].add(kind)
        return found

    def _forget_found(self) -> None:
        self._in_order.clear()
        self.unheard.clear()

    def _sorted(self, event: StoreEvent, of_job: _Callbacks | None) -> tuple[EventCallback, ...]:
        """Those of its queue and of all queues, and of a job, that want it, as they subscribed."""
        found = [*self._of_queues.get(event.queue_name, {}).items()]
        found += self._of_queues.get(None, {}).items()
        if of_job:
            found += of_job.items()
        found.sort(key=_by_place)
        return tuple(one for one, (_, kinds) in found if kinds is None or event.type in kinds)

    def _report(self, error: BaseException, event: StoreEvent) -> None:
        note_event(error, event)
        # whoever is told of faults has left with the store: the last event's go to the log
        if self._on_error is not None and event.type != _DISCONNECTED:
            try:
                self._on_error(error)
            except BaseException:  # the reporter's own fault is reported the plain way
                self._logger.exception("on_event_handler_error raised for %s", event.type)
            else:
                return
        self._logger.warning(
            "a subscriber raised for %s of queue %r", event.type, event.queue_name, exc_info=error
        )


def _to_kinds(kinds: Collection[str] | None) -> frozenset[str] | None:
    if kinds is None:
        return None
    if isinstance(kinds, str) or not isinstance(kinds, Collection):
        raise TypeError(f"kinds must be a list or set of types of event, not {shown(kinds)}")
    wanted = frozenset(kinds)
    if not wanted <= _KINDS:
        unknown = min(map(str, wanted - _KINDS))
        raise ValueError(f"no type of event {shown(unknown)}; known are: {', '.join(EventType)}")
    return wanted


_Address = TypeVar("_Address")


def _take_out(
    callbacks_of: dict[_Address, _Callbacks], address: _Address, callback: EventCallback | None
) -> None:
    callbacks = callbacks_of.get(address)
    if callbacks is None:
        return
    if callback is not None:
        callbacks.pop(callback, None)
    if callback is None or not callbacks:
        del callbacks_of[address]
