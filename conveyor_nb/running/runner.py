"""What calls a worker's handler, wherever that runs: the base of all that do."""

from __future__ import annotations

import concurrent.futures
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from conveyor_nb.job import Job

__all__ = ["Argument", "Background", "Raised", "Runner"]

Argument = Job | list[Job]


class Raised(NamedTuple):
    """What a handler raised, as a value: not every exception can be raised out of a coroutine."""

    error: BaseException


Background = concurrent.futures.Future[Any]
"""What is done when a thread has ended."""


class Runner(ABC):
    """Calls the handler of a worker: one for each worker, from its start to its end."""

    @abstractmethod
    def call(self, argument: Argument, keep: Callable[[Background], None]) -> Awaitable[Any]:
        """Call the handler; gives what it returns. What it raises is raised, or comes ``Raised``.

        Args:
            argument: the job, or the jobs of a batch.
            keep: told of the thread that the handler is in, as nobody can stop that.
        """

    def resize(self, size: int) -> None:  # noqa: B027 -- as below
        """Be ready for so many calls at once."""

    async def close(self) -> None:  # noqa: B027 -- a task needs nothing of it
        """Let go of threads and processes."""
