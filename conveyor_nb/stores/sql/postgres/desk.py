"""Where calls are done: on one loop, over a few connections, made anew when they are lost.

What only looks is done at once, on connections of its own. What writes waits for its turn; all that
waits by then is one group. It goes in one statement if that can do, and in one transaction if not,
under a lock that all stores of ours on the schema take.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME, Clock
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.errors import ConveyorError, StoreUnavailableError
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.rows import Key
from conveyor_nb.core.values.ids import random_id
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.sql.groups import END_TURNS
from conveyor_nb.stores.sql.postgres import faults
from conveyor_nb.stores.sql.postgres.answers import ServerAnswers
from conveyor_nb.stores.sql.postgres.calls import Ask, Call, Fetch, Look
from conveyor_nb.stores.sql.postgres.connecting import Connecting, Place
from conveyor_nb.stores.sql.postgres.doubts import FIRST_PAUSE, TRIES, Doubts, UnknownError
from conveyor_nb.stores.sql.postgres.group import Group
from conveyor_nb.stores.sql.postgres.link import Link
from conveyor_nb.stores.sql.postgres.listening import Listening, Tell
from conveyor_nb.stores.sql.postgres.looking_out import LookingOut
from conveyor_nb.stores.sql.postgres.looks import Looks
from conveyor_nb.stores.sql.postgres.quick import Quick
from conveyor_nb.stores.sql.postgres.server_time import Fetch as FetchRows
from conveyor_nb.stores.sql.postgres.server_time import ServerTime
from conveyor_nb.stores.sql.postgres.telling import NOTIFY, ToTell, what_to_tell
from conveyor_nb.stores.sql.wire.codec import Codec, codec_for
from conveyor_nb.stores.sql.wire.events import Notice, with_row

__all__ = ["Desk", "Settings"]

_FRESH = timedelta(seconds=1)
"""For how long what is known of a queue is believed, as not all programs tell of every change."""

_MANY, _MORE = 250, 4
_KNOWN_JOBS = "SELECT reltuples FROM pg_class WHERE oid = 'conveyor_jobs'::regclass"
_PLANS = (
    # what writes goes by indexes, also while there is little to go by, as its plans are kept
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    " SET plan_cache_mode = force_generic_plan"
)
_VERSION = 0xFFFF_FFFF
"""What of a transaction's number rows have as their version."""


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
    server_time: ServerTime | None


def _may_pass(error: BaseException) -> bool:
    """Whether what was in the way may be gone the next time."""
    return (
        isinstance(error, StoreUnavailableError)
        or faults.is_gone(error)
        or faults.sqlstate_of(error) in faults.AGAIN
    )


