"""Steps on very many items: they can be interrupted after each slice, so that others get a turn."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar

__all__ = ["SLICE", "Step", "collector_at_rest", "sliced"]

T = TypeVar("T")

SLICE = 256
"""How many small things who does very many of them does from one look at the clock to the next."""

Step = Generator[None, None, T]
"""A step that may be interrupted wherever it yields; what it returns is its result.

It yields after each whole slice of its items, so that one of fewer never waits.
"""


def sliced(items: Sequence[T]) -> Generator[Sequence[T], None, None]:
    """The items by the slice.

    >>> [len(each) for each in sliced(range(600))]
    [256, 256, 88]
    """
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """Let Python's collector rest while very many objects are made that are all to stay.

    It would look at them again and again as they grow in number, and now and then at all that the
    program holds, and find nothing: a loop has no longer pauses than these.
    """
    was_at_work = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_at_work:
            gc.enable()
