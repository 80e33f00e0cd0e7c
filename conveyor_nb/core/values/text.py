"""Other people's text and values, made fit to be shown.

Names, payloads, errors and logs come from anybody, and go into reprs, messages of exceptions,
pages, terminals and logs. Whatever they hold, what is shown of them is short, stays on its line if
it is to be on one, neither turns round nor paints over what stands beside it, and can be encoded.
No value makes this raise, and none is walked through whole.
"""

from __future__ import annotations

import itertools
import pprint
import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

__all__ = [
    "FAULTS",
    "Word",
    "encodable",
    "error_line",
    "fit",
    "inline",
    "many_lines",
    "one_line",
    "shorten",
    "shorten_middle",
    "shown",
    "shown_fields",
    "shown_list",
    "width",
]

FAULTS = (Exception, SystemExit, KeyboardInterrupt)
"""What other people's code may raise. The last two would end the event loop, and a kernel with it,
where they leave a task or a callback; to be cancelled is no fault."""

_MOST_DEPTH = 6
_MOST_TEXT = 2_000
_MOST_PARTS = 2_000
_MOST_BITS = 10_000
_MOST_MARKS = 8
_MOST_LINES = 200
_MOST_ITEMS = 100

_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What a terminal takes for colours and moves of its cursor: it says nothing to a reader."""

_UNFIT = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls, lone surrogates, what is not seen, and what turns the direction of writing."""

