"""What a panel shows of a store: its queues, each as a card that opens it, and all its events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import ALL_NAMES, EventType, StoreEvent
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.panel.event_log import EventLog
from conveyor_nb.notebook.panel.head_view import speed_of
from conveyor_nb.notebook.panel.hearing import Settled
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.pulse import Pulse, read_pulse
from conveyor_nb.notebook.panel.rests import Rests
from conveyor_nb.notebook.panel.sizes import fitting, sendable
from conveyor_nb.notebook.panel.view import UnknownRequestError
from conveyor_nb.notebook.pictures.state_bar import BAR_ORDER
from conveyor_nb.notebook.reads import QueueLine, queue_lines
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.in_words import store_in_words
from conveyor_nb.stores.reads import SynchronousReads

__all__ = ["STORE_TABS", "QueuesView"]

STORE_TABS = ("queues", "events")
"""The tabs of a store."""

_MOST_CARDS = 100
_ROOM = 26_000
_MOST_PULSES = 24
_MOST_READ = 40
"""So many settled jobs are read for each card; what settles from then on is counted as it comes."""

_EACH_SECOND = 1.0


class QueuesView:
    """The queues of a store.

    Args:
        store: what is shown.
        read_only: whether it is only to be looked at.
    """

    def __init__(self, store: StoreInterface, *, read_only: bool = False) -> None:
        self.store = store
        self.read_only = read_only
        self.tab = STORE_TABS[0]
        self._log = EventLog(store)
        self._rests = Rests()
        self._pulses: dict[str, Pulse] = {}
        self._beats = False

    async def read(self) -> dict[str, Any]:
        """The parts of a frame: the cards, in the order of their names, or the events."""
        told = {
            **await self._counted(),
            "tab": self.tab,
            "read_only": self.read_only,
            "now": self.store.clock.now().timestamp(),
            "speed": speed_of(self.store.clock),
        }
        if self.tab == "events":
            return {"queues": sendable(told), "events": sendable(await self._log.read())}
        return {"queues": sendable(told)}

    async def _counted(self) -> dict[str, Any]:
        """What is counted of all queues: anew, or a moment ago where the store takes long."""
        if (told := self._rests.told(self.tab)) is not None:
            return told
        began = self._rests.now()
        names = await self.store.list_queues()
        shown_names = names[:_MOST_CARDS] if self.tab == "queues" else []
        cards = fitting(sendable(await self._cards(shown_names)), _ROOM)
        told = {
            "store": f"{type(self.store).__name__}: {await store_in_words(self.store)}",
            "cards": cards,
            "more": len(names) - len(cards) if self.tab == "queues" else 0,
        }
        if not isinstance(self.store, SynchronousReads):
            self._rests.keep(self.tab, told, began)
        return told

    async def _cards(self, names: Sequence[str]) -> list[dict[str, Any]]:
        now = self.store.clock.now()
        cards: list[dict[str, Any]] = []
        for line in await queue_lines(self.store, names):
            if line.name not in self._pulses and len(cards) < _MOST_PULSES:
                self._pulses[line.name] = await read_pulse(self.store, line.name, _MOST_READ)
            pulse = self._pulses.get(line.name)
            told = pulse.told(now) if pulse else None
            cards.append({**_card(line), "pulse": told if told and told["done"] else None})
        self._pulses = {name: pulse for name, pulse in self._pulses.items() if name in names}
        self._beats = any(card["pulse"] for card in cards)
        return cards

    @property
    def again(self) -> float | None:
        """In how many seconds it is to be read again though nothing happened; ``None``: not."""
        goes = not isinstance(self.store.clock, VirtualClock)
        wish = _EACH_SECOND if self._beats and goes and self.tab == "queues" else None
        return self._rests.again(self.tab, wish)

    async def names(self) -> list[str]:
        """The queues among which a person can switch; of very many, the first."""
        return (await self.store.list_queues())[:_MOST_CARDS]

    def take(self, message: Message) -> None:
        """Do what a page asks for.

        Raises:
            UnknownRequestError: it is none of what a store's panel does.
        """
        match message.do:
            case "tab":
                self._turn_to(message)
            case "events":
                self._log.show(message)
            case _:
                raise UnknownRequestError(message.do)

    def note(self, events: Sequence[StoreEvent]) -> None:
        """Take note of events of any queue, in the order in which they happened."""
        self._log.note(events)
        of_queue: dict[str, list[StoreEvent]] = {name: [] for name in self._pulses}
        for event in events:
            if event.queue_name in of_queue:
                of_queue[event.queue_name].append(event)
        for name, some in of_queue.items():
            self._pulses[name].add(some)

    @property
    def tells_of_all(self) -> bool:
        """Whether each event is needed for what is shown, however many there are."""
        return self.tab == "events" and self._log.tells_of_all

    @property
    def favours(self) -> str:
        """Of which type of event is told, so that it is to be heard among very many others."""
        return self._log.favours if self.tab == "events" else ""

    def count(self, settled: Settled) -> None:
        """Count jobs that have settled, of which no event is noted."""
        for (name, kind), instants in settled.items():
            if name in self._pulses:
                self._pulses[name].add_settled(instants, failed=kind == EventType.FAILED)

    def miss(self, since: datetime, until: datetime) -> None:
        """From an instant until another one more happened than is noted."""
        self._log.miss(since, until)

    def retell(self, events: Sequence[StoreEvent]) -> None:
        """Time was set back or on: these are the last events up to now, and no others."""
        self._log.retell(events)
        self._pulses.clear()

    def rest(self) -> None:
        """Nobody looks at it now, so no events come here."""
        self._log.rest()
        self._pulses.clear()

    def renew(self) -> None:
        """A page has come that has seen nothing yet."""
        self._log.renew()
        self._rests.forget()

    def _turn_to(self, message: Message) -> None:
        if message.tab not in STORE_TABS:
            tabs = ", ".join(STORE_TABS)
            raise ValueError(f"the panel of a store has no tab {shown(message.tab)}, but {tabs}")
        self.tab = message.tab
        self._log.renew()

    async def require(self, name: str) -> None:
        """Check that there is such a queue.

        Raises:
            ValueError: there is none.
        """
        names = await self.store.list_queues()
        if name not in names:
            raise ValueError(f"this store has no queue {shown(name)}")


def _card(line: QueueLine) -> dict[str, Any]:
    return {
        "name": line.name,
        "counts": {str(state): line.counts[state] for state in BAR_ORDER},
        "paused": ALL_NAMES in line.paused,
        "workers": len(line.workers),
        "slots": sum(worker.concurrency for worker in line.workers),
    }
