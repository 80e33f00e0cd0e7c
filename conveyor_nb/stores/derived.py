"""What every store offers beside the seam: each follows from its other methods.

A store that can do one of these better, as by an index, does so; what it gives is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from conveyor_nb.clocks.clock import Clock, checkpoint
from conveyor_nb.core.actions import Action, Cancel, ExtendLock, Release
from conveyor_nb.core.errors import InvalidJobStateError, JobNotFoundError, MetricsDisabledError
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.job_query import JobQuery, page_of
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.lifecycle import UNSETTLED
from conveyor_nb.core.locks import has_run_out
from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import JobData, JobPage, JobState, Lock, to_state
from conveyor_nb.core.rows import held_key, holds_still
from conveyor_nb.core.slicing import sliced
from conveyor_nb.core.values.checks import check_flag, check_positions
from conveyor_nb.core.values.ids import random_worker_id
from conveyor_nb.core.values.payload_search import to_needle
from conveyor_nb.stores.events import EventSource, EventStream
from conveyor_nb.stores.reads import Reads
from conveyor_nb.stores.tapes.recording import Recordable, Recording

__all__ = ["Derived"]


class _Seam(Reads, Protocol):
    """What the methods here are over: some of those that ``StoreInterface`` leaves to a store."""

    clock: Clock

    def get_job(self, queue_name: str, job_id: str) -> Coroutine[Any, Any, JobData | None]: ...

    def get_job_schedulers(self, queue_name: str) -> Coroutine[Any, Any, list[JobScheduler]]: ...

    def fetch_jobs(
        self,
        queue_name: str,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions | None = None,
        *,
        limit: int = 1,
    ) -> Coroutine[Any, Any, Fetched]: ...

    def apply(
        self, queue_name: str, job_id: str, action: Action, *, lock: Lock | None = None
    ) -> Coroutine[Any, Any, JobData]: ...

    def find_jobs(
        self,
        queue_name: str | None,
        query: JobQuery,
        start: int = 0,
        end: int | None = 100,
        *,
        newest_first: bool = False,
    ) -> Coroutine[Any, Any, JobPage]: ...


class Derived:
    """The methods of a store that follow from others."""

    def new_worker_id(self, name: str) -> str:
        """An id that no worker has, for one that is called ``name``."""
        return random_worker_id(name)

    def events(self: EventSource, queue_name: str | None = None, size: int = 1_000) -> EventStream:
        """The events of a queue, or of all, from now on; for ``async for``."""
        return EventStream(self, queue_name, size)

    def record(self: Recordable, *, limit: int = 10_000) -> Recording:
        """Record what happens in all queues while one is in a block: see ``Queue.record``."""
        return Recording(self, None, limit)

    # -- work ---------------------------------------------------------------------------------

    async def fetch_next_job(
        self: _Seam,
        queue_name: str,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions | None = None,
    ) -> JobData | None:
        """Fetch one job, as ``fetch_jobs``; ``None``: there is none that may start now."""
        fetched = await self.fetch_jobs(queue_name, worker_id, lock_duration, options)
        return fetched.jobs[0] if fetched.jobs else None

    async def apply_and_fetch(
        self: _Seam,
        queue_name: str,
        job_id: str,
        action: Action,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions | None = None,
        *,
        lock: Lock | None = None,
        limit: int = 1,
    ) -> tuple[JobData, Fetched | None]:
        """Apply an action to a job, and then fetch the next ones: ``apply`` and ``fetch_jobs``.

        A store that ``settles_and_fetches`` does both in one step.

        Returns:
            The job as it is after the action, and what was fetched; ``None``: that failed, and
            ``fetch_jobs`` says why.

        Raises:
            ConveyorError: as ``apply``; nothing was fetched.
        """
        changed = await self.apply(queue_name, job_id, action, lock=lock)
        try:
            fetched = await self.fetch_jobs(
                queue_name, worker_id, lock_duration, options, limit=limit
            )
        except Exception:  # who asks for it alone is told
            return changed, None
        return changed, fetched

    async def extend_lock(
        self: _Seam, queue_name: str, job_id: str, lock: Lock, lock_duration: float
    ) -> JobData:
        """Renew the lock of an active job; raises as ``apply``."""
        return await self.apply(queue_name, job_id, ExtendLock(lock_duration), lock=lock)

    async def release_lock(self: _Seam, queue_name: str, job_id: str, lock: Lock) -> JobData:
        """Give an active job back, with no attempt spent; raises as ``apply``."""
        return await self.apply(queue_name, job_id, Release("its lock was released"), lock=lock)

    async def cancel_job(self: _Seam, queue_name: str, job_id: str) -> JobData:
        """Cancel a job; of a settled job: no effect. Raises as ``apply``."""
        return await self.apply(queue_name, job_id, Cancel())

    async def get_stalled_jobs(self: _Seam, queue_name: str) -> list[JobData]:
        """The active jobs whose lock has run out."""
        now = self.clock.now()
        active = await self.list_jobs(queue_name, JobState.ACTIVE)
        return [job for job in active if has_run_out(job, now)]

    async def get_next_delayed_timestamp(self: _Seam, queue_name: str) -> datetime | None:
        """When the next delayed job falls due."""
        delayed = await self.list_jobs(queue_name, JobState.DELAYED, 0, 1)
        return delayed[0].delay_until if delayed else None

    # -- counts -------------------------------------------------------------------------------

    async def count_jobs(self: _Seam, queue_name: str, state: JobState | str | None = None) -> int:
        """How many jobs are in a state, or in the queue."""
        wanted = to_state(state)
        counts = await self.get_job_counts(queue_name)
        return sum(counts.values()) if wanted is None else counts[wanted]

    async def get_active_count(self: _Seam, queue_name: str) -> int:
        """How many jobs are active, over all workers."""
        return (await self.get_job_counts(queue_name))[JobState.ACTIVE]

    async def count_busy_jobs(self: _Seam, queue_name: str, most: int) -> int:
        """How many jobs are waiting or active; of very many, ``most``."""
        counts = await self.get_job_counts(queue_name)
        return min(counts[JobState.WAITING] + counts[JobState.ACTIVE], most)

    async def get_group_active_count(self: _Seam, queue_name: str, group_id: str | None) -> int:
        """How many jobs of a group are active; ``None`` is the group of those without one."""
        active = await self.list_jobs(queue_name, JobState.ACTIVE)
        return sum(job.group_id == group_id for job in active)

    async def get_waiting_group_count(self: _Seam, queue_name: str, group_id: str | None) -> int:
        """How many jobs of a group wait."""
        waiting = await self.list_jobs(queue_name, JobState.WAITING)
        return sum(job.group_id == group_id for job in waiting)

    # -- look-ups -----------------------------------------------------------------------------

    async def find_job_by_id(self: _Seam, job_id: str) -> JobData | None:
        """The first job with this id in any queue, by the queues' names; or ``None``."""
        for name in await self.list_queues():
            if (job := await self.get_job(name, job_id)) is not None:
                return job
        return None

    async def find_by_deduplication_key(
        self: _Seam, queue_name: str, key: str, name: str | None = None
    ) -> JobData | None:
        """The unfinished job that holds the key now, or ``None``.

        With a job name, ``key`` is the hash of a payload: those are held for each name.
        """
        wanted, now = (key if name is None else (name, key)), self.clock.now()
        found = await self.find_jobs(queue_name, JobQuery(states=UNSETTLED), 0, None)
        for job in found.jobs:
            if held_key(job) == wanted and holds_still(job, now):
                return job
        return None

    async def get_job_scheduler(
        self: _Seam, queue_name: str, scheduler_id: str
    ) -> JobScheduler | None:
        """The scheduler of a queue with this id, or ``None``."""
        schedulers = await self.get_job_schedulers(queue_name)
        return next((one for one in schedulers if one.id == scheduler_id), None)

    # -- searching ----------------------------------------------------------------------------

    async def find_jobs(
        self: _Seam,
        queue_name: str | None,
        query: JobQuery,
        start: int = 0,
        end: int | None = 100,
        *,
        newest_first: bool = False,
    ) -> JobPage:
        """The jobs that fit a query: what all searches are over. As :meth:`search_jobs`."""
        start, end = check_positions(start, end)
        check_flag(newest_first, what="newest_first")
        found: list[Sequence[JobData]] = []
        for name in await self.list_queues() if queue_name is None else [queue_name]:
            fitting: list[JobData] = []
            for some in sliced(await self.list_jobs(name)):
                fitting += filter(query.fits, some)
                if self.clock.overdue():
                    await checkpoint()
            found.append(fitting)
        return page_of(found, start, end, newest_first=newest_first)

    async def search_jobs(
        self: _Seam,
        queue_name: str | None = None,
        *,
        states: Collection[JobState | str] | None = None,
        name: str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        text: str | None = None,
        newest_first: bool = False,
        start: int = 0,
        end: int | None = 100,
    ) -> JobPage:
        """The jobs that fit every condition given, as they were added, and how many there are.

        A job whose payload can't be read fits no condition on that.

        Args:
            queue_name: the queue; ``None``: all, by name.
            states: the states.
            name: the job name.
            created_from: not created before this instant.
            created_to: not created after this instant.
            text: what stands somewhere in the payload, whatever its case: in a text, a key or a
                plain value such as a number, however deep within.
            newest_first: the jobs that were added last come first, whatever their queue.
            start: the position of the first job to give.
            end: the position after that of the last.
        """
        query = JobQuery.of(
            states=states, name=name, created_from=created_from, created_to=created_to, text=text
        )
        return await self.find_jobs(queue_name, query, start, end, newest_first=newest_first)

    async def search_by_name(
        self: _Seam,
        queue_name: str | None,
        text: str,
        start: int = 0,
        end: int | None = 100,
        *,
        newest_first: bool = False,
    ) -> JobPage:
        """The jobs whose name contains ``text``, whatever its case; as :meth:`search_jobs`."""
        query = JobQuery(name_part=to_needle(text))
        return await self.find_jobs(queue_name, query, start, end, newest_first=newest_first)

    async def search_by_payload(
        self: _Seam,
        queue_name: str | None,
        fields: Mapping[str, Any],
        start: int = 0,
        end: int | None = 100,
        *,
        newest_first: bool = False,
    ) -> JobPage:
        """The jobs whose payload is a mapping that has these fields; as :meth:`search_jobs`."""
        query = JobQuery(fields=fields)
        return await self.find_jobs(queue_name, query, start, end, newest_first=newest_first)

    # -- flows --------------------------------------------------------------------------------

    async def list_flow_parents(self: _Seam, queue_name: str | None = None) -> list[JobData]:
        """The jobs that have children, of a queue or of all."""
        return (await self.find_jobs(queue_name, JobQuery(is_parent=True), 0, None)).jobs

    async def notify_child_completed(self: _Seam, queue_name: str, child_id: str) -> bool:
        """Tell a completed child's parent of it, if it does not know yet; returns whether.

        A settling child tells its parent in the same step, so the parent always knows: this only
        checks that the child has completed, and gives ``False``. A store that others write to as
        well overrides it, for repairs by hand.
        """
        return await _already_knows(self, queue_name, child_id, JobState.COMPLETED)

    async def fail_parent_on_child_failure(self: _Seam, queue_name: str, child_id: str) -> bool:
        """Tell a failed child's parent of it, if it does not know yet; returns whether.

        As :meth:`notify_child_completed`: this only checks that the child has failed.
        """
        return await _already_knows(self, queue_name, child_id, JobState.FAILED)

    # -- metrics ------------------------------------------------------------------------------

    async def get_metrics(
        self,
        queue_name: str,
        period: MetricsPeriod | str = MetricsPeriod.MINUTE,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[MetricsPoint]:
        """The minutes (of the last day) or hours (of the last 30 days) in which jobs settled.

        Raises:
            MetricsDisabledError: the store collects no metrics.
        """
        raise MetricsDisabledError

    async def aggregate_metrics(
        self,
        queue_name: str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> MetricsPoint:
        """The minutes between two instants as one point; of a queue, or of all.

        Raises:
            MetricsDisabledError: the store collects no metrics.
        """
        raise MetricsDisabledError


async def _already_knows(store: _Seam, queue_name: str, child_id: str, state: JobState) -> bool:
    """Check the state of a child; gives ``False``: its parent already knows, and is not told."""
    child = await store.get_job(queue_name, child_id)
    if child is None:
        raise JobNotFoundError(child_id, queue_name)
    if child.state is not state:
        raise InvalidJobStateError(child_id, child.state, [state])
    return False
