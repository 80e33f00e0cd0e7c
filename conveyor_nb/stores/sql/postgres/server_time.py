"""The time of a server, by which all go whose jobs it keeps, as they share locks and delays.

A clock that is ahead would take jobs from workers that are alive, and one that is behind leave
those of the dead. So a store that was given no clock of its own goes by the server's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME, SystemClock

__all__ = ["ServerTime"]

_LEAST = timedelta(seconds=0.1)
"""By how much a clock may be off, and be left as it is: timers are no more exact."""

_EVERY = timedelta(minutes=1)

_NOW = "SELECT clock_timestamp()"

Fetch = Callable[[str, tuple[Any, ...]], Awaitable[list[Any]]]


class ServerTime:
    """How far this machine's clock is from the server's.

    >>> ServerTime().ahead
    datetime.timedelta(0)
    """

    def __init__(self) -> None:
        self.ahead = timedelta()
        """How far the server's is ahead of this machine's; 0: about the same."""
        self.clock = SystemClock(self._now)
        """The server's time."""
        self._measured: datetime | None = None

    def _now(self) -> datetime:
        return REAL_TIME.now() + self.ahead

    async def measure(self, fetch: Fetch) -> None:
        """Ask the server what time it is, if that was not done a moment ago.

        Args:
            fetch: sends a statement.
        """
        sent = REAL_TIME.now()
        if self._measured is not None and sent - self._measured < _EVERY:
            return
        ((theirs,),) = await fetch(_NOW, ())
        came = REAL_TIME.now()
        is_first, self._measured = self._measured is None, came
        ahead = theirs - (sent + (came - sent) / 2)
        # what is within the time that the answer took may be no difference at all
        unsure = max(_LEAST, came - sent)
        if abs(ahead - self.ahead) > unsure:
            self.ahead = ahead if abs(ahead) > unsure else timedelta()
            if is_first:
                self.clock.start_over()
