"""A server as it is reached: connections, made anew when they are lost, tables, what is told."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.errors import StoreUnavailableError
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.rows import Key
from conveyor_nb.core.values.ids import random_id
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.sql.groups import END_TURNS
from conveyor_nb.stores.sql.postgres import faults
from conveyor_nb.stores.sql.postgres.answers import ServerAnswers, StrangeGroups
from conveyor_nb.stores.sql.postgres.calls import Call
from conveyor_nb.stores.sql.postgres.connecting import Connecting, Place
from conveyor_nb.stores.sql.postgres.doubts import Doubts, UnknownError
from conveyor_nb.stores.sql.postgres.group import Group
from conveyor_nb.stores.sql.postgres.link import Link
from conveyor_nb.stores.sql.postgres.listening import Listening, Tell
from conveyor_nb.stores.sql.postgres.looking_out import LookingOut
from conveyor_nb.stores.sql.postgres.looks import Looks
from conveyor_nb.stores.sql.postgres.server_time import Fetch as FetchRows
from conveyor_nb.stores.sql.postgres.server_time import ServerTime
from conveyor_nb.stores.sql.wire.codec import Codec, codec_for
from conveyor_nb.stores.sql.wire.events import Notice, with_row

__all__ = ["Reaching", "Settings"]

_MANY = 250
"""How many jobs are so many that the server is to know of them."""

_PLANS = (
    # what writes goes by indexes, also while there is little to go by, as its plans are kept
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    " SET plan_cache_mode = force_generic_plan"
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
    server_time: ServerTime | None


class Reaching:
    """Reaches a server.

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
        self._strange: StrangeGroups = {}
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
            await connection.execute(_PLANS)
            link = Link(connection)
            await self._set_clock(link.fetch)
        except BaseException:
            await connection.close()
            raise
        self._link = link
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
            self._miss,
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
        answers = ServerAnswers(
            self._codec, self.place.sequence, locks=locks, strange=self._strange
        )
        answers.sequential_ids = self._settings.sequential_ids
        return answers

    async def _listen(self) -> None:
        listening = self._listening
        assert listening is not None, "the server was reached"
        if not listening.is_on:
            connection = await self._connecting.open()
            try:
                await listening.start(connection)
            except BaseException as error:
                connection.terminate()
                if not isinstance(error, Exception):
                    raise
                raise faults.in_one_sentence(error, self._connecting.address) from error

    async def close(self) -> None:
        """Do what is left, and let go of all connections."""
        if self._looking_out is not None:  # who looks opens what is closed
            await self._looking_out.stop()
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        if self._looking_out is not None:  # what was left may have started it anew
            await self._looking_out.stop()
        if self._listening is not None:
            await self._listening.stop()
        await self._looks.close()
        link, self._link = self._link, None
        if link is not None and not link.is_closed:
            await link.connection.close()
        await self._connecting.close()

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

    def _hear(self, notice: Notice) -> None:
        """Take note of what another store of ours has done."""
        self._group.hear(notice)
        for event in notice.events:
            if event.type == EventType.WAITING:
                self._lively.add(event.queue_name)

    def _miss(self, queue_names: Sequence[str]) -> None:
        """Have all look who hear of queues: something may have happened there that nobody heard."""
        now, about = self._settings.clock.now(), {"missed": 0}
        self._tell([StoreEvent(EventType.MISSED, one, None, about, now) for one in queue_names], {})
        self._tell_soon()

    # -- faults -------------------------------------------------------------------------------

    def _in_words(self, error: BaseException) -> BaseException:
        if isinstance(error, UnknownError):
            return StoreUnavailableError(
                f"the server of {shown(self._connecting.address)} went away at the very end: "
                "whether it was done can't be known"
            )
        if isinstance(error, faults.KeptOutError) and error.__cause__ is not None:
            error = error.__cause__
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
