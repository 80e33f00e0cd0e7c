"""The newest events of a store, kept for a panel."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from msgspec.structs import replace

from conveyor_nb.core.model import JobState, StoreEvent
from conveyor_nb.core.values.text import one_line
from conveyor_nb.notebook.event_words import event_text
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.queue import Queue

__all__ = ["KEPT", "EventsView", "NewestEvents"]

_MOST_TYPES = 50

KEPT = 200
"""How many events are kept, of all types together and of each type by itself."""


class NewestEvents:
    """Keeps the newest events, without the results and long texts of jobs that may be gone.

    Each type has a place of its own too: so the last failures can be seen although ten
    thousand completions followed them.
    """

    def __init__(self) -> None:
        self.type: str = ""
        """The type of events that are shown; all are, if it is empty."""
        self._count = 0
        self._all: deque[tuple[int, StoreEvent]] = deque(maxlen=KEPT)
        self._of_type: defaultdict[str, deque[tuple[int, StoreEvent]]] = defaultdict(
            lambda: deque(maxlen=KEPT)
        )
        self._sent = 0

    def add(self, event: StoreEvent) -> None:
        """Take in an event."""
        self._count += 1
        entry = (self._count, replace(event, data=_light(event.data)))
        self._all.append(entry)
        if event.type in self._of_type or len(self._of_type) < _MOST_TYPES:
            self._of_type[event.type].append(entry)

    def show(self, event_type: str) -> None:
        """From now on show events of this type only; of all types if it is empty."""
        self.type = event_type
        self.resend()

    def resend(self) -> None:
        """Let the next :meth:`read` give all that is kept, not only what is new."""
        self._sent = 0

    def read(self) -> dict[str, Any]:
        """What is new since the last call, newest first, as the front end draws it."""
        entries = self._of_type.get(self.type, ()) if self.type else self._all
        fresh: list[dict[str, Any]] = []
        for number, event in reversed(entries):
            if number <= self._sent:
                break
            fresh.append(_row(number, event))
        reset, self._sent = self._sent == 0, self._count
        types = sorted({*map(str, self._of_type), self.type} - {""})
        return {"reset": reset, "type": self.type, "types": types, "rows": fresh}


class EventsView(View):
    """The event log of a queue's panel."""

    part: ClassVar[str] = "events"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._newest = NewestEvents()

    async def read(self, glance: Glance) -> dict[str, Any]:
        return self._newest.read()

    def asks(self) -> Mapping[str, Action]:
        return {"event_type": plainly(lambda message: self._newest.show(message.type))}

    def note(self, event: StoreEvent) -> None:
        self._newest.add(event)

    def renew(self) -> None:
        self._newest.resend()


def _row(number: int, event: StoreEvent) -> dict[str, Any]:
    return {
        "n": number,
        "at": event.timestamp.timestamp(),
        "type": str(event.type),
        "id": event.job_id or "",
        "text": event_text(event),
    }


_LIGHT = frozenset({type(None), bool, int, float, datetime, JobState})
_LONGEST = 500


def _is_short(value: object) -> bool:
    return type(value) is str and len(value) <= _LONGEST


def _light(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a row may tell of an event, with no reference to anything larger."""
    return {
        name: value if type(value) in _LIGHT or _is_short(value) else one_line(value, _LONGEST)
        for name, value in data.items()
        if name != "returnvalue"
    }
