"""The records of a job's attempts, as the items of one array.

Conveyor writes of an open attempt that it failed, and tells by its end, which is missing, that it
did not. It knows no worker in these records; who took the job is in the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import msgspec.json
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from conveyor_nb.core.model import ACTIVE, AttemptRecord, AttemptStatus, JobState
from conveyor_nb.stores.sql.wire.exact import clean

__all__ = ["as_held", "from_items", "to_items"]

_LEFT_OPEN = "how it ended was not recorded"
"""Programs of Conveyor leave the record of an attempt open that has stalled."""


class _Item(Struct, rename="camel", gc=False):
    attempt: int
    started_at: datetime
    ended_at: datetime | None = None
    status: str = "failed"
    error: str | None = None
    stacktrace: str | None = None
    logs: tuple[str, ...] = ()
    worker_id: str | None = None
    put_back: bool | UnsetType = UNSET
    slot: int | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(tuple[_Item, ...], strict=False)
_ENCODER = msgspec.json.Encoder()
_LOOSE = msgspec.json.Decoder(tuple[msgspec.Raw, ...])
_ONE = msgspec.json.Decoder(_Item, strict=False)


def to_items(records: Sequence[AttemptRecord]) -> str:
    """The array of a job's attempts."""
    if not records:
        return "[]"
    items = [
        _Item(
            one.attempt,
            one.started_at,
            one.ended_at,
            "failed" if one.status is None else one.status.value,
            one.error and clean(one.error),
            one.stacktrace and clean(one.stacktrace),
            tuple(map(clean, one.logs)) if one.logs else (),
            one.worker_id,
            one.put_back or UNSET,
            one.slot or UNSET,
        )
        for one in records
    ]
    return _ENCODER.encode(items).decode()


def from_items(text: str) -> tuple[AttemptRecord, ...]:
    """The attempts that an array tells of; items that are none are left out."""
    if text == "[]":
        return ()
    try:
        items = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeError):
        items = _readable(text)
    return tuple(map(_record, items))


def _readable(text: str) -> tuple[_Item, ...]:
    found = []
    try:
        for one in _LOOSE.decode(text):
            try:
                found.append(_ONE.decode(one))
            except (msgspec.MsgspecError, UnicodeError):
                continue
    except (msgspec.MsgspecError, UnicodeError):
        return ()
    return tuple(found)


def _record(item: _Item) -> AttemptRecord:
    ended_at = item.ended_at
    if ended_at is None:
        status = None
    else:
        done = item.status == "completed"
        status = AttemptStatus.COMPLETED if done else AttemptStatus.FAILED
        ended_at = _aware(ended_at)
    return AttemptRecord(
        item.attempt,
        item.worker_id or "",
        _aware(item.started_at),
        ended_at,
        status,
        item.error,
        item.stacktrace,
        item.logs,
        item.put_back is True,
        None if item.slot is UNSET else item.slot,
    )


def _aware(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def as_held(
    records: tuple[AttemptRecord, ...],
    state: JobState,
    locked_by: str | None,
    taken_at: datetime,
    fence: int,
) -> tuple[AttemptRecord, ...]:
    """Records as the rules expect them, whatever other programs have made of them.

    An active job has one open record, its last, of who holds it; all others are closed. A record
    has the number that our last take gave, if it was written anew by others without it.

    Args:
        records: what was read.
        state: the job's.
        locked_by: who holds it.
        taken_at: when it was taken last.
        fence: the number of the last attempt that a worker of ours began.
    """
    is_active = state is ACTIVE
    if not records:
        if not is_active:
            return ()
        return (AttemptRecord(max(fence, 1), locked_by or "", taken_at),)
    *earlier, last = records
    mended = [_closed(one) if one.ended_at is None else one for one in earlier]
    if last.attempt < fence:
        last = replace(last, attempt=fence)
    if not is_active:
        mended.append(_closed(last) if last.ended_at is None else last)
    elif last.ended_at is None and last.worker_id in ("", locked_by):
        is_known = last.worker_id or not locked_by
        mended.append(last if is_known else replace(last, worker_id=locked_by))
    else:
        mended.append(_closed(last) if last.ended_at is None else last)
        mended.append(AttemptRecord(last.attempt + 1, locked_by or "", taken_at))
    return tuple(mended)


def _closed(record: AttemptRecord) -> AttemptRecord:
    return replace(
        record,
        ended_at=record.started_at,
        status=AttemptStatus.FAILED,
        error=record.error or _LEFT_OPEN,
    )
