"""What a store in a database is, whatever database it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from conveyor_nb.core.errors import MetricsDisabledError
from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import JobData, JobState, to_state
from conveyor_nb.core.values.checks import check_flag, check_positions
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import MOST_ROWS, Asking
from conveyor_nb.stores.working_set.store import SteppedStore

__all__ = ["SqlStore"]

T = TypeVar("T")


class SqlStore(SteppedStore):
    """A store whose rows are in a database: what it does alike in all of them."""

    _collects_metrics: bool

    @abstractmethod
    async def _ask_about(self, asking: Callable[[Answers], Asking[T]]) -> T:
        """What statements give that only look."""

    # -- looks --------------------------------------------------------------------------------

    async def list_jobs(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        start, end = check_positions(start, end)
        wanted = to_state(state)
        check_flag(newest_first, what="newest_first")
        most = MOST_ROWS if end is None else max(end - start, 0)
        return await self._ask_about(
            lambda answers: answers.listed(queue_name, wanted, None, start, most, newest_first)
        )

    async def get_job_counts(self, queue_name: str) -> dict[JobState, int]:
        return await self._ask_about(lambda answers: answers.counts(queue_name))

    async def get_group_active_count(self, queue_name: str, group_id: str | None) -> int:
        return await self._ask_about(
            lambda answers: answers.count_in_group(queue_name, group_id, JobState.ACTIVE)
        )

    async def list_queues(self) -> list[str]:
        return await self._ask_about(lambda answers: answers.queue_names())

    async def list_workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        return await self._ask_about(lambda answers: answers.workers(queue_name))

    # -- metrics ------------------------------------------------------------------------------

    async def get_metrics(
        self,
        queue_name: str,
        period: MetricsPeriod | str = MetricsPeriod.MINUTE,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[MetricsPoint]:
        self._require_metrics()
        now = self.clock.now()
        return await self._ask_about(
            lambda answers: answers.metrics.points(queue_name, period, start, end, now)
        )

    async def aggregate_metrics(
        self,
        queue_name: str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> MetricsPoint:
        self._require_metrics()
        now = self.clock.now()
        return await self._ask_about(
            lambda answers: answers.metrics.total(queue_name, start, end, now)
        )

    def _require_metrics(self) -> None:
        if not self._collects_metrics:
            raise MetricsDisabledError
