"""The functions that make text and values fit to be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conveyor_nb.core.values.text import (
    error_line,
    fit,
    inline,
    many_lines,
    one_line,
    shown,
    shown_fields,
    shown_list,
)

Check = Callable[..., None]


def test_text_becomes_harmless(hostile: str, check_shown: Check) -> None:
    check_shown(one_line(hostile, 100), most=160)
    check_shown(shown(hostile, 100), most=600)
    check_shown(shown({hostile: [hostile]}), most=250)
    check_shown(many_lines(hostile, 1_000), most=2_100, lines=True)
    check_shown(many_lines({hostile: [hostile]}), most=12_100, lines=True)
    check_shown(inline(hostile[:255].replace("\n", " ").replace("\t", " ")), most=5_000)
    check_shown(error_line(ValueError(hostile)), most=400)
    check_shown(shown_fields(object(), [("name", hostile)]), most=400)
    check_shown(shown_list([hostile] * 20, 20), most=6_000)


def test_to_make_it_fit_again_changes_nothing(hostile: str) -> None:
    some = hostile[:1_000]
    for once in (fit(some), one_line(some, 2_000), shown(some, 2_000)):
        assert fit(once) == once
        assert inline(once) == once or not once.startswith("\u2068")


def test_harmless_text_stays_as_it_is() -> None:
    hindi, coder = "\u0928\u092e\u0938\u094d\u0924\u0947", "\U0001f469\u200d\U0001f4bb"
    for text in ("emails", "caf\xe9", "Vi\u1ec7t", "Vi\u0302\u0323t", hindi, coder):
        assert fit(text) == one_line(text) == inline(text) == text
        assert shown(text) == repr(text) or "\u200d" in text


class Bad:
    """Raises from whatever a display may call."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def _raise(self, *_: object) -> Any:
        raise self.error

    __repr__ = __str__ = __len__ = __iter__ = __eq__ = __bool__ = _raise
    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Shaped:
    shape = property(lambda self: 1 / 0)


class Named(type):
    def __repr__(cls) -> str:
        raise RuntimeError


class Nameless(metaclass=Named):
    pass


class Text(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getitem__(self, key: object) -> str:
        raise RuntimeError("no parts")

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Error(Exception):
    def __str__(self) -> str:
        raise SystemExit


def _laughs() -> list[object]:
    laughs: list[object] = [0] * 100
    for _ in range(8):
        laughs = [laughs] * 100
    return laughs


def _itself() -> dict[str, object]:
    itself: dict[str, object] = {}
    itself["me"] = [itself]
    return itself


VALUES: dict[str, Callable[[], object]] = {
    "repr raises": lambda: Bad(RuntimeError("no repr")),
    "repr exits": lambda: Bad(SystemExit(3)),
    "repr interrupts": lambda: Bad(KeyboardInterrupt()),
    "within": lambda: {"a": [Bad(RuntimeError()), 1], "b": (Bad(ValueError()),)},
    "shape raises": Shaped,
    "its class has no repr": lambda: Nameless,
    "text of a class of its own": lambda: Text("a\u202eb"),
    "error without text": Error,
    "a number of 30,000 digits": lambda: 10**30_000,
    "such numbers": lambda: {10**30_000: [10**30_000]},
    "infinity": lambda: [float("nan"), float("-inf")],
    "a million items": lambda: list(range(1_000_000)),
    "a hundred to the ninth items": _laughs,
    "itself": _itself,
    "bytes": lambda: b"\x00\xff" * 1_000_000,
    "a long repr": lambda: type("Long", (), {"__repr__": lambda self: "long\n\x1b" * 100_000})(),
    "a strange name": lambda: type("a\u202eb\n", (), {"__repr__": lambda self: 1 / 0})(),
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_a_value_is_shown_whatever_it_does(make: Callable[[], object], check_shown: Check) -> None:
    value = make()
    check_shown(one_line(value, 100), most=101)
    check_shown(shown(value, 100), most=160)
    check_shown(many_lines(value), most=12_100, lines=True)
    check_shown(shown_fields(value, [("value", value)]), most=160)
    check_shown(shown_list([value], 1), most=260)
    if isinstance(value, BaseException):
        check_shown(error_line(value))


def test_what_is_left_out_is_counted() -> None:
    assert one_line("ab" * 500, 10).endswith("… (991 more characters)")
    assert many_lines("ab" * 500, 10).endswith("… 990 more characters")
    assert shown("ab" * 500, 10).endswith("… (990 more characters)")
    assert many_lines(list(range(200))).endswith("… 100 more]")
    rows = "\n".join(map(str, range(1_000)))
    assert many_lines(rows).endswith("199\n  … 3,200 more characters")
    assert many_lines(rows, both_ends=True).count("\n") == 200
    assert many_lines(rows * 10, both_ends=True).endswith("998\n999")
