"""Events as others are told of them: in a form of our own, and in the words of Conveyor.

Stores of ours tell each other all of an event. On a server they do so by notifications, many
events in each, on a channel of their own; an event that is too long for a server has its texts cut,
as their whole is in the row. Programs of Conveyor are told each event by itself, on the channel of
its queue.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import msgspec.json
from msgspec.structs import replace

from conveyor_nb.core.event_data import EVENT_DATA
from conveyor_nb.core.model import ALL_NAMES, EventType, JobData, JobState, StoreEvent
from conveyor_nb.core.rows import Key
from conveyor_nb.core.values.bounds import cut
from conveyor_nb.stores.sql.wire.exact import clean

__all__ = [
    "Counts",
    "Notice",
    "Told",
    "channel_of",
    "from_events",
    "from_notice",
    "from_notification",
    "to_events",
    "to_notices",
    "to_notification",
    "with_row",
]

MOST_BYTES = 7_999
"""How long the payload of a notification may be."""

_LEFT_OUT = "returnvalue"
_SHORTEST = 40
_NO_RESULTS: Mapping[Key, tuple[str, bytes | None]] = {}
_RESULT = 5
"""The place of a result after an event."""
_SPARE = 128
"""What is left for all that a notification says besides events."""
_TYPES = {kind.value: kind for kind in EventType}
_STATES = {state.value: state for state in JobState}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


# -- events of one machine ------------------------------------------------------------------


def to_events(events: Sequence[StoreEvent]) -> str:
    """Events as one text."""
    try:
        return _ENCODER.encode(list(map(_event_out, events))).decode()
    except UnicodeEncodeError:
        return f"[{b','.join(map(_written, events)).decode()}]"


def from_events(text: str) -> list[StoreEvent]:
    """The events that a text tells of."""
    return list(map(_event_in, msgspec.json.decode(text)))


def _event_out(event: StoreEvent) -> tuple[Any, ...]:
    data = event.data
    if _LEFT_OUT in data:
        data = {name: value for name, value in data.items() if name != _LEFT_OUT}
    return (event.type, event.queue_name, event.job_id, event.timestamp, data)


def _written(event: StoreEvent) -> bytes:
    try:
        return _ENCODER.encode(_event_out(event))
    except UnicodeEncodeError:  # half a character
        data = {
            name: clean(value) if isinstance(value, str) else value
            for name, value in event.data.items()
        }
        return _ENCODER.encode(_event_out(replace(event, data=data)))


def _event_in(written: Any) -> StoreEvent:
    kind, queue_name, job_id, timestamp, data = written
    known = _TYPES.get(kind, kind)
    return StoreEvent(known, queue_name, job_id, _data_in(data), _instant(timestamp))


def _instant(text: Any) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "previous": lambda text: _STATES.get(text, text),
    "delay_until": _instant,
}


def _data_in(data: dict[str, Any]) -> dict[str, Any]:
    for name, read in _READERS.items():
        if data.get(name) is not None:
            data[name] = read(data[name])
    return data


# -- notifications of a server, between stores of ours ----------------------------------------


class Notice(NamedTuple):
    """What one notification of ours says.

    Args:
        source: which store published it.
        number: its number among those of that store.
        events: what happened, in order.
        results: what jobs returned that are gone, in the two columns of a payload.
        counts: what counts all transactions, before this one and after, and the number of the
            last job by then.
    """

    source: str
    number: int
    events: Sequence[StoreEvent]
    results: Mapping[Key, tuple[str, bytes | None]]
    counts: Counts | None = None


Counts = tuple[int, int, int]


def to_notices(
    events: Sequence[StoreEvent],
    source: str,
    number: int,
    results: Mapping[Key, tuple[str, bytes | None]] = _NO_RESULTS,
    counts: Counts | None = None,
) -> list[tuple[str, int]]:
    """Payloads of notifications, as few as will do, and how many of the events each has.

    Args:
        events: what happened, in order.
        source: the store's own id.
        number: the number of the first; the others have those that follow.
        results: what jobs returned that are gone, in the two columns of a payload: who follows
            one of them has no other way to it. One that is too long is left out.
        counts: see ``Notice``.
    """
    written = [_with_result(_fitting(one), one, results) for one in events]
    room = MOST_BYTES - len(_ENCODER.encode((source, number + len(written), counts))) - 2
    payloads: list[tuple[str, int]] = []
    some: list[bytes] = []
    size = 0
    for one in (*written, None):
        if some and (one is None or size + len(one) + 1 > room):
            head = _ENCODER.encode((source, number + len(payloads), counts))[:-1]
            payloads.append((b",".join((head, *some)).decode() + "]", len(some)))
            some, size = [], 0
        if one is not None:
            some.append(one)
            size += len(one) + 1
    return payloads


def from_notice(payload: str) -> Notice:
    """What a notification of ours says.

    Raises:
        ValueError: it is none.
    """
    source, number, counts, *written = json.loads(payload)
    results = {
        (one[1], one[2]): (text, None if beside is None else b64decode(beside))
        for one in written
        for text, beside in one[_RESULT:]
    }
    events = [_event_in(one[:_RESULT]) for one in written]
    return Notice(source, number, events, results, None if counts is None else tuple(counts))


def _with_result(
    written: bytes, event: StoreEvent, results: Mapping[Key, tuple[str, bytes | None]]
) -> bytes:
    if not results or event.type != EventType.COMPLETED or event.job_id is None:
        return written
    result = results.get((event.queue_name, event.job_id))
    if result is None:
        return written
    longer = b"%b,%b]" % (written[:-1], _ENCODER.encode(result))
    if len(longer) <= MOST_BYTES - _SPARE:
        return longer
    return _written(replace(event, data={**event.data, "lost": True}))


def _fitting(event: StoreEvent) -> bytes:
    """An event as a part of a notification, its texts cut if it is too long for one."""
    most = MOST_BYTES - _SPARE
    text = _written(event)
    longest = most
    while len(text) > most:
        longest //= 2
        fitting = {
            name: cut(value, longest) if isinstance(value, str) else value
            for name, value in event.data.items()
            if longest >= _SHORTEST or isinstance(value, (str, int, float, type(None)))
        }
        text = _written(replace(event, data=fitting))
    return text


# -- notifications of a server, for and by programs of Conveyor -------------------------------

_OURS = "conveyor_nb:"
_FROM_OURS = f'"_src":"{_OURS}'
_THEIR_TYPES = frozenset(
    {
        *(EventType.WAITING, EventType.DELAYED, EventType.ACTIVE, EventType.COMPLETED),
        *(EventType.FAILED, EventType.PROGRESS, EventType.STALLED, EventType.CANCELLED),
        *(EventType.REMOVED, EventType.WAITING_CHILDREN, EventType.PAUSED, EventType.RESUMED),
        *(EventType.DRAINED, EventType.ERROR),
    }
)
_MOST_CHANNEL = 63
"""How long the name of a channel may be, in bytes."""


class Told(NamedTuple):
    """What a notification by a program of Conveyor says.

    Args:
        event: the event; its data is what little is told.
        is_whole: whether its data is as ``core.event_data`` says; if not, the job's row has to
            tell the rest, see :func:`with_row`.
    """

    event: StoreEvent
    is_whole: bool


def channel_of(queue_name: str) -> str | None:
    """The channel of a queue; ``None``: its name is too long, and no program can tell of it."""
    channel = f"conveyor:{queue_name}"
    return channel if len(channel.encode()) <= _MOST_CHANNEL else None


def to_notification(event: StoreEvent, source: str) -> str | None:
    """The payload that tells programs of Conveyor of an event; ``None``: they know no such event.

    Args:
        event: what it tells of.
        source: the store's own id.
    """
    if event.type not in _THEIR_TYPES:
        return None
    told: dict[str, Any] = {
        "type": event.type,
        "queueName": event.queue_name,
        "jobId": event.job_id,
        "timestamp": event.timestamp,
    }
    if event.type == EventType.PROGRESS:
        told["data"] = event.data.get("progress")
    told["_src"] = _OURS + source
    return _ENCODER.encode(told).decode()


def from_notification(payload: str) -> Told | None:
    """What a program of Conveyor tells; ``None``: a store of ours has sent it.

    Raises:
        ValueError: it is no event.
    """
    if _FROM_OURS in payload:  # in a text the quotes would not stand alone
        return None
    told = json.loads(payload)
    if not isinstance(told, dict) or not isinstance(told.get("type"), str):
        raise ValueError(f"a notification is no event: {payload:.200}")
    kind: str = told["type"]
    data: dict[str, Any] = {}
    if kind == EventType.PROGRESS and _is_number(told.get("data")):
        data["progress"] = told["data"]
    job_id = told.get("jobId")
    event = StoreEvent(
        _TYPES.get(kind, kind),
        str(told.get("queueName", "")),
        None if job_id is None else str(job_id),
        data,
        _timestamp(told.get("timestamp")),
    )
    return Told(event, kind not in _TYPES)


def with_row(event: StoreEvent, job: JobData | None) -> StoreEvent:
    """An event that a program of Conveyor told, with what the job's row says of it.

    Args:
        event: what was told.
        job: the job as it is by now; ``None``: it is gone, or the event is of no job.
    """
    wanted = EVENT_DATA.get(EventType(event.type))
    keys = wanted.__annotations__.keys() if wanted is not None else ()
    known = _known_of(event, job)
    return replace(event, data={**{key: known[key] for key in keys if key in known}, **event.data})


def _known_of(event: StoreEvent, job: JobData | None) -> dict[str, Any]:
    known: dict[str, Any] = {
        "name": "",
        "job_name": ALL_NAMES,
        "previous": _PREVIOUS.get(event.type),
        "worker_id": "",
        "attempt": 1,
        "delay_until": event.timestamp,
        "reason": "",
        "cancelled": False,
        "progress": 0,
        "error": "a program of Conveyor tells of an error",
    }
    if job is None and event.type == EventType.COMPLETED:
        known["lost"] = True
    if job is not None:
        last = job.attempt_logs[-1] if job.attempt_logs else None
        known |= {
            "name": job.name,
            "worker_id": job.locked_by or (last.worker_id if last else ""),
            "attempt": last.attempt if last else 1,
            "delay_until": job.delay_until or event.timestamp,
            "reason": job.failed_reason or "",
            "cancelled": job.cancelled_at is not None,
            "progress": job.progress,
        }
    return known


_PREVIOUS: Mapping[str, JobState] = {
    EventType.ACTIVE: JobState.WAITING,
    EventType.COMPLETED: JobState.ACTIVE,
    EventType.FAILED: JobState.ACTIVE,
    EventType.CANCELLED: JobState.ACTIVE,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _timestamp(given: Any) -> datetime:
    try:
        return _instant(given)
    except (TypeError, ValueError):
        return datetime.fromtimestamp(0, UTC)
