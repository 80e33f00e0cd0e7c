"""The events of a queue or of a whole store in a panel: those that came, and what was before."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, ClassVar

from msgspec.structs import replace

from conveyor_nb.core.event_words import event_text
from conveyor_nb.core.model import EPOCH, EventType, JobState, StoreEvent
from conveyor_nb.core.values.text import one_line
from conveyor_nb.notebook.panel.event_history import past_events, past_of_job
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.sizes import fitting, sendable
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface

__all__ = ["KEPT", "EventLog", "EventsView", "NewestEvents"]

_MOST_TYPES = 50

KEPT = 200
"""How many events are shown, and kept of each type by itself."""

_ROOM = 22_000
_LONGEST_TYPE = 60

_MOST_KEPT = 2_000
"""How many are kept of all types together: one job's are found among them."""

_MOST_QUEUES = 100
"""Of so many queues it is looked back, and the page can choose among them."""

_NOTHING = -1
"""The number of the event that was sent last, where none was."""

_MOST_PAUSES = 20
"""How many times when nobody looked are known, the last ones; before them is the beginning."""

_MOMENT = timedelta(microseconds=1)

_NEAR = timedelta(seconds=2)
"""Two stretches of time of which not all was heard are one if they are nearer than this."""

_SLIM = frozenset({EventType.WAITING, EventType.ACTIVE, EventType.COMPLETED})
"""Events whose data hold nothing that is long."""


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
        self.queue_name: str = ""
        """The queue whose events are shown; those of all queues are, if it is empty."""
        self.past: list[StoreEvent] = []
        """What is known of the time when nobody heard of events, the newest first."""
        self._count = 0
        self._all: deque[tuple[int, StoreEvent]] = deque(maxlen=_MOST_KEPT)
        self._of_type: defaultdict[str, deque[tuple[int, StoreEvent]]] = defaultdict(
            lambda: deque(maxlen=KEPT)
        )
        self._sent = _NOTHING

    def add(self, events: Iterable[StoreEvent]) -> None:
        """Take in events, in the order in which they happened."""
        count, of_type = self._count, self._of_type
        for event in events:
            count += 1
            kind = event.type
            # what all jobs go through tells little; to copy it would be felt
            entry = (count, event if kind in _SLIM else replace(event, data=_light(event.data)))
            self._all.append(entry)
            if kind in of_type or len(of_type) < _MOST_TYPES:
                of_type[kind].append(entry)
        self._count = count

    def show(self, event_type: str, job_id: str = "", queue_name: str = "") -> None:
        """From now on show events of this type, job and queue only; empty: of whichever."""
        self.type, self.job_id, self.queue_name = event_type, job_id, queue_name
        self.resend()

    def resend(self) -> None:
        """Let the next :meth:`read` give all that is kept, not only what is new."""
        self._sent = _NOTHING

    @property
    def is_anew(self) -> bool:
        """Whether the next :meth:`read` gives all that is kept."""
        return self._sent == _NOTHING

    def read(self) -> dict[str, Any]:
        """What is new since the last call, newest first, as the front end draws it."""
        is_first, fresh = self.is_anew, list(itertools.islice(self._fresh(), KEPT))
        self._sent = self._count
        if is_first and self.past:
            kept = ((-n, event) for n, event in enumerate(self.past, 1) if self._is_shown(event))
            past = itertools.islice(kept, KEPT)
            fresh += [_row(number, event) | {"past": True} for number, event in past]
            fresh = sorted(fresh, key=lambda row: row["at"], reverse=True)[:KEPT]
        shown = fitting(sendable(fresh), _ROOM)
        is_cut = len(shown) < len(fresh)  # between them and what a page has there would be a gap
        types = {*map(str, self._of_type), *(str(event.type) for event in self.past), self.type}
        types = {one for one in types if 0 < len(one) <= _LONGEST_TYPE}
        return {
            "reset": is_first or is_cut,
            "type": self.type,
            "job": self.job_id,
            "queue": self.queue_name,
            "types": sorted(types),
            "rows": shown,
        }

    def known(self) -> set[tuple[str, str, str | None, datetime]]:
        """What tells the events that are kept from others."""
        kept = itertools.chain(self._all, *self._of_type.values())
        return {_mark(event) for _, event in kept}

    def _fresh(self) -> Iterator[dict[str, Any]]:
        """Those that were not sent yet and are shown, the newest first."""
        kept: Iterable[tuple[int, StoreEvent]] = reversed(self._all)
        if self.type and not self.job_id:
            kinds = dict.fromkeys((self.type, str(EventType.MISSED)))
            of_types = (reversed(self._of_type.get(kind, ())) for kind in kinds)
            kept = heapq.merge(*of_types, key=itemgetter(0), reverse=True)
        for number, event in kept:
            if number <= self._sent:
                break
            if self._is_shown(event):
                yield _row(number, event)

    def _is_shown(self, event: StoreEvent) -> bool:
        if event.type == EventType.MISSED and not self.job_id:  # it may be any that was
            return event.queue_name in ("", self.queue_name) or not self.queue_name
        return (
            (not self.type or event.type == self.type)
            and (not self.job_id or event.job_id == self.job_id)
            and (not self.queue_name or event.queue_name == self.queue_name)
        )


