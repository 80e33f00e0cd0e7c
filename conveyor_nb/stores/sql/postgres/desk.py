"""Where calls are done: on one loop, over a few connections, made anew when they are lost.

What only looks is done at once, on connections of its own. What writes waits for its turn; all that
waits by then is one group, and goes in one transaction, under a lock that all stores of ours on
the schema take.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME, Clock
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.errors import ConveyorError, StoreUnavailableError
from conveyor_nb.core.model import StoreEvent
from conveyor_nb.core.rows import Key
from conveyor_nb.core.values.ids import random_id
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.sql.postgres import faults
from conveyor_nb.stores.sql.postgres.answers import ServerAnswers
from conveyor_nb.stores.sql.postgres.calls import Ask, Call, Fetch, Look
from conveyor_nb.stores.sql.postgres.connecting import Connecting, Place
from conveyor_nb.stores.sql.postgres.group import Group, fetching, look
from conveyor_nb.stores.sql.postgres.link import Link
from conveyor_nb.stores.sql.postgres.listening import Listening, Tell
from conveyor_nb.stores.sql.postgres.looking_out import LookingOut
from conveyor_nb.stores.sql.wire.codec import Codec, codec_for
from conveyor_nb.stores.sql.wire.events import channel_of, to_notices, to_notification, with_row

__all__ = ["Desk", "Settings"]

_MOST_LOOKS = 3
"""How many looks go on at a time, each over a connection of its own."""

_TRIES = 8
"""How often a transaction is begun that others were in the way of, or whose connection broke."""

_FIRST_PAUSE = 0.01
"""How long, in seconds, to wait for a server to come back; twice as long each time."""

_FRESH = timedelta(seconds=1)
"""For how long what is known of a queue is believed, as not all programs tell of every change."""

_NOTIFY = (
    "SELECT txid_current(), {use}, pg_notify(channel, payload)"
    " FROM unnest(?::text[], ?::text[]) AS _(channel, payload)"
)


@dataclass(slots=True, frozen=True)
class Settings:
    """What a store was made with."""

    clock: Clock
    logger: logging.Logger
    payloads: str
    seed: int | None
    followed: Collection[Key]
    collects_metrics: bool
    sequential_ids: bool
    read_only: bool
    wake: Callable[[datetime, Sequence[Key]], object]


def _may_pass(error: BaseException) -> bool:
    """Whether what was in the way may be gone the next time."""
    return (
        isinstance(error, StoreUnavailableError)
        or faults.is_gone(error)
        or faults.sqlstate_of(error) in faults.AGAIN
    )


class _UnknownError(Exception):
    """The connection broke at the very end: the transaction may be good or not."""


class Desk:
    """Does calls.

    Args:
        connecting: makes connections.
        settings: what the store was made with.
        tell: told what has happened, in order; may be called at any time.
        settle: called with calls that are done.
    """

    def __init__(
        self,
        connecting: Connecting,
        settings: Settings,
        tell: Tell,
        settle: Callable[[Sequence[Call]], object],
    ) -> None:
        self.place: Place | None = None
        self.next_expiry: datetime | None = None
        """When the next job has been kept long enough."""
        self._connecting, self._settings = connecting, settings
        self._tell, self._settle = tell, settle
        self._source = random_id()
        self._codec: Codec
        self._group: Group
        self._listening: Listening | None = None
        self._looking_out: LookingOut | None = None
        self._begin = ""
        self._link: Link | None = None
        self._idle: list[tuple[Link, ServerAnswers]] = []
        self._looks = asyncio.Semaphore(_MOST_LOOKS)
        self._waiting: list[Call] = []
        self._opening, self._following = asyncio.Lock(), asyncio.Lock()
        self._tasks = BackgroundTasks()
        self._is_writing = False
        self._read_at = datetime.fromtimestamp(0, UTC)
        self._lively: set[str] = set()
        """The queues of which a fetch got a job the last time."""
        self._wished: set[str | None] = set()
        self._follows_all = False
        """Whether somebody hears of all queues, also of those that are still to come."""

    # -- life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Reach the server, find the tables, and listen; again if a connection was lost.

        Raises:
            ConveyorError, ValueError, ImportError: it can't be; the message says why.
        """
        async with self._opening:
            if self._link is None or self._link.is_closed:
                await self._reach()
            await self._listen()

    async def _reach(self) -> None:
        connection = await self._connecting.open()
        try:
            if self.place is None:
                self._know(await self._connecting.find_place(connection))
        except BaseException:
            await connection.close()
            raise
        self._link = Link(connection)
        self._group.writing.forget()
        self._group.writing.expiries_changed = True

    def _know(self, place: Place) -> None:
        settings = self._settings
        self.place = place
        self._codec = codec_for("postgres", settings.payloads, fractions=place.fractions)
        self._group = Group(
            self._new_answers(locks=True),
            settings.clock,
            seed=settings.seed,
            followed=settings.followed,
            collects_metrics=settings.collects_metrics,
        )
        digest = hashlib.sha256(f"conveyor_nb {place.schema}".encode()).digest()
        lock = int.from_bytes(digest[:8], "big", signed=True)
        self._begin = f"BEGIN; SELECT pg_advisory_xact_lock({lock})"
        self._listening = Listening(
            self._source,
            f"conveyor_nb:{digest.hex()[:32]}",
            self._tell,
            self._codec.kept,
            self._complete,
            self._report,
        )
        self._looking_out = LookingOut(
            self._fetch,
            settings.clock.now,
            settings.followed,
            wake=settings.wake,
            tell=lambda events: self._tell(events, {}),
            heard=self._listening.take_heard,
            follow=self._follow_new,
            fault=self._report,
        )

    def _new_answers(self, *, locks: bool) -> ServerAnswers:
        assert self.place is not None
        answers = ServerAnswers(self._codec, self.place.sequence, locks=locks)
        answers.sequential_ids = self._settings.sequential_ids
        return answers

    async def _listen(self) -> None:
        listening = self._listening
        assert listening is not None, "the server was reached"
        if not listening.is_on:
            try:
                await listening.start(await self._connecting.open())
            except ConveyorError:
                raise
            except Exception as error:
                raise faults.in_one_sentence(error, self._connecting.address) from error

    async def close(self) -> None:
        """Do what is left, and let go of all connections."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        if self._listening is not None:
            await self._listening.stop()
        if self._looking_out is not None:
            await self._looking_out.stop()
        links = [link for link, _ in self._idle] + ([self._link] if self._link else [])
        self._idle, self._link = [], None
        for link in links:
            if not link.is_closed:
                await link.connection.close()
        await self._connecting.close()

    # -- calls --------------------------------------------------------------------------------

    def serve(self, calls: Sequence[Call | str | None]) -> None:
        """Begin to do calls; a name is that of a queue whose events are wished for."""
        for one in calls:
            if not isinstance(one, Call):
                self._wished.add(one)
                self._tasks.spawn(self._follow())
            elif isinstance(one.wanted, (Ask, Look)) or self._is_idle_fetch(one):
                self._tasks.spawn(self._do_look(one))
            else:
                self._waiting.append(one)
        self._write_soon()

    def _is_idle_fetch(self, call: Call) -> bool:
        # with nothing to be had it is enough to look: no idle worker keeps others from writing
        return isinstance(call.wanted, Fetch) and call.wanted.queue_name not in self._lively

    def _write_soon(self) -> None:
        if self._settings.read_only and self._waiting:
            self._refuse()
        if self._waiting and not self._is_writing:
            self._is_writing = True
            self._tasks.spawn(self._write_all())

    def _refuse(self) -> None:
        calls, self._waiting = self._waiting, []
        for call in calls:
            call.error = StoreUnavailableError(
                f"the server of {shown(self._connecting.address)} was opened read-only, "
                "and this would change it"
            )
        self._settle(calls)

    # -- looks --------------------------------------------------------------------------------

    async def _do_look(self, call: Call) -> None:
        is_done = True
        for number in range(_TRIES):
            try:
                call.error = None
                is_done = await self._look(call)
                break
            except Exception as error:
                call.error = self._in_words(error)
                if self.place is None or not _may_pass(error):
                    break
                if isinstance(error, StoreUnavailableError):
                    await REAL_TIME.sleep(_FIRST_PAUSE * 2**number)
        if is_done:
            self._settle([call])
        else:
            self._waiting.append(call)
            self._write_soon()

    async def _look(self, call: Call) -> bool:
        """Do what only has to look; ``False``: there is something to be written."""
        await self.open()
        wanted = call.wanted
        async with self._to_look() as (link, answers):
            if isinstance(wanted, Ask):
                call.result = await link.ask(wanted.asking(answers))
                await self._see_expiries(link)
                return True
            await link.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                return await self._look_by_step(call, link, answers)
            finally:
                link.forget()
                if not link.is_closed:
                    await link.run("ROLLBACK")

    async def _look_by_step(self, call: Call, link: Link, answers: ServerAnswers) -> bool:
        wanted, clock = call.wanted, self._settings.clock
        assert isinstance(wanted, (Look, Fetch))
        if isinstance(wanted, Look):
            call.result, _ = await look(link, answers, clock, wanted.step, self._codec.freeze)
            return True
        due = await link.ask(answers.next_due(wanted.queue_name))
        if due is not None and due <= clock.now():
            return False
        step = fetching(wanted)
        call.result, would_write = await look(link, answers, clock, step, self._codec.freeze)
        return not would_write

    async def _fetch(self, text: str, values: Sequence[Any]) -> list[Any]:
        await self.open()
        async with self._to_look() as (link, _):
            return await link.fetch(text, values)

    @contextlib.asynccontextmanager
    async def _to_look(self) -> AsyncIterator[tuple[Link, ServerAnswers]]:
        """A connection for looks, and who answers over it."""
        async with self._looks:
            self._idle = [one for one in self._idle if not one[0].is_closed]
            link, answers = self._idle.pop() if self._idle else await self._new_look()
            answers.forget()
            try:
                yield link, answers
            finally:
                if not link.is_closed:
                    self._idle.append((link, answers))

    async def _new_look(self) -> tuple[Link, ServerAnswers]:
        return Link(await self._connecting.open()), self._new_answers(locks=False)

    # -- writes -------------------------------------------------------------------------------

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                calls, self._waiting = self._waiting, []
                await self._write(calls)
        finally:
            self._is_writing = False

    async def _write(self, calls: Sequence[Call]) -> None:
        """Do what is wanted in one transaction; of many calls that can't, one after the other."""
        fault: BaseException | None = None
        for number in range(_TRIES):
            for call in calls:
                call.result = call.error = None
            if isinstance(fault, StoreUnavailableError):
                if self.place is None:  # it was never there
                    break
                await REAL_TIME.sleep(_FIRST_PAUSE * 2**number)
            try:
                await self.open()
                assert self._link is not None
                come = await self._in_transaction(self._link, calls)
            except Exception as error:
                fault = error
                await self._roll_back()
                if not _may_pass(error):
                    break
            else:
                await self._after(calls, come)
                return
        assert fault is not None
        if len(calls) > 1 and not isinstance(fault, (_UnknownError, StoreUnavailableError)):
            for call in calls:
                await self._write([call])
            return
        for call in calls:
            call.error = self._in_words(fault)
        self._settle(calls)

    async def _in_transaction(
        self, link: Link, calls: Sequence[Call]
    ) -> asyncio.Future[None] | None:
        group, listening = self._group, self._listening
        assert listening is not None
        await link.run(self._begin)
        await group.begin(link, is_fresh=self._is_fresh())
        await group.take(link, calls)
        parts: list[tuple[Sequence[StoreEvent], Mapping[Key, Any]]] = []
        come: asyncio.Future[None] | None = None
        transaction = 0
        if group.told:
            channels, payloads = [], []
            place = 0
            lost = {key: self._codec.payload(one) for key, one in group.lost_results.items()}
            number = listening.next_number
            for payload, count in to_notices(group.told, self._source, number, lost):
                channels.append(listening.channel)
                payloads.append(payload)
                parts.append((group.told[place : place + count], group.results))
                place += count
            for event in group.told:
                channel = channel_of(event.queue_name)
                own = to_notification(event, self._source) if channel is not None else None
                if channel is not None and own is not None:
                    channels.append(channel)
                    payloads.append(own)
            used = () if group.used_number is None else (group.used_number,)
            use = group.counters.use_text if used else "0"
            rows = await link.finish(_NOTIFY.format(use=use), (*used, channels, payloads))
            transaction = rows[0][0]
            come = listening.expect(parts)
        else:
            await link.flush()
        try:
            await link.run("COMMIT")
        except BaseException as error:
            if not (faults.is_gone(error) and await self._is_good(transaction)):
                listening.take_back(len(parts))
                raise
        group.end()
        return come

    def _is_fresh(self) -> bool:
        """Whether what is known of queues was read a moment ago, and Conveyor told of nothing."""
        assert self._listening is not None
        now, heard = REAL_TIME.now(), self._listening.has_heard_theirs
        if now - self._read_at < _FRESH and self._listening.is_on and not heard:
            return True
        self._read_at, self._listening.has_heard_theirs = now, False
        return False

    async def _is_good(self, transaction: int) -> bool:
        """Whether a transaction was committed whose end nobody has told.

        Raises:
            _UnknownError: it can't be found out.
        """
        try:
            connection = await self._connecting.open()
            try:
                end = await connection.fetchval("SELECT txid_status($1)", transaction)
            finally:
                await connection.close()
        except Exception as error:
            raise _UnknownError from error
        if end in ("committed", "aborted"):
            return bool(end == "committed")
        raise _UnknownError

    async def _after(self, calls: Sequence[Call], come: asyncio.Future[None] | None) -> None:
        for call in calls:
            wanted = call.wanted
            if isinstance(wanted, Fetch) and call.error is None:
                if call.result.jobs:
                    self._lively.add(wanted.queue_name)
                else:
                    self._lively.discard(wanted.queue_name)
        await self._see_expiries()
        if come is None:
            self._settle(calls)
        else:
            self._tasks.spawn(self._settle_when(calls, come))

    async def _settle_when(self, calls: Sequence[Call], come: asyncio.Future[None]) -> None:
        """Let who called go on when this store's own subscribers have what it did."""
        assert self._listening is not None
        await self._listening.wait_for(come)
        self._settle(calls)

    async def _see_expiries(self, link: Link | None = None) -> None:
        """Find out when the next job goes by its age, if that may be another time than it was."""
        listening, writing = self._listening, self._group.writing
        assert listening is not None
        if not (writing.expiries_changed or listening.has_heard):
            return
        writing.expiries_changed = listening.has_heard = False
        try:
            on = link or self._link
            assert on is not None
            self.next_expiry = await on.ask(self._group.answers.next_expiry())
        except Exception as error:  # what was asked for is done
            writing.expiries_changed = True
            self._report(error)

    async def _roll_back(self) -> None:
        link = self._link
        if link is None:
            return
        link.forget()
        try:
            await link.run("ROLLBACK")
        except Exception:
            self._link = None
            link.connection.terminate()

    # -- events -------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Listen to what programs of Conveyor tell of the queues that somebody subscribed to."""
        try:
            await self.open()
            assert self._listening is not None and self._looking_out is not None
            self._looking_out.start()
            async with self._following:  # a connection does one thing at a time
                wished, self._wished = self._wished, set()
                names = {one for one in wished if one is not None}
                self._follows_all |= None in wished
                if self._follows_all:
                    async with self._to_look() as (link, answers):
                        names |= set(await link.ask(answers.queue_names()))
                for name in sorted(names):
                    await self._listening.follow(name)
        except Exception as error:  # whoever asks for something is told
            self._report(error)

    async def _follow_new(self) -> None:
        if self._follows_all:
            await self._follow()

    async def _complete(self, event: StoreEvent) -> StoreEvent:
        """An event of a program of Conveyor, with what the row says."""
        job = None
        if event.job_id is not None:
            async with self._to_look() as (link, answers):
                job = await link.ask(answers.job(event.queue_name, event.job_id))
        return with_row(event, job)

    # -- faults -------------------------------------------------------------------------------

    def _in_words(self, error: BaseException) -> BaseException:
        if isinstance(error, _UnknownError):
            return StoreUnavailableError(
                f"the server of {shown(self._connecting.address)} went away at the very end: "
                "whether it was done can't be known"
            )
        if faults.sqlstate_of(error) is not None or faults.is_gone(error):
            return faults.in_one_sentence(error, self._connecting.address)
        return error

    def _report(self, error: BaseException) -> None:
        self._settings.logger.warning(
            "events of programs of Conveyor on %s: %s", self._connecting.address, error
        )
