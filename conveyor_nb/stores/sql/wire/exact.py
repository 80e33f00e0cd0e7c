"""Python's plain types in JSON, such that they come back as they were.

JSON is ``None``, ``bool``, ``int``, ``float``, ``str``, ``list`` and ``dict`` with keys of text,
but for what a database does not keep of them: numbers that are not finite, minus zero, floats so
large that they would come back whole, and text with characters that are none. What is beyond that
is written as an object with one key that begins with ``~`` and names the type; a dict that looks
like one of these, as a list of its items. Reading makes plain values only, and runs nothing.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec.json

from conveyor_nb.core.errors import PayloadError
from conveyor_nb.core.values.text import shown

__all__ = ["clean", "decode", "encode", "is_json", "stand_in", "texts_to_json"]

_MARK = "~"
_MOST_DIGITS = 4_000
_LARGEST = 10**_MOST_DIGITS
"""Beyond it Python refuses to write a whole number."""
_WHOLE = 1e16
"""From here on a float is written with an exponent, and may come back as an ``int``."""
_REPLACED = "\ufffd"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")

_REMEDY = (
    "give JSON-like values, Python's plain types, or make the store with payloads='pickle' "
    "(which runs what others wrote into the database, so they must be trusted)"
)


def is_json(value: Any) -> bool:
    """Whether a value comes back from JSON as it was.

    >>> is_json({"to": ["ada", 1.5, None]}), is_json((1, 2)), is_json(float("nan"))
    (True, False, False)
    """
    kind = type(value)
    if kind is str:
        return "\0" not in value if value.isascii() else _NO_TEXT.search(value) is None
    if kind is dict:
        for key, part in value.items():
            if type(key) is not str or not is_json(key) or not is_json(part):
                return False
        return True
    if kind is list:
        return all(map(is_json, value))
    if kind is int:
        return bool(-_LARGEST < value < _LARGEST)
    if kind is float:
        return abs(value) < _WHOLE and (value != 0 or math.copysign(1, value) == 1)
    return value is None or kind is bool


def clean(text: str) -> str:
    """A text as a database takes it: what is no character is replaced by one that says so.

    >>> clean("a" + chr(0)) == "a" + chr(0xFFFD)
    True
    """
    if text.isascii():
        return text.replace("\0", _REPLACED)
    return _NO_TEXT.sub(_REPLACED, text)


def texts_to_json(texts: Sequence[str]) -> str:
    """An array of texts."""
    return msgspec.json.encode(list(map(clean, texts))).decode()


# -- there ----------------------------------------------------------------------------------


def encode(value: Any, what: str) -> str:
    """A value of plain types as JSON that :func:`decode` turns back.

    Args:
        value: the value.
        what: what it is, as the root of the path in an error.

    Raises:
        PayloadError: a part of it is of another type; the message names the path to it.

    >>> encode({"at": (1, 2)}, "data")
    '{"at":{"~tuple":[1,2]}}'
    """
    try:
        return json.dumps(_out(value, what), allow_nan=False, separators=(",", ":"))
    except RecursionError:
        why = "it is nested too deeply, or in itself"
        raise PayloadError(what, type(value).__name__, why, "give less of it") from None


def _out(value: Any, path: str) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        if not -_LARGEST < value < _LARGEST:
            raise PayloadError(path, "int", f"it has more than {_MOST_DIGITS:,} digits", _REMEDY)
        return value
    if kind is list:
        return [_out(part, f"{path}[{place}]") for place, part in enumerate(value)]
    if kind is dict:
        return _dict_out(value, path)
    if kind in _COLLECTIONS:
        parts = [_out(part, f"{path}[{place}]") for place, part in enumerate(value)]
        if kind is not tuple:
            parts.sort(key=json.dumps)
        return {_MARK + kind.__name__: parts}
    if kind in _PLAIN:
        try:
            return _PLAIN[kind](value)
        except _UnknownZoneError as error:
            raise PayloadError(path, kind.__name__, str(error), _REMEDY) from None
    raise PayloadError(path, kind.__qualname__, "it is neither JSON nor a plain type", _REMEDY)


def _dict_out(value: dict[Any, Any], path: str) -> Any:
    looks_like_ours = len(value) == 1 and str(next(iter(value))).startswith(_MARK)
    if not looks_like_ours and all(type(key) is str for key in value):
        return {key: _out(part, f"{path}[{shown(key)}]") for key, part in value.items()}
    items = [
        [_out(key, f"a key of {path}"), _out(part, f"{path}[{shown(key)}]")]
        for key, part in value.items()
    ]
    return {f"{_MARK}dict": items}


_COLLECTIONS = {tuple: tuple, set: set, frozenset: frozenset}


class _UnknownZoneError(Exception):
    pass


def _zone_out(zone: tzinfo | None) -> Any:
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is timezone:
        offset = zone.utcoffset(None).total_seconds()
        name = zone.tzname(None)
        return [offset] if name == timezone(zone.utcoffset(None)).tzname(None) else [offset, name]
    raise _UnknownZoneError(f"its time zone is a {type(zone).__name__}")


def _float_out(value: float) -> Any:
    return value if math.isfinite(value) else {f"{_MARK}float": repr(value)}


def _moment_out(value: datetime | time) -> Any:
    naive = value.replace(tzinfo=None)
    return {
        f"{_MARK}{type(value).__name__}": [naive.isoformat(), value.fold, _zone_out(value.tzinfo)]
    }


_PLAIN: Mapping[type, Callable[[Any], Any]] = {
    float: _float_out,
    bytes: lambda value: {f"{_MARK}bytes": base64.b64encode(value).decode()},
    bytearray: lambda value: {f"{_MARK}bytearray": base64.b64encode(value).decode()},
    datetime: _moment_out,
    time: _moment_out,
    date: lambda value: {f"{_MARK}date": value.isoformat()},
    timedelta: lambda value: {f"{_MARK}timedelta": [value.days, value.seconds, value.microseconds]},
    Decimal: lambda value: {f"{_MARK}Decimal": str(value)},
    UUID: lambda value: {f"{_MARK}UUID": str(value)},
}


# -- and back -------------------------------------------------------------------------------


def decode(text: str | bytes) -> Any:
    """The value that :func:`encode` was given.

    Raises:
        ValueError: the text is no such thing.

    >>> decode('{"at":{"~tuple":[1,2]}}')
    {'at': (1, 2)}
    """
    try:
        return _in(json.loads(text))
    except (KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(
            f"it is not written as conveyor_nb writes plain types: {error!r}"
        ) from None


def _in(value: Any) -> Any:
    if type(value) is list:
        return [_in(part) for part in value]
    if type(value) is not dict:
        return value
    if len(value) == 1:
        ((key, part),) = value.items()
        if key.startswith(_MARK):
            return _READERS[key[1:]](part)
    return {key: _in(part) for key, part in value.items()}


def _zone_in(zone: Any) -> tzinfo | None:
    if zone is None:
        return None
    if isinstance(zone, str):
        return ZoneInfo(zone)
    offset = timedelta(seconds=zone[0])
    if len(zone) > 1:
        return timezone(offset, zone[1])
    return timezone(offset) if offset else UTC


def _datetime_in(given: Any) -> datetime:
    naive, fold, zone = given
    return datetime.fromisoformat(naive).replace(fold=fold, tzinfo=_zone_in(zone))


def _time_in(given: Any) -> time:
    naive, fold, zone = given
    return time.fromisoformat(naive).replace(fold=fold, tzinfo=_zone_in(zone))


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "tuple": lambda parts: tuple(map(_in, parts)),
    "set": lambda parts: set(map(_in, parts)),
    "frozenset": lambda parts: frozenset(map(_in, parts)),
    "dict": lambda items: {_in(key): _in(part) for key, part in items},
    "float": float,
    "bytes": base64.b64decode,
    "bytearray": lambda text: bytearray(base64.b64decode(text)),
    "datetime": _datetime_in,
    "time": _time_in,
    "date": date.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "Decimal": Decimal,
    "UUID": UUID,
}


# -- what others get to see -----------------------------------------------------------------


def stand_in(value: Any) -> Any:
    """What JSON has for a value of plain types: what programs in other languages make of it.

    >>> stand_in({"at": (1, 2), 7: {"b", "a"}, "key": b"secret"})
    {'at': [1, 2], '7': ['a', 'b'], 'key': 'c2VjcmV0'}
    """
    kind = type(value)
    if kind is str:
        return clean(value)
    if kind is dict:
        return {_key(key): stand_in(part) for key, part in value.items()}
    if kind is list or kind is tuple:
        return [stand_in(part) for part in value]
    if kind is set or kind is frozenset:
        return sorted((stand_in(part) for part in value), key=json.dumps)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is timedelta:
        return value.total_seconds()
    if kind is datetime or kind is date or kind is time:
        return value.isoformat()
    if kind is bytes or kind is bytearray:
        return base64.b64encode(value).decode()
    return value if value is None or kind is int or kind is bool else str(value)


def _key(key: Any) -> str:
    simple = stand_in(key)
    return simple if type(simple) is str else json.dumps(simple)
