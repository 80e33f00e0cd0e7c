"""Looks, once a second, for what nobody tells of: programs of Conveyor tell of little that they do.

They retry, promote, resume and remove without a word. So what waits for something to happen is
woken while anybody writes on the server, and looks by itself whether that was it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.model import EventType, StoreEvent
from conveyor_nb.core.rows import Key

__all__ = ["LookingOut"]

_EVERY = 1.0
"""How many seconds lie between two looks."""

_TIDIED_AFTER = 60
"""How many looks after they told of something what they leave behind is done away with."""

_MOST_JOBS = 1_000
"""How many of the jobs that somebody follows are looked at in one look."""

_WRITTEN = "SELECT txid_current_snapshot()::text"
"""Another text once anybody has written anything."""

_OVER = (
    "SELECT its.queue_name, its.id FROM unnest(?::text[], ?::text[]) AS its(queue_name, id)"
    " LEFT JOIN conveyor_jobs AS job ON job.queue_name = its.queue_name AND job.id = its.id"
    " WHERE job.id IS NULL OR job.state IN ('completed', 'failed')"
)

Fetch = Callable[[str, tuple[Any, ...]], Awaitable[list[Any]]]


class LookingOut:
    """Looks in real time, whatever the clock of the store, until it is stopped.

    Args:
        fetch: sends a statement that only looks.
        now: the instant by the store's clock.
        followed: the jobs that somebody follows by themselves.
        wake: called with the instant and with jobs that are over, to have those look who wait.
        tell: called with events for all who hear of their queues.
        heard: gives the queues of which programs of Conveyor have told something since.
        keep_up: does what else is to be done with each look.
        tidy: does away with what they leave behind, now and then.
        fault: called with what went wrong; it looks again all the same.
    """

    def __init__(
        self,
        fetch: Fetch,
        now: Callable[[], datetime],
        followed: Collection[Key],
        *,
        wake: Callable[[datetime, list[Key]], object],
        tell: Callable[[list[StoreEvent]], object],
        heard: Callable[[], Iterable[str]],
        keep_up: Callable[[], Awaitable[object]],
        tidy: Callable[[], Awaitable[object]],
        fault: Callable[[BaseException], object],
    ) -> None:
        self._fetch, self._now, self._followed = fetch, now, followed
        self._wake, self._tell, self._heard = wake, tell, heard
        self._keep_up, self._tidy, self._fault = keep_up, tidy, fault
        self._tasks = BackgroundTasks()
        self._written, self._is_seen = "", False
        self._looks_to_tidying = 0

    def start(self) -> None:
        """Look from now on."""
        if not self._tasks:
            self._tasks.spawn(self._look_each_second())

    async def stop(self) -> None:
        """Look no more."""
        await self._tasks.close()

    async def _look_each_second(self) -> None:
        while True:
            await REAL_TIME.sleep(_EVERY)
            try:
                await self.look()
            except Exception as error:  # the server may be away
                self._fault(error)

    async def look(self) -> None:
        """Look once."""
        ((written,),) = await self._fetch(_WRITTEN, ())
        is_quiet = written == self._written
        if is_quiet and self._is_seen:
            return
        # once more after the last change: what was known for a second may not have had it
        self._written, self._is_seen = written, is_quiet
        await self._keep_up()
        over: list[Key] = []
        if followed := list(islice(self._followed, _MOST_JOBS)):
            columns = ([key[0] for key in followed], [key[1] for key in followed])
            over = [(row[0], row[1]) for row in await self._fetch(_OVER, columns)]
        now = self._now()
        self._wake(now, over)
        # what they told of is done, and may have had consequences of which they told nothing
        events = [
            StoreEvent(EventType.MISSED, queue_name, None, {"missed": 0}, now)
            for queue_name in self._heard()
        ]
        if events:
            self._tell(events)
            self._looks_to_tidying = self._looks_to_tidying or _TIDIED_AFTER
        if self._looks_to_tidying:
            self._looks_to_tidying -= 1
            if not self._looks_to_tidying:
                await self._tidy()
