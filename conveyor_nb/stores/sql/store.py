"""What a store in a database is, whatever database it is."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from conveyor_nb.clocks.clock import Clock, SystemClock, check_clock
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.clocks.timer import Timer
from conveyor_nb.core.errors import MetricsDisabledError
from conveyor_nb.core.finding import Finding
from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import JobData, JobState, StoreEvent, to_state
from conveyor_nb.core.rows import Key, Rows
from conveyor_nb.core.steps.many import remove_expired
from conveyor_nb.core.values.checks import MOST, check_count, check_flag, check_positions
from conveyor_nb.core.values.ids import Numbers, are_sequential, random_worker_id
from conveyor_nb.core.values.text import error_line, shown
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.stores.interface import EventCallback
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import MOST_ROWS, Asking
from conveyor_nb.stores.sql.checking import findings
from conveyor_nb.stores.sql.sweeping import (
    forgotten_parents,
    go_on,
    stopped_schedulers,
    tell_of_children,
)
from conveyor_nb.stores.subscriptions import EventHandlerErrorCallback, Subscriptions
from conveyor_nb.stores.working_set.store import SteppedStore

__all__ = ["SqlStore"]

T = TypeVar("T")


class SqlStore(SteppedStore):
    """A store whose rows are in a database: what it does alike in all of them."""

    _freeze: Callable[[Any, str], Any]
    _is_shared = True
    """Whether other processes may have the same database."""
    _is_server = False
    """Whether the database is on a server, and no file."""

    def __init__(
        self,
        *,
        payloads: str,
        clock: Clock | None,
        ids: str | None,
        seed: int | None,
        metrics: bool,
        logger: logging.Logger,
        on_event_handler_error: EventHandlerErrorCallback | None,
        read_only: bool,
    ) -> None:
        if payloads not in ("json", "pickle"):
            raise ValueError(f"payloads must be 'json' or 'pickle', not {shown(payloads)}")
        self.clock = check_clock(clock)
        self.read_only = check_flag(read_only, what="read_only")
        self._sequential_ids = are_sequential(ids)
        self._worker_numbers = Numbers()
        self._seed = None if seed is None else check_count(seed, what="seed", least=-MOST)
        self._collects_metrics = check_flag(metrics, what="metrics")
        self._logger = logger
        self._hopeless: set[tuple[str, str, str]] = set()
        """Of what it was told that it can't be put right."""
        self._subscriptions = Subscriptions(logger, on_event_handler_error)
        self._lock = threading.RLock()
        self._untold: deque[tuple[Sequence[StoreEvent], Mapping[Key, Any]]] = deque()
        self._tasks = BackgroundTasks()
        self._expiry = Timer(self.clock, lambda: self._tasks.spawn(self._expire()))
        self._is_over = False
        self._is_watched_off_loop = type(self.clock).off_loop is not Clock.off_loop

    def new_worker_id(self, name: str) -> str:
        if not self._sequential_ids:
            return super().new_worker_id(name)
        worker_id = f"{name}-worker-{next(self._worker_numbers.of(name))}"
        # each process counts for itself, and a worker's id is the proof of its locks
        return random_worker_id(worker_id) if self._is_shared else worker_id

    def take_payload(self, value: Any, what: str) -> Any:
        return self._freeze(value, what)

    async def _expire(self) -> None:
        await self.take_step(remove_expired)

    # -- events -------------------------------------------------------------------------------

    @abstractmethod
    def _look_out(self, queue_name: str | None) -> None:
        """Hear what other processes do to a queue from now on, or to all: somebody subscribed."""

    def subscribe(
        self,
        queue_name: str | None,
        callback: EventCallback,
        *,
        job_id: str | None = None,
        kinds: Collection[str] | None = None,
    ) -> None:
        with self._lock:
            self._subscriptions.add(queue_name, callback, job_id, kinds)
        self._look_out(queue_name)

    def unsubscribe(
        self,
        queue_name: str | None,
        callback: EventCallback | None = None,
        *,
        job_id: str | None = None,
    ) -> None:
        with self._lock:
            self._subscriptions.remove(queue_name, callback, job_id)

    def _tell_all(self) -> None:
        """Tell what has happened and was not told yet."""
        if self._untold:
            with self._lock:
                while self._untold:
                    self._subscriptions.publish(*self._untold.popleft())

    # -- looks --------------------------------------------------------------------------------

    @abstractmethod
    async def _ask_about(self, asking: Callable[[Answers], Asking[T]]) -> T:
        """What statements give that only look."""

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

    async def count_busy_jobs(self, queue_name: str, most: int) -> int:
        return await self._ask_about(lambda answers: answers.count_busy(queue_name, most))

    async def get_group_active_count(self, queue_name: str, group_id: str | None) -> int:
        return await self._ask_about(
            lambda answers: answers.count_in_group(queue_name, group_id, JobState.ACTIVE)
        )

    async def list_queues(self) -> list[str]:
        return await self._ask_about(lambda answers: answers.queue_names())

    async def list_workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        return await self._ask_about(lambda answers: answers.workers(queue_name))

    # -- what is odd --------------------------------------------------------------------------

    async def findings(self) -> list[Finding]:
        now = self.clock.now()
        return await self._ask_about(
            lambda answers: findings(
                answers,
                now,
                is_server=self._is_server,
                is_real_time=isinstance(self.clock, SystemClock),
            )
        )

    # -- what others leave undone -------------------------------------------------------------

    async def get_stalled_jobs(self, queue_name: str) -> list[JobData]:
        if not self.read_only:
            # who looks for stalled jobs looks for what else was left undone
            for name in await self._ask_about(lambda _: stopped_schedulers(queue_name)):
                await self._put_right(go_on, queue_name, name)
            for job_id in await self._ask_about(
                lambda answers: forgotten_parents(queue_name, answers.codec.flag(True))
            ):
                await self._put_right(tell_of_children, queue_name, job_id)
        return await super().get_stalled_jobs(queue_name)

    async def _put_right(
        self, step: Callable[[Rows, str, str, datetime], None], queue_name: str, its_id: str
    ) -> None:
        """Take a step on a scheduler or a parent; one that can't be read is in nobody's way."""
        about = (step.__name__, queue_name, its_id)
        try:
            await self._take(step, queue_name, its_id)
        except Exception as error:
            if about not in self._hopeless:
                self._hopeless.add(about)
                text = "what was left undone of %r in queue %r can't be put right: %s"
                self._logger.error(text, its_id, queue_name, error_line(error))
        else:
            self._hopeless.discard(about)

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
