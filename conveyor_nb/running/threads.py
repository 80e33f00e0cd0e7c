"""A pool of threads that a process that ends does not wait for.

``concurrent.futures`` joins its threads when Python ends, before anybody could tell the handlers
in them to stop: a kernel would hang on its last job.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["ThreadPool"]

_Call = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]
_Calls = queue.SimpleQueue[_Call | None]


class ThreadPool:
    """Calls functions in threads; a thread is started when all are busy.

    Args:
        size: how many threads there are at most.
        name: what their names begin with.
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._name = name
        self._count = 0
        self._calls: _Calls = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        # threads of a pool that was forgotten end too
        self._end = weakref.finalize(self, _end, self._calls)
        self._end.atexit = False

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function in the next thread that is free."""
        future: Future[Any] = Future()
        self._calls.put((future, function, arguments))
        if not self._idle.acquire(blocking=False) and self._count < self.size:
            thread = threading.Thread(
                target=_work,
                args=(self._calls, self._idle),
                name=f"{self._name}-{self._count + 1}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads
                if self._count == 0:  # otherwise nobody would ever take the call
                    self._calls.get_nowait()
                    raise
            else:
                self._count += 1
        return future

    def close(self) -> None:
        """Let the threads end as soon as they are not busy; calls that wait are cancelled."""
        self._end()


def _work(calls: _Calls, idle: threading.Semaphore) -> None:
    while (call := calls.get()) is not None:
        future, function, arguments = call
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # it is the caller's
                future.set_exception(error)
        del call, future, function, arguments  # nothing is held on to while there is nothing to do
        idle.release()
    calls.put(None)  # for the next thread


def _end(calls: _Calls) -> None:
    try:
        while (call := calls.get_nowait()) is not None:
            call[0].cancel()
    except queue.Empty:
        pass
    calls.put(None)
