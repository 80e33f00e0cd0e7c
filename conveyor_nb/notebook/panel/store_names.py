"""What tells one store from another where two hold a queue of the same name."""

from __future__ import annotations

import itertools
from weakref import WeakKeyDictionary

from IPython.core.getipython import get_ipython

from conveyor_nb.core.values.text import one_line
from conveyor_nb.stores import StoreInterface, default_store

__all__ = ["name_of"]

_counter = itertools.count(1)
_numbers: WeakKeyDictionary[StoreInterface, int] = WeakKeyDictionary()


def name_of(store: StoreInterface) -> str:
    """A store in a few words: the variable that holds it, or else a number."""
    if store is default_store():
        return "default store"
    variables = dict(getattr(get_ipython(), "user_ns", {}))
    for name, value in variables.items():
        if value is store and not name.startswith("_"):
            return one_line(f"store {name}", 40)
    number = _numbers.get(store) or _numbers.setdefault(store, next(_counter))
    return f"{type(store).__name__} no. {number}"
