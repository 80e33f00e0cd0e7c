"""The job that a plain ``def`` handler gets: in its thread, the job's coroutines just work."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Coroutine
from typing import Any

from conveyor_nb.clocks.loops import block_on
from conveyor_nb.core.values.text import shown
from conveyor_nb.job import Job

__all__ = ["BlockingJob"]


class BlockingJob:
    """A job whose methods block until they are done, for use outside of the loop's thread.

    It has every field and method of ``Job``; ``job.log("...")`` and ``job.sleep(2)`` need no
    ``await``. In a coroutine, on whatever loop the thread runs, they are awaited as ever.
    """

    __slots__ = ("_job", "_loop")

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        object.__setattr__(self, "_job", job)
        object.__setattr__(self, "_loop", loop)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._job, name, value)  # the job says what is read-only

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._job, name)
        if not inspect.iscoroutinefunction(inspect.unwrap(value)):  # a condition is wrapped
            return value

        @functools.wraps(value)
        def call(*args: Any, **kwargs: Any) -> Any:
            made = value(*args, **kwargs)
            if asyncio._get_running_loop() is not None:
                return made
            try:
                return block_on(self._loop, self._on_loop(made))
            except RuntimeError as error:
                if not self._loop.is_closed():
                    raise
                raise RuntimeError(
                    f"job {shown(self._job.id)} can do nothing any more: the event loop of its "
                    "worker is closed"
                ) from error
            finally:
                made.close()  # it may not have begun

        return call

    async def _on_loop(self, made: Coroutine[Any, Any, Any]) -> Any:
        with self._job.store.clock.back_on_loop():
            return await made

    def __repr__(self) -> str:
        return repr(self._job)
