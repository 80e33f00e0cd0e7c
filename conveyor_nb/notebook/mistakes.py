"""What a person is told whose command, or click, can't be done."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable

from conveyor_nb.core.values.text import shown

__all__ = ["Mistake", "near", "quoted"]


class Mistake(Exception):  # noqa: N818 - it is the person's, and nothing failed
    """What was typed can't be done; the text says what to type instead."""


def near(wrong: str, known: Iterable[str]) -> str:
    """The end of a message: the one that was meant, or all that there are.

    >>> near("stauts", ["status", "jobs"])
    "did you mean 'status'?"
    >>> near("x", ["status", "jobs"])
    'there are: jobs, status'
    """
    known = sorted(known)
    found = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {shown(found[0])}?" if found else f"there are: {', '.join(known)}"


def quoted(name: str) -> str:
    """A name as it is typed: in quotation marks if it has blanks.

    >>> quoted("emails"), quoted("my queue")
    ('emails', '"my queue"')
    """
    plain = name.isprintable() and not set(" '\"{[$").intersection(name)
    return name if plain else json.dumps(name, ensure_ascii=False)
