"""What a group tells when it is written: to stores of ours, and to programs of Conveyor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conveyor_nb.core.model import StoreEvent
from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.postgres.group import Group
from conveyor_nb.stores.sql.wire.events import channel_of, to_notices, to_notification

__all__ = ["NOTIFY", "ToTell", "what_to_tell"]

NOTIFY = (
    "SELECT txid_current(), {use}, pg_notify(channel, payload)"
    " FROM unnest(?::text[], ?::text[]) AS _(channel, payload)"
)
"""Tells it when the transaction is committed; ``{use}`` uses up a number of a job."""


class ToTell:
    """What is told when a group is written."""

    def __init__(self) -> None:
        self.channels: list[str] = []
        self.payloads: list[str] = []
        self.parts: list[tuple[Sequence[StoreEvent], Mapping[Key, Any]]] = []
        """What the notices of ours among them tell."""

    def add(self, channel: str, payload: str) -> None:
        """Tell something on a channel."""
        self.channels.append(channel)
        self.payloads.append(payload)


def what_to_tell(group: Group, *, source: str, channel: str, number: int) -> ToTell:
    """What the steps of the group have to tell to others.

    Args:
        group: what has taken them.
        source: who tells it.
        channel: where stores of ours hear it.
        number: that of the first notice.
    """
    to_tell, codec = ToTell(), group.answers.codec
    place = 0
    lost = {key: codec.payload(one) for key, one in group.lost_results.items()}
    for payload, count in to_notices(group.told, source, number, lost, group.counts):
        part = group.told[place : place + count]
        to_tell.add(channel, payload)
        to_tell.parts.append((part, group.results))
        place += count
    for event in group.told:
        theirs = channel_of(event.queue_name)
        own = to_notification(event, source) if theirs is not None else None
        if theirs is not None and own is not None:
            to_tell.add(theirs, own)
    return to_tell
