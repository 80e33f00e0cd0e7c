"""How a panel hears of its store: what happens is laid by, and looked at when a frame is made.

Each event is told of within the step that it is of, so whoever listens makes that step slower. All
that is done there is to lay the event by; whatever is to be done with it is done for many at once.
And where so much happens that no page could tell of it one by one, no more than a part of it is
laid by until the next frame is made: a store does not even make the events that nobody hears of.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from conveyor_nb.clocks.loops import call_on
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.stores import StoreInterface

__all__ = ["Hearing", "Settled"]

_MOST = 1_000
"""So many events are laid by; then they are handed over, however long the page takes, or the rest
is passed over until the next frame."""

_MOST_FAVOURED = 1_500
"""With those of the rest that are wanted most it is so many."""

_ROOM = 2_000

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

_SETTLED = frozenset({EventType.COMPLETED, EventType.FAILED})
"""What is counted, however much of it there is."""

Settled = Mapping[tuple[str, str], Sequence[datetime]]
"""When jobs settled, by queue and by the type of the event."""


class Hearing:
    """The events of a queue, or of all queues of a store, for a panel.

    They may come on any thread; the panel is called on its loop.

    Args:
        store: whose events they are.
        loop: the panel's.
        take_in: called with what was laid by, in the order in which it happened.
        count: called with what settled besides.
        miss: called with two instants between which more happened than was laid by.
        on_news: called when something is laid by and nothing was; a :meth:`flush` is to follow.
        on_drained: called, while nobody looks, when a queue is drained.
    """

    def __init__(
        self,
        store: StoreInterface,
        loop: asyncio.AbstractEventLoop,
        *,
        take_in: Callable[[Sequence[StoreEvent]], object],
        count: Callable[[Settled], object],
        miss: Callable[[datetime, datetime], object],
        on_news: Callable[[], object],
        on_drained: Callable[[], object],
    ) -> None:
        self._store = store
        self._loop = loop
        self._take_in = take_in
        self._count = count
        self._miss = miss
        self._on_news = on_news
        self._on_drained = on_drained
        self._laid_by: deque[StoreEvent] = deque(maxlen=_ROOM)
        self._settled: defaultdict[tuple[str, str], list[datetime]] = defaultdict(list)
        self._is_told = False
        self._is_of_all = True
        self._is_rush = False
        self._favoured: frozenset[str] = frozenset()
        self._deaf_since: datetime | None = None
        self._queue_name: str | None = None
        self._stop: Callable[[], None] = _do_nothing

    def listen(self, queue_name: str | None, *, to_all: bool = True, favour: str = "") -> None:
        """Lay by the events of a queue; ``None``: of all queues.

        Args:
            queue_name: the queue's name.
            to_all: lay by each of them; else, of very many, the first ones until each flush, what
                is rare, and failures, as long as these are not very many.
            favour: a type of event that is wanted as failures are.
        """
        if self._deaf_since is not None:
            self._hand_over()
        self._queue_name, self._is_of_all = queue_name, to_all
        self._favoured = frozenset({EventType.FAILED, favour}) & frozenset[str](EventType)
        self._hear_all()

    def doze(self, queue_name: str | None) -> None:
        """Lay by only what is rare: nobody looks now, but may again."""
        self.flush()
        self._subscribe(queue_name, self._doze, _RARE | {EventType.DRAINED})

    def stop(self) -> None:
        """Hear nothing any more."""
        self._stop()
        self._stop = _do_nothing
        self._laid_by.clear()
        self._settled.clear()
        self._deaf_since = None
        self._is_told = False

    def flush(self) -> bool:
        """Hand over what was laid by.

        Returns:
            Whether it comes in a rush: more has happened since the last time than a page tells of.
        """
        rush, self._is_rush = self._is_rush, False
        self._hand_over()
        return rush

    def _hand_over(self) -> None:
        since = self._deaf_since
        if since is not None:
            self._hear_all()
        self._is_told = False  # before it is taken: what comes meanwhile is told of once more
        laid_by, taken = self._laid_by, []
        while laid_by:
            taken.append(laid_by.popleft())
        if taken:
            self._take_in(taken)
        self._tell_counts()
        if since is not None:
            self._miss(since, self._store.clock.now())

    def _tell_counts(self) -> None:
        settled, self._settled = self._settled, defaultdict(list)
        if settled:
            self._count(settled)

    def _hear_all(self) -> None:
        self._deaf_since = None
        self._subscribe(self._queue_name, self._lay_by, None)

    def _overflow(self) -> None:
        """There is more than a frame tells of: count what settles, and pass over the rest of it."""
        self._is_rush = True
        if self._is_of_all:
            self._hand_over()
        elif self._deaf_since is None and self._laid_by:
            self._deaf_since = self._laid_by[-1].timestamp
            kinds = _RARE | _SETTLED | self._favoured
            self._subscribe(self._queue_name, self._lay_by_little, kinds)

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
            call_on(self._loop, self._overflow)
        self._is_told = True
        call_on(self._loop, self._on_news)

    def _lay_by_little(self, event: StoreEvent) -> None:
        kind, laid_by = event.type, self._laid_by
        if kind in _RARE or (kind in self._favoured and len(laid_by) < _MOST_FAVOURED):
            laid_by.append(event)
        elif kind in _SETTLED:
            instants = self._settled[event.queue_name, kind]
            instants.append(event.timestamp)
            if len(instants) == _MOST:
                call_on(self._loop, self._tell_counts)

    def _doze(self, event: StoreEvent) -> None:
        if event.type in _RARE:
            self._laid_by.append(event)
            if event.type == EventType.DISCONNECTED:  # the picture that stays behind tells it
                call_on(self._loop, self.flush)
        elif event.type == EventType.DRAINED:
            call_on(self._loop, self._on_drained)


def _do_nothing() -> None:
    pass
