"""Which cell runs, for what needs to know: see ``conveyor_nb.core.cell_reruns``."""

from __future__ import annotations

import itertools
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from conveyor_nb.core.cell_reruns import Origin, enter_cell

__all__ = ["CellWatch"]

_runs = itertools.count(1)


class CellWatch:
    """Knows which cell runs, until it is closed.

    Args:
        shell: whose cells are watched.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._events: Any = shell.events
        self._events.register("pre_run_cell", self._begin)
        self._events.register("post_run_cell", self._end)

    def close(self) -> None:
        """Watch no more."""
        self._events.unregister("pre_run_cell", self._begin)
        self._events.unregister("post_run_cell", self._end)

    def _begin(self, info: Any = None) -> None:
        enter_cell(Origin(getattr(info, "cell_id", None), next(_runs)))

    def _end(self, *_: object) -> None:
        enter_cell(None)  # what the kernel does between cells belongs to no cell
