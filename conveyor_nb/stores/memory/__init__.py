"""The store that keeps everything in this process's memory."""

from conveyor_nb.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
