"""What can go to a page, how much at once, and whether it is worth it.

What is shown is read up to ten times a second: it has to stay light.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from conveyor_nb.core.values.text import encodable

__all__ = ["MOST_BYTES", "fitting", "has_news", "in_messages", "sendable", "size_of"]

MOST_BYTES = 28_000
"""So long a message to a page is at most; JSON, and what goes with it, takes the rest to 30 KB."""

T = TypeVar("T")


def size_of(part: object) -> int:
    """How many bytes a part takes on its way to a page.

    >>> size_of({"name": "send"})
    15
    """
    return len(msgspec.json.encode(part))


def fitting(rows: Iterable[T], room: int) -> list[T]:
    """The rows, as far as there is room for them: so many bytes. One is always there.

    >>> fitting(["one", "two", "three"], 12)
    ['one', 'two']
    """
    kept: list[T] = []
    for row in rows:
        room -= size_of(row) + 1
        if kept and room < 0:
            break
        kept.append(row)
    return kept


def in_messages(parts: Mapping[str, Any], most: int = MOST_BYTES) -> Iterator[dict[str, Any]]:
    """The parts of a frame in as few messages as can be, none of them larger than it should be.

    >>> list(in_messages({"head": "a" * 8, "jobs": "b" * 8, "tab": "c"}, most=15))
    [{'head': 'aaaaaaaa'}, {'jobs': 'bbbbbbbb', 'tab': 'c'}]
    """
    message: dict[str, Any] = {}
    left = most
    for name, part in parts.items():
        size = size_of(part)
        if message and size > left:
            yield message
            message, left = {}, most
        message[name] = part
        left -= size
    yield message


def has_news(shown: Mapping[str, Any], parts: Mapping[str, Any]) -> bool:
    """Whether a page that shows some parts has to be told of those that there are now.

    A clock goes on there by itself, if it goes at all.

    >>> has_news({"head": {"now": 1.0, "speed": 1.0}}, {"head": {"now": 2.0, "speed": 1.0}})
    False
    """
    for name, part in parts.items():
        before = shown[name]
        if part != before:
            if not (isinstance(part, dict) and isinstance(before, dict) and part.get("speed")):
                return True
            if part | {"now": 0} != before | {"now": 0}:
                return True
    return False


def sendable(value: Any) -> Any:
    r"""JSON-like values with every text such that it can be sent.

    Other people's texts may hold lone surrogates, which no message to a page can carry.

    >>> sendable({"name": "a\ud800"})
    {'name': 'a\\ud800'}
    """
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {key: sendable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [sendable(part) for part in value]
    return value