_ISOLATES = re.compile(r"[\u2066-\u2069]")
_NEWLINES = re.compile(r"\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_PERHAPS_MARKS = re.compile(rf"[^\w\s!-~]{{{_MOST_MARKS + 1},}}")
_FROM_RIGHT = re.compile(
    r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"


class Word(StrEnum):
    """One of a few words: it equals its text, and is shown as its text."""

    def __repr__(self) -> str:
        return repr(self.value)


# -- text -------------------------------------------------------------------------------------


def fit(text: str) -> str:
    r"""A text whose every character is harmless; line breaks and tabs stay.

    Controls, marks of direction, invisible characters and lone surrogates are written as Python
    escapes, an endless pile of accents is cut down, a terminal's colours are left out.

    >>> fit("gnp.\u202eexe")
    'gnp.\\u202eexe'
    >>> fit("\x1b[31mred\x1b[0m, bell\x07, half a \ud83d smile")
    'red, bell\\x07, half a \\ud83d smile'
    """
    if text.isascii() and text.isprintable():
        return text
    text = _UNFIT.sub(_escape, _TERMINAL.sub("", text))
    if text.isascii():
        return text
    if _ISOLATES.search(text) and not _is_balanced(text):
        text = _ISOLATES.sub(_escape, text)
    return _PERHAPS_MARKS.sub(_few_marks, text)


def encodable(text: str) -> str:
    r"""A text with its lone surrogates escaped, which nothing that encodes it can take.

    >>> encodable("half a \ud83d smile")
    'half a \\ud83d smile'
    """
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def inline(text: str) -> str:
    r"""A name within a line: what :func:`fit` gives, kept from reordering what stands beside it.

    >>> inline("emails"), inline("\u05d0")
    ('emails', '\u2068א\u2069')
    """
    return _isolate(fit(text))


def shorten(text: str, limit: int) -> str:
    """A text of at most ``limit`` characters, the last of them an ellipsis if it was cut.

    >>> shorten("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shorten_middle(text: str, limit: int) -> str:
    r"""An id made fit, its middle left out: of those that begin alike, the end tells them apart.

    >>> shorten_middle("emails-000000000042", 10), shorten_middle("a\u202eb", 10)
    ('ema…000042', 'a\\u202eb')
    """
    text = fit(text)
    kept = (limit - 1) // 3
    return text if len(text) <= limit else f"{text[:kept]}…{text[kept + 1 - limit :]}"


def one_line(value: object, limit: int = 200) -> str:
    """A value on one line of about ``limit`` characters; text is shown without its quotes.

    >>> one_line({"to": "ada", "tries": [1, 2]})
    "{'to': 'ada', 'tries': [1, 2]}"
    >>> one_line(list(range(1_000_000)), limit=30)
    '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9…'
    >>> one_line("row after row " * 1_000, limit=30)
    'row after row row after row r… (13,971 more characters)'
    """
    if issubclass(type(value), str):
        text = str.__str__(value)
        more = len(text) - limit
        if more <= 0:
            return inline(" ".join(text.split()))
        start = " ".join(text[: limit - 1].split())
        return f"{_isolate(_ended(fit(start), limit))}… ({more + 1:,} more characters)"
    return _isolate(_ended(fit(" ".join(_show(_cut(value, most=12)).split())), limit))


def many_lines(value: object, limit: int = 6_000, *, both_ends: bool = False) -> str:
    """A value over several lines, at most about ``limit`` characters.

    Args:
        value: anything; text is shown as it is, without quotes.
        limit: how many characters.
        both_ends: of what is longer, show how it ends too, as tracebacks end with what they tell.

    >>> print(many_lines({"to": "ada@example.org", "text": "a" * 100}, limit=40))
    {'to': 'ada@example.org',
     'text': 'aaaa
      … 98 more characters
    """
    if issubclass(type(value), str):
        text = str.__str__(value)
    else:
        text = _show(_cut(value, most=_MOST_ITEMS), lines=True)
    if len(text) <= limit and len(_rows(text)) <= _MOST_LINES:
        return _lines("\n".join(_rows(text)), limit)
    room, most = (limit // 2, _MOST_LINES // 2) if both_ends else (limit, _MOST_LINES)
    start = "\n".join(_rows(text[:room])[:most])
    end = "\n".join(_rows(text[-room:])[-most:]) if both_ends else ""
    more = f"  … {len(text) - len(start) - len(end):,} more characters"
    kept = f"{_lines(start, limit).rstrip()}\n{more}"
    return f"{kept} …\n{_lines(end, limit)}" if both_ends else kept


def shown(value: object, limit: int = 200) -> str:
    r"""What ``repr`` says of a value, for a message: on one line, short, and never an error.

    >>> shown("emails"), shown("a\nb")
    ("'emails'", "'a\\nb'")
    >>> shown("x" * 1_000_000, limit=10)
    "'xxxxxxxxxx'… (999,990 more characters)"
    """
    if not issubclass(type(value), str):
        return one_line(value, limit)
    text = str.__str__(value)
    more = len(text) - limit
    line = inline(repr(text[:limit]))
    return line if more <= 0 else f"{line}… ({more:,} more characters)"


def error_line(error: BaseException, limit: int = 300) -> str:
    """An exception on one line.

    >>> error_line(KeyError("to")), error_line(TimeoutError())
    ("KeyError: 'to'", 'TimeoutError')
    """
    name = one_line(type(error).__name__, 80)
    try:
        text = str(error)
    except FAULTS:  # it is a person's __str__
        return f"{name} (its text can't be shown: __str__ raised)"
    return f"{name}: {one_line(text, limit)}" if text else name


def shown_fields(value: object, fields: Iterable[tuple[str, object]]) -> str:
    """The repr of a record, with those of its fields that are worth showing.

    >>> shown_fields(RuntimeError(), [("code", 3), ("text", "no " * 1_000)])
    "RuntimeError(code=3, text='no no no no no no no no no no no no no n'… (2,960 more characters))"
    """
    told = ", ".join(f"{name}={shown(part, limit=40)}" for name, part in fields)
    return f"{one_line(type(value).__name__, 80)}({told})"


def shown_list(values: Iterable[object], count: int, most: int = 12) -> str:
    """The repr of a list of which only the first few are shown.

    >>> shown_list(range(1_000), 1_000, most=3)
    '[0, 1, 2, … 997 more]'
    """
    parts = [shown(value) for value in itertools.islice(values, most)]
    more = count - len(parts)
    return f"[{', '.join([*parts, f'… {more:,} more'] if more > 0 else parts)}]"


def _lines(text: str, limit: int) -> str:
    return shorten(fit(text), 2 * limit)  # escapes take more room


def _rows(text: str) -> list[str]:
    return _NEWLINES.sub("\n", text).split("\n")


def width(text: str) -> int:
    """How many columns a line takes in a terminal.

    >>> width("emails"), width("\u8a9e"), width("e\u0301")
    (6, 2, 1)
    """
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"


def _is_balanced(text: str) -> bool:
    """Whether each isolate in a text is closed there, so that what follows is as it was."""
    depth = 0
    for match in _ISOLATES.finditer(text):
        depth += -1 if match[0] == _POP_ISOLATE else 1
        if depth < 0:
            return False
    return depth == 0


def _few_marks(match: re.Match[str]) -> str:
    """Leave out marks over or under one letter, past the first few."""
    kept: list[str] = []
    marks = 0
    for character in match[0]:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
        elif marks == _MOST_MARKS + 1:
            kept.append("…")
    return "".join(kept)


def _ended(line: str, limit: int) -> str:
    """A line that is cut, with what was isolated in it still closed."""
    if len(line) <= limit:
        return line
    line = shorten(line, limit)
    opened = sum(-1 if one == _POP_ISOLATE else 1 for one in _ISOLATES.findall(line))
    return line + _POP_ISOLATE * opened


def _isolate(line: str) -> str:
    """Keep letters that run from right to left from reordering what stands beside the line."""
    if line.isascii() or not _FROM_RIGHT.search(line):
        return line
    if line[0] == _FIRST_STRONG_ISOLATE and line[-1] == _POP_ISOLATE:
        return line
    return f"{_FIRST_STRONG_ISOLATE}{line}{_POP_ISOLATE}"


# -- values -----------------------------------------------------------------------------------


class _Shown:
    """Stands for a value by its text, among values that are shown by theirs."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _cut(value: Any, most: int) -> Any:
    """A copy with at most ``most`` items in each container, and not too many of them in all.

    What is not JSON-like is replaced by its text.
    """
    left = _MOST_PARTS

    def cut(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
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
        parts = [
            tuple(cut(each, depth + 1) for each in part) if kind is dict else cut(part, depth + 1)
            for part in itertools.islice(value.items() if kind is dict else value, most)
            if left > 0
        ]
        if more := len(value) - len(parts):
            told = _Shown(f"{more:,} more")
            parts.append((_Shown("…"), told) if kind is dict else _Shown(f"… {told}"))
        return kind(parts)

    return cut(value, 0)


def _describe(value: Any) -> str:
    name = type(value).__name__
    if type(value) is int:  # Python refuses to write very long ones
        bits = value.bit_length()
        return repr(value) if bits <= _MOST_BITS else f"<int of {bits:,} bits>"
    try:
        if shape := _shape_of(value):  # frames, arrays: their own repr is slow or long
            return f"<{name} {' x '.join(map(str, shape))}>"
        text = repr(value)
    except FAULTS as error:  # it is somebody else's __repr__
        return f"<{name}, whose repr raised {type(error).__name__}>"
    return _ended(str.__str__(text), _MOST_TEXT)


def _shape_of(value: object) -> tuple[object, ...]:
    try:
        shape = getattr(value, "shape", None)
    except FAULTS:  # as above, of its __getattr__
        return ()
    return shape if type(shape) is tuple else ()


def _show(value: Any, *, lines: bool = False) -> str:
    return pprint.pformat(value, width=88, compact=True, sort_dicts=False) if lines else repr(value)