class Desk:
    """Does calls.

    Args:
        connecting: makes connections.
        settings: what the store was made with.
        tell: told what has happened, in order; may be called at any time.
        tell_soon: called when others did it, whom nobody here waits for.
        settle: called with calls that are done.
    """

    def __init__(
        self,
        connecting: Connecting,
        settings: Settings,
        tell: Tell,
        tell_soon: Callable[[], object],
        settle: Callable[[Sequence[Call]], object],
    ) -> None:
        self.place: Place | None = None
        self.channel = ""
        """Where stores of ours on the schema tell each other what they do."""
        self.next_expiry: datetime | None = None
        """When the next job has been kept long enough."""
        self._connecting, self._settings = connecting, settings
        self._tell, self._tell_soon, self._settle = tell, tell_soon, settle
        self._source = random_id()
        self._codec: Codec
        self._group: Group
        self._listening: Listening | None = None
        self._looking_out: LookingOut | None = None
        self._link: Link | None = None
        self._looks = Looks(connecting, settings.clock, lambda: self._new_answers(locks=False))
        self._doubts = Doubts(connecting)
        self._waiting: list[Call] = []
        self._opening, self._following = asyncio.Lock(), asyncio.Lock()
        self._tasks = BackgroundTasks()
        self._is_writing = False
        self._read_at = datetime.fromtimestamp(0, UTC)
        self._added = 0
        """How many jobs this has added."""
        self._look_at = _MANY
        """At how many it is to see whether the server knows of them."""
        self._lively: set[str] = set()
        """The queues of which a fetch got a job the last time."""
        self._wished: set[str | None] = set()
        self._reported: set[str] = set()
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
        await connection.execute(_PLANS)
        self._link = Link(connection)
        await self._set_clock(self._link.fetch)
        self._group.writing.forget()
        self._group.writing.expiries_changed = True

    async def _set_clock(self, fetch: FetchRows) -> None:
        if self._settings.server_time is not None:
            await self._settings.server_time.measure(fetch)

    def _know(self, place: Place) -> None:
        settings = self._settings
        self.place = place
        self._codec = codec_for("postgres", settings.payloads, fractions=place.fractions)
        self._group = self.new_group()
        digest = hashlib.sha256(f"conveyor_nb {place.schema}".encode()).digest()
        self.channel = f"conveyor_nb:{digest.hex()[:32]}"
        self._listening = Listening(
            self._source,
            self.channel,
            self._tell,
            self._tell_soon,
            self._codec.kept,
            self._complete,
            self._report,
            self._hear,
        )
        self._looking_out = LookingOut(
            self._fetch,
            settings.clock.now,
            settings.followed,
            wake=settings.wake,
            tell=lambda events: self._tell(events, {}),
            heard=self._listening.take_heard,
            keep_up=self._keep_up,
            tidy=self._tidy,
            fault=self._report,
        )

    def new_group(self) -> Group:
        """What takes steps in the transactions of one connection."""
        settings = self._settings
        return Group(
            self._new_answers(locks=True),
            settings.clock,
            seed=settings.seed,
            followed=settings.followed,
            collects_metrics=settings.collects_metrics,
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
        await self._looks.close()
        link, self._link = self._link, None
        if link is not None and not link.is_closed:
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
        for number in range(TRIES):
            try:
                call.error = None
                await self.open()
                is_done = await self._looks.look(call)
                if isinstance(call.wanted, Ask):
                    await self._see_expiry()
                break
            except Exception as error:
                call.error = self._in_words(error)
                if self.place is None or not _may_pass(error):
                    break
                if isinstance(error, StoreUnavailableError):
                    await REAL_TIME.sleep(FIRST_PAUSE * 2**number)
        if is_done:
            self._settle([call])
        else:
            self._waiting.append(call)
            self._write_soon()

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
        for number in range(TRIES):
            for call in calls:
                call.result = call.error = None
            if isinstance(fault, StoreUnavailableError):
                if self.place is None:  # it was never there
                    break
                await REAL_TIME.sleep(FIRST_PAUSE * 2**number)
            try:
                await self.open()
                assert self._link is not None
                is_fresh = self._is_fresh()
                if is_fresh and not number and await self._at_once(self._link, calls):
                    return
                come = await self._in_transaction(self._link, calls, is_fresh=is_fresh)
            except Exception as error:
                fault = error
                await self._roll_back()
                if not _may_pass(error):
                    break
            else:
                await self._after(calls, come)
                return
        assert fault is not None
        if len(calls) > 1 and not isinstance(fault, (UnknownError, StoreUnavailableError)):
            for call in calls:
                await self._write([call])
            return
        for call in calls:
            call.error = self._in_words(fault)
        self._settle(calls)

    async def _at_once(self, link: Link, calls: Sequence[Call]) -> bool:
        """Do what is wanted in one statement; ``False``: it can't be, and nothing was done."""
        group, listening = self._group, self._listening
        assert listening is not None
        if not group.begin_quick():
            return False
        quick = Quick(link.connection, group.answers.lasting.versions)
        try:
            await group.take(quick, calls)
        except Exception:  # it is done in a transaction, or fails there
            group.give_up()
            return False
        if not group.told:
            group.give_up()
            return self._only_look(calls)
        told = self._what_to_tell()
        come = listening.expect(told.parts)
        version: int | None = None
        is_done = False
        try:
            version = await group.write_quick(quick, told.channels, told.payloads)
            is_done = version is not None
        except Exception as error:
            is_done = faults.is_gone(error) and await self._doubts.was_written(
                group.counts[1], quick.witness
            )
        finally:
            if not is_done:
                listening.take_back(len(told.parts))
                group.give_up(is_late=True)
        if is_done:
            group.end(version)
            self._waiting[:0] = group.deferred
            await self._after([one for one in calls if one not in group.deferred], come)
        return is_done

    def _only_look(self, calls: Sequence[Call]) -> bool:
        """Look once more for what a fetch may have, and found nothing; ``False``: others wait."""
        wanted = [call.wanted.queue_name for call in calls if isinstance(call.wanted, Fetch)]
        if len(wanted) < len(calls):
            return False
        self._lively.difference_update(wanted)
        for call in calls:
            self._tasks.spawn(self._do_look(call))
        return True

    async def _in_transaction(
        self, link: Link, calls: Sequence[Call], *, is_fresh: bool
    ) -> asyncio.Future[None] | None:
        group, listening = self._group, self._listening
        assert listening is not None
        await link.run("BEGIN")
        await group.begin(link, is_fresh=is_fresh)
        await group.take(link, calls)
        told: ToTell | None = None
        come: asyncio.Future[None] | None = None
        transaction = 0
        if group.told:
            told = self._what_to_tell()
            used = () if group.used_number is None else (group.used_number,)
            use = group.counters.use_text if used else "0"
            values = (*used, told.channels, told.payloads)
            rows = await link.finish(NOTIFY.format(use=use), values)
            transaction = rows[0][0]
            come = listening.expect(told.parts)
        else:
            await link.flush()
        try:
            await link.run("COMMIT")
        except BaseException as error:
            if not (faults.is_gone(error) and await self._doubts.is_good(transaction)):
                if told is not None:
                    listening.take_back(len(told.parts))
                raise
        group.end(transaction & _VERSION if transaction else None)
        return come

    def _what_to_tell(self) -> ToTell:
        assert self._listening is not None
        number = self._listening.next_number
        return what_to_tell(self._group, source=self._source, channel=self.channel, number=number)

    def _is_fresh(self) -> bool:
        """Whether what is known of queues was read a moment ago, and Conveyor told of nothing."""
        assert self._listening is not None
        now, heard = REAL_TIME.now(), self._listening.has_heard_theirs
        if now - self._read_at < _FRESH and self._listening.is_on and not heard:
            return True
        self._read_at, self._listening.has_heard_theirs = now, False
        return False

    async def _after(self, calls: Sequence[Call], come: asyncio.Future[None] | None) -> None:
        for call in calls:
            wanted = call.wanted
            if isinstance(wanted, Fetch) and call.error is None:
                if call.result.jobs:
                    self._lively.add(wanted.queue_name)
                else:
                    self._lively.discard(wanted.queue_name)
        self._added += self._group.added
        if self._added >= self._look_at:
            self._look_at = _MORE * self._added
            self._tasks.spawn(self._see_growth())
        await self._see_expiries()
        if come is None:
            self._settle(calls)
        else:
            self._tasks.spawn(self._settle_when(calls, come))

    async def _see_growth(self) -> None:
        """Let the server look at the jobs when there are many more than it knows of.

        It does so by itself after a minute; until then it takes wrong ways among them.
        """
        try:
            async with self._looks.link() as (link, _):
                ((known,),) = await link.fetch(_KNOWN_JOBS, ())
                if known < self._added / 2:
                    await link.run("ANALYZE conveyor_jobs")
        except Exception as error:  # what was asked for is done
            self._settings.logger.warning("%s: %s", self._connecting.address, error)

    async def _settle_when(self, calls: Sequence[Call], come: asyncio.Future[None]) -> None:
        """Let who called go on when this store's own subscribers have what it did."""
        assert self._listening is not None
        await self._listening.wait_for(come)
        self._settle(calls)

    async def _see_expiries(self) -> None:
        """As :meth:`_see_expiry`; nobody who writes waits to see what others have made of it."""
        if self._group.writing.expiries_changed:
            await self._see_expiry()
        elif self._listening is not None and self._listening.has_heard:
            self._tasks.spawn(self._see_expiry())

    async def _see_expiry(self) -> None:
        """Find out when the next job goes by its age, if that may be another time than it was."""
        listening, writing = self._listening, self._group.writing
        assert listening is not None
        if not (writing.expiries_changed or listening.has_heard):
            return
        writing.expiries_changed = listening.has_heard = False
        try:
            async with self._looks.link() as (link, answers):
                self.next_expiry = await link.ask(answers.next_expiry())
            self._tell_soon()
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

    def _hear(self, notice: Notice) -> None:
        """Take note of what another store of ours has done."""
        self._group.hear(notice)
        for event in notice.events:
            if event.type == EventType.WAITING:
                self._lively.add(event.queue_name)

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
                    async with self._looks.link() as (link, answers):
                        names |= set(await link.ask(answers.queue_names()))
                for name in sorted(names):
                    await self._listening.follow(name)
            self._reported.clear()
        except Exception as error:  # whoever asks for something is told
            self._report(error)

    async def _keep_up(self) -> None:
        await self._set_clock(self._fetch)
        if self._follows_all:
            await self._follow()

    async def _tidy(self) -> None:
        if not self._settings.read_only:
            await self._fetch(END_TURNS, ())

    async def _fetch(self, text: str, values: Sequence[Any]) -> list[Any]:
        await self.open()
        async with self._looks.link() as (link, _):
            return await link.fetch(text, values)

    async def _complete(self, event: StoreEvent) -> StoreEvent:
        """An event of a program of Conveyor, with what the row says."""
        job = None
        if event.job_id is not None:
            async with self._looks.link() as (link, answers):
                job = await link.ask(answers.job(event.queue_name, event.job_id))
        return with_row(event, job)

    # -- faults -------------------------------------------------------------------------------

    def _in_words(self, error: BaseException) -> BaseException:
        if isinstance(error, UnknownError):
            return StoreUnavailableError(
                f"the server of {shown(self._connecting.address)} went away at the very end: "
                "whether it was done can't be known"
            )
        if faults.sqlstate_of(error) is not None or faults.is_gone(error):
            return faults.in_one_sentence(error, self._connecting.address)
        return error

    def _report(self, error: BaseException) -> None:
        """Tell of a fault that nobody waits for: once, until all is well again."""
        if str(error) not in self._reported:
            self._reported.add(str(error))
            self._settings.logger.warning(
                "events of programs of Conveyor on %s: %s", self._connecting.address, error
            )
