"""Events as others are told of them: in the words of Conveyor, and all of ours beside these.

One notification of a server holds both forms: its keys are those that Conveyor reads, and ``nb``
has what only we know. It is short enough for a server at all times; texts that are too long for it
are cut, as their whole is in the row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import msgspec.json

from conveyor_nb.core.event_data import EVENT_DATA
from conveyor_nb.core.model import EventType, JobState, StoreEvent
from conveyor_nb.core.values.bounds import cut

__all__ = ["Told", "from_events", "from_notification", "to_events", "to_notification"]

MOST_BYTES = 7_999
"""How long the payload of a notification may be."""

_LEFT_OUT = frozenset({"returnvalue"})
_SHORTEST = 40
_TYPES = {kind.value: kind for kind in EventType}
_STATES = {state.value: state for state in JobState}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


class Told(NamedTuple):
    """What a notification says.

    Args:
        event: the event.
        source: which store published it; ``None``: it does not say.
        is_whole: whether its data is as ``core.event_data`` says; if not, another program
            published it, and the job's row has to tell the rest.
    """

    event: StoreEvent
    source: str | None
    is_whole: bool


# -- events of one machine ------------------------------------------------------------------


def to_events(events: Sequence[StoreEvent]) -> str:
    """Events as one text."""
    return _ENCODER.encode(
        [
            (one.type, one.queue_name, one.job_id, one.timestamp, _data_out(one.data))
            for one in events
        ]
    ).decode()


def from_events(text: str) -> list[StoreEvent]:
    """The events that a text tells of."""
    return [
        StoreEvent(_TYPES.get(kind, kind), queue_name, job_id, _data_in(data), _instant(timestamp))
        for kind, queue_name, job_id, timestamp, data in msgspec.json.decode(text)
    ]


def _data_out(data: Mapping[str, Any]) -> Mapping[str, Any]:
    if _LEFT_OUT.isdisjoint(data):
        return data
    return {name: value for name, value in data.items() if name not in _LEFT_OUT}


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


# -- notifications of a server --------------------------------------------------------------


def to_notification(event: StoreEvent, source: str, number: int) -> str:
    """The payload of a notification.

    Args:
        event: what it tells of.
        source: the store's own id.
        number: one that differs from that of any other event of the transaction, as a server
            sends equal notifications once.
    """
    told: dict[str, Any] = {
        "type": event.type,
        "queueName": event.queue_name,
        "jobId": event.job_id,
        "timestamp": event.timestamp,
    }
    if event.type == EventType.PROGRESS:
        told["data"] = event.data.get("progress")
    told["_src"] = source
    own = _data_out(event.data)
    text = _ENCODER.encode({**told, "nb": {"n": number, "data": own}})
    if len(text) > MOST_BYTES:
        text = _shortened(told, number, own)
    return text.decode()


def _shortened(told: Mapping[str, Any], number: int, data: Mapping[str, Any]) -> bytes:
    most = MOST_BYTES
    while True:
        most //= 2
        fitting = {
            name: cut(value, most) if isinstance(value, str) else value
            for name, value in data.items()
        }
        text = _ENCODER.encode({**told, "nb": {"n": number, "data": fitting}})
        if len(text) <= MOST_BYTES:
            return text
        if most < _SHORTEST:
            return _ENCODER.encode({**told, "nb": {"n": number}})


def from_notification(payload: str) -> Told:
    """What a notification tells, whoever sent it.

    Raises:
        ValueError: it is no event.
    """
    told = json.loads(payload)
    if not isinstance(told, dict) or not isinstance(told.get("type"), str):
        raise ValueError(f"a notification is no event: {payload:.200}")
    kind: str = told["type"]
    own = told.get("nb")
    own = own.get("data") if isinstance(own, dict) else None
    is_whole = isinstance(own, dict)
    data = _data_in(own) if isinstance(own, dict) else {}
    if not is_whole and kind == EventType.PROGRESS and _is_number(told.get("data")):
        data["progress"] = told["data"]
    job_id = told.get("jobId")
    event = StoreEvent(
        _TYPES.get(kind, kind),
        str(told.get("queueName", "")),
        None if job_id is None else str(job_id),
        data,
        _timestamp(told.get("timestamp")),
    )
    return Told(event, told.get("_src"), is_whole or event.type not in EVENT_DATA)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _timestamp(given: Any) -> datetime:
    try:
        return _instant(given)
    except (TypeError, ValueError):
        return datetime.fromtimestamp(0, UTC)
