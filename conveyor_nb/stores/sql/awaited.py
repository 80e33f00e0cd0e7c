"""What a thread of a store does for somebody who waits on a loop of another thread."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

__all__ = ["Awaited"]

T = TypeVar("T")


class Awaited(Generic[T]):
    """Something that is waited for on the loop that runs here; the thread says what came of it."""

    __slots__ = ("error", "future", "loop", "result")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        """Let who waits go on; on the loop of the call."""
        if self.future.done():  # nobody waits any more
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)
