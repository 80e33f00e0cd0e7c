"""Callbacks of a notebook's cell that is run again: those of its new run replace those of before.

A cell that says ``@queue.on("completed")`` is edited and run again, and both versions would be
called from then on. So a callback that a cell adds takes the place of those that an earlier run of
the *same cell* added at the same place under the same name. What one run adds is never replaced by
itself, as in a loop; another cell's callback stays, whatever it is called; and so does all that a
cell added and does not add again.

Where the notebook does not say which cell it runs, as a terminal, two callbacks are of one cell if
they are functions of one name at its top level; those called ``_`` and ``<lambda>`` all stay.

Only the notebook layer says that a cell runs; elsewhere nothing is replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from types import FunctionType, MethodType
from typing import NamedTuple

__all__ = ["Origin", "current_origin", "enter_cell", "replace_earlier"]


class Origin(NamedTuple):
    """A run of a cell.

    Args:
        cell: which cell, if that is known.
        run: which run, of all cells.
    """

    cell: str | None
    run: int


class _Added(NamedTuple):
    run: int
    drop: Callable[[], object]


_current: ContextVar[Origin | None] = ContextVar("conveyor_nb.origin", default=None)
_added: dict[Hashable, list[_Added]] = {}
_lock = threading.Lock()

_MOST = 10_000
"""So many names are known, the newest; of what was added before nothing is replaced."""

current_origin: Callable[[], Origin | None] = _current.get
"""The run of a cell that the caller belongs to, if any."""

enter_cell: Callable[[Origin | None], object] = _current.set
"""Let all that is added from here on, in this task and what it starts, be of a run of a cell."""


def replace_earlier(
    place: Hashable, callback: Callable[..., object], drop: Callable[[], object]
) -> None:
    """Drop what earlier runs of the running cell added at a place under the callback's name.

    Args:
        place: what the callback listens to.
        callback: what is added now.
        drop: takes it away again; called when a later run replaces it.
    """
    origin = _current.get()
    name = _name_of(callback)
    if origin is None or name is None:
        return
    if origin.cell is None and ("<" in name or name == "_"):
        return
    key = (origin.cell, place, name)
    with _lock:
        known = _added.pop(key, [])
        earlier = [one for one in known if one.run != origin.run]
        _added[key] = [*(one for one in known if one.run == origin.run), _Added(origin.run, drop)]
        if len(_added) > _MOST:
            del _added[next(iter(_added))]
    for one in earlier:
        one.drop()


def _name_of(callback: Callable[..., object]) -> str | None:
    """The name of a function that a notebook defines, or of a method of what it defines."""
    function = callback.__func__ if isinstance(callback, MethodType) else callback
    if isinstance(function, FunctionType) and function.__module__ == "__main__":
        return function.__qualname__
    return None
