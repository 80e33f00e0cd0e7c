"""The store in a file of SQLite's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal, TypeVar

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
)
from conveyor_nb.core.values.ids import random_id
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.capabilities import Capability
from conveyor_nb.stores.saves import Saves
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.schema.sqlite import make_readable, migrate
from conveyor_nb.stores.sql.sqlite.connecting import MEMORY, connect
from conveyor_nb.stores.sql.sqlite.faults import in_one_sentence
from conveyor_nb.stores.sql.sqlite.joining import JoinedSaving
from conveyor_nb.stores.sql.sqlite.lane import Call, Lane, LoopLane
from conveyor_nb.stores.sql.sqlite.reader import Reader
from conveyor_nb.stores.sql.sqlite.session import Session, Step
from conveyor_nb.stores.sql.sqlite.writer import Writer
from conveyor_nb.stores.sql.store import SqlStore
from conveyor_nb.stores.sql.wire.codec import codec_for
from conveyor_nb.stores.subscriptions import EventHandlerErrorCallback
from conveyor_nb.stores.working_set.questions import Question

__all__ = ["SqliteStore"]

T = TypeVar("T")

_NO_OPTIONS = FetchOptions()

_OWN = frozenset({Capability.FRACTIONAL_PRIORITIES})
_CAPABILITIES = {"json": _OWN, "pickle": _OWN | {Capability.PYTHON_OBJECTS}}

_BEAT = 0.008
"""How often, in seconds, one looks what other processes wrote, while somebody subscribes."""

_SECOND = timedelta(seconds=1)
"""How often one has those look for themselves who wait, while others write."""

_MOST_FOLLOWED = 1_000
"""How many of the jobs that somebody follows are looked at then."""

_LATE = timedelta(milliseconds=50)
"""For how long events may wait for the loop that is to tell them."""


class SqliteStore(SqlStore):
    """Keeps jobs in a file, for any number of processes of one machine.

    Args:
        path: the file, made if it does not exist; ``":memory:"``: a database of this store alone,
            which is gone with it.
        durability: ``"normal"``: what was told outlasts the process, however that ends;
            ``"full"``: also a loss of power, at the price of waiting for the disk.
        payloads: ``"json"``: payloads and results are JSON-like, or of Python's plain types;
            ``"pickle"``: any that can be pickled, which runs code of whoever wrote the file.
        clock: the source of time; a ``SystemClock`` if not given.
        ids: ``"sequential"`` for ids such as ``emails-1``; UUID4s if not given.
        seed: fixes the jitter of backoffs.
        metrics: collect metrics of settled jobs, by minute and hour.
        logger: where faults of subscribers are reported.
        on_event_handler_error: called with the error, instead of logging it; the error's notes
            say which event it was for. Until the store disconnects.
        auto_migrate: whether tables may be made, and be brought up to date.
        read_only: whether nothing may ever be changed: whatever would raises
            ``StoreUnavailableError``. The file has to exist, and may be one of Conveyor's.

    >>> import asyncio
    >>> async def main():
    ...     async with SqliteStore(":memory:", ids="sequential") as store:
    ...         saved = await store.save_job(JobData("", "send", "emails", {"to": "ada"}))
    ...         return saved.id, await store.count_jobs("emails", "waiting")
    >>> asyncio.run(main())
    ('emails-1', 1)
    """

    settles_and_fetches = True

    has_threads = sys.platform != "emscripten"
    """Whether it writes and reads in threads of its own; in a browser's Python there are none."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["normal", "full"] = "normal",
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
        super().__init__(
            payloads=payloads,
            clock=clock,
            ids=ids,
            seed=seed,
            metrics=metrics,
            logger=check_logger(logger),
            on_event_handler_error=on_event_handler_error,
            read_only=read_only,
        )
        if durability not in ("normal", "full"):
            raise ValueError(f"durability must be 'normal' or 'full', not {shown(durability)}")
        self._woken = REAL_TIME.now()
        self._to_wake: list[Key] | None = None
        """The jobs that are over, when those are to look who wait for something untold."""
        self.path = _check_path(path)
        self._is_shared = self.path != MEMORY
        if read_only and self.path == MEMORY:
            raise ValueError("a database in memory is new and empty: it can't be opened read-only")
        self.capabilities = _CAPABILITIES[payloads]
        if self.path != MEMORY and not read_only:  # nobody else has a connection to one in memory
            self.capabilities |= {Capability.TRANSACTIONS}
        self._is_durable = durability == "full"
        self._may_migrate = check_flag(auto_migrate, what="auto_migrate")
        self._untold_since = REAL_TIME.now()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that is at work with this store."""
        self._lively: set[str] = set()
        """The queues of which a fetch got a job the last time."""
        self._payloads = payloads
        session = self._new_session()
        self._freeze = session.answers.codec.freeze
        source = "" if self.path == MEMORY else random_id()
        self._writer = Writer(self.path, source, self.read_only, self._open, session, self._tell)
        self._reader = Reader(self.path, self._open, self._new_session())
        self._writing: Lane | LoopLane | None = None
        self._reading: Lane | None = None

    def _new_session(self) -> Session:
        answers = Answers(codec_for("sqlite", self._payloads), is_sure=True)
        answers.sequential_ids = self._sequential_ids
        return Session(
            answers,
            self.clock,
            seed=self._seed,
            followed=self._subscriptions.of_jobs,
            collects_metrics=self._collects_metrics,
        )

    # -- life ---------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        connection = connect(self.path, is_durable=self._is_durable, read_only=self.read_only)
        try:
            if self.read_only:
                make_readable(connection)
            else:
                migrate(connection, may_migrate=self._may_migrate)
        except sqlite3.Error as error:
            connection.close()
            raise in_one_sentence(error, self.path) from error
        except BaseException:
            connection.close()
            raise
        return connection

    async def connect(self) -> None:
        """Open the file, and make its tables if there are none.

        Raises:
            StoreUnavailableError: it can't be opened, read or written.
            SchemaError: it is no database, or of another program or version.
        """
        self._is_over = False
        try:
            await self._write(lambda session: None)
        except BaseException:
            await self._close_lanes()  # nobody disconnects what did not connect
            raise

    async def disconnect(self) -> None:
        """Let go of the file and of every subscriber; what is under way is done first."""
        self._expiry.cancel()
        self._is_over = True
        await self._close_lanes()
        self._tell_all()
        with self._lock:
            self._subscriptions.disconnect(self.clock.now())

    async def _close_lanes(self) -> None:
        lanes = [self._writing, self._reading]
        self._writing = self._reading = None
        for lane in lanes:
            if lane is not None:
                await lane.close()

    async def _write(
        self,
        work: Callable[[Session], T],
        *,
        looks_first: bool = False,
        unclaimed: Callable[[Session, T], None] | None = None,
    ) -> T:
        """Have something done in a transaction, and wait for what comes of it.

        Args:
            work: what is to be done.
            looks_first: whether it may turn out that there is nothing to be written.
            unclaimed: done after it, with what came of it, if whoever waited was cancelled.
        """
        lane = self._writing
        if lane is None or self._is_over:
            with self._lock:
                self._require_connection()
                lane = self._writing = self._writing or self._new_writing_lane()
        call = Call(work, looks_first=looks_first)
        try:
            return await self._hand_over(lane, call)
        except asyncio.CancelledError:
            if unclaimed is not None:  # the call is done all the same, and before this one
                lane.take(Call(lambda session: call.error or unclaimed(session, call.result)))
            raise

    async def _read(self, work: Callable[[Session], T]) -> T:
        """Have something looked at, and wait for what comes of it."""
        if self.path == MEMORY or not self.has_threads:  # there is one connection
            return await self._write(work, looks_first=True)
        lane = self._reading
        if lane is None or self._is_over:
            with self._lock:
                self._require_connection()
                lane = self._reading = self._reading or Lane(
                    "reader of a SqliteStore",
                    self._serve_looks,
                    _for_ever,
                    _for_ever,
                    self._reader.close,
                )
        return await self._hand_over(lane, Call(work))

    def _new_writing_lane(self) -> Lane | LoopLane:
        if not self.has_threads:
            return LoopLane(self._serve_writes, self._writer.close)
        return Lane(
            "writer of a SqliteStore",
            self._serve_writes,
            self._patience,
            self._look_around,
            self._writer.close,
        )

    def _require_connection(self) -> None:
        if self._is_over:
            raise StoreUnavailableError(
                f"the store of {shown(self.path)} is disconnected; connect() it to go on"
            )

    async def _hand_over(self, lane: Lane | LoopLane, call: Call[T]) -> T:
        if not lane.take(call):
            self._require_connection()
        if not self._is_watched_off_loop:
            return await call.future
        with self.clock.off_loop():
            return await call.future

    def _serve_writes(self, calls: list[Call[Any]]) -> None:
        try:
            self._writer.serve(calls)
        finally:
            self._keep_loop(calls)
            self._answer(calls, self._settle)
            if self._writer.others_wrote:
                self._see_untold()

    def _serve_looks(self, calls: list[Call[Any]]) -> None:
        try:
            self._reader.serve(calls)
        finally:
            self._answer(calls, _settle)

    def _answer(self, calls: list[Call[Any]], settle: Callable[[list[Call[Any]]], object]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Call[Any]]] = {}
        for call in calls:
            by_loop.setdefault(call.loop, []).append(call)
        for loop, its_calls in by_loop.items():
            try:
                loop.call_soon_threadsafe(settle, its_calls)
            except RuntimeError:  # it is closed, and those who waited on it are gone
                self._tell_all()

    def _settle(self, calls: list[Call[Any]]) -> None:
        """Tell what has happened, and let those go on who wait on this loop."""
        self._tell_all()
        if not self.read_only:
            self._expiry.set(self._writer.next_expiry)
        _settle(calls)

    def _patience(self) -> float | None:
        """For how long the writer may wait: while somebody subscribes it looks around."""
        is_watched = self.path != MEMORY and len(self._subscriptions)
        return _BEAT if is_watched or self._untold else None

    def _look_around(self) -> None:
        """See what other processes have written."""
        if self.path != MEMORY and len(self._subscriptions):
            with contextlib.suppress(sqlite3.Error):  # who asks for something is told
                self._writer.look_around()
            self._see_untold()
            # who only reads removes nothing, and so sets no timer
            is_late = not self.read_only and self._writer.next_expiry != self._expiry.when
            if self._untold or is_late:
                self._settle_on_loop()
        self._tell_late()

    def _see_untold(self) -> None:
        """Have those look who wait for something: programs of Conveyor tell of nothing they do."""
        now = REAL_TIME.now()
        if not self._writer.others_wrote or now - self._woken < _SECOND:
            return
        self._writer.others_wrote, self._woken = False, now
        try:
            followed = list(islice(self._subscriptions.of_jobs, _MOST_FOLLOWED))
            self._to_wake = self._writer.over(followed)
        except (sqlite3.Error, RuntimeError):  # it is looked at again; somebody begins to follow
            self._writer.others_wrote = True
        else:
            self._settle_on_loop()

    def _tell_all(self) -> None:
        super()._tell_all()
        if self._to_wake is not None:
            jobs, self._to_wake = self._to_wake, None
            with self._lock:
                self._subscriptions.wake(self.clock.now(), jobs)

    def _keep_loop(self, calls: list[Call[Any]]) -> None:
        """Note where one is at work with the store: a loop that lasts, and not that of a look."""
        for call in calls:
            if not call.looks_first or self._loop is None:
                self._loop = call.loop

    def _settle_on_loop(self) -> None:
        """Tell what others did, on the loop that is at work with the store, if there is one."""
        loop = self._loop
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._settle, [])
        except RuntimeError:  # it is closed
            self._loop = loop = None
        if loop is None:
            self._tell_all()

    def _tell_late(self) -> None:
        """Tell here what the loop that was to tell it has not, as it may stand still."""
        if self._untold and REAL_TIME.now() - self._untold_since > _LATE:
            self._tell_all()

    # -- events -------------------------------------------------------------------------------

    async def publish(self, event: StoreEvent) -> None:
        await self._write(lambda session: session.note(event))

    def _tell(self, events: Sequence[StoreEvent], results: Mapping[Key, Any]) -> None:
        if not self._untold:
            self._untold_since = REAL_TIME.now()
        self._untold.append((events, results))

    def _look_out(self, queue_name: str | None) -> None:
        if self._writing is not None:
            self._writing.wake()

    # -- jobs in ------------------------------------------------------------------------------

    def within(self, connection: Any) -> Saves:
        if Capability.TRANSACTIONS not in self.capabilities:
            return super().within(connection)
        given = (self.path, random_id(), self.capabilities, self.take_payload)
        return JoinedSaving(connection, *given, self._new_session)

    # -- steps --------------------------------------------------------------------------------

    async def take_step(self, step: Step, about: Sequence[JobData | Key] = ()) -> Any:
        return await self._write(lambda session: session.take(step, about))

    async def look_step(self, step: Step) -> Any:
        return await self._read(lambda session: session.take(step))

    async def answer(self, question: Question) -> Any:
        return await self._read(lambda session: session.answer(question))

    async def _ask_about(self, asking: Callable[[Answers], Asking[T]]) -> T:
        def ask(session: Session) -> T:
            answer: T = session.ask(asking(session.answers))
            return answer

        return await self._read(ask)

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
        given = (queue_name, worker_id, lock_duration, options or _NO_OPTIONS, limit)
        # with nothing to be had it is enough to look: no idle worker keeps others from writing
        fetched = await self._write(
            lambda session: session.fetch(*given),
            looks_first=queue_name not in self._lively,
            unclaimed=lambda session, came: session.give_back(came, worker_id),
        )
        self._note_fetched(queue_name, fetched)
        return fetched

    def _note_fetched(self, queue_name: str, fetched: Fetched) -> None:
        if fetched.jobs:
            self._lively.add(queue_name)
        else:
            self._lively.discard(queue_name)

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
        given = (queue_name, worker_id, lock_duration, options or _NO_OPTIONS, limit)

        def settle(rows: Rows, now: datetime) -> JobData:
            return changing.apply(rows, queue_name, job_id, taken, lock, now)

        changed, fetched = await self._write(
            lambda session: session.take_and_fetch(settle, *given),
            unclaimed=lambda session, came: session.give_back(came[1], worker_id),
        )
        if fetched is not None:
            self._note_fetched(queue_name, fetched)
        return changed, fetched


def _check_path(path: object) -> str:
    """The path of a file, or ``":memory:"``."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be that of a file, such as 'queue.db', not {shown(path)}")
    found = os.fspath(path)
    if not isinstance(found, str) or not found.strip() or "\0" in found:
        raise ValueError(f"path must be that of a file, such as 'queue.db', not {shown(path)}")
    return found


def _for_ever() -> None:
    """Who reads has nothing to do in between."""


def _settle(calls: list[Call[Any]]) -> None:
    for call in calls:
        call.settle()
