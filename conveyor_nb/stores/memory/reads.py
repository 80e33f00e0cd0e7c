"""The half of a ``MemoryStore`` that looks and changes nothing."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from weakref import ref

from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.job_query import JobQuery, page_of
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import JobData, JobPage, JobState, to_state
from conveyor_nb.core.slicing import SLICE, Step, sliced
from conveyor_nb.core.steps import looking, serving
from conveyor_nb.core.values.checks import check_count, check_flag, check_positions
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.stores.memory.slices import Slices, StoreLock, in_turn
from conveyor_nb.stores.memory.state import MemoryState
from conveyor_nb.stores.metrics import require
from conveyor_nb.stores.reads import SynchronousReads

__all__ = ["MemoryReads"]


class MemoryReads(StoreInterface, SynchronousReads):
    """The look-ups of a store in memory, over its state."""

    _state: MemoryState
    _slices: Slices
    _lock: StoreLock
    _homes: dict[str, ref[asyncio.AbstractEventLoop]]
    """The loops of the workers: one that is blocked is there, one that is closed is not."""

    # -- look-ups -----------------------------------------------------------------------------

    async def get_job(self, queue_name: str, job_id: str) -> JobData | None:
        if self._slices.under_way is not None:
            await self._slices.all_over()
        index = self._state.queues.get(queue_name)
        return index.jobs.get(job_id) if index else None  # one record is whole without a lock

    @in_turn
    def find_by_deduplication_key(
        self, queue_name: str, key: str, name: str | None = None
    ) -> JobData | None:
        return looking.find_by_key(self._state, queue_name, key, name, self.clock.now())

    @in_turn
    def list_jobs(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        start, end = check_positions(start, end)
        return self.snapshot(queue_name, state, start, end, newest_first=newest_first)

    @in_turn
    def get_job_counts(self, queue_name: str) -> dict[JobState, int]:
        return self.counts(queue_name)

    @in_turn
    def get_group_active_count(self, queue_name: str, group_id: str | None) -> int:
        return self._state.look(queue_name).waiting.active_in_group(group_id)

    @in_turn
    def get_waiting_group_count(self, queue_name: str, group_id: str | None) -> int:
        return self._state.look(queue_name).waiting.count_in_group(group_id)

    @in_turn
    def list_queues(self) -> list[str]:
        return self.queue_names()

    # -- the same for views, which can't wait -------------------------------------------------

    def snapshot(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        """What :meth:`list_jobs` gives, without waiting."""
        wanted = to_state(state)
        check_flag(newest_first, what="newest_first")
        with self._lock:
            index = self._state.look(queue_name)
            return index.page(wanted, start, end, newest_first=newest_first)

    def upcoming(
        self, queue_name: str, count: int, options: FetchOptions | None = None
    ) -> list[JobData]:
        """What :meth:`next_jobs` gives, without waiting."""
        most = check_count(count, what="count", least=0)
        with self._lock:
            now = self.clock.now()
            return serving.next_jobs(self._state, queue_name, most, options or FetchOptions(), now)

    def look_up(self, queue_name: str, job_id: str) -> JobData | None:
        """What :meth:`get_job` gives, without waiting."""
        with self._lock:
            return self._state.look(queue_name).jobs.get(job_id)

    def children_of(self, queue_name: str, parent_id: str) -> list[JobData]:
        """What :meth:`get_children_jobs` gives, without waiting."""
        with self._lock:
            return looking.children_jobs(self._state, queue_name, parent_id)

    def counts(self, queue_name: str) -> dict[JobState, int]:
        """What :meth:`get_job_counts` gives, without waiting."""
        with self._lock:
            index = self._state.look(queue_name)
            return {state: index.count(state) for state in JobState}

    def paused_names(self, queue_name: str) -> frozenset[str]:
        """What :meth:`get_paused_job_names` gives, without waiting."""
        with self._lock:
            return frozenset(self._state.look(queue_name).waiting.paused_names)

    def queue_names(self) -> list[str]:
        """What :meth:`list_queues` gives, without waiting."""
        with self._lock:
            return sorted(self._state.queues)

    def workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        """What :meth:`list_workers` gives, without waiting."""
        with self._lock:
            now = self.clock.now()
            for worker_id, home in self._homes.items():
                if (loop := home()) is not None and not loop.is_closed():
                    self._state.see_worker(worker_id, now)
            workers = self._state.workers.values()
            return [one for one in workers if queue_name in (None, one.queue_name)]

    # -- searching ----------------------------------------------------------------------------

    async def find_jobs(
        self,
        queue_name: str | None,
        query: JobQuery,
        start: int = 0,
        end: int | None = 100,
        *,
        newest_first: bool = False,
    ) -> JobPage:
        start, end = check_positions(start, end)
        check_flag(newest_first, what="newest_first")
        found = await self._slices.take(lambda: self._finding(queue_name, query))
        return page_of(found, start, end, newest_first=newest_first)

    def _finding(self, queue_name: str | None, query: JobQuery) -> Step[list[list[JobData]]]:
        """The jobs that fit, queue by queue."""
        found: list[list[JobData]] = []
        for name in self.queue_names() if queue_name is None else [queue_name]:
            found.append([])
            for some in sliced(self._state.look(name).page(None, 0, None)):
                found[-1] += filter(query.fits, some)
                if len(some) == SLICE:
                    yield
        return found

    # -- metrics ------------------------------------------------------------------------------

    @in_turn
    def get_metrics(
        self,
        queue_name: str,
        period: MetricsPeriod | str = MetricsPeriod.MINUTE,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[MetricsPoint]:
        metrics = require(self._state.metrics)
        return metrics.points(queue_name, period, start, end, self.clock.now())

    @in_turn
    def aggregate_metrics(
        self,
        queue_name: str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> MetricsPoint:
        return require(self._state.metrics).total(queue_name, start, end, self.clock.now())

    # -- flows --------------------------------------------------------------------------------

    @in_turn
    def get_children_jobs(self, queue_name: str, parent_id: str) -> list[JobData]:
        return looking.children_jobs(self._state, queue_name, parent_id)

    @in_turn
    def get_children_values(self, queue_name: str, parent_id: str) -> dict[str, Any]:
        return looking.children_values(self._state, queue_name, parent_id)

    # -- schedulers and time ------------------------------------------------------------------

    @in_turn
    def get_job_schedulers(self, queue_name: str) -> list[JobScheduler]:
        return looking.schedulers_of(self._state, queue_name)

    @in_turn
    def get_job_scheduler(self, queue_name: str, scheduler_id: str) -> JobScheduler | None:
        return looking.scheduler_of(self._state, queue_name, scheduler_id)

    @in_turn
    def get_stalled_jobs(self, queue_name: str) -> list[JobData]:
        return looking.stalled_jobs(self._state, queue_name, self.clock.now())

    @in_turn
    def get_paused_job_names(self, queue_name: str) -> frozenset[str]:
        return self.paused_names(queue_name)

    @in_turn
    def list_workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        return self.workers(queue_name)
