"""The newest events of a store, kept for a panel."""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from msgspec.structs import replace

from conveyor_nb.core.durations import format_seconds
from conveyor_nb.core.locks import STILL_AT_WORK
from conveyor_nb.core.model import EventType, JobState, StoreEvent
from conveyor_nb.core.text import one_line
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.queue import Queue

__all__ = ["EventsView", "NewestEvents", "event_text"]

_MOST_TYPES = 50

KEPT = 200
"""So many events are kept, of all types together and of each type by itself."""


class NewestEvents:
    """Keeps the newest events, without the results and long texts of jobs that may be gone.

    Each type has a place of its own too: so the last failures can be seen although ten
    thousand completions followed them.
    """

    def __init__(self) -> None:
        self.type: str = ""
        """Only events of this type are shown; all of them if empty."""
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


def event_text(event: StoreEvent) -> str:
    """What an event tells, on one line, besides whose it is."""
    if (describe := _TEXTS.get(event.type)) is not None:
        with contextlib.suppress(TypeError, ValueError):  # somebody's own, published by hand
            return one_line(describe(event.data))
    told = {key: value for key, value in event.data.items() if key not in _SAID_ELSEWHERE}
    parts = [f"{one_line(key, 40)}: {one_line(value, 60)}" for key, value in told.items()]
    return one_line(", ".join(parts))


_SAID_ELSEWHERE = frozenset({"previous", "worker_id", "name"})
_LIGHT = frozenset({type(None), bool, int, float, datetime, JobState})
_LONGEST = 500


def _is_short(value: object) -> bool:
    return type(value) is str and len(value) <= _LONGEST


def _light(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a row may tell of an event, and nothing that holds on to more."""
    return {
        name: value if type(value) in _LIGHT or _is_short(value) else one_line(value, _LONGEST)
        for name, value in data.items()
        if name != "returnvalue"
    }


def _name(data: Mapping[str, Any]) -> str:
    return str(data.get("name", ""))


def _named(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _retrying(data: Mapping[str, Any]) -> str:
    delay = data.get("delay")
    when = f"in {format_seconds(delay)}" if delay else "at once"
    return f"{when} · {data.get('reason', '')}"


def _delayed(data: Mapping[str, Any]) -> str:
    until = data.get("delay_until")
    due = f"due {until:%H:%M:%S} UTC" if isinstance(until, datetime) else ""
    return _named(_name(data), due)


_TEXTS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    EventType.WAITING: _name,
    EventType.WAITING_CHILDREN: _name,
    EventType.REMOVED: _name,
    EventType.CANCELLED: _name,
    EventType.DELAYED: _delayed,
    EventType.ACTIVE: lambda data: _named(_name(data), f"attempt {data.get('attempt', '?')}"),
    EventType.COMPLETED: _name,
    EventType.FAILED: lambda data: _named(_name(data), str(data.get("reason", ""))),
    EventType.PROGRESS: lambda data: f"{data.get('progress', 0):g} %",
    EventType.LOG: lambda data: data.get("line", "cleared"),
    EventType.RETRYING: _retrying,
    EventType.STALLED: lambda data: data.get("reason", ""),
    EventType.HELD: lambda data: f"{data.get('reason', '')}; {STILL_AT_WORK}",
    EventType.FREED: lambda _: "its handler has returned",
    EventType.PAUSED: lambda data: _paused_name(data),
    EventType.RESUMED: lambda data: _paused_name(data),
    EventType.ERROR: lambda data: data.get("error", ""),
    EventType.WORKER_STARTED: _name,
    EventType.WORKER_PAUSED: _name,
    EventType.WORKER_CLOSED: _name,
}


def _paused_name(data: Mapping[str, Any]) -> str:
    name = str(data.get("job_name", ""))
    return "all jobs" if name == "__all__" else f"jobs named {name}"
