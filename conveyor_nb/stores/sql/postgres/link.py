"""One connection, and what is sent over it: statements that give no rows wait for company.

What is written is sent when it has to be seen: before a question about the same table, and at the
end. Statements of one text go in one message, however many they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from conveyor_nb.stores.sql.asking import Asking, Many
from conveyor_nb.stores.sql.postgres.statements import is_read, numbered, table_of, together

__all__ = ["Link"]

T = TypeVar("T")


class Link:
    """A connection of ``asyncpg``.

    Args:
        connection: the connection.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._waiting: list[tuple[str, list[Sequence[Any]]]] = []
        self._touched: set[str] = set()

    @property
    def is_closed(self) -> bool:
        """Whether the server, or somebody, has closed it."""
        return bool(self.connection.is_closed())

    async def ask(self, asking: Asking[T]) -> T:
        """Send statements one after the other; returns the answer."""
        try:
            statement = next(asking)
            while True:
                rows: Any = ()
                if isinstance(statement, Many):
                    self._keep(statement.text, list(statement.rows))
                elif is_read(statement[0]):
                    rows = await self.fetch(*statement)
                else:
                    self._keep(statement[0], [statement[1]])
                statement = asking.send(rows)
        except StopIteration as end:
            answer: T = end.value
            return answer

    async def fetch(self, text: str, values: Sequence[Any]) -> list[Any]:
        """The rows that a statement gives."""
        if self._waiting and not self._touched.isdisjoint(table_of(text)):
            await self.flush()
        rows: list[Any] = await self.connection.fetch(numbered(text), *values)
        return rows

    async def run(self, text: str) -> None:
        """Send statements that have no parameters."""
        await self.connection.execute(text)

    def _keep(self, text: str, rows: list[Sequence[Any]]) -> None:
        self._touched |= table_of(text)
        if self._waiting and self._waiting[-1][0] == text:
            self._waiting[-1][1].extend(rows)
        else:
            self._waiting.append((text, rows))

    async def flush(self) -> None:
        """Send what waits."""
        for text, rows in self._take_waiting():
            if len(rows) == 1:
                await self.connection.fetch(numbered(text), *rows[0])
            else:
                await self.connection.executemany(numbered(text), rows)

    async def finish(self, text: str, values: Sequence[Any]) -> list[Any]:
        """Send what waits, and a last statement, in as few messages as will do.

        Args:
            text: a ``SELECT``.
            values: its parameters.

        Returns:
            Its rows.
        """
        alone: list[tuple[str, Sequence[Any]]] = []
        tables: set[str] = set()
        for one, rows in self._take_waiting():
            own = table_of(one)
            if len(rows) == 1 and tables.isdisjoint(own):
                tables |= own
                alone.append((one, rows[0]))
            else:
                await self.connection.executemany(numbered(one), rows)
        texts = (*(one for one, _ in alone), text)
        given = [value for _, row in (*alone, (text, values)) for value in row]
        found: list[Any] = await self.connection.fetch(together(texts), *given)
        return found

    def _take_waiting(self) -> list[tuple[str, list[Sequence[Any]]]]:
        waiting, self._waiting = self._waiting, []
        self._touched.clear()
        return waiting

    def forget(self) -> None:
        """Send nothing of what waits."""
        self._waiting.clear()
        self._touched.clear()
