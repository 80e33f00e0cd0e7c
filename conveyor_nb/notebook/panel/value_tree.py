"""Other people's containers as trees that a page can fold: bounded, and of plain parts alone."""

from __future__ import annotations

import itertools
import json
from typing import Any

from conveyor_nb.core.values.text import fit, many_lines, one_line

__all__ = ["copied", "is_container", "value_tree"]

_MOST_DEPTH = 8
_MOST_PARTS = 300
_MOST_ITEMS = 100
_MOST_TEXT = 1_000
_MOST_LABEL = 80
_MOST_IN_ALL = 9_000
_MOST_COPIED = 9_000
_MOST_TEXT_COPIED = 6_000

_CONTAINERS: dict[type, str] = {
    dict: "dict",
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "set",
}
_WORDS = frozenset({bool, type(None)})
_NUMBERS = frozenset({int, float})


def is_container(value: object) -> bool:
    """Whether a value has parts that :func:`value_tree` shows; a subclass may do anything."""
    return type(value) in _CONTAINERS and bool(value)


def value_tree(value: object, share: float = 1.0) -> dict[str, Any]:
    """A value as a tree of bounded size, and never an error; of very much, only a share is shown.

    A leaf is ``{"kind": ..., "text": ...}``; a container has ``"parts"``, pairs of a label and a
    tree, and ``"count"``, how many there are in all.

    >>> value_tree({"to": ["ada"]})["parts"]
    [['to', {'kind': 'list', 'count': 1, 'parts': [['0', {'kind': 'text', 'text': 'ada'}]]}]]
    """
    left, room = _MOST_PARTS * share, _MOST_IN_ALL * share

    def label_of(key: object) -> str:
        nonlocal room
        label = one_line(key, _MOST_LABEL)
        room -= len(label)
        return label

    def leaf(value: object) -> dict[str, Any]:
        nonlocal room
        limit = max(40, min(_MOST_TEXT, round(room)))
        kind = type(value)
        text = many_lines(value, limit) if kind is str else one_line(value, limit)
        room -= len(text)
        word = "text" if kind is str else "number" if kind in _NUMBERS else "word"
        return {"kind": word if word != "word" or kind in _WORDS else "other", "text": text}

    def grow(value: Any, depth: int) -> dict[str, Any]:
        nonlocal left
        left -= 1
        kind = type(value)
        if kind not in _CONTAINERS or depth == _MOST_DEPTH:
            return leaf(value)
        pairs = value.items() if kind is dict else enumerate(value)
        parts = [
            [label_of(key), grow(part, depth + 1)]
            for key, part in itertools.islice(pairs, _MOST_ITEMS)
            if left > 0 and room > 0
        ]
        return {"kind": _CONTAINERS[kind], "count": len(value), "parts": parts}

    return grow(value, 0)


def copied(value: object, share: float = 1.0) -> tuple[str, bool]:
    r"""A value as text to be pasted elsewhere, and whether it is all of it.

    It is JSON if the value is made of what JSON has and can be sent whole.

    >>> copied({"to": None})
    ('{\n  "to": null\n}', True)
    >>> copied((1, 2))
    ('(1, 2)', False)
    """
    if _is_json(value):
        text = json.dumps(value, indent=2, ensure_ascii=False)
        if len(text) <= _MOST_COPIED * share and fit(text) == text:
            return text, True
    return many_lines(value, round(_MOST_TEXT_COPIED * share)), False


def _is_json(value: Any) -> bool:
    """Whether JSON has all of it, and it is not so much that it would be written for nothing."""
    left = _MOST_COPIED

    def look(value: Any, depth: int) -> bool:
        nonlocal left
        kind = type(value)
        left -= len(value) if kind in (str, dict, list) else 1
        if left < 0 or depth > 50:
            return False
        if kind is dict:
            return all(type(key) is str and look(part, depth + 1) for key, part in value.items())
        if kind is list:
            return all(look(part, depth + 1) for part in value)
        if kind is int:
            return int(value.bit_length()) <= 1_000
        if kind is float:
            return bool(value - value == 0.0)  # neither nan nor infinite
        return kind in (str, bool, type(None))

    return look(value, 0)
