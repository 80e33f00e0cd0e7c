"""The newest events of a store, kept for a panel."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from msgspec.structs import replace

from conveyor_nb.core.model import EventType, JobState, StoreEvent
from conveyor_nb.core.values.text import one_line
from conveyor_nb.notebook.event_words import event_text
from conveyor_nb.notebook.panel.event_history import past_events, past_of_job
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.queue import Queue

__all__ = ["KEPT", "EventsView", "NewestEvents"]

_MOST_TYPES = 50

KEPT = 200
"""How many events are shown, and kept of each type by itself."""

_MOST_KEPT = 2_000
"""How many are kept of all types together: one job's are found among them."""

_NOTHING = -1
"""The number of the event that was sent last, where none was."""

_MOMENT = timedelta(microseconds=1)


class NewestEvents:
    """Keeps the newest events, without the results and long texts of jobs that may be gone.

    Each type has a place of its own too: so the last failures can be seen although ten
    thousand completions followed them.
    """

    def __init__(self) -> None:
        self.type: str = ""
        """The type of events that are shown; all are, if it is empty."""
        self.job_id: str = ""
        """The job whose events are shown; those of all jobs are, if it is empty."""
        self.past: list[StoreEvent] = []
        """What is known of the time before the first event, the newest first."""
        self.first_at: datetime | None = None
        """When the first event happened."""
        self._count = 0
        self._all: deque[tuple[int, StoreEvent]] = deque(maxlen=_MOST_KEPT)
        self._of_type: defaultdict[str, deque[tuple[int, StoreEvent]]] = defaultdict(
            lambda: deque(maxlen=KEPT)
        )
        self._sent = _NOTHING

    def add(self, event: StoreEvent) -> None:
        """Take in an event."""
        self._count += 1
        if self.first_at is None:
            self.first_at = event.timestamp
        entry = (self._count, replace(event, data=_light(event.data)))
        self._all.append(entry)
        if event.type in self._of_type or len(self._of_type) < _MOST_TYPES:
            self._of_type[event.type].append(entry)

    def show(self, event_type: str, job_id: str = "") -> None:
        """From now on show events of this type and job only; what is empty leaves it open."""
        self.type, self.job_id = event_type, job_id
        self.resend()

    def resend(self) -> None:
        """Let the next :meth:`read` give all that is kept, not only what is new."""
        self._sent = _NOTHING

    def read(self) -> dict[str, Any]:
        """What is new since the last call, newest first, as the front end draws it."""
        is_first, fresh = self._sent == _NOTHING, list(itertools.islice(self._fresh(), KEPT))
        self._sent = self._count
        if is_first:
            shown = ((-n, event) for n, event in enumerate(self.past, 1) if self._is_shown(event))
            fresh += [
                _row(number, event) | {"past": True}
                for number, event in itertools.islice(shown, KEPT - len(fresh))
            ]
        types = {*map(str, self._of_type), *(str(event.type) for event in self.past), self.type}
        return {
            "reset": is_first,
            "type": self.type,
            "job": self.job_id,
            "types": sorted(types - {""}),
            "rows": fresh,
        }

    def _fresh(self) -> Iterator[dict[str, Any]]:
        """Those that were not sent yet and are shown, the newest first."""
        of_type = self._of_type.get(self.type, ()) if self.type and not self.job_id else self._all
        for number, event in reversed(of_type):
            if number <= self._sent:
                break
            if self._is_shown(event):
                yield _row(number, event)

    def _is_shown(self, event: StoreEvent) -> bool:
        return (not self.type or event.type == self.type) and (
            not self.job_id or event.job_id == self.job_id
        )


class EventsView(View):
    """The event log of a queue's panel."""

    part: ClassVar[str] = "events"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._newest = NewestEvents()
        self._knows_past = False

    async def read(self, glance: Glance) -> dict[str, Any]:
        if not self._knows_past:
            await self._look_back()
            self._knows_past = True
        return self._newest.read()

    async def _look_back(self) -> None:
        """Find out what happened before the first event came here."""
        store, log = self.queue.store, self._newest
        until = log.first_at or store.clock.now() + _MOMENT
        if not log.job_id:
            log.past = await past_events(store, self.queue.name, until)
            return
        job = await store.get_job(self.queue.name, log.job_id)
        told = [] if job is None else list(past_of_job(job))
        log.past = [event for event in reversed(told) if event.timestamp < until]

    def asks(self) -> Mapping[str, Action]:
        return {"events": plainly(self._show)}

    def _show(self, message: Message) -> None:
        if message.id != self._newest.job_id:
            self._knows_past = False
        self._newest.show(message.type, message.id)

    def note(self, event: StoreEvent) -> None:
        self._newest.add(event)

    def renew(self) -> None:
        self._newest.resend()


def _row(number: int, event: StoreEvent) -> dict[str, Any]:
    row = {
        "n": number,
        "at": event.timestamp.timestamp(),
        "type": str(event.type),
        "id": event.job_id or "",
        "text": event_text(event),
    }
    due = event.data.get("delay_until")
    if event.type == EventType.DELAYED and isinstance(due, datetime):  # the page knows its zone
        data = {key: value for key, value in event.data.items() if key != "delay_until"}
        row |= {"due": due.timestamp(), "text": event_text(replace(event, data=data))}
    return row


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
