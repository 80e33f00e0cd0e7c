"""What jobs are searched for: conditions that a job fits or not, and the page of those that do."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from msgspec import Struct

from conveyor_nb.core.freezing import Unreadable, peek
from conveyor_nb.core.model import JobData, JobPage, JobState, to_state
from conveyor_nb.core.values.checks import to_instant
from conveyor_nb.core.values.payload_search import contains_text, to_needle
from conveyor_nb.core.values.text import shown

__all__ = ["JobQuery", "page_of"]


class JobQuery(Struct, frozen=True, kw_only=True):
    """Conditions, each of which counts if it is given; :meth:`of` checks what people write.

    A store may look for some of them in its own way, and for the rest take :meth:`fits`.

    Args:
        states: the states.
        name: the job name.
        created_from: not created before this instant.
        created_to: not created after this instant.
        text: what stands somewhere in the payload, in lower case (``str.casefold``).
        name_part: what stands somewhere in the job name, in lower case.
        fields: what the payload has, which is a mapping.
        is_parent: it has children.
        anywhere: what stands somewhere in the id, the job name or the payload, in lower case.
        group_id: the group.
        flow: the job with this id, and the children that it has in this queue.
        scheduler_id: the scheduler that added it.
    """

    states: Collection[JobState] | None = None
    name: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    text: str | None = None
    name_part: str | None = None
    fields: Mapping[str, Any] | None = None
    is_parent: bool = False
    anywhere: str | None = None
    group_id: str | None = None
    flow: str | None = None
    scheduler_id: str | None = None

    @classmethod
    def of(
        cls,
        *,
        states: Collection[JobState | str] | None = None,
        name: str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        text: object = None,
        name_part: object = None,
    ) -> JobQuery:
        """The query of what a person gives.

        Raises:
            TypeError, ValueError: one of them is of a wrong kind, or there is no such state.
        """
        if isinstance(states, str):
            raise TypeError(f"states must be a collection of states, not {shown(states)}")
        wanted = None if states is None else [to_state(state) for state in states]
        return cls(
            states=None if wanted is None else frozenset(one for one in wanted if one is not None),
            name=name,
            created_from=_instant(created_from, "created_from"),
            created_to=_instant(created_to, "created_to"),
            text=None if text is None else to_needle(text),
            name_part=None if name_part is None else to_needle(name_part),
        )

    def fits(self, job: JobData) -> bool:
        """Whether a job fits them all.

        >>> query = JobQuery.of(text="ADA", states=["waiting"])
        >>> query.fits(JobData("emails-1", "send", "emails", {"to": "ada@example.org"}))
        True
        """
        return (
            (self.states is None or job.state in self.states)
            and self.name in (None, job.name)
            and (self.created_from is None or job.created_at >= self.created_from)
            and (self.created_to is None or job.created_at <= self.created_to)
            and (self.name_part is None or self.name_part in job.name.casefold())
            and (not self.is_parent or bool(job.children_ids))
            and (self.text is None or _contains(job, self.text))
            and (self.fields is None or _has(peek(job, "data"), self.fields))
            and self.group_id in (None, job.group_id)
            and self.scheduler_id in (None, job.scheduler_id)
            and (self.flow is None or self.flow in (job.id, job.parent_id))
            and (self.anywhere is None or _says(job, self.anywhere))
        )


def page_of(
    found: Sequence[Sequence[JobData]], start: int, end: int | None, *, newest_first: bool
) -> JobPage:
    """A page of the jobs that were found, queue by queue, in each as they were added."""
    jobs: Iterable[JobData]
    if newest_first:
        added = attrgetter("created_at")
        jobs = heapq.merge(*map(reversed, found), key=added, reverse=True)
    else:
        jobs = itertools.chain.from_iterable(found)
    return JobPage(list(itertools.islice(jobs, start, end)), sum(map(len, found)))


def _instant(value: datetime | None, what: str) -> datetime | None:
    return None if value is None else to_instant(value, what=what)


def _says(job: JobData, needle: str) -> bool:
    return needle in job.id.casefold() or needle in job.name.casefold() or _contains(job, needle)


def _contains(job: JobData, needle: str) -> bool:
    data = peek(job, "data")
    return type(data) is not Unreadable and contains_text(data, needle)


def _has(data: object, fields: Mapping[str, Any]) -> bool:
    """Whether a payload has such fields; what can't be compared, as arrays can't, is not equal."""
    try:
        return isinstance(data, Mapping) and all(
            key in data and bool(data[key] == value) for key, value in fields.items()
        )
    except Exception:  # a person's __eq__ may raise anything
        return False
