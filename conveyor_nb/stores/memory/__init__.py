"""The store that keeps everything in this process's memory; only ``stores`` imports its modules.

``store`` is the class, in parts: ``state`` (what it holds), ``reads``, ``long_steps`` (many jobs at
a time); ``queue_index`` and ``waiting`` find jobs fast and in order.
"""

from conveyor_nb.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
