"""The lines of a tape's file: what there was, and then an event with what it changed in each.

A line is a JSON object. Of a job it has the fields that are set, and an event those that are
new: so a person can read, and compare, what happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import fields, replace

from conveyor_nb.core.event_data import EVENT_DATA
from conveyor_nb.core.freezing import freeze, peek
from conveyor_nb.core.model import (
    AttemptRecord,
    AttemptStatus,
    EventType,
    JobData,
    JobState,
    StoreEvent,
)
from conveyor_nb.core.options.backoff import Backoff
from conveyor_nb.core.options.declaring import Options
from conveyor_nb.core.options.job_options import Deduplication, Group, JobOptions
from conveyor_nb.core.options.keep import Keep
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.values.bounds import MAX_ATTEMPT_RECORDS
from conveyor_nb.core.values.text import shorten, shown
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.stores.tapes.moments import Key, Moment, Start, Taped
from conveyor_nb.stores.tapes.plain import instant, plain

__all__ = ["Parts", "job_fields", "lines_of", "parts_of"]

_VERSION = 1
_LEFT_OUT = frozenset({"stacktrace", "sequence", "lock_until"})
"""Tracebacks name the paths of a machine; the others say nothing to who reads a tape."""

_ATTEMPT_LEFT_OUT = frozenset({"stacktrace", "logs"})
"""The lines of an attempt are the job's too."""

_DEFAULTS = {one.name: one.default for one in fields(JobData)}
_ATTEMPT_DEFAULTS = {one.name: one.default for one in fields(AttemptRecord)}
_INSTANTS = frozenset(one for one in _DEFAULTS if one.endswith(("_at", "_until")))
_TUPLES = frozenset({"logs", "children_ids"})
_PARTS: Mapping[str, type[Options]] = {
    "backoff": Backoff,
    "deduplication": Deduplication,
    "remove_on_complete": Keep,
    "remove_on_fail": Keep,
    "repeat": Repeat,
    "group": Group,
}
"""The options of a job that are options themselves."""


# -- writing ----------------------------------------------------------------------------------


def lines_of(tape: Taped) -> Iterator[str]:
    """The lines of a tape: its head, the jobs that there were, and its events."""
    yield _line(_head(tape))
    known: dict[Key, dict[str, Any]] = {}
    for job in tape.start.jobs:
        told = known[job.queue_name, job.id] = job_fields(job)
        yield _line({"job": told})
    for moment in tape.moments:
        yield _line(_moment(moment, known))


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _head(tape: Taped) -> dict[str, Any]:
    start = tape.start
    head = {
        "tape": _VERSION,
        "queue": tape.queue_name,
        "began": instant(tape.began),
        "ended": tape.ended and instant(tape.ended),
        "jobs": len(start.jobs),
        "events": len(tape.moments),
        "limit": tape.limit,
    }
    more: dict[str, Any] = {
        "left_out": tape.left_out,
        "jobs_left_out": start.left_out,
        "paused": {queue: sorted(names) for queue, names in sorted(start.paused.items())},
        "workers": [_worker(one) for one in start.workers],
    }
    return head | {name: value for name, value in more.items() if value}


def _worker(info: WorkerInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "name": info.name,
        "queue": info.queue_name,
        "concurrency": info.concurrency,
        "status": str(info.status),
        "started_at": instant(info.started_at),
    }


