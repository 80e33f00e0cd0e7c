"""What a command has before it: a store, its queues and its workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.known_workers import find_worker, known_workers
from conveyor_nb.notebook.mistakes import Mistake, near, quoted
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.reads import Reads, reads_of
from conveyor_nb.worker import Worker

__all__ = ["StoreContext"]


class StoreContext(ABC):
    """Where the commands of a notebook, or of a shell, find what they are about."""

    @property
    @abstractmethod
    def store(self) -> StoreInterface:
        """The store that commands are about."""

    @property
    def variables(self) -> dict[str, Any]:
        """The variables that a command may name."""
        return {}

    @property
    def reads(self) -> Reads:
        """What a command asks of the store in order to show it."""
        return reads_of(self.store)

    async def queue_names(self) -> list[str]:
        """The queues of the store: those with jobs or workers, and those that are known here."""
        return sorted({*self.queues_here(), *await self.reads.list_queues()})

    def queues_here(self) -> set[str]:
        """The queues that are known here, whether there is anything in them or not."""
        return {worker.queue_name for worker in self.workers().values()}

    async def queue(self, name: str) -> Queue:
        """A queue of the store.

        Raises:
            Mistake: nobody has heard of it.
        """
        known = await self.queue_names()
        if name in known:
            return self.any_queue(name)
        self.refuse_elsewhere(name)
        if not known:
            raise Mistake(
                f"there is no queue {shown(name)}, nor any other; add a job to make it: "
                f"%conveyor add {quoted(name)} send"
            )
        raise Mistake(f"there is no queue {shown(name)}; {near(name, known)}")

    def refuse_elsewhere(self, name: str) -> None:  # noqa: B027 - most know of no other store
        """Raise ``Mistake`` if a queue of that name is in another store that is known here."""

    def any_queue(self, name: str) -> Queue:
        """A queue of the store, known or new."""
        return Queue(name, store=self.store)

    def workers(self) -> Mapping[str, Worker]:
        """The workers of the store, closed ones too, by what people type for them."""
        return known_workers(self.store)

    def worker(self, name: str) -> Worker:
        """A worker by its name or id.

        Raises:
            Mistake: there is none of that name, or there are two.
        """
        return find_worker(self.store, name)

    async def settle(self) -> None:
        """With a virtual clock: let all that can run now run, so that what is shown is certain."""
        clock = self.store.clock
        if isinstance(clock, VirtualClock):
            await clock.settle()
