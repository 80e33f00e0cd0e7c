"""One text for all equal JSON payloads: what deduplication and schedules go by.

The text is the one that JavaScript's ``JSON.stringify`` gives for the payload with its keys
sorted, so that whoever shares a database with queues in that language finds the same keys.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from decimal import Decimal
from numbers import Rational, Real
from typing import Any

from conveyor_nb.core.values.plain_values import plain_flag, plain_int
from conveyor_nb.core.values.text import shown

__all__ = ["canonical_json", "sha256_of"]

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_MOST_ARRAY_INDEX = 2**32 - 2
_PLAIN_DIGITS = 21
"""Up to how many digits before the point JavaScript writes a number without an exponent."""
_PLAIN_ZEROS = 6
"""From how many zeros after the point on JavaScript writes a number with an exponent."""


def canonical_json(value: Any) -> str:
    """The canonical JSON of a payload: sorted keys, no blanks.

    Raises:
        TypeError: a part of it is not JSON; the message names that part.

    >>> canonical_json({"b": [1, 2.0, None], "a": "é"})
    '{"a":"é","b":[1,2,null]}'
    """
    try:
        return _write(value, "the payload")
    except RecursionError:
        raise TypeError("the payload is not JSON: it is nested too deeply, or in itself") from None


def sha256_of(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _write(value: Any, path: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _text(value)
    if (flag := plain_flag(value)) is not None:
        return "true" if flag else "false"
    if (whole := plain_int(value)) is not None:
        return int.__repr__(whole)
    if isinstance(value, Real) and not isinstance(value, Rational):
        return _number(float(value), path)
    if isinstance(value, dict):
        fields = {_key(key, path): part for key, part in value.items()}
        written = (
            f"{_text(key)}:{_write(fields[key], f'{path}[{shown(key)}]')}"
            for key in sorted(fields, key=_place_of)
        )
        return "{" + ",".join(written) + "}"
    if isinstance(value, (list, tuple)):
        parts = (_write(part, f"{path}[{index}]") for index, part in enumerate(value))
        return "[" + ",".join(parts) + "]"
    raise TypeError(f"{path:.200} is not JSON: it is a {type(value).__name__}")


def _key(key: Any, path: str) -> str:
    if isinstance(key, str):
        return str(key)
    if (whole := plain_int(key)) is not None:
        return int.__repr__(whole)
    raise TypeError(f"{path:.200} is not JSON: it has a key that is a {type(key).__name__}")


def _place_of(key: str) -> tuple[bool, int, bytes]:
    """JavaScript has keys that are whole numbers first, and sorts the others by UTF-16 unit."""
    if _ARRAY_INDEX.fullmatch(key) and int(key) <= _MOST_ARRAY_INDEX:
        return (False, int(key), b"")
    return (True, 0, key.encode("utf-16-be", "surrogatepass"))


def _text(value: str) -> str:
    written = json.dumps(str(value), ensure_ascii=False)
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def _number(value: float, path: str) -> str:
    """A number as JavaScript writes it."""
    if not math.isfinite(value):
        raise TypeError(f"{path:.200} is not JSON: it is {value}")
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int), "it is finite"
    text, point = "".join(map(str, digits)), len(digits) + exponent
    if len(text) <= point <= _PLAIN_DIGITS:
        written = text.ljust(point, "0")
    elif 0 < point <= _PLAIN_DIGITS:
        written = f"{text[:point]}.{text[point:]}"
    elif -_PLAIN_ZEROS < point <= 0:
        written = "0." + "0" * -point + text
    else:
        tail = f".{text[1:]}" if len(text) > 1 else ""
        written = f"{text[0]}{tail}e{point - 1:+d}"
    return f"-{written}" if sign else written
