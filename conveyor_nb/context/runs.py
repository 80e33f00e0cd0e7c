"""The run of a handler that code belongs to, however deep below the handler it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from msgspec import Struct

__all__ = ["Run", "current_run", "enter_run"]


class Run(Struct, frozen=True, eq=False, weakref=True):
    """One run of a handler.

    Args:
        jobs: the ``Job``, or those of the batch.
        captured: whether what it prints may be taken for the jobs' logs, see ``Worker``.
        loop: where the jobs' methods run.
    """

    jobs: Sequence[Any]
    captured: bool
    loop: asyncio.AbstractEventLoop


_current: ContextVar[Run | None] = ContextVar("conveyor_nb.current_run", default=None)


enter_run: Callable[[Run], object] = _current.set
"""Let all that is called from here on, in this task and what it starts, belong to a run."""

current_run: Callable[[], Run | None] = _current.get
"""The run that the caller belongs to, if any; it may be over by now."""
