"""Other people's values in the lines of a tape: JSON, the same for equal values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from conveyor_nb.core.freezing import Unreadable
from conveyor_nb.core.values.plain_values import plain_number
from conveyor_nb.core.values.text import encodable, shown

__all__ = ["instant", "plain"]

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_MOST_DEPTH = 20
_MOST_TEXT = 1_000
_EXACT = 2**53


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON has it; what that has no form for is its ``repr`` under the key ``repr``.

    >>> plain({"to": ("ada", 2), 1: {3.5}})
    {'to': ['ada', 2], '1': {'set': [3.5]}}
    >>> plain(object())
    {'repr': '<object object>'}
    """
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        return encodable(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return instant(value)
    if isinstance(value, Enum) and isinstance(value, str):
        return str(value)
    number = plain_number(value)
    if number is not None and math.isfinite(number):
        whole = isinstance(number, float) and number.is_integer() and abs(number) < _EXACT
        return int(number) if whole else number  # stores give one for the other
    if depth < _MOST_DEPTH:
        if isinstance(value, Mapping):
            return {encodable(str(key)): plain(one, depth + 1) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(one, depth + 1) for one in value]
        if isinstance(value, (set, frozenset)):  # their order is another one in each process
            parts = [plain(one, depth + 1) for one in value]
            name = "set" if isinstance(value, set) else "frozenset"
            return {name: sorted(parts, key=json.dumps)}
    if isinstance(value, Unreadable):
        return {"repr": repr(value)}
    return {"repr": _ADDRESS.sub("", shown(value, _MOST_TEXT))}


def instant(when: datetime) -> str:
    """An instant in UTC, as it is written in a line.

    >>> instant(datetime(2027, 1, 1, 12, tzinfo=UTC))
    '2027-01-01T12:00:00Z'
    """
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")
