"""Which jobs of a queue a panel's table shows: its conditions, its order, and the page of them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME, Clock, checkpoint
from conveyor_nb.core.job_query import JobQuery
from conveyor_nb.core.model import EPOCH, JobData, JobPage, JobState
from conveyor_nb.core.slicing import sliced
from conveyor_nb.core.values.durations import span, to_seconds
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.job_words import instant_of
from conveyor_nb.queue import Queue

__all__ = ["SORTS", "Choice", "Search"]

_KEYS: Mapping[str, Callable[[JobData], Any]] = {
    "name": lambda job: job.name.casefold(),
    "tries": lambda job: job.attempts_made,
    "when": lambda job: instant_of(job)[0] or EPOCH,
    "added": lambda job: job.sequence,
}

SORTS = frozenset({"", *_KEYS, *(f"-{name}" for name in _KEYS)})
"""By what the table is sorted; with a minus the largest or newest comes first."""

_REST = 9
"""After a search it is not searched again for so many times as long as it took."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person wants to see in the table; empty: whatever there is.

    Args:
        state: jobs in this state.
        text: with this in the id, the name or the payload, whatever its case.
        name: of this name.
        group: of this group.
        flow: the job with this id, and its children.
        schedule: of this scheduler.
        added: added no longer ago than this, as a duration.
        since: added from this instant on, in seconds since 1970; ``None``: whenever.
        until: added until this instant; as above.
        sort: in which order, one of ``SORTS``.
    """

    state: JobState | None = None
    text: str = ""
    name: str = ""
    group: str = ""
    flow: str = ""
    schedule: str = ""
    added: str = ""
    since: float | None = None
    until: float | None = None
    sort: str = ""

    def __post_init__(self) -> None:
        if self.added:
            to_seconds(self.added, what="how long ago jobs were added at most")
        if self.since is not None and self.until is not None and self.until < self.since:
            first, last = (f"{_instant(at):%Y-%m-%d %H:%M:%S}" for at in (self.since, self.until))
            raise ValueError(f"no job was added from {first} until {last} UTC, which is before")
        if self.sort not in SORTS:
            raise ValueError(f"a table is sorted by one of {sorted(SORTS)}, not {shown(self.sort)}")

    @property
    def is_searched(self) -> bool:
        """Whether all jobs of the queue have to be looked at for it."""
        return bool(self.is_filtered or self.sort)

    @property
    def is_filtered(self) -> bool:
        """Whether it asks for more than a state."""
        parts = (self.text, self.name, self.group, self.flow, self.schedule, self.added)
        return any(parts) or self.since is not None or self.until is not None

    def query(self, now: datetime) -> JobQuery:
        """It as the question to a store at an instant."""
        begins = [] if self.since is None else [_instant(self.since)]
        if self.added:
            begins.append(now - span(to_seconds(self.added)))
        return JobQuery(
            created_from=max(begins, default=None),
            created_to=None if self.until is None else _instant(self.until),
            states=None if self.state is None else frozenset({self.state}),
            anywhere=self.text.casefold() or None,
            name=self.name or None,
            group_id=self.group or None,
            flow=self.flow or None,
            scheduler_id=self.schedule or None,
        )


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


class Search:
    """Finds what is chosen, and keeps it for a while: a large queue is not searched for each frame.

    Args:
        queue: whose jobs are searched.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._choice = Choice()
        self._found: Sequence[JobData] = ()
        self._next_at = 0.0
        self.again: float | None = None
        """In how many seconds there may be more to see; ``None``: what was seen is all."""

    def forget(self) -> None:
        """Let the next look be a fresh one."""
        self._next_at = 0.0

    async def page(self, choice: Choice, start: int, size: int) -> JobPage:
        """A page of what is chosen, and how many jobs that are."""
        began = REAL_TIME.now().timestamp()
        self.again = None
        if choice == self._choice and began < self._next_at:
            self.again = self._next_at - began
        else:
            self._found = await self._find(choice)
            ended = REAL_TIME.now().timestamp()
            self._choice, self._next_at = choice, ended + _REST * (ended - began)
        return JobPage(list(self._found[start : start + size]), len(self._found))

    async def all(self, choice: Choice) -> Sequence[JobData]:
        """All that is chosen, as it is now."""
        return await self._find(choice)

    async def _find(self, choice: Choice) -> Sequence[JobData]:
        store = self._queue.store
        found = (
            await store.find_jobs(self._queue.name, choice.query(store.clock.now()), 0, None)
        ).jobs
        if not choice.sort:
            return found[::-1]
        return await _in_order(found, choice.sort, store.clock)


async def _in_order(jobs: Sequence[JobData], sort: str, clock: Clock) -> list[JobData]:
    """Sort them without holding up the loop."""
    key, largest_first = _KEYS[sort.removeprefix("-")], sort.startswith("-")
    runs = []
    for some in sliced(jobs):
        runs.append(sorted(some, key=key, reverse=largest_first))
        if clock.overdue():
            await checkpoint()
    merged = heapq.merge(*runs, key=key, reverse=largest_first)
    ordered: list[JobData] = []
    while some := list(itertools.islice(merged, 1_000)):
        ordered += some
        if clock.overdue():
            await checkpoint()
    return ordered
