"""What a worker hears of its queue: what it does at each type of event, on its own loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from threading import get_ident

from conveyor_nb.clocks.loops import call_on
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.stores import StoreInterface

__all__ = ["Hearing", "Reaction"]

Reaction = Callable[[StoreEvent], object]
"""What is done at an event."""


class Hearing:
    """Calls a worker's reactions to the events of its queue, where the worker runs.

    The store tells it of no others, and need not make those that nobody asks for.

    Args:
        store, queue_name: whose events.
        on_loop_gone: called when there is something to do, and the loop of the worker is closed.
    """

    def __init__(
        self, store: StoreInterface, queue_name: str, on_loop_gone: Callable[[], None]
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where the worker runs, or ran last."""
        self.context = contextvars.copy_context()
        """In which it was started, whoever makes the events."""
        self._reactions: dict[str, Reaction] = {}
        self._listens = False
        self._store = store
        self._queue_name = queue_name
        self._on_loop_gone = on_loop_gone

    def react(self, reactions: Mapping[EventType, Reaction | None]) -> None:
        """Have reactions to types of event, or with ``None`` none; others stay as they are."""
        for kind, reaction in reactions.items():
            if reaction is not None:
                self._reactions[kind] = reaction
            else:
                self._reactions.pop(kind, None)
        if self._listens:
            self._subscribe()

    def listen(self) -> None:
        """Hear of events from now on."""
        self._listens = True
        self._subscribe()

    def stop(self) -> None:
        """Hear of events no more."""
        self._listens = False
        self._store.unsubscribe(self._queue_name, self._hear)

    def _subscribe(self) -> None:
        self._store.subscribe(self._queue_name, self._hear, kinds=tuple(self._reactions))
        if not self._listens:  # it was told to stop meanwhile, on another thread
            self.stop()

    def settle(self) -> None:
        """Let the running loop and the current context be those of the worker."""
        self.context = contextvars.copy_context()
        self.loop = asyncio.get_running_loop()

    def call(self, callback: Callable[[], object]) -> None:
        """Call back where the worker runs, if it does; on any thread."""
        if self.loop is not None and not call_on(self.loop, callback):
            self._on_loop_gone()

    def _hear(self, event: StoreEvent) -> None:
        """Take note of an event of the queue, on whatever thread it was made."""
        react = self._reactions.get(event.type)
        if react is None or self.loop is None:
            return
        if getattr(self.loop, "_thread_id", None) == get_ident():  # like runs_here, but cheaper
            react(event)
        elif not call_on(self.loop, react, event, context=self.context.copy()):
            self._on_loop_gone()
