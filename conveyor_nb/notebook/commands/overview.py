"""What ``%conveyor`` alone shows: the dashboard of all queues, and as text how they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conveyor_nb.notebook.commands.magic_output import status_text
from conveyor_nb.notebook.markup import as_page
from conveyor_nb.notebook.reads import QueueLine, queue_lines
from conveyor_nb.notebook.render import live_forms, show
from conveyor_nb.notebook.snapshot import queues_html
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.reads import SynchronousReads
from conveyor_nb.worker import Worker

__all__ = ["Overview"]


class Overview:
    """A store with its queues and workers: the store's own display, and a text that says more.

    Args:
        store: what is shown.
        lines: its queues, as they are now.
        workers: gives its workers by what people type for them.
    """

    def __init__(
        self,
        store: StoreInterface,
        lines: Sequence[QueueLine],
        workers: Callable[[], Mapping[str, Worker]],
    ) -> None:
        self._store = store
        self._lines = lines
        self._workers = workers

    def __repr__(self) -> str:
        return status_text(self._lines, self._workers())

    def _ipython_display_(self) -> None:
        """Show the dashboard where what is shown can be renewed.

        Raises:
            NotImplementedError: there is no such place here.
        """
        if not show(self._store, self._words_now):
            raise NotImplementedError

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        page = as_page(queues_html(self._store, self._lines))
        return {"text/plain": repr(self), "text/html": page} | live_forms(self._store)

    def _words_now(self) -> str:
        if isinstance(self._store, SynchronousReads):
            self._lines = read_now(self._store, queue_lines)
        return repr(self)
