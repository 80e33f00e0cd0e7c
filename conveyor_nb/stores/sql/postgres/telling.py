"""What a group tells when it is written: to stores of ours, and to programs of Conveyor."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from conveyor_nb.core.model import StoreEvent
from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.postgres.group import Group
from conveyor_nb.stores.sql.postgres.listening import Listening
from conveyor_nb.stores.sql.wire.codec import Codec
from conveyor_nb.stores.sql.wire.events import channel_of, to_notices, to_notification

__all__ = ["ToTell", "what_to_tell"]


class ToTell:
    """What is told when a group is written.

    Args:
        listening: where it comes back.
    """

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self.channels: list[str] = []
        self.payloads: list[str] = []
        self.parts: list[tuple[Sequence[StoreEvent], Mapping[Key, Any]]] = []
        """What the notices of ours among them tell."""

    def add(self, channel: str, payload: str) -> None:
        """Tell something on a channel."""
        self.channels.append(channel)
        self.payloads.append(payload)

    def expect(self) -> asyncio.Future[None]:
        """Take note of what is about to be sent; done when it has come back."""
        return self._listening.expect(self.parts)

    def take_back(self) -> None:
        """Forget it: it was not sent."""
        self._listening.take_back(len(self.parts))


def what_to_tell(group: Group, listening: Listening, codec: Codec) -> ToTell:
    """What the steps of the group have to tell to others."""
    to_tell = ToTell(listening)
    place = 0
    lost = {key: codec.payload(one) for key, one in group.lost_results.items()}
    number = listening.next_number
    for payload, count in to_notices(group.told, listening.source, number, lost, group.counts):
        part = group.told[place : place + count]
        to_tell.add(listening.channel, payload)
        to_tell.parts.append((part, group.results))
        place += count
    for event in group.told:
        channel = channel_of(event.queue_name)
        own = to_notification(event, listening.source) if channel is not None else None
        if channel is not None and own is not None:
            to_tell.add(channel, own)
    return to_tell
