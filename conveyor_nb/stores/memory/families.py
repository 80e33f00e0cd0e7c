"""The rows of children that a ``MemoryStore`` keeps, by parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from conveyor_nb.core.rows import ChildRow, Key

__all__ = ["Families"]


class Families:
    """The children of each parent, in order, and those that have failed and are awaited."""

    def __init__(self) -> None:
        self._children: dict[Key, dict[Key, ChildRow]] = {}
        self._awaited: dict[Key, dict[Key, None]] = {}

    def children(self, parent: Key) -> Mapping[Key, ChildRow]:
        """The children of a parent, in the order they were added."""
        return self._children.get(parent, {})

    def failed(self, parent: Key) -> list[Key]:
        """The children of a parent that have failed and were not run again."""
        return [key for key, row in self.children(parent).items() if row.why is not None]

    def awaited(self, parent: Key, most: int) -> tuple[Sequence[Key], int]:
        """The first of the failed children that a parent waits for again, and how many."""
        awaited = self._awaited.get(parent, {})
        return list(islice(awaited, most)), len(awaited)

    def put(self, parent: Key, child: Key, row: ChildRow) -> None:
        """Keep the row of a child."""
        self._children.setdefault(parent, {})[child] = row
        awaited = self._awaited.get(parent)
        if awaited is not None:
            awaited.pop(child, None)  # one that is put again stands last
        if row.awaited:
            self._awaited.setdefault(parent, {})[child] = None
        elif awaited is not None and not awaited:
            del self._awaited[parent]

    def forget(self, parent: Key) -> None:
        """Note that the parent is gone."""
        self._children.pop(parent, None)
        self._awaited.pop(parent, None)
