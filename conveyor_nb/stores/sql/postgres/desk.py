"""Where calls are done: on one loop, over a few connections, made anew when they are lost.

What only looks is done at once, on connections of its own. What writes waits for its turn; all that
waits by then is one group. It goes in one statement if that can do, and in one transaction if not,
under a lock that all stores of ours on the schema take.
"""

from __future__ import annotations

from collections.abc import Sequence

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.core.errors import StoreUnavailableError
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.sql.postgres.calls import Ask, Call, Fetch, Look
from conveyor_nb.stores.sql.postgres.doubts import FIRST_PAUSE, TRIES
from conveyor_nb.stores.sql.postgres.reaching import Settings
from conveyor_nb.stores.sql.postgres.writing_calls import WritingCalls, may_pass

__all__ = ["Desk", "Settings"]


class Desk(WritingCalls):
    """Does calls; made as a ``Reaching``."""

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
        if not isinstance(call.wanted, Fetch) or call.after is not None:
            return False
        return call.wanted.queue_name not in self._lively

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
                if self.place is None or not may_pass(error):
                    break
                if isinstance(error, StoreUnavailableError):
                    await REAL_TIME.sleep(FIRST_PAUSE * 2**number)
        if is_done:
            self._settle([call])
        else:
            self._waiting.append(call)
            self._write_soon()
