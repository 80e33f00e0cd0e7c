"""Which settled jobs of a store are kept only so long, or only so many."""

from __future__ import annotations

import sys
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any

from sortedcontainers import SortedList

from conveyor_nb.core.keep import Keep
from conveyor_nb.core.model import JobData, JobState

__all__ = ["Retention", "keep_of"]


def keep_of(job: JobData) -> bool | Keep:
    """What a settled job's options say of keeping it."""
    opts = job.opts
    return opts.remove_on_complete if job.state is JobState.COMPLETED else opts.remove_on_fail


class Retention:
    """The settled jobs that are not kept for ever, by age and by count."""

    def __init__(self) -> None:
        self.has_changed = False
        """Whether the next expiry may be another one than when this was last set to ``False``."""
        self._by_age: Any = SortedList()
        # an OrderedDict, for taking the oldest of a plain dict again and again is quadratic
        self._by_count: dict[tuple[str, JobState], OrderedDict[str, None]] = {}

    def note_settled(self, job: JobData, keep: Keep) -> list[str]:
        """Note a job that has just settled; returns the ids of its queue that are now too many."""
        if keep.age is not None:
            self._by_age.add(_expiry(job, keep))
            self.has_changed = True
        if keep.count is None:
            return []
        kept = self._by_count.setdefault((job.queue_name, job.state), OrderedDict())
        kept[job.id] = None
        return [kept.popitem(last=False)[0] for _ in range(len(kept) - keep.count)]

    def forget(self, job: JobData) -> None:
        """Note that a settled job is gone, or no longer settled."""
        keep = keep_of(job)
        if isinstance(keep, Keep):
            if keep.age is not None:
                self._by_age.discard(_expiry(job, keep))
                self.has_changed = True
            kept = self._by_count.get((job.queue_name, job.state))
            if keep.count is not None and kept is not None:
                kept.pop(job.id, None)
                if not kept:
                    del self._by_count[job.queue_name, job.state]

    def next_expiry(self) -> datetime | None:
        """When the next job has been kept long enough."""
        return self._by_age[0][0] if self._by_age else None

    def expired(self, now: datetime, most: int) -> list[tuple[str, str]]:
        """Queue name and id of those jobs that have been kept long enough, at most so many."""
        end = self._by_age.bisect_right((now, _AFTER_ANY_NAME))
        return [(queue_name, job_id) for _, queue_name, job_id in self._by_age[: min(end, most)]]


_AFTER_ANY_NAME = chr(sys.maxunicode)


def _expiry(job: JobData, keep: Keep) -> tuple[datetime, str, str]:
    settled_at = job.completed_at if job.state is JobState.COMPLETED else job.failed_at
    assert settled_at is not None
    assert keep.age is not None
    return (settled_at + timedelta(seconds=keep.age), job.queue_name, job.id)
