"""Payloads and results as short text: bounded work however large the value is."""

from __future__ import annotations

import itertools
import pprint
from collections.abc import Iterable
from typing import Any

from conveyor_nb.errors import FAULTS

__all__ = ["one_line", "pretty", "shorten"]

_MOST_DEPTH = 6
_MOST_TEXT = 2_000


def one_line(value: object, limit: int = 200) -> str:
    """A value on one line of at most ``limit`` characters; text is shown without its quotes.

    >>> one_line({"to": "ada", "tries": [1, 2]})
    "{'to': 'ada', 'tries': [1, 2]}"
    >>> one_line(list(range(1_000_000)), limit=30)
    '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9…'
    """
    text = value[: limit + 1] if isinstance(value, str) else _show(_cut(value, most=12))
    return shorten(" ".join(text.split()), limit)


def pretty(value: object, limit: int = 6_000) -> str:
    """A value over several lines, at most ``limit`` characters.

    >>> print(pretty({"to": "ada@example.org", "text": "a" * 100}, limit=40))
    {'to': 'ada@example.org',
     'text': 'aaaa
      … 98 more characters
    """
    if isinstance(value, str):
        return _limit(value, limit)
    return _limit(_show(_cut(value, most=100), lines=True), limit)


def shorten(text: str, limit: int) -> str:
    """A text of at most ``limit`` characters, the last of them an ellipsis if it was cut.

    >>> shorten("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _limit(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()}\n  … {len(text) - limit:,} more characters"


class _Shown:
    """Stands for a value by its text, among values that are shown by theirs."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _cut(value: Any, most: int, depth: int = 0) -> Any:
    """A copy with at most ``most`` items in each container; what is not JSON-like as its text."""
    kind = type(value)
    if kind in (float, bool, type(None)):
        return value
    if kind in (str, bytes):
        if len(value) <= _MOST_TEXT:
            return value
        return _Shown(f"{value[:_MOST_TEXT]!r} … {len(value) - _MOST_TEXT:,} more")
    if kind not in (dict, list, tuple, set, frozenset):
        return _Shown(_describe(value))
    if depth == _MOST_DEPTH:
        return _Shown("…")
    more = len(value) - most
    if kind is dict:
        pairs = itertools.islice(value.items(), most)
        cut = {_cut(key, most, depth + 1): _cut(part, most, depth + 1) for key, part in pairs}
        return cut if more <= 0 else cut | {_Shown("…"): _Shown(f"{more:,} more")}
    parts: Iterable[Any] = (_cut(part, most, depth + 1) for part in itertools.islice(value, most))
    parts = [*parts, _Shown(f"… {more:,} more")] if more > 0 else list(parts)
    return kind(parts)


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:  # frames and arrays: their own repr is slow or long
        return f"<{type(value).__name__} {' x '.join(map(str, shape))}>"
    try:
        return shorten(repr(value), _MOST_TEXT)
    except FAULTS as error:  # somebody else's __repr__ may raise anything
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"


def _show(value: Any, *, lines: bool = False) -> str:
    return pprint.pformat(value, width=88, compact=True, sort_dicts=False) if lines else repr(value)
