"""The store that keeps everything in this process's memory; only ``stores`` imports its modules.

``store`` is the class, in parts: ``reads`` (what changes nothing) and ``bulk`` (many jobs at a
time). ``state`` holds its rows; ``queue_index``, ``waiting``, ``families`` and ``retention`` find
them fast and in order. The rules of its steps stand in ``core``, for every store.
"""

from conveyor_nb.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
