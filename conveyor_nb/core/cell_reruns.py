"""Callbacks of a notebook's cell that is run again: those of its new run replace those of before.

A cell that says ``@queue.on("completed")`` is edited and run again, and both versions would be
called from then on. So a callback that a cell adds takes the place of those that an earlier run of
the *same cell* added at the same place under the same name. What one run adds is never replaced by
itself, as in a loop; another cell's callback stays, whatever it is called; and so does all that a
cell added and does not add again.

Where the notebook does not say which cell it runs, as a terminal, and for modules that are loaded
again, two callbacks are one if they are functions of one name at the top level of the notebook or
module; those called ``_`` and ``<lambda>`` all stay.

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
"""How many names are remembered, the newest; what was added before those is not replaced."""

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
    name = None if origin is None else _name_of(callback, origin.cell)
    if origin is None or name is None:
        return
    key = (place, name)
    with _lock:
        known = _added.pop(key, [])
        earlier = [one for one in known if one.run != origin.run]
        _added[key] = [*(one for one in known if one.run == origin.run), _Added(origin.run, drop)]
        if len(_added) > _MOST:
            del _added[next(iter(_added))]
    for one in earlier:
        one.drop()


def _name_of(callback: Callable[..., object], cell: str | None) -> tuple[str, ...] | None:
    """What a callback of a cell is known by, if it is one that can be replaced."""
    function = callback.__func__ if isinstance(callback, MethodType) else callback
    if not isinstance(function, FunctionType) or not function.__module__:
        return None
    name = function.__qualname__
    if function.__module__ == "__main__" and cell is not None:
        return cell, name
    is_ours = function.__module__.partition(".")[0] == __package__.partition(".")[0]
    if is_ours or function is not callback or "<" in name or name == "_":
        return None
    return "", function.__module__, name
