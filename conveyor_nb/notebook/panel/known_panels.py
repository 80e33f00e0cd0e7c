"""The panels that there are: which of them show the same queue, and which are not kept for ever."""

from __future__ import annotations

from typing import Protocol

from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface

__all__ = ["Known", "close_panels", "end_panels", "forget_some", "namesakes_of", "panels"]

_KEPT_ASLEEP = 16
"""How many panels are kept that no page shows any more: their notebook may be opened again."""

_KEPT_UNSEEN = 64
"""How many panels are kept that a page has, and nobody sees: it may still be loading, or rest."""


class Known(Protocol):
    """What is asked of a panel here; ``Panel`` says what it means."""

    was_live: bool

    @property
    def store(self) -> StoreInterface: ...

    @property
    def queue(self) -> Queue | None: ...

    @property
    def live(self) -> bool: ...

    @property
    def rests(self) -> bool: ...

    def shows(self, queue_name: str) -> bool: ...

    def touch(self) -> None: ...

    def end(self, why: str) -> None: ...

    def close(self) -> None: ...


panels: list[Known] = []
"""All that are not closed, the oldest first."""


def namesakes_of(panel: Known) -> list[Known]:
    """The other panels that show a queue of the same name now."""
    queue = panel.queue
    if queue is None:
        return []
    return [one for one in panels if one is not panel and one.shows(queue.name)]


def end_panels(store: StoreInterface, why: str) -> None:
    """Have the panels of a store say why nothing can be changed there any more."""
    for panel in panels:
        if panel.store is store:
            panel.end(why)


def forget_some() -> None:
    """Close the panels that have been out of sight for longest."""
    asleep = [one for one in panels if one.was_live and not one.live and not one.rests]
    unseen = [one for one in panels if not one.was_live or one.rests]
    for forgotten in (*asleep[:-_KEPT_ASLEEP], *unseen[:-_KEPT_UNSEEN]):
        forgotten.close()


def close_panels() -> None:
    """Close every panel: for when the extension is unloaded."""
    while panels:
        panels[-1].close()
