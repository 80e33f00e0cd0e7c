"""The indexes of a ``MemoryStore`` over the settled jobs that are kept only so long, or so many."""

from __future__ import annotations

import sys
from collections import OrderedDict
from datetime import datetime
from typing import Any

from sortedcontainers import SortedList

from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.rows import Key
from conveyor_nb.core.steps.retention import expires_at, is_kept_by_count

__all__ = ["Retention"]


class Retention:
    """The settled jobs that are not kept for ever, by age and by count."""

    def __init__(self) -> None:
        self.has_expiries = False
        """Whether there are jobs that are kept by age; it may be set to ``False`` where none is."""
        self.has_changed = False
        """Whether the next expiry may be another one than when this was last set to ``False``."""
        self._by_age: Any = SortedList()
        # an OrderedDict, for taking the oldest of a plain dict again and again is quadratic
        self._by_count: dict[tuple[str, JobState], OrderedDict[str, None]] = {}

    def move(self, before: JobData, after: JobData | None) -> None:
        """Note that a job has settled, or is no longer settled, or is gone."""
        expiry = expires_at(before)
        if expiry is not None:
            self._by_age.discard((expiry, before.queue_name, before.id))
            self.has_changed = True
        if is_kept_by_count(before):
            kept = self._by_count[before.queue_name, before.state]
            del kept[before.id]
            if not kept:
                del self._by_count[before.queue_name, before.state]
        if after is None:
            return
        expiry = expires_at(after)
        if expiry is not None:
            self._by_age.add((expiry, after.queue_name, after.id))
            self.has_expiries = self.has_changed = True
        if is_kept_by_count(after):
            self._by_count.setdefault((after.queue_name, after.state), OrderedDict())[after.id] = (
                None
            )

    def surplus(self, queue_name: str, state: JobState, most: int) -> list[str]:
        """The ids of the jobs kept by count, the oldest first, but for the newest ``most``."""
        kept = self._by_count.get((queue_name, state), OrderedDict())
        return [job_id for job_id, _ in zip(kept, range(len(kept) - most), strict=False)]

    def next_expiry(self) -> datetime | None:
        """When the next job has been kept long enough."""
        return self._by_age[0][0] if self._by_age else None

    def expired(self, now: datetime, most: int) -> list[Key]:
        """Queue name and id of those jobs that have been kept long enough, at most so many."""
        end = self._by_age.bisect_right((now, _AFTER_ANY_NAME))
        return [(queue_name, job_id) for _, queue_name, job_id in self._by_age[: min(end, most)]]


_AFTER_ANY_NAME = chr(sys.maxunicode)
