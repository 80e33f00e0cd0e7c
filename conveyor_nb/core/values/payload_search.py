"""Looking for a text in a payload, whatever that is made of."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from uuid import UUID

from conveyor_nb.core.values.text import FAULTS

__all__ = ["contains_text", "to_needle"]

_MOST_PARTS = 10_000
"""So many parts of a payload are looked at."""

_SHOWN_AS_TEXT = (int, float, complex, Decimal, date, time, timedelta, UUID, PurePath)


def to_needle(text: object) -> str:
    """Check a text to look for, and make it such that its case doesn't matter."""
    if not isinstance(text, str):
        raise TypeError(f"the text to search for must be text, not {type(text).__name__}")
    return text.casefold()


def contains_text(payload: object, needle: str) -> bool:
    """Whether a text is in a payload: in one of its texts, keys or plain values.

    What has parts (mappings, lists, sets, dataclasses, objects with attributes of their own) is
    looked at part by part; what is large and no text, such as a DataFrame, is not.

    >>> contains_text({"to": ["Ada@example.org"], "tries": 12}, "ada@")
    True
    >>> contains_text({"to": ["Ada@example.org"], "tries": 12}, "2")
    True
    """
    left = [payload]
    for _ in range(_MOST_PARTS):
        if not left:
            return False
        part = left.pop()
        if isinstance(part, str):
            if needle in part.casefold():
                return True
        elif part is None or isinstance(part, (bool, _SHOWN_AS_TEXT)):
            if needle in _plain(part):
                return True
        else:
            try:
                left += itertools.islice(_parts(part), _MOST_PARTS)
            except FAULTS:  # somebody else's class may raise anything
                continue
    return False


def _plain(value: object) -> str:
    try:
        return str(value).casefold()
    except ValueError:  # Python refuses to write very long numbers
        return ""


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Enum):
        return (value.name, value.value)
    if isinstance(value, Mapping):
        return itertools.chain.from_iterable(value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if dataclasses.is_dataclass(value):
        return (getattr(value, field.name, None) for field in dataclasses.fields(value))
    if isinstance(value, Collection) or hasattr(value, "shape"):
        return ()
    return tuple(getattr(value, "__dict__", {}).values())