def _moment(moment: Moment, known: dict[Key, dict[str, Any]]) -> dict[str, Any]:
    event, job = moment.event, moment.job
    told: dict[str, Any] = {"at": instant(event.timestamp), "event": str(event.type)}
    if event.queue_name:
        told["queue"] = event.queue_name
    if event.job_id is not None:
        told["job"] = event.job_id
    if event.data:
        told["data"] = plain(event.data)
    if event.job_id is None:
        return told
    key = (event.queue_name, event.job_id)
    if job is None:
        known.pop(key, None)
        return told
    now = job_fields(job)
    if changes := _changes(known.get(key, {}), now):
        told["now"] = changes
    known[key] = now
    return told


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are new; ``None`` is for those that are at their defaults again."""
    changes = {name: value for name, value in now.items() if before.get(name) != value}
    changes |= {name: None for name in before if name not in now}
    if (new := changes.get("attempts")) and (old := before.get("attempts")):
        changes["attempts"] = [one for one in new if one not in old]
    if (old := before.get("logs")) and (new := changes.get("logs")) and new[: len(old)] == old:
        changes["logs"] = {"more": new[len(old) :]}
    return changes


def job_fields(job: JobData) -> dict[str, Any]:
    """The fields of a job that are set, as JSON has them."""
    told: dict[str, Any] = {}
    for name, default in _DEFAULTS.items():
        if name in _LEFT_OUT:
            continue
        value = peek(job, name)
        if name == "attempt_logs":
            if value:
                told["attempts"] = [_attempt(one) for one in value]
        elif name == "opts":
            if options := _options(value):
                told["options"] = options
        elif value is not None and (name in ("data", "returnvalue", "state") or value != default):
            told[name] = plain(value)
    return told


def _attempt(record: AttemptRecord) -> dict[str, Any]:
    return {
        name: plain(value)
        for name, default in _ATTEMPT_DEFAULTS.items()
        if name not in _ATTEMPT_LEFT_OUT and (value := getattr(record, name)) != default
    }


def _options(options: Options) -> dict[str, Any]:
    kind: Any = options
    told = {}
    for one in dataclasses.fields(kind):
        value = getattr(options, one.name)
        if value == one.default:
            continue
        if isinstance(value, Backoff) and value.strategy is not None:
            continue  # its code is in no file
        told[one.name] = _options(value) if isinstance(value, Options) else plain(value)
    return told


# -- reading ----------------------------------------------------------------------------------


class Parts(NamedTuple):
    """What the lines of a tape tell."""

    queue_name: str | None
    began: datetime
    ended: datetime | None
    start: Start
    limit: int
    left_out: int
    moments: list[Moment]


def parts_of(lines: Sequence[str], where: str) -> Parts:
    """What a tape's lines tell.

    Args:
        lines: the lines.
        where: what they are called in errors.

    Raises:
        ValueError: they are those of no tape, or not all of one.
    """
    reader = _Reader(where)
    if not lines:
        raise ValueError(f"{where} is no tape: it is empty")
    head = reader.read(0, lines[0], reader.head)
    if len(lines) - 1 != head.jobs + head.events:
        raise ValueError(
            f"{where} is not a whole tape: it should have {head.jobs + head.events:,} lines"
            f" after its first, and has {len(lines) - 1:,}"
        )
    rest = list(enumerate(lines))[1:]
    jobs = tuple(reader.read(place, line, reader.job) for place, line in rest[: head.jobs])
    moments = [reader.read(place, line, reader.moment) for place, line in rest[head.jobs :]]
    start = replace(head.start, jobs=jobs)
    return Parts(head.queue_name, head.began, head.ended, start, head.limit, head.left_out, moments)


class _Head(NamedTuple):
    queue_name: str | None
    began: datetime
    ended: datetime | None
    jobs: int
    events: int
    limit: int
    left_out: int
    start: Start


class _Reader:
    """Reads the lines of a tape, each on top of what those before told of its job."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._known: dict[Key, JobData] = {}

    def read(self, place: int, line: str, read: Callable[[Mapping[str, Any]], Any]) -> Any:
        """What a line tells; an error names the line."""
        try:
            told = json.loads(line)
            if not isinstance(told, dict):
                raise TypeError(f"it should be an object, not {shown(told, 40)}")
            return read(told)
        except KeyError as error:
            why = f"it has no {error}"
        except json.JSONDecodeError as error:
            why = f"it is no JSON ({error.msg})"
        except (TypeError, ValueError, AttributeError, msgspec.MsgspecError) as error:
            why = str(error)
        what = "is no tape" if place == 0 else "is not a whole tape"
        raise ValueError(f"{self._where} {what}: line {place + 1}: {shorten(why, 300)}")

    def head(self, told: Mapping[str, Any]) -> _Head:
        """The first line."""
        if told["tape"] != _VERSION:
            raise ValueError(f"it is of version {shown(told['tape'])}, and this reads {_VERSION}")
        start = Start(
            left_out=int(told.get("jobs_left_out", 0)),
            paused={queue: frozenset(names) for queue, names in told.get("paused", {}).items()},
            workers=tuple(_read_worker(one) for one in told.get("workers", ())),
        )
        return _Head(
            told["queue"],
            _read_instant(told["began"]),
            told["ended"] and _read_instant(told["ended"]),
            int(told["jobs"]),
            int(told["events"]),
            int(told["limit"]),
            int(told.get("left_out", 0)),
            start,
        )

    def job(self, told: Mapping[str, Any]) -> JobData:
        """A job that there was."""
        fresh = told["job"]
        job = _changed(JobData(fresh["id"], fresh["name"], fresh["queue_name"]), fresh)
        self._known[job.queue_name, job.id] = job
        return job

    def moment(self, told: Mapping[str, Any]) -> Moment:
        """An event, with its job as it was after that."""
        kind, queue, job_id = told["event"], told.get("queue", ""), told.get("job")
        data = told.get("data", {})
        if kind in EVENT_DATA:
            kind = EventType(kind)
            with contextlib.suppress(msgspec.ValidationError):  # it was published by hand
                data = msgspec.convert(data, EVENT_DATA[kind])
        event = StoreEvent(kind, queue, job_id, data, _read_instant(told["at"]))
        if job_id is None:
            return Moment(event)
        key, job = (queue, job_id), None
        if kind == EventType.REMOVED:
            self._known.pop(key, None)
            return Moment(event)
        changes = told.get("now", {})
        before = self._known.get(key)
        if before is None and "id" in changes:
            before = JobData(changes["id"], changes["name"], changes["queue_name"])
        if before is not None:
            job = self._known[key] = _changed(before, changes)
        return Moment(event, job)


