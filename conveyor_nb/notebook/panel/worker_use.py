"""How much of their slots' time workers use, by the attempts of the last moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from conveyor_nb.core.model import COMPLETED, JobData

__all__ = ["MOMENT", "Work", "work_of"]

MOMENT = timedelta(seconds=1)
_LEAST = timedelta(milliseconds=1)


@dataclass(slots=True)
class Work:
    """What a worker did.

    Args:
        busy: for how many seconds its slots were in use in the moment, all together.
        settled: how many jobs it settled in the moment.
        completed: how many of the jobs that were looked at it completed; likewise ``failed``.
        moment: how many seconds the moment is.
    """

    busy: float = 0.0
    settled: int = 0
    completed: int = 0
    failed: int = 0
    moment: float = 1.0

    def use(self, slots: int) -> float:
        """The share of its slots' time that was in use, from 0 to 1."""
        return min(1.0, self.busy / (self.moment * slots))

    @property
    def rate(self) -> float:
        """How many jobs it settled in a second."""
        return self.settled / self.moment


def work_of(
    settled: Iterable[JobData], active: Iterable[JobData], now: datetime, *, is_all: bool
) -> Mapping[str, Work]:
    """What each worker did in the last moment, by the attempts of some jobs.

    Whether a slot is in use at an instant says nothing where jobs last microseconds. The moment
    is a second, or shorter where so much happens that the jobs given don't reach back so far.

    Args:
        settled: the jobs that settled last.
        active: those that run.
        now: the instant, by the store's clock.
        is_all: whether no other jobs have settled.
    """
    jobs = list(settled)
    ends = [job.attempt_logs[-1].ended_at for job in jobs if job.attempt_logs]
    begin = now - MOMENT
    if not is_all and (known := [end for end in ends if end is not None]):
        begin = min(max(begin, min(known)), now - _LEAST)
    found: dict[str, Work] = defaultdict(lambda: Work(moment=(now - begin).total_seconds()))
    for job in (*jobs, *active):
        for record in job.attempt_logs:
            end = record.ended_at or now
            work = found[record.worker_id]
            if end > begin:
                work.busy += max(0.0, (end - max(begin, record.started_at)).total_seconds())
    for job in jobs:
        if not job.attempt_logs:  # it failed without having run
            continue
        last = job.attempt_logs[-1]
        work = found[last.worker_id]
        work.settled += last.ended_at is not None and last.ended_at > begin
        work.completed += job.state is COMPLETED
        work.failed += job.state is not COMPLETED
    return found
