"""The options of a job as Conveyor writes them: its keys, milliseconds, only those that are set.

What it has no word for stands under a key of our own, which it carries along. Options that other
programs wrote may hold durations as text. One that we can't read counts as not given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
import msgspec.json

from conveyor_nb.core.options.backoff import Backoff, BackoffType, Jitter
from conveyor_nb.core.options.job_options import (
    ChildFailurePolicy,
    Deduplication,
    Group,
    JobOptions,
)
from conveyor_nb.core.options.keep import Keep
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.values.durations import to_seconds

__all__ = ["from_options", "from_repeat", "to_options", "to_repeat"]

_OURS = "conveyor_nb"
_JITTER = "jitter"
_UNREADABLE = (TypeError, ValueError, KeyError, ArithmeticError, AttributeError)
_MANY = 512


def _milliseconds(seconds: float) -> Any:
    """Seconds as a number that gives exactly them again."""
    whole = round(seconds * 1_000)
    if whole / 1_000 == seconds:
        return whole
    return msgspec.Raw(format(Decimal(repr(seconds)).scaleb(3), "f").encode())


def _seconds(value: Any) -> float:
    """Seconds from milliseconds, or from text with a unit."""
    if isinstance(value, str):
        return to_seconds(value)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise TypeError(f"{value!r} is no duration")
    return value / 1_000 if isinstance(value, int) else float(value.scaleb(-3))


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


# -- there ----------------------------------------------------------------------------------


def from_options(opts: JobOptions) -> str:
    """Options as JSON.

    >>> from_options(JobOptions(attempts=3, backoff="2s", delay="5 minutes"))
    '{"attempts":3,"backoff":{"type":"fixed","delay":2000},"delay":300000}'
    """
    written: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    for name, key, default, put in _WRITTEN:
        value = getattr(opts, name)
        if value != default:
            written[key] = put(value)
    for name, key in _KEEPS.items():
        keep = getattr(opts, name)
        if keep is True:
            written[key] = True
        elif keep is not False:
            if keep.count is None:
                written[key] = _milliseconds(keep.age)
            else:
                age = None if keep.age is None else _milliseconds(keep.age)
                ours[key] = _without_none(age=age, count=keep.count)
    if opts.backoff is not None and opts.backoff.jitter is not None:
        ours[_JITTER] = opts.backoff.jitter.value
    if ours:
        written[_OURS] = ours
    return msgspec.json.encode(written).decode()


def from_repeat(repeat: Repeat) -> str:
    """The rule of a schedule as JSON."""
    return msgspec.json.encode(_repeat_out(repeat)).decode()


def _backoff_out(backoff: Backoff) -> dict[str, Any]:
    return {"type": backoff.type.value, "delay": _milliseconds(backoff.delay)}


def _deduplication_out(rule: Deduplication) -> dict[str, Any]:
    ttl = None if rule.ttl is None else _milliseconds(rule.ttl)
    return _without_none(hash=rule.hash or None, key=rule.key, ttl=ttl)


def _repeat_out(repeat: Repeat) -> dict[str, Any]:
    every = None if repeat.every is None else _milliseconds(repeat.every)
    return _without_none(
        cron=repeat.cron,
        every=every,
        limit=repeat.limit,
        startDate=repeat.start_date,
        endDate=repeat.end_date,
        tz=repeat.tz,
    )


def _group_out(group: Group) -> dict[str, Any]:
    return _without_none(id=group.id, maxSize=group.max_size)


def _as_it_is(value: Any) -> Any:
    return value


_DEFAULTS = JobOptions()
_PUT: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "attempts": ("attempts", _as_it_is),
    "backoff": ("backoff", _backoff_out),
    "delay": ("delay", _milliseconds),
    "repeat": ("repeat", _repeat_out),
    "priority": ("priority", _as_it_is),
    "lifo": ("lifo", _as_it_is),
    "deduplication": ("deduplication", _deduplication_out),
    "timeout": ("timeout", _milliseconds),
    "job_id": ("jobId", _as_it_is),
    "fail_parent_on_child_failure": ("failParentOnChildFailure", lambda policy: policy.value),
    "group": ("group", _group_out),
}
_WRITTEN = tuple((name, key, getattr(_DEFAULTS, name), put) for name, (key, put) in _PUT.items())
_KEEPS = {"remove_on_complete": "removeOnComplete", "remove_on_fail": "removeOnFail"}


# -- and back -------------------------------------------------------------------------------


@lru_cache(_MANY)
def to_options(text: str) -> JobOptions:
    """The options that JSON tells of, whoever wrote it.

    >>> to_options('{"attempts":3,"delay":"5 minutes","timeout":"soon","other":1}')
    JobOptions(attempts=3, delay=300.0)
    """
    if text == "{}":
        return _DEFAULTS
    try:
        written = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return _DEFAULTS
    if not isinstance(written, dict):
        return _DEFAULTS
    ours = written.get(_OURS)
    options: dict[str, Any] = {}
    for name, (key, read) in _READ.items():
        own = ours.get(key) if isinstance(ours, dict) and name in _KEEPS else None
        value = written.get(key) if own is None else own
        if value is None:
            continue
        try:
            options[name] = getattr(JobOptions.of({name: read(value)}), name)
        except _UNREADABLE:
            continue
    if isinstance(ours, dict) and ours.get(_JITTER) in list(Jitter) and "backoff" in options:
        options["backoff"] = replace(options["backoff"], jitter=ours[_JITTER])
    return JobOptions.of(options)


def to_repeat(text: str) -> Repeat:
    """The rule of a schedule."""
    return _repeat_in(json.loads(text, parse_float=Decimal))


def _backoff_in(value: Any) -> Backoff:
    if not isinstance(value, dict):
        return Backoff(delay=_seconds(value))
    delay = _seconds(value.get("delay", 0))
    # a function of another program is not to be had: its first delay has to do
    exponential = value.get("type") == BackoffType.EXPONENTIAL
    return Backoff(BackoffType.EXPONENTIAL if exponential else BackoffType.FIXED, delay)


def _deduplication_in(value: Any) -> Deduplication:
    key = value.get("key")
    ttl = value.get("ttl")
    return Deduplication(
        key=key,
        hash=key is None and value.get("hash") is True,
        ttl=None if ttl is None else _seconds(ttl),
    )


def _repeat_in(value: Any) -> Repeat:
    every = value.get("every")
    return Repeat(
        every=None if every is None else _seconds(every),
        cron=value.get("cron"),
        limit=value.get("limit"),
        start_date=_instant(value.get("startDate")),
        end_date=_instant(value.get("endDate")),
        tz=value.get("tz"),
    )


def _instant(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _group_in(value: Any) -> Group:
    return Group(value["id"], value.get("maxSize"))


def _keep_in(value: Any) -> bool | Keep:
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        age = value.get("age")
        return Keep(age=None if age is None else _seconds(age), count=value.get("count"))
    return Keep(age=_seconds(value))


_IN: Mapping[str, Callable[[Any], Any]] = {
    "backoff": _backoff_in,
    "delay": _seconds,
    "repeat": _repeat_in,
    "priority": _number,
    "deduplication": _deduplication_in,
    "timeout": _seconds,
    "fail_parent_on_child_failure": ChildFailurePolicy,
    "group": _group_in,
}
_READ = {name: (key, _IN.get(name, _as_it_is)) for name, (key, _) in _PUT.items()} | {
    name: (key, _keep_in) for name, key in _KEEPS.items()
}
