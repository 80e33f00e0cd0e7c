"""Looks: what changes nothing is done at once, on connections of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.stores.sql.postgres.answers import ServerAnswers
from conveyor_nb.stores.sql.postgres.calls import Ask, Call, Fetch, Look
from conveyor_nb.stores.sql.postgres.connecting import Connecting
from conveyor_nb.stores.sql.postgres.driving import fetching, look
from conveyor_nb.stores.sql.postgres.link import Link

__all__ = ["Looks"]

_MOST = 3
"""How many looks go on at a time, each over a connection of its own."""


class Looks:
    """Looks, over connections that are kept for the next ones.

    Args:
        connecting: makes connections.
        clock: tells the instant.
        new_answers: makes who answers over a connection.
    """

    def __init__(
        self, connecting: Connecting, clock: Clock, new_answers: Callable[[], ServerAnswers]
    ) -> None:
        self._connecting, self._clock, self._new_answers = connecting, clock, new_answers
        self._idle: list[tuple[Link, ServerAnswers]] = []
        self._free = asyncio.Semaphore(_MOST)

    async def look(self, call: Call) -> bool:
        """Do what only has to look; ``False``: there is something to be written."""
        wanted = call.wanted
        async with self.link() as (link, answers):
            if isinstance(wanted, Ask):
                call.result = await link.ask(wanted.asking(answers))
                return True
            await link.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                return await self._look_by_step(call, link, answers)
            finally:
                link.forget()
                if not link.is_closed:
                    await link.run("ROLLBACK")

    async def _look_by_step(self, call: Call, link: Link, answers: ServerAnswers) -> bool:
        wanted, clock, freeze = call.wanted, self._clock, answers.codec.freeze
        assert isinstance(wanted, (Look, Fetch))
        if isinstance(wanted, Look):
            call.result, _ = await look(link, answers, clock, wanted.step, freeze)
            return True
        due = await link.ask(answers.next_due(wanted.queue_name))
        if due is not None and due <= clock.now():
            return False
        step = fetching(wanted)
        call.result, would_write = await look(link, answers, clock, step, freeze)
        return not would_write

    @contextlib.asynccontextmanager
    async def link(self) -> AsyncIterator[tuple[Link, ServerAnswers]]:
        """A connection for looks, and who answers over it."""
        async with self._free:
            self._idle = [one for one in self._idle if not one[0].is_closed]
            link, answers = self._idle.pop() if self._idle else await self._new()
            answers.forget()
            try:
                yield link, answers
            finally:
                if not link.is_closed:
                    self._idle.append((link, answers))

    async def _new(self) -> tuple[Link, ServerAnswers]:
        return Link(await self._connecting.open()), self._new_answers()

    async def close(self) -> None:
        """Let go of all connections; nobody looks any more."""
        links, self._idle = self._idle, []
        for link, _ in links:
            if not link.is_closed:
                await link.connection.close()
