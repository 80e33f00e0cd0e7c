"""Jobs that are added as a part of a transaction of the caller's own, over a connection of theirs.

The statements are sent over that connection, on the caller's loop. Nobody else sees what they do,
and the server tells nobody of it, until the caller commits.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.model import JobData
from conveyor_nb.core.rows import Key
from conveyor_nb.core.values.ids import random_id
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.capabilities import Capability
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.postgres import faults
from conveyor_nb.stores.sql.postgres.calls import Call, Step, Take
from conveyor_nb.stores.sql.postgres.connecting import Place, require_driver
from conveyor_nb.stores.sql.postgres.group import Group
from conveyor_nb.stores.sql.postgres.link import Link
from conveyor_nb.stores.sql.postgres.telling import NOTIFY, what_to_tell
from conveyor_nb.stores.working_set.saving import SteppedSaving

__all__ = ["Joined", "JoinedSaving", "identity"]

_BEGIN = "async with connection.transaction(): ..."

_IDENTITY = (
    "SELECT current_database(), pg_postmaster_start_time(), to_regclass('conveyor_jobs')::oid"
)
"""Which tables on which server a connection has in sight."""

_PLAIN = """SELECT $1::jsonb::text, '"a"'::jsonb"""
_PATH = "SELECT current_setting('search_path'), set_config('search_path', $1, true)"


class Joined(Protocol):
    """What is needed of a store that has reached its server."""

    place: Place | None
    channel: str

    def new_group(self) -> Group:
        """What takes steps."""


class JoinedSaving(SteppedSaving):
    """Takes jobs in, within the transaction that is under way on a connection.

    Args:
        connection: the caller's.
        address: the server's, for messages.
        capabilities: what the store can do.
        take_payload: the store's.
        reach: has the store reach its server; returns what is needed of it, and its identity.

    Raises:
        TypeError, ValueError: no connection of ``asyncpg``, or one in no transaction.
    """

    def __init__(
        self,
        connection: Any,
        address: str,
        capabilities: Collection[Capability],
        take_payload: Callable[[Any, str], Any],
        reach: Callable[[], Awaitable[tuple[Joined, tuple[Any, ...]]]],
    ) -> None:
        asyncpg = require_driver()
        if not isinstance(connection, (asyncpg.Connection, asyncpg.pool.PoolConnectionProxy)):
            raise TypeError(
                "connection must be one of asyncpg to the server of the store, "
                f"not {shown(connection)}"
            )
        if not connection.is_in_transaction():
            raise ValueError(f"connection is in no transaction: {_BEGIN}")
        self.capabilities = capabilities
        self._connection, self._address = connection, address
        self._take_payload, self._reach = take_payload, reach

    def take_payload(self, value: Any, what: str) -> Any:
        return self._take_payload(value, what)

    async def take_step(self, step: Step, about: Sequence[JobData | Key] = ()) -> Any:
        joined, own = await self._reach()
        call = Call(Take(step, about))
        try:
            async with self._connection.transaction(), self._in_place(joined, own):
                await self._serve(joined, call)
        except ConveyorError:
            raise
        except Exception as error:
            if faults.sqlstate_of(error) is None and not faults.is_gone(error):
                raise
            raise faults.in_one_sentence(error, self._address) from error
        return call.result

    async def _serve(self, joined: Joined, call: Call) -> None:
        link, group = Link(self._connection), joined.new_group()
        await group.begin(link, is_fresh=False)
        await group.take(link, [call])
        if call.error is not None:
            raise call.error
        if not group.told:
            await link.flush()
            return
        told = what_to_tell(group, source=random_id(), channel=joined.channel, number=1)
        used = () if group.used_number is None else (group.used_number,)
        use = group.counters.use_text if used else "0"
        await link.finish(NOTIFY.format(use=use), (*used, told.channels, told.payloads))

    @contextlib.asynccontextmanager
    async def _in_place(self, joined: Joined, own: tuple[Any, ...]) -> AsyncIterator[None]:
        """Have the store's tables in sight, which may be others than those of the caller."""
        fetchrow = self._connection.fetchrow
        if tuple(await fetchrow(_PLAIN, '{"a": 1}')) != ('{"a": 1}', '"a"'):
            raise TypeError(
                "connection has a codec of its own for jsonb, by which payloads would be "
                "changed: give one without (set_type_codec)"
            )
        assert joined.place is not None, "the server was reached"
        quoted = joined.place.schema.replace('"', '""')
        before, _ = await fetchrow(_PATH, f'"{quoted}"')
        if tuple(await fetchrow(_IDENTITY)) != own:
            raise ValueError(
                f"connection is one to another database than that of the store, {self._address}"
            )
        yield
        await fetchrow(_PATH, before)


def identity(answers: Answers) -> Asking[tuple[Any, ...]]:
    """Which tables on which server a connection of the store has in sight."""
    rows = yield _IDENTITY, ()
    return tuple(rows[0])
