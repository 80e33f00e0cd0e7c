"""How a panel hears of its store: what happens is laid by, and looked at when a frame is made.

Each event is told of within the step that it is of, so whoever listens makes that step slower. All
that is done there is to lay the event by; whatever is to be done with it is done for many at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence

from conveyor_nb.clocks.loops import call_on
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.stores import StoreInterface

__all__ = ["Hearing"]

_MOST = 1_000
"""So many events are laid by; then they are handed over, however long the page takes."""

_RARE = frozenset(
    {
        EventType.PAUSED,
        EventType.RESUMED,
        EventType.ERROR,
        EventType.WORKER_STARTED,
        EventType.WORKER_PAUSED,
        EventType.WORKER_CLOSED,
        EventType.WORKER_COMMANDED,
        EventType.DISCONNECTED,
    }
)
"""What no job's record tells of afterwards: it is laid by even while nobody looks."""


class Hearing:
    """The events of a queue, or of all queues of a store, for a panel.

    They may come on any thread; the panel is called on its loop.

    Args:
        store: whose events they are.
        loop: the panel's.
        take_in: called with what was laid by, in the order in which it happened.
        on_news: called when something is laid by and nothing was; a :meth:`flush` is to follow.
        on_drained: called, while nobody looks, when a queue is drained.
    """

    def __init__(
        self,
        store: StoreInterface,
        loop: asyncio.AbstractEventLoop,
        *,
        take_in: Callable[[Sequence[StoreEvent]], object],
        on_news: Callable[[], object],
        on_drained: Callable[[], object],
    ) -> None:
        self._store = store
        self._loop = loop
        self._take_in = take_in
        self._on_news = on_news
        self._on_drained = on_drained
        self._laid_by: deque[StoreEvent] = deque(maxlen=2 * _MOST)
        self._is_told = False
        self._stop: Callable[[], None] = _do_nothing

    def listen(self, queue_name: str | None) -> None:
        """Lay by each event of a queue; ``None``: of all queues."""
        self._subscribe(queue_name, self._lay_by, None)

    def doze(self, queue_name: str | None) -> None:
        """Lay by only what is rare: nobody looks now, but may again."""
        self.flush()
        self._subscribe(queue_name, self._doze, _RARE | {EventType.DRAINED})

    def stop(self) -> None:
        """Hear nothing any more."""
        self._stop()
        self._stop = _do_nothing
        self._laid_by.clear()
        self._is_told = False

    def flush(self) -> None:
        """Hand over what was laid by."""
        self._is_told = False  # before it is taken: what comes meanwhile is told of once more
        laid_by, taken = self._laid_by, []
        while laid_by:
            taken.append(laid_by.popleft())
        if taken:
            self._take_in(taken)

    def _subscribe(
        self,
        queue_name: str | None,
        callback: Callable[[StoreEvent], None],
        kinds: Collection[str] | None,
    ) -> None:
        self._stop()
        self._store.subscribe(queue_name, callback, kinds=kinds)
        self._stop = lambda: self._store.unsubscribe(queue_name, callback)

    def _lay_by(self, event: StoreEvent) -> None:
        self._laid_by.append(event)
        if self._is_told and len(self._laid_by) != _MOST:
            return
        if self._is_told:
            call_on(self._loop, self.flush)
        self._is_told = True
        call_on(self._loop, self._on_news)

    def _doze(self, event: StoreEvent) -> None:
        if event.type in _RARE:
            self._laid_by.append(event)
            if event.type == EventType.DISCONNECTED:  # the picture that stays behind tells it
                call_on(self._loop, self.flush)
        elif event.type == EventType.DRAINED:
            call_on(self._loop, self._on_drained)


def _do_nothing() -> None:
    pass
