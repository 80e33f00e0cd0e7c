"""The tasks that a worker runs in, by which it notices that its loop ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["Owners"]


class Owners:
    """The tasks that the slots of a worker belong to.

    A loop that ends cancels all of its tasks: these too, which nobody else does.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._was_cancelled = False

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Lets the current task be one of them meanwhile."""
        self._was_cancelled = False
        owner = asyncio.current_task()
        assert owner is not None
        self._tasks.add(owner)
        try:
            yield
        except asyncio.CancelledError:
            self._was_cancelled = True
            raise
        finally:
            self._tasks.discard(owner)

    @property
    def are_thrown_away(self) -> bool:
        """Whether the loop that they run on is ending."""
        return self._was_cancelled or any(owner.cancelling() for owner in self._tasks)
