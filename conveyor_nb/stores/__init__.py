"""The stores: what each of them does, those that there are, and the one that is used by default.

``interface`` is the one seam between the engine and storage, and what follows from it for every
store is in ``derived``; ``subscriptions``, ``events`` and ``metrics`` are what every store shares;
``following`` is how one waits for a job or a queue; ``saves`` is how jobs come in, ``reads`` what
views ask, and ``read_now`` how a plain call has that answered; ``memory`` is the store in this
process's memory. A store writes rows: the rules are in ``core``, in its ``steps``, and
``working_set`` takes these over rows that are elsewhere; ``sql`` has how they are kept in a
database. Who needs only the interface imports that; this room's door knows all stores.
"""

from __future__ import annotations

import os

from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.interface import EventCallback, StoreInterface
from conveyor_nb.stores.memory.store import MemoryStore
from conveyor_nb.stores.opening import STORE_VARIABLE, open_store
from conveyor_nb.stores.reads import SynchronousReads

__all__ = [
    "EventCallback",
    "MemoryStore",
    "StoreInterface",
    "SynchronousReads",
    "check_store",
    "default_store",
    "open_store",
    "set_default_store",
]

_default: StoreInterface | None = None


def default_store() -> StoreInterface:
    """The store of queues and workers that are given none, made when asked.

    That is a ``MemoryStore``, or the store whose address stands in the environment, as
    ``CONVEYOR_STORE``.

    Raises:
        ValueError: what stands there is no address.

    >>> default_store() is default_store()
    True
    """
    global _default
    if _default is None:
        url = os.environ.get(STORE_VARIABLE)
        _default = open_store(url) if url else MemoryStore()
    return _default


def set_default_store(store: StoreInterface | None) -> None:
    """Use ``store`` from now on; ``None``: a new ``MemoryStore`` when next asked."""
    global _default
    _default = store


def check_store(store: StoreInterface | None) -> StoreInterface:
    """The store to use: the one given, or the default one."""
    if store is None:
        return default_store()
    if not isinstance(store, StoreInterface):
        raise TypeError(f"store must be a store such as MemoryStore(), not {shown(store)}")
    return store
