"""The texts of statements in the words of PostgreSQL, each made once."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["is_read", "numbered", "table_of", "together"]

_MARK = re.compile(r"\?")
_TABLE = re.compile(r"\b(?:FROM|INTO|JOIN|UPDATE)\s+(conveyor_\w+)")


@cache
def numbered(text: str) -> str:
    """A text with its parameters numbered.

    >>> numbered("SELECT 1 FROM conveyor_jobs WHERE id = ? AND name = ?")
    'SELECT 1 FROM conveyor_jobs WHERE id = $1 AND name = $2'
    """
    count = 0

    def number(_: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"${count}"

    return _MARK.sub(number, text)


@cache
def together(texts: tuple[str, ...]) -> str:
    """Statements as one: each but the last changes something, no two the same table.

    >>> together(("DELETE FROM a WHERE b = ?", "SELECT ?"))
    'WITH _0 AS (DELETE FROM a WHERE b = $1) SELECT $2'
    """
    *changes, last = texts
    parts = ", ".join(f"_{place} AS ({text})" for place, text in enumerate(changes))
    return numbered(f"WITH {parts} {last}" if changes else last)


@cache
def is_read(text: str) -> bool:
    """Whether a statement gives rows."""
    return text.startswith(("SELECT", "WITH RECURSIVE")) or " RETURNING " in text


@cache
def table_of(text: str) -> frozenset[str]:
    """The tables of ours and of Conveyor's that a statement names.

    >>> sorted(table_of("SELECT 1 FROM conveyor_jobs WHERE id IN (SELECT 1 FROM conveyor_x)"))
    ['conveyor_jobs', 'conveyor_x']
    """
    return frozenset(_TABLE.findall(text))
