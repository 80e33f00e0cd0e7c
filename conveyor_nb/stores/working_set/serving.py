"""The part of a working set that serving asks: whose turn it is, and what the limits allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from conveyor_nb.core import turns
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.stores.working_set.loaded import LoadedRows, enough

__all__ = ["ServedRows"]


class ServedRows(LoadedRows):
    """Which jobs may start now, as a step sees it."""

    def due(self, queue_name: str, now: datetime) -> Sequence[JobData]:
        """The delayed jobs whose time has come."""
        return self._now(
            queue_name,
            self._ask("due", queue_name, now),
            lambda job: job.state is JobState.DELAYED and (job.delay_until or now) <= now,
        )

    def active_count(self, queue_name: str) -> int:
        """How many jobs are active."""
        active: int = self._ask("active_count", queue_name)
        return active + self._overlay.counts[queue_name, JobState.ACTIVE]

    def waiting_in_group(self, queue_name: str, group_id: str) -> int:
        """How many jobs of a group wait."""
        waiting: int = self._ask("waiting_in_group", queue_name, group_id)
        return waiting + self._overlay.in_groups[queue_name, group_id]

    def opens_at(self, queue_name: str, limiter: Limiter) -> datetime | None:
        """When one more may start, by a rate limit."""
        return turns.opens_at(self._starts(queue_name, limiter), limiter)

    def room(self, queue_name: str, limiter: Limiter, now: datetime) -> int:
        """How many more may start now, by a rate limit."""
        return turns.room(self._starts(queue_name, limiter), limiter, now)

    def _starts(self, queue_name: str, limiter: Limiter) -> list[datetime]:
        own = (job.processed_at for job in self.changes.started if job.queue_name == queue_name)
        return [*self._ask("starts", queue_name, limiter), *filter(None, own)]

    def next_in_turn(self, queue_name: str, options: FetchOptions, now: datetime) -> JobData | None:
        """The job to serve now."""
        return next(self.in_turn(queue_name, options, now), None)

    def in_turn(self, queue_name: str, options: FetchOptions, now: datetime) -> Iterator[JobData]:
        """The jobs to serve from now on, after those that this step has served."""
        place = sum(job.queue_name == queue_name for job in self.changes.started)
        touched = sum(key[0] == queue_name for key in self.changes.jobs)
        assert place == touched, "who serves does nothing else"
        self._asked_for = options, now
        while True:
            line = self._ask("in_turn", queue_name, options, now, enough(place + 1))
            if place == len(line):
                return
            yield line[place]
            place += 1

    def next_opening(self, queue_name: str) -> datetime | None:
        """When a group that a rate limit holds back may be served, as no job was to be had."""
        if self._asked_for is None:  # the queue's own limits came first
            return None
        opening: datetime | None = self._ask("next_opening", queue_name, *self._asked_for)
        return opening

    def next_due(self, queue_name: str) -> datetime | None:
        """When the next delayed job falls due, as no job was to be had."""
        due: datetime | None = self._ask("next_due", queue_name)
        return due

    def has_waiting(self, queue_name: str) -> bool:
        """Whether a job is waiting, as none was to be had."""
        return bool(self._ask("has_waiting", queue_name))
