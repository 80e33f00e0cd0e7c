"""The connection that hears what all stores and programs on a server tell, in the order of commits.

The stores of ours on one schema tell each other on one channel. What this store itself tells comes
back to it there, and only then do its own subscribers get it, so that they hear everything in the
order in which it became true, whoever did it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.model import StoreEvent
from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.wire.events import (
    Notice,
    Told,
    channel_of,
    from_notice,
    from_notification,
)

__all__ = ["Listening", "Tell"]

Tell = Callable[[Sequence[StoreEvent], Mapping[Key, Any]], object]

_PATIENCE = 5.0
"""For how many seconds one waits for what one has told oneself."""


class Listening:
    """Hears events.

    Args:
        source: what this store calls itself.
        channel: where stores of ours tell.
        tell: told the events, and the results of jobs that this store did.
        tell_soon: called after it, when others did what is told.
        kept: what rows hold of a payload, from its two columns.
        complete: fills in what a program of Conveyor does not tell of an event.
        fault: called with what can't be understood.
        hear: called with what other stores of ours tell, before it is told.
        miss: called with the queues of which something may have been missed.
    """

    def __init__(
        self,
        source: str,
        channel: str,
        tell: Tell,
        tell_soon: Callable[[], object],
        kept: Callable[[str, bytes | None], Any],
        complete: Callable[[StoreEvent], Awaitable[StoreEvent]],
        fault: Callable[[BaseException], object],
        hear: Callable[[Notice], object],
        miss: Callable[[Sequence[str]], object],
    ) -> None:
        self.source, self.channel = source, channel
        self._tell, self._tell_soon = tell, tell_soon
        self._kept, self._complete, self._fault = kept, complete, fault
        self._hear, self._miss = hear, miss
        self._connection: Any = None
        self._has_begun = False
        self._number = 0
        self._sent = 0
        """The last number of what is known to be sent; those above it may yet be taken back."""
        self._taken_back: set[int] = set()
        self._lost = 0
        """The last number that was expected on a connection that is lost."""
        self._own: dict[int, tuple[Sequence[StoreEvent], Mapping[Key, Any]]] = {}
        self._come: dict[int, asyncio.Future[None]] = {}
        self._heard: deque[Told] = deque()
        self._filling = BackgroundTasks()
        self._is_filling = False
        self._queues: set[str] = set()
        self._asking = asyncio.Lock()  # a connection does one thing at a time
        self.has_heard_theirs = False
        """Whether programs of Conveyor have, since this was last set to ``False``."""
        self._heard_of: set[str] = set()
        self.has_heard = False
        """Whether others have done something since this was last set to ``False``."""

    @property
    def is_on(self) -> bool:
        """Whether events come."""
        return self._connection is not None and not self._connection.is_closed()

    async def start(self, connection: Any) -> None:
        """Listen on a connection, from now on; once more, if it was another one before."""
        await connection.add_listener(self.channel, self._hear_ours)
        self._connection = connection
        queues, self._queues = self._queues, set()
        try:
            for queue_name in queues:
                await self.follow(queue_name)
        finally:
            self._queues |= queues  # if this one is lost, the next is to hear of them all
        connection.add_termination_listener(self._stopped)
        if self._has_begun:  # nobody knows what others told meanwhile
            self.has_heard = self.has_heard_theirs = True
            self._miss(sorted(self._queues))
        self._has_begun = True

    async def stop(self) -> None:
        """Hear no more."""
        connection, self._connection = self._connection, None
        await self._filling.close()
        if connection is not None and not connection.is_closed():
            connection.remove_termination_listener(self._stopped)
            await connection.close()
        self.give_up()

    async def follow(self, queue_name: str) -> None:
        """Hear also what programs of Conveyor tell of a queue."""
        channel = channel_of(queue_name)
        if queue_name not in self._queues and channel is not None and self.is_on:
            self._queues.add(queue_name)
            async with self._asking:
                if self.is_on:
                    await self._connection.add_listener(channel, self._hear_theirs)

    # -- what this store tells ----------------------------------------------------------------

    @property
    def next_number(self) -> int:
        """The number of the next notice of this store."""
        return self._number + 1

    def expect(
        self, parts: Sequence[tuple[Sequence[StoreEvent], Mapping[Key, Any]]]
    ) -> asyncio.Future[None]:
        """Take note of notices that are about to be sent; done when the last has come back.

        Until it is known whether they were, they are told only if they come back: see
        :meth:`sent` and :meth:`take_back`.
        """
        come = asyncio.get_running_loop().create_future()
        for part in parts:
            self._number += 1
            self._own[self._number] = part
        self._come[self._number] = come
        return come

    def sent(self) -> None:
        """Note that all that is expected was sent."""
        self._sent = self._number
        if self._lost == self._sent:  # it went where nobody listened any more
            self.give_up()

    def take_back(self, parts: int) -> None:
        """Forget the latest notices: they were not sent, as far as anybody knows."""
        for number in range(self._number - parts + 1, self._number + 1):
            self._own.pop(number, None)
            self._come.pop(number, None)
            self._taken_back.add(number)

    def give_up(self) -> None:
        """Tell at once whatever was sent and has not come back."""
        for number in sorted(self._own):
            if number <= self._sent:
                self._come_back(number)

    def _come_back(self, number: int) -> None:
        own = self._own.pop(number, None)
        if own is not None:
            self._tell(*own)
        come = self._come.pop(number, None)
        if come is not None and not come.done():
            come.set_result(None)

    async def wait_for(self, come: asyncio.Future[None]) -> None:
        """Wait until notices have come back, or can't."""
        if self.is_on:
            await asyncio.wait([come], timeout=_PATIENCE)
        if not come.done():
            self.give_up()

    # -- what is heard ------------------------------------------------------------------------

    def _hear_ours(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        try:
            notice = from_notice(payload)
        except (ValueError, TypeError) as error:
            self._fault(error)
            return
        if notice.source == self.source and notice.number not in self._taken_back:
            self._come_back(notice.number)
        else:  # also what one did oneself, and could not know
            results = {key: self._kept(*columns) for key, columns in notice.results.items()}
            self.has_heard = True
            self._hear(notice)
            self._tell(notice.events, results)
            self._tell_soon()
        if notice.source == self.source and self._taken_back:  # they come in order
            self._taken_back = {one for one in self._taken_back if one > notice.number}

    def _hear_theirs(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        try:
            told = from_notification(payload)
        except ValueError as error:
            self._fault(error)
            return
        if told is None:
            return
        self._heard.append(told)
        if not self._is_filling:
            self._is_filling = True
            self._filling.spawn(self._fill_in())

    async def _fill_in(self) -> None:
        while self._heard:
            event, is_whole = self._heard.popleft()
            if not is_whole:
                try:
                    event = await self._complete(event)
                except Exception as error:  # the server may be away
                    self._fault(error)
                    continue
            self.has_heard = self.has_heard_theirs = True
            self._heard_of.add(event.queue_name)
            self._tell([event], {})
            self._tell_soon()
        self._is_filling = False

    def take_heard(self) -> list[str]:
        """The queues of which programs of Conveyor have told something, since this was asked."""
        heard, self._heard_of = sorted(self._heard_of), set()
        return heard

    def _stopped(self, connection: Any) -> None:
        self._connection = None
        self._lost = self._number
        self.give_up()
