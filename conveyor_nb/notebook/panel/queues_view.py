"""What a panel shows of a store: its queues, each as a card that opens it."""

from __future__ import annotations

from typing import Any

from conveyor_nb.core.model import ALL_NAMES, JobState
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.panel.queue_view import sendable
from conveyor_nb.notebook.reads import QueueLine, queue_lines
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.in_words import store_in_words

__all__ = ["QueuesView"]

_MOST_CARDS = 200


class QueuesView:
    """The queues of a store.

    Args:
        store: what is shown.
        read_only: whether it is only to be looked at.
    """

    def __init__(self, store: StoreInterface, *, read_only: bool = False) -> None:
        self.store = store
        self.read_only = read_only

    async def read(self) -> dict[str, Any]:
        """The cards, in the order of their names."""
        names = await self.store.list_queues()
        cards = [_card(line) for line in await queue_lines(self.store, names[:_MOST_CARDS])]
        told = {
            "store": f"<{type(self.store).__name__}: {await store_in_words(self.store)}>",
            "cards": cards,
            "more": len(names) - len(cards),
            "read_only": self.read_only,
        }
        return {"queues": sendable(told)}

    async def require(self, name: str) -> None:
        """Check that there is such a queue.

        Raises:
            ValueError: there is none.
        """
        names = await self.store.list_queues()
        if name not in names:
            raise ValueError(f"this store has no queue {shown(name)}")


def _card(line: QueueLine) -> dict[str, Any]:
    return {
        "name": line.name,
        "counts": {str(state): line.counts[state] for state in JobState},
        "paused": ALL_NAMES in line.paused,
        "workers": len(line.workers),
        "slots": sum(worker.concurrency for worker in line.workers),
    }
