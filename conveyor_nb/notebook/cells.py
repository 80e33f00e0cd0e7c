"""Other people's values as cells of a DataFrame: one that can't be shown must not hide the others.

pandas shows a cell by asking its value, and one that raises, or gives what can't be sent to a page,
takes the whole table with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from conveyor_nb.core.errors import UnreadablePayloadError
from conveyor_nb.core.freezing import Frozen, peek
from conveyor_nb.core.values.text import error_line

__all__ = ["Unshown", "payload_cells", "presentable", "read_all"]

_PLAIN = frozenset({type(None), bool, float, datetime, timedelta})
_MOST_BITS = 10_000
_DOUBTFUL = re.compile(b"[\x93\x8b\xed]")
"""What in a pickle needs a closer look: a class, a very long number, half of a surrogate pair."""


class Unshown:
    """Stands in a frame for a value that can't be shown there.

    Args:
        value: the value itself.
        error: what came of showing it.
    """

    __slots__ = ("error", "value")

    def __init__(self, value: object, error: BaseException) -> None:
        self.value = value
        self.error = error

    def __repr__(self) -> str:
        return f"can't be shown: {error_line(self.error)}"


def read_all(records: Sequence[Any], name: str) -> list[Any]:
    """A payload of each of some records, an ``Unreadable`` in place of one that can't be read."""
    try:
        return list(map(attrgetter(name), records))
    except UnreadablePayloadError:
        return [peek(record, name) for record in records]


def payload_cells(records: Sequence[Any], name: str) -> list[Any]:
    """What a column shows of a payload of some records."""
    cells = read_all(records, name)
    try:
        return presentable(cells, list(map(attrgetter(f"kept_{name}"), records)))
    except AttributeError:  # records that are not a store's own
        return presentable(cells)


def presentable(values: list[Any], kept: list[Any] | None = None) -> list[Any]:
    """Values that can be shown, others replaced by an :class:`Unshown`.

    Args:
        values: the values.
        kept: the form in which a store keeps each, which tells sooner whether it is plain.
    """
    forms = enumerate(values if kept is None else kept)
    doubtful = [place for place, form in forms if form is not None and _is_doubtful(form)]
    if not doubtful or _fault_of([values[place] for place in doubtful]) is None:
        return values
    cells = list(values)
    for place in doubtful:
        if (error := _fault_of([cells[place]])) is not None:
            cells[place] = Unshown(cells[place], error)
    return cells


def _is_doubtful(kept: Any) -> bool:
    kind = type(kept)
    if kind is Frozen:
        return _DOUBTFUL.search(kept.pickle) is not None
    if kind in _PLAIN:
        return False
    if kind is str:
        return not kept.isascii()
    if kind is int:
        return int(kept.bit_length()) > _MOST_BITS
    if isinstance(kept, Mapping):  # the data of an event
        return any(map(_is_doubtful, kept.values()))
    if kind is tuple:  # the lines of a log
        return any(map(_is_doubtful, kept))
    return True


def _fault_of(values: list[Any]) -> BaseException | None:
    """What pandas raises when it is to show these values, if anything."""
    cells = np.fromiter(values, dtype=object, count=len(values))
    try:
        pd.Series(cells).to_string().encode()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a person's __repr__ may raise anything
        return error
    return None
