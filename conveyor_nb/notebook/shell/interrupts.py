"""Interrupts that are felt at once.

Interrupting a kernel sends it a signal. While a cell awaits, ipykernel's handler of the signal
only schedules the end of the cell on the loop, and a loop that sleeps does not notice that until
something else wakes it: the next timer, perhaps, or the next message. So here the signal itself
wakes the loop, by a byte that Python writes to a socket the loop listens to.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading

__all__ = ["LoopWaker"]


class LoopWaker:
    """Wakes a running loop whenever the process gets a signal, until it is closed.

    To be made on the main thread, the only one that gets signals.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        try:
            loop.add_reader(self._reader, self._drain)
        except NotImplementedError:
            self._reader.close()
            self._writer.close()
            raise
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    @classmethod
    def if_needed(cls) -> LoopWaker | None:
        """One for the running loop, if there is one that signals don't wake yet."""
        if threading.current_thread() is not threading.main_thread():
            return None
        try:
            waker = cls(asyncio.get_running_loop())
        except (RuntimeError, NotImplementedError, OSError):
            return None  # no loop; Windows' own kind, which wakes itself; or there are no sockets
        if waker._before != -1:  # somebody else listens to signals already
            waker.close()
            return None
        return waker

    def close(self) -> None:
        """Leave signals and loop as they were."""
        signal.set_wakeup_fd(self._before)
        if not self._loop.is_closed():
            self._loop.remove_reader(self._reader)
        self._writer.close()
        self._reader.close()

    def _drain(self) -> None:
        """Read the byte, which has done its work."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)
