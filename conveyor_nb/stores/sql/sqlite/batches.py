"""What one transaction tells other processes: its events, and results that are nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec.json
from msgspec import Raw, Struct

from conveyor_nb.core.model import StoreEvent
from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.wire.codec import Codec

__all__ = ["keep", "read"]


class _Batch(Struct):
    events: Raw
    results: list[tuple[str, str, str, bytes | None]]


_decoder = msgspec.json.Decoder(_Batch)


def keep(
    connection: sqlite3.Connection | sqlite3.Cursor,
    source: str,
    now: datetime,
    events: Sequence[StoreEvent],
    results: Mapping[Key, Any],
    codec: Codec,
) -> int | None:
    """Keep for other processes what the transaction that is under way tells them.

    Args:
        connection: where it is under way.
        source: who tells it.
        now: when.
        events: the events.
        results: what jobs returned that are gone: who follows one of them has no other way to it.
        codec: how they are written.

    Returns:
        Its number.
    """
    text = "INSERT INTO conveyor_nb_events (at, source, events) VALUES (?, ?, ?)"
    row = (codec.instant(now), source, _write(events, results, codec))
    return connection.execute(text, row).lastrowid


def _write(events: Sequence[StoreEvent], results: Mapping[Key, Any], codec: Codec) -> str:
    told = codec.events(events)
    if not results:
        return told
    kept = [(*key, *codec.payload(result)) for key, result in results.items()]
    return msgspec.json.encode(_Batch(Raw(told.encode()), kept)).decode()


def read(text: str, codec: Codec) -> tuple[list[StoreEvent], dict[Key, Any]]:
    """The events and the results that a text tells of."""
    if text.startswith("["):
        return codec.read_events(text), {}
    batch = _decoder.decode(text)
    results = {
        (queue_name, job_id): codec.kept(json, exact)
        for queue_name, job_id, json, exact in batch.results
    }
    return codec.read_events(bytes(batch.events).decode()), results
