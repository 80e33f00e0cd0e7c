"""Warns of a worker that a cell left running when it was run again.

``@queue.worker(...)`` and ``%%worker`` take over from the worker that their cell made before;
``Worker(...)`` made by hand can't know of it.
"""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakSet

from IPython.core.interactiveshell import InteractiveShell

from conveyor_nb.core.values.text import inline, shown
from conveyor_nb.notebook.known_workers import is_named, stop_line
from conveyor_nb.worker import Worker, live_workers

__all__ = ["DuplicateWorkerWarning", "DuplicateWorkerWatch"]


class DuplicateWorkerWarning(UserWarning):
    """Two workers of one name are running; probably only one of them is wanted."""


class DuplicateWorkerWatch:
    """Warns after a cell that has made a worker by hand while one of its name goes on.

    Args:
        shell: whose cells are watched.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self._before: WeakSet[Worker] = WeakSet(live_workers())
        self._shell.events.register("pre_run_cell", self._note)
        self._shell.events.register("post_run_cell", self._look)

    def close(self) -> None:
        """Watch no more."""
        self._shell.events.unregister("pre_run_cell", self._note)
        self._shell.events.unregister("post_run_cell", self._look)

    def _note(self, *_: object) -> None:
        self._before = WeakSet(live_workers())

    def _look(self, *_: object) -> None:
        at_work = [worker for worker in live_workers() if worker.status.is_at_work]
        for worker in at_work:
            if worker in self._before or is_named(worker):
                continue
            earlier = [one for one in at_work if one in self._before and _is_same(one, worker)]
            if earlier:
                where = f"<cell {self._shell.execution_count}>"
                warnings.warn_explicit(_told(worker, earlier), DuplicateWorkerWarning, where, 1)
        self._note()


def _is_same(one: Worker, other: Worker) -> bool:
    return one.store is other.store and one.name == other.name


def _told(worker: Worker, earlier: list[Worker]) -> str:
    """What is wrong, and what to do about it."""
    closing = " and ".join(map(stop_line, earlier))
    before = ", ".join(one.id for one in earlier)
    return (
        f"this cell has started worker {shown(worker.name)} ({inline(worker.id)}), and the one "
        f"from before ({before}) still runs, with its old handler; close that: {closing}. A "
        "handler under @queue.worker(...) or %%worker takes over by itself when its cell runs again"
    )
