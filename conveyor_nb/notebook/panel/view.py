"""What the parts of a panel have in common: each reads for the page, and does what it asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from conveyor_nb.core.model import JobState, StoreEvent
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.queue import Queue
from conveyor_nb.stores.reads import SynchronousReads

__all__ = ["Action", "Glance", "UnknownRequestError", "View", "plainly"]

Action = Callable[[Message], Awaitable[object]]
"""What is done when a page asks for it."""


class UnknownRequestError(ValueError):
    """A page asks for what no panel does; it may be an old or a broken one."""

    def __init__(self, what: str) -> None:
        super().__init__(f"a panel does not know how to do {shown(what)}")


@dataclass(frozen=True, slots=True)
class Glance:
    """What several parts of a frame need to know of a queue: it is read once for all of them.

    Args:
        counts: how many jobs are in each state.
        paused_names: the paused job names, ``ALL_NAMES`` for the whole queue.
    """

    counts: Mapping[JobState, int]
    paused_names: frozenset[str]

    @property
    def total(self) -> int:
        """How many jobs the queue has."""
        return sum(self.counts.values())


class View(ABC):
    """One part of what a panel shows of a queue.

    It reads by the store's async methods alone, so that any store can be shown, and never more
    than the page shows.

    Args:
        queue: what is shown.
        read_only: whether it is only to be looked at.
    """

    part: ClassVar[str]
    """Under which name the page gets it."""

    apart: ClassVar[Mapping[str, str]] = {}
    """What of it is so large that the page gets it by itself, and under which name."""

    may_rest: ClassVar[bool] = True
    """Whether what was read may stay as it is for a moment, if the store took long to tell it."""

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        self.queue = queue
        self.read_only = read_only

    @property
    def unheard(self) -> float:
        """In how many seconds one looks again for what no event tells of here.

        A store that has to be waited for is asked less often.
        """
        return 0.15 if isinstance(self.queue.store, SynchronousReads) else 1.0

    @abstractmethod
    async def read(self, glance: Glance) -> Any:
        """What the page is to show, as JSON-like values."""

    @property
    def again(self) -> float | None:
        """In how many seconds it is to be read again though nothing happened; ``None``: not."""
        return None

    def asks(self) -> Mapping[str, Action]:
        """What a page may ask for that changes what it is shown, and nothing else."""
        return {}

    def acts(self) -> Mapping[str, Action]:
        """What a page may do to the queue; refused where it is only to be looked at."""
        return {}

    @property
    def tells_of_all(self) -> bool:
        """Whether it needs each event, however many there are, while it is shown."""
        return False

    @property
    def favours(self) -> str:
        """Of which type of event it tells, so that it is to be heard among very many others."""
        return ""

    def note(self, events: Sequence[StoreEvent]) -> None:  # noqa: B027  # most have no use for it
        """Take note of what happened in the queue since the last time."""

    def count(self, instants: Sequence[datetime], *, failed: bool) -> None:  # noqa: B027
        """Count jobs that have settled, of which no event is noted."""

    def miss(self, since: datetime, until: datetime) -> None:  # noqa: B027
        """From an instant until another one more happened than is noted."""

    def rest(self) -> None:  # noqa: B027  # as above
        """Nobody looks any more: of what happens from now on, only little is noted."""

    def renew(self) -> None:  # noqa: B027  # as above
        """A page has come, or is back, that has not seen what this shows now."""

    def retell(self, events: Sequence[StoreEvent]) -> None:
        """Time was set back or on: these are the last events up to now, and no others."""
        self.renew()


def plainly(do: Callable[[Message], object]) -> Action:
    """An action from a plain function."""

    async def action(message: Message) -> None:
        do(message)

    return action