class EventLog:
    """What a page is shown of events: those that came, and what records tell of other times.

    Args:
        store: whose events they are.
        queue_name: of which queue they are; ``None``: of all, or of one that a person chooses.
    """

    def __init__(self, store: StoreInterface, queue_name: str | None = None) -> None:
        self._store = store
        self._queue_name = queue_name
        self._newest = NewestEvents()
        self._deaf_since: datetime | None = EPOCH
        self._unheard: deque[tuple[datetime, datetime]] = deque(maxlen=_MOST_PAUSES)
        self._is_resting = False
        self._knows_past = False

    async def read(self) -> dict[str, Any]:
        """What is new since the last call, as the front end draws it."""
        self._end_deafness(self._store.clock.now() + _MOMENT)
        names = [] if self._queue_name else await self._store.list_queues()
        if not self._knows_past and self._newest.is_anew:  # a page is told of the past but once
            await self._look_back(names)
            self._knows_past = True
        return {**self._newest.read(), "queues": names[:_MOST_QUEUES]}

    async def _look_back(self, names: Sequence[str]) -> None:
        """Find out what happened while events did not come here."""
        store, log = self._store, self._newest
        name = self._queue_name or log.queue_name
        told: list[StoreEvent] = []
        for one in [name] if name else names[:_MOST_QUEUES]:
            if not log.job_id:
                told += await past_events(store, one, 1 if name else min(len(names), _MOST_QUEUES))
            elif (job := await store.get_job(one, log.job_id)) is not None:
                told += list(past_of_job(job))[::-1]
        heard = log.known()  # a clock may stand still: what was heard and what was not at one time
        told = [event for event in told if self._was_deaf_at(event.timestamp)]
        told = [event for event in told if _mark(event) not in heard]
        log.past = sorted(told, key=lambda event: event.timestamp, reverse=True)

    def _was_deaf_at(self, instant: datetime) -> bool:
        return any(begin <= instant < end for begin, end in self._unheard)

    def _end_deafness(self, at: datetime) -> None:
        """Events come here again from an instant on."""
        if self._deaf_since is not None and not self._is_resting:
            self._unheard.append((self._deaf_since, at))
            self._deaf_since = None
            self._knows_past = False

    def show(self, message: Message) -> None:
        """Show events of another type, job or queue."""
        log = self._newest
        if (message.id, message.queue) != (log.job_id, log.queue_name):
            self._knows_past = False
        log.show(message.type, message.id, message.queue)

    def note(self, events: Sequence[StoreEvent]) -> None:
        """Take in events."""
        self._end_deafness(events[0].timestamp + _MOMENT)  # of that instant not all may have come
        self._newest.add(events)

    def miss(self, since: datetime, until: datetime) -> None:
        """From an instant until another one not all events came here."""
        if self._unheard and since - self._unheard[-1][1] < _NEAR:  # a flood has many gaps
            since = min(since, self._unheard.pop()[0])
        self._unheard.append((since, until + _MOMENT))
        self._knows_past = False
        self._newest.add([StoreEvent(EventType.MISSED, self._queue_name or "", None, {}, until)])

    @property
    def tells_of_all(self) -> bool:
        """Whether each event is needed: those of one job can't be told from its record alone."""
        return bool(self._newest.job_id)

    @property
    def favours(self) -> str:
        """Of which type of event alone it tells; empty: of whichever."""
        return self._newest.type

    def retell(self, events: Sequence[StoreEvent]) -> None:
        """Time was set back or on: these are the last events up to now, and no others."""
        shown = self._newest
        self._newest = NewestEvents()
        self._newest.show(shown.type, shown.job_id, shown.queue_name)
        self._newest.add(events)
        self._unheard.clear()
        self._deaf_since, self._is_resting, self._knows_past = None, False, True

    def rest(self) -> None:
        """From now on no events come here: nobody looks."""
        self._is_resting = True
        if self._deaf_since is None:
            self._deaf_since = self._store.clock.now()

    def renew(self) -> None:
        """A page has come that has seen nothing yet."""
        if self._is_resting:
            self._is_resting = False
            self._end_deafness(self._store.clock.now() + _MOMENT)
        self._newest.resend()


class EventsView(View):
    """The event log of a queue's panel.

    Of what happened while nobody looked, the records of jobs tell.
    """

    part: ClassVar[str] = "events"
    may_rest: ClassVar[bool] = False  # an event is told once

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._log = EventLog(queue.store, queue.name)

    async def read(self, glance: Glance) -> dict[str, Any]:
        return await self._log.read()

    def asks(self) -> Mapping[str, Action]:
        return {"events": plainly(lambda message: self._log.show(replace(message, queue="")))}

    @property
    def tells_of_all(self) -> bool:
        return self._log.tells_of_all

    @property
    def favours(self) -> str:
        return self._log.favours

    def note(self, events: Sequence[StoreEvent]) -> None:
        self._log.note(events)

    def miss(self, since: datetime, until: datetime) -> None:
        self._log.miss(since, until)

    def retell(self, events: Sequence[StoreEvent]) -> None:
        mine = [event for event in events if event.queue_name == self.queue.name]
        self._log.retell(mine)

    def rest(self) -> None:
        self._log.rest()

    def renew(self) -> None:
        self._log.renew()


def _mark(event: StoreEvent) -> tuple[str, str, str | None, datetime]:
    return event.type, event.queue_name, event.job_id, event.timestamp


def _row(number: int, event: StoreEvent) -> dict[str, Any]:
    row = {
        "n": number,
        "at": event.timestamp.timestamp(),
        "type": str(event.type)[:_LONGEST_TYPE],
        "id": event.job_id or "",
        "queue": event.queue_name,
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
