"""Whether something was done, if the connection broke before anybody told."""

from __future__ import annotations

from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.core.errors import StoreUnavailableError
from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.postgres.connecting import Connecting

__all__ = ["FIRST_PAUSE", "TRIES", "Doubts", "UnknownError"]

TRIES = 8
"""How often a transaction is begun that others were in the way of, or whose connection broke."""

FIRST_PAUSE = 0.01
"""How long, in seconds, to wait for a server to come back; twice as long each time."""

_COUNT_UP = (
    "UPDATE conveyor_nb_counters SET value = value + 1 WHERE name = 'moved' RETURNING value - 1"
)
_MOVED_OF = "SELECT conveyor_nb_moved FROM conveyor_jobs WHERE queue_name = $1 AND id = $2"


class UnknownError(Exception):
    """The connection broke at the very end: the transaction may be good or not."""


class Doubts:
    """Finds out about what was under way over a connection that is lost.

    Args:
        connecting: makes another.
    """

    def __init__(self, connecting: Connecting) -> None:
        self._connecting = connecting

    async def was_written(self, count: int, witness: tuple[Key, int] | None) -> bool:
        """Whether a statement was done whose end nobody has told.

        Args:
            count: what it makes of the count of all transactions.
            witness: a job that it writes, and the number that its row has by that.

        Raises:
            UnknownError: it can't be found out.
        """
        try:
            connection = await self._open_again()
            try:
                # who else is at it, as that statement may still be, is waited for; if it was not
                # even begun, it never will be done, as it goes by a count that is over now
                counted = await connection.fetchval(_COUNT_UP)
                if counted < count:
                    return False
                moved = None
                if witness is not None:
                    key, number = witness
                    moved = await connection.fetchval(_MOVED_OF, *key)
            finally:
                await connection.close()
        except Exception as error:
            raise UnknownError from error
        if witness is None or moved is None or moved > number:
            raise UnknownError
        return bool(moved == number)

    async def _open_again(self) -> Any:
        for number in range(TRIES - 1):
            try:
                return await self._connecting.open()
            except StoreUnavailableError:
                await REAL_TIME.sleep(FIRST_PAUSE * 2**number)
        return await self._connecting.open()

    async def is_good(self, transaction: int) -> bool:
        """Whether a transaction was committed whose end nobody has told.

        Raises:
            UnknownError: it can't be found out.
        """
        try:
            connection = await self._open_again()
            try:
                end = await connection.fetchval("SELECT txid_status($1)", transaction)
            finally:
                await connection.close()
        except Exception as error:
            raise UnknownError from error
        if end in ("committed", "aborted"):
            return bool(end == "committed")
        raise UnknownError
