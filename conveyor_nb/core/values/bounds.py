"""How much one job may pile up: what exceeds it is left out, and a note says how much that was.

Payloads and results are not bounded: they are what a person chose to keep.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "MAX_ATTEMPT_RECORDS",
    "MAX_CHILD_REASON",
    "MAX_LOG_LINE",
    "MAX_LOG_LINES",
    "MAX_REASON",
    "MAX_STACKTRACE",
    "cut",
    "keep_newest",
]

MAX_LOG_LINES = 1_000
"""How many of its newest log lines a job keeps, and how many its attempts keep together."""

MAX_LOG_LINE = 10_000
"""How many characters of a log line are kept."""

MAX_REASON = 10_000
"""How many characters of the reason why an attempt or a job failed are kept."""

MAX_CHILD_REASON = 1_000
"""How many characters of a child's reason stand in that of its parent."""

MAX_STACKTRACE = 50_000
"""How many characters of an attempt's traceback are kept."""

MAX_ATTEMPT_RECORDS = 100
"""How many records of attempts are kept: the first and the newest ones; and how many tracebacks."""

_NOTE = re.compile(r"\(([0-9,]+) earlier \w+ left out\)")


def cut(text: str, most: int) -> str:
    """A text of ``most`` characters or a few more: its beginning, what was left out, its end.

    >>> cut("0123456789" * 10, 20)
    '0123456789 ... (80 characters left out) ... 0123456789'
    """
    if len(text) <= most:
        return text
    half = most // 2
    gap = "\n" if "\n" in text else " "
    note = f"... ({len(text) - 2 * half:,} characters left out) ..."
    return f"{text[:half]}{gap}{note}{gap}{text[-half:]}"


def keep_newest(
    kept: tuple[str, ...], new: Sequence[str], most: int, *, what: str
) -> tuple[str, ...]:
    """The newest ``most`` texts; before them, how many there were that are left out.

    Args:
        kept: the texts so far, as this function gave them.
        new: those that are added.
        most: how many are kept.
        what: what they are, as one word in the plural.

    >>> keep_newest(keep_newest((), "abc", 2, what="lines"), "d", 2, what="lines")
    ('(2 earlier lines left out)', 'c', 'd')
    >>> keep_newest((), "abc", 0, what="lines")
    ('(3 earlier lines left out)',)
    """
    texts = (*kept, *new)
    if len(texts) <= most:
        return texts
    note = _NOTE.fullmatch(texts[0])
    left_out = int(note[1].replace(",", "")) if note else 0
    left_out += len(texts) - bool(note) - most
    if not left_out:
        return texts
    return (f"({left_out:,} earlier {what} left out)", *texts[len(texts) - most :])
