"""What a queue gives of its jobs: plain lists and dicts that are worth looking at as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conveyor_nb.core.model import JobState
from conveyor_nb.core.values.text import shown_list
from conveyor_nb.display import Displayable, Shown
from conveyor_nb.job import Job

__all__ = ["JobCounts", "JobList"]


class JobList(Displayable, list[Job]):
    """A list of jobs that a notebook shows as a table; ``to_frame()`` has all that is known."""

    __slots__ = ()

    def __repr__(self) -> str:
        return shown_list(self, len(self))


class JobCounts(Shown, dict[JobState, int]):
    """How many jobs are in each state, by the state or its text.

    >>> JobCounts({JobState.WAITING: 2, JobState.ACTIVE: 1})["waiting"]
    2
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __getitem__(self, state: str) -> int:
            """The number of jobs in a state."""
