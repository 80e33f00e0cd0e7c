"""What is known of the rows without asking: it holds for as long as nobody else writes.

Whoever can tell that nobody has, as one who holds the lock of a file, is spared most of what a job
asks: the job that it settles, those that come next, what is paused, when the next one falls due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from conveyor_nb.core.model import ACTIVE, DELAYED, WAITING, JobData
from conveyor_nb.core.rows import Key
from conveyor_nb.core.turns import place_of
from conveyor_nb.stores.working_set.changes import Changes

__all__ = ["AHEAD", "Known"]

AHEAD = 32
"""How many waiting jobs are read ahead."""


class _Line:
    """The first of the waiting jobs of a queue without groups, in order of service."""

    __slots__ = ("is_whole", "jobs")

    def __init__(self, jobs: Sequence[JobData], *, is_whole: bool) -> None:
        self.jobs = deque(jobs)
        self.is_whole = is_whole
        """Whether there are no others."""


class Known:
    """What was read and written, by queue.

    Args:
        is_sure: whether the store can tell that nobody else has written; if not, nothing is kept.
    """

    def __init__(self, *, is_sure: bool) -> None:
        self.is_sure = is_sure
        self.active: dict[str, dict[str, JobData]] = {}
        """Active jobs, not necessarily all."""
        self.paused: dict[str, list[str]] = {}
        self.has_groups: dict[str, bool] = {}
        """Whether a waiting job is in a group; it may be ``True`` a little longer."""
        self.next_due: dict[str, datetime | None] = {}
        self._lines: dict[str, _Line] = {}

    def forget(self) -> None:
        """Know nothing: another one may have written."""
        for known in self._all():
            known.clear()

    def forget_queue(self, queue_name: str) -> None:
        """Know nothing of a queue."""
        for known in self._all():
            known.pop(queue_name, None)

    def _all(self) -> Iterable[dict[str, Any]]:
        return (
            *(self.active, self.paused, self.has_groups),
            *(self.next_due, self._lines),
        )

    def line(self, queue_name: str, most: int) -> list[JobData] | None:
        """The first so many waiting jobs; ``None``: not so many are known."""
        line = self._lines.get(queue_name)
        if line is None or (len(line.jobs) < most and not line.is_whole):
            return None
        return list(islice(line.jobs, most))

    def next_waiting(self, queue_name: str, place: int) -> JobData | None:
        """The waiting job at a place in the order of service; ``None``: it is not known.

        So it is for most: it is known where there are neither groups nor paused names.
        """
        line = self._lines.get(queue_name)
        if line is None or place >= len(line.jobs):
            return None
        if self.has_groups.get(queue_name) is False and self.paused.get(queue_name) == []:
            return line.jobs[place]
        return None

    def has_busy(self, queue_name: str, but: Collection[Key]) -> bool:
        """Whether it is known that another job waits or is active."""
        line = self._lines.get(queue_name)
        if line is not None and len(line.jobs) > len(but):
            return True
        active = self.active.get(queue_name)
        return active is not None and len(active) > len(but)

    def keep_line(self, queue_name: str, jobs: Sequence[JobData], asked: int) -> None:
        """Keep the first waiting jobs, of which so many were asked for."""
        if self.is_sure:
            self._lines[queue_name] = _Line(jobs, is_whole=len(jobs) < asked)

    def busy(self, queue_name: str, most: int) -> list[str] | None:
        """The ids of so many jobs that are waiting or active; ``None``: not so many are known."""
        active = self.active.get(queue_name, {})
        line = self._lines.get(queue_name)
        waiting = 0 if line is None else len(line.jobs)
        if len(active) + waiting < most:
            return None
        found = list(islice(active, most))
        if line is not None and len(found) < most:
            found += [job.id for job in islice(line.jobs, most - len(found))]
        return found

    def note(self, changes: Changes) -> None:
        """Take note of what a step has changed."""
        if not self.is_sure:
            return
        for key, after in changes.jobs.items():
            self._note_job(*key, changes.before[key], after)
        for queue_name, _ in changes.paused:
            self.paused.pop(queue_name, None)
            self._lines.pop(queue_name, None)
        for queue_name in changes.forgotten:
            self.forget_queue(queue_name)

    def _note_job(
        self, queue_name: str, job_id: str, before: JobData | None, after: JobData | None
    ) -> None:
        was = None if before is None else before.state
        now = None if after is None else after.state
        if now is ACTIVE and after is not None:
            self.active.setdefault(queue_name, {})[job_id] = after
        elif was is ACTIVE:
            self.active.get(queue_name, {}).pop(job_id, None)
        if was is DELAYED or now is DELAYED:
            self.next_due.pop(queue_name, None)
        if was is not WAITING and now is not WAITING:
            return
        if after is not None and after.group_id is not None:
            self.has_groups.pop(queue_name, None)
        line = self._lines.get(queue_name)
        if line is None:
            return
        jobs = line.jobs
        if now is not WAITING:
            if jobs and jobs[0].id == job_id:
                jobs.popleft()
                return
        elif was is not WAITING and after is not None and jobs:
            last = jobs[-1]
            if place_of(after) > place_of(last):
                line.is_whole = False
                return
        del self._lines[queue_name]
