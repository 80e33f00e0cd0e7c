"""What is looked for among jobs: the conditions of a search, and a page of what was found."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from conveyor_nb.core.checks import to_instant
from conveyor_nb.core.freezing import Unreadable, peek
from conveyor_nb.core.model import JobData, JobPage, JobState, to_state
from conveyor_nb.core.payload_search import contains_text, to_needle
from conveyor_nb.core.text import shown

__all__ = ["Condition", "has_fields", "has_name", "is_wanted", "page_of"]

Condition = Callable[[JobData], bool]
"""Whether a job is among those that are looked for."""


def is_wanted(
    states: Collection[JobState | str] | None,
    name: str | None,
    created_from: datetime | None,
    created_to: datetime | None,
    text: str | None,
) -> Condition:
    """The condition of ``StoreInterface.search_jobs``; raises as that does."""
    if isinstance(states, str):
        raise TypeError(f"states must be a collection of states, not {shown(states)}")
    wanted = None if states is None else {to_state(state) for state in states}
    first = None if created_from is None else to_instant(created_from, what="created_from")
    last = None if created_to is None else to_instant(created_to, what="created_to")
    needle = None if text is None else to_needle(text)

    def fits(job: JobData) -> bool:
        return (
            (wanted is None or job.state in wanted)
            and name in (None, job.name)
            and (first is None or job.created_at >= first)
            and (last is None or job.created_at <= last)
            and (needle is None or _contains(job, needle))
        )

    return fits


def _contains(job: JobData, needle: str) -> bool:
    data = peek(job, "data")
    return type(data) is not Unreadable and contains_text(data, needle)


def has_name(text: str) -> Condition:
    """The condition of ``StoreInterface.search_by_name``."""
    needle = to_needle(text)
    return lambda job: needle in job.name.casefold()


def has_fields(fields: Mapping[str, Any]) -> Condition:
    """The condition of ``StoreInterface.search_by_payload``."""

    def fits(job: JobData) -> bool:
        """What can't be compared, as arrays can't, is not equal."""
        data = peek(job, "data")
        try:
            return isinstance(data, Mapping) and all(
                key in data and bool(data[key] == value) for key, value in fields.items()
            )
        except Exception:  # a person's __eq__ may raise anything
            return False

    return fits


def page_of(
    found: Sequence[Sequence[JobData]], start: int, end: int | None, *, newest_first: bool
) -> JobPage:
    """A page of what was found, queue by queue, in each as they were added."""
    jobs: Iterable[JobData]
    if newest_first:
        jobs = heapq.merge(*map(reversed, found), key=attrgetter("created_at"), reverse=True)
    else:
        jobs = itertools.chain.from_iterable(found)
    return JobPage(list(itertools.islice(jobs, start, end)), sum(map(len, found)))
