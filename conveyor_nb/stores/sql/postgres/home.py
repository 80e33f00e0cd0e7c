"""A thread with a loop of its own, where all work with a server is done, for whatever loop asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Home"]


class Home:
    """A loop in a thread.

    Args:
        name: the thread's.
        serve: called on the loop with all that was handed in since the last time.
        end: awaited on the loop at its end.
    """

    def __init__(
        self,
        name: str,
        serve: Callable[[list[Any]], object],
        end: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._serve, self._end = serve, end
        self._guard = threading.Lock()
        self._handed_in: list[Any] = []
        self._is_over = False
        self.loop = asyncio.new_event_loop()
        # a daemon: a store that nobody disconnects must not keep the process from its end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def hand_in(self, *some: Any) -> bool:
        """Have something served, all of it together; ``False``: this has come to its end."""
        with self._guard:
            if self._is_over:
                return False
            self._handed_in.extend(some)
            if len(self._handed_in) == len(some):
                self.loop.call_soon_threadsafe(self._take)
        return True

    def close(self) -> None:
        """Serve what was handed in, end the thread, and wait for that."""
        with self._guard:
            if not self._is_over:
                self._is_over = True
                self.loop.call_soon_threadsafe(self.loop.stop)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _take(self) -> None:
        with self._guard:
            handed_in, self._handed_in = self._handed_in, []
        if handed_in:
            self._serve(handed_in)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self._take()
            self.loop.run_until_complete(self._end())
        finally:
            self.loop.close()
