"""Text that has made trouble somewhere: each piece of it goes through every outlet there is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pytest

from tests.hostile.texts import HOSTILE

_STEALTHY = frozenset("\u200c\u200d\u2066\u2067\u2068\u2069")
"""Joiners, which letters and emoji need, and isolates, which the tests look at by themselves."""

Check = Callable[..., None]


@pytest.fixture(params=list(HOSTILE.values()), ids=list(HOSTILE))
def hostile(request: pytest.FixtureRequest) -> str:
    """One of the texts after the other."""
    return str(request.param)


@pytest.fixture
def check_shown() -> Check:
    """Asserts that a text which is shown is harmless whatever it was made of."""
    return _check_shown


def _check_shown(text: str, *, most: int = 20_000, lines: bool = False) -> None:
    assert isinstance(text, str)
    text.encode("utf-8")
    assert len(text) <= most, len(text)
    bad = {
        f"U+{ord(character):04X}"
        for character in text
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and character not in _STEALTHY
        and not (lines and character in "\n\t")
    }
    assert not bad, bad
    assert not re.search("[\u0300-\u036f\u0e49]{9}", text), "accents reach into other lines"
    for line in text.split("\n"):
        depth = 0
        for character in line:
            depth += (character in "\u2066\u2067\u2068") - (character == "\u2069")
            assert depth >= 0, "an isolate is closed that is not its own"
        assert depth == 0, "an isolate stays open"
