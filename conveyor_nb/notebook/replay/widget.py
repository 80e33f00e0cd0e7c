"""A panel of a tape, with a slider: what there was at each event, in the views of a live panel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import traitlets

from conveyor_nb.core.event_words import event_text
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.values.text import inline, one_line
from conveyor_nb.notebook.markup import Markup
from conveyor_nb.notebook.panel.known_panels import forget_some
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.sizes import sendable
from conveyor_nb.notebook.panel.widget import Panel
from conveyor_nb.notebook.panel.wire import PART
from conveyor_nb.notebook.pictures.tape_figure import TapeFigure
from conveyor_nb.notebook.replay.tape_store import TapeStore
from conveyor_nb.queue import Queue
from conveyor_nb.stores.reads import Reads
from conveyor_nb.stores.tapes.tape import Tape

__all__ = ["Replay", "replay"]

_MOST_MARKS = 200
_MOST_EVENTS = 2_000
"""How many of the last events up to now the log is told."""

_GRAVE: Mapping[str, str] = {
    EventType.FAILED: "failed",
    EventType.RETRYING: "retrying",
    EventType.STALLED: "failed",
}
"""Events that are marked beside the slider, and how."""

_RENEWS = frozenset({"hello", "rest", "queue"})
"""After these a view may have forgotten what it was told."""


class Replay(Panel):
    """A tape as a panel of what there was at an event, with a slider over all of them.

    Args:
        tape: the tape; it is shown from its begin.
    """

    replay = traitlets.Dict().tag(**PART)

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._shelf = TapeStore(tape)
        self._is_stale = True
        self._marks = _marks_of(tape)
        names = [tape.queue_name] if tape.queue_name else tape.queues
        queue = Queue(names[0], store=self._shelf) if len(names) == 1 else None
        super().__init__(self._shelf, queue, read_only=True)

    def __repr__(self) -> str:
        place, total = self._shelf.place, len(self._tape)
        return f"<Replay of {self._tape.subject}: event {place:,} of {total:,}>"

    @property
    def place(self) -> int:
        """How many of the events have happened; may be set."""
        return self._shelf.place

    @place.setter
    def place(self, value: int) -> None:
        self._shelf.show(value)
        self._is_stale = True
        self.touch()

    async def _read(self) -> dict[str, Any]:
        if self._is_stale:
            self._is_stale = False
            first = max(0, self.place - _MOST_EVENTS)
            self._shown.retell(self._tape.events[first : self.place])
        return {**await super()._read(), "replay": sendable(self._told())}

    async def _draw(self, reads: Reads) -> Markup:
        return TapeFigure(self._tape).html

    def _told(self) -> dict[str, Any]:
        """Where it stands, and what has just happened."""
        place, tape = self.place, self._tape
        told: dict[str, Any] = {"at": place, "total": len(tape), "marks": self._marks}
        if not place:
            return told | {"type": "", "id": "", "queue": "", "text": "Before the first event"}
        event = tape.moments[place - 1].event
        return told | {
            "type": str(event.type),
            "id": event.job_id or "",
            "queue": event.queue_name,
            "text": one_line(_words(event), 160),
        }

    def _take(self, message: Message) -> None:
        if message.do in _RENEWS:
            self._is_stale = True
        super()._take(message)

    async def _do(self, message: Message) -> None:
        if message.do == "replay":
            self.place = message.page
            return
        await super()._do(message)


def replay(tape: Tape) -> Replay:
    """A panel of a tape: see ``Tape.replay``.

    Raises:
        RuntimeError: no event loop is running, as there is one in a notebook.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a replay is a live panel, and needs a notebook; tape.picture() gives a picture, and"
            " print(tape.story) tells what happened"
        ) from None
    panel = Replay(tape)
    forget_some()
    return panel


def _words(event: StoreEvent) -> str:
    whose = f"{inline(event.job_id)} " if event.job_id is not None else ""
    return f"{event.timestamp:%H:%M:%S} · {event.type} {whose}· {event_text(event)}".rstrip(" ·")


def _marks_of(tape: Tape) -> list[list[Any]]:
    """Where something went wrong, of very many some: places, and how they are marked."""
    found = [
        [place, _GRAVE[event.type]]
        for place, event in enumerate(tape.events, 1)
        if event.type in _GRAVE
    ]
    return found[:: -(-len(found) // _MOST_MARKS) or 1]
