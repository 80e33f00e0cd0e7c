"""How calls that write are done: in one statement if that can do, and in one transaction if not."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.core.errors import StoreUnavailableError
from conveyor_nb.stores.sql.postgres import faults
from conveyor_nb.stores.sql.postgres.calls import Call, Fetch
from conveyor_nb.stores.sql.postgres.doubts import FIRST_PAUSE, TRIES, UnknownError
from conveyor_nb.stores.sql.postgres.link import Link
from conveyor_nb.stores.sql.postgres.quick import Quick
from conveyor_nb.stores.sql.postgres.reaching import Reaching
from conveyor_nb.stores.sql.postgres.telling import NOTIFY, ToTell, what_to_tell

__all__ = ["WritingCalls", "may_pass"]

_FRESH = timedelta(seconds=1)
"""For how long what is known of a queue is believed, as not all programs tell of every change."""

_MORE = 4
_KNOWN_JOBS = "SELECT reltuples FROM pg_class WHERE oid = 'conveyor_jobs'::regclass"
_OF_ALL = (UnknownError, StoreUnavailableError, faults.KeptOutError)
"""What is in the way of each call by itself, too."""

_VERSION = 0xFFFF_FFFF
"""What of a transaction's number rows have as their version."""


def may_pass(error: BaseException) -> bool:
    """Whether what was in the way may be gone the next time."""
    return (
        isinstance(error, StoreUnavailableError)
        or faults.is_gone(error)
        or faults.sqlstate_of(error) in faults.AGAIN
    )


class WritingCalls(Reaching, ABC):
    """Does calls that write; made as a ``Reaching``."""

    @abstractmethod
    async def _do_look(self, call: Call) -> None:
        """Do what only has to look."""

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
                if not may_pass(error):
                    break
            else:
                await self._after(calls, come)
                return
        assert fault is not None
        if len(calls) > 1 and not isinstance(fault, _OF_ALL):
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
        if not group.begin_quick(calls):
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
            listening.sent()
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
        try:
            await group.begin(link, is_fresh=is_fresh)
        except Exception as error:
            if faults.is_locked(error):
                raise faults.KeptOutError from error
            raise
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
        listening.sent()
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
            if isinstance(wanted, Fetch) and call.result is not None:
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
        self._group.give_up()
        try:
            await link.run("ROLLBACK")
        except Exception:
            self._link = None
            link.connection.terminate()
