"""Who looks at what a cell shows: it decides in which form a panel is put there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Any

from IPython.core.getipython import get_ipython

__all__ = ["Host", "host_of", "loop_of_cells"]

_OF_JUPYTERLAB = frozenset({"deletedCells", "recordTiming"})
"""What JupyterLab and Notebook 7 tell of a cell beside its code, and nobody else does."""


class Host(Enum):
    """Who shows a notebook."""

    JUPYTERLAB = "JupyterLab, Notebook 7 and JupyterLite: their outputs can be renewed"
    WIDGETS = "any other page, which may know how to show a widget"
    FILE = "nobody, for now: a program runs the notebook and keeps what it shows"


def host_of(shell: Any) -> Host:
    """Who shows what the cell that runs now displays.

    Args:
        shell: the shell that runs it; ``None``: there is none.
    """
    if sys.platform == "emscripten":
        return Host.JUPYTERLAB
    if os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):
        return Host.WIDGETS  # it runs a notebook like a program, and then shows it
    request = _request_of(getattr(shell, "kernel", None))
    if _OF_JUPYTERLAB & set(request.get("metadata") or ()):
        return Host.JUPYTERLAB
    # Nobody is there whom a cell might ask something: so nbclient, papermill and nbval run them.
    if (request.get("content") or {}).get("allow_stdin") is False:
        return Host.FILE
    return Host.WIDGETS


def _request_of(kernel: Any) -> Mapping[str, Any]:
    """The message that a kernel is being asked by."""
    get_parent = getattr(kernel, "get_parent", None)
    request = get_parent("shell") if get_parent is not None else None
    return request if isinstance(request, Mapping) else {}


def loop_of_cells() -> asyncio.AbstractEventLoop | None:
    """The loop in which a kernel runs its cells, and workers with them.

    A callback of a widget may run in another thread with a loop of its own, and end before that
    loop shows anything.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    loop = getattr(getattr(kernel, "io_loop", None), "asyncio_loop", None)
    return loop if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_running() else None
