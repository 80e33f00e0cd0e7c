"""What is asked of the thread that works with a server, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import JobData, StoreEvent
from conveyor_nb.core.rows import Key, Rows
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.awaited import Awaited

__all__ = ["Ask", "Call", "Fetch", "Look", "Publish", "Step", "Take", "Wanted"]

Step = Callable[[Rows, datetime], Any]
"""A step of ``core``, with all its arguments but the rows and the instant."""


@dataclass(slots=True, frozen=True)
class Take:
    """A step, and the jobs that it is given, or their keys."""

    step: Step
    about: Sequence[JobData | Key] = ()


@dataclass(slots=True, frozen=True)
class Fetch:
    """The arguments of ``StoreInterface.fetch_jobs``."""

    queue_name: str
    worker_id: str
    lock_duration: float
    options: FetchOptions
    limit: int


@dataclass(slots=True, frozen=True)
class Publish:
    """An event that is no step's."""

    event: StoreEvent


@dataclass(slots=True, frozen=True)
class Look:
    """A step that changes nothing."""

    step: Step


@dataclass(slots=True, frozen=True)
class Ask:
    """A question."""

    asking: Callable[[Answers], Asking[Any]]


Wanted = Take | Fetch | Publish | Look | Ask


class Call(Awaited[Any]):
    """Something that is wanted, and the loop where somebody waits for it.

    Args:
        wanted: what.
        after: nothing is done, and the result is ``None``, if this one fails.
    """

    __slots__ = ("after", "is_given_up", "is_settled", "wanted")

    def __init__(self, wanted: Wanted, after: Call | None = None) -> None:
        super().__init__()
        self.wanted, self.after = wanted, after
        self.is_settled = False
        """Whether it is known what came of it."""
        self.is_given_up = False
        """Whether nobody will have what comes of it."""

    def settle(self) -> None:
        self.is_settled = True
        super().settle()