def _changed(job: JobData, changes: Mapping[str, Any]) -> JobData:
    """A job with the fields that a line tells."""
    told: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "attempts":
            told["attempt_logs"] = () if value is None else _attempts(job.attempt_logs, value)
        elif name == "options":
            told["opts"] = _read_options(JobOptions, value or {})
        elif name not in _DEFAULTS:
            raise ValueError(f"no job has a field {shown(name, 40)}")
        elif value is None:
            told[name] = _DEFAULTS[name]
        elif name in _INSTANTS:
            told[name] = _read_instant(value)
        elif name == "state":
            told[name] = JobState(value)
        elif name == "logs" and isinstance(value, dict):
            told[name] = (*job.logs, *value["more"])
        elif name in _TUPLES:
            told[name] = tuple(value)
        else:
            told[name] = freeze(value, name) if name in ("data", "returnvalue") else value
    return replace(job, **told)


def _attempts(before: Sequence[AttemptRecord], told: Any) -> tuple[AttemptRecord, ...]:
    """The attempts with those that a line tells, bounded as a store bounds them."""
    kept = {one.attempt: one for one in before}
    for one in told:
        given = dict(one)
        for name in ("started_at", "ended_at"):
            if name in given:
                given[name] = _read_instant(given[name])
        if "status" in given:
            given["status"] = AttemptStatus(given["status"])
        kept[given["attempt"]] = AttemptRecord(**given)
    records = [kept[number] for number in sorted(kept)]
    if len(records) > MAX_ATTEMPT_RECORDS:
        records = [records[0], *records[1 - MAX_ATTEMPT_RECORDS :]]
    return tuple(records)


def _read_options(kind: Any, told: Mapping[str, Any]) -> Any:
    given: dict[str, Any] = {}
    for name, value in told.items():
        if name in _PARTS and isinstance(value, dict):
            given[name] = _read_options(_PARTS[name], value)
        elif name in ("start_date", "end_date"):
            given[name] = _read_instant(value)
        else:
            given[name] = value
    return kind(**given)


def _read_worker(told: Mapping[str, Any]) -> WorkerInfo:
    return WorkerInfo(
        told["id"],
        told["name"],
        told["queue"],
        int(told["concurrency"]),
        WorkerStatus(told["status"]),
        _read_instant(told["started_at"]),
    )


def _read_instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
