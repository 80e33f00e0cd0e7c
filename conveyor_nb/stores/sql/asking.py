"""What is said to a database, without saying it: whoever has a connection sends the statements.

A question is a generator. It yields statements and is sent their rows, and what it returns is the
answer. So each is written once, for a connection that answers at once and for one that is awaited.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

__all__ = ["MOST_ROWS", "Asking", "Many", "Row", "Statement"]

T = TypeVar("T")

Row = Sequence[Any]

MOST_ROWS = 2**62
"""A limit where there is none: the dialects say that in different words."""


class Many(NamedTuple):
    """A statement that is sent once for each of many rows of parameters; it gives no rows."""

    text: str
    rows: Sequence[Row]


Statement = tuple[str, Row] | Many
"""A text with a ``?`` for each parameter, and these."""

Asking = Generator[Statement, list[Any], T]
