"""A group of calls as one statement: it changes rows that are as they were last seen, and tells.

Nothing is locked meanwhile. The statement counts up what all transactions of stores of ours count
up, from where this one has left it: if another store was there first, it does nothing. A row that
a program of Conveyor has changed is of another version, and then nothing is done either. Whoever is
told so does it all once more, in a transaction and by what there is then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import compress
from typing import Any, NamedTuple

from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.counters import Counters
from conveyor_nb.stores.sql.postgres.link import Link
from conveyor_nb.stores.sql.postgres.statements import numbered, table_of
from conveyor_nb.stores.sql.schema.columns import types_of

__all__ = ["PAUSED", "NotQuickError", "Quick", "UnseenError"]

_INSERT = re.compile(r"INSERT INTO (\w+) \(([^()]+)\) VALUES \([?, ]+\)( ON CONFLICT .+)?")
_UPDATE = re.compile(
    r"UPDATE conveyor_jobs SET ((?:\w+ = \?,? ?)+) WHERE queue_name = \? AND id = \?"
)
_DELETE = "DELETE FROM conveyor_jobs WHERE queue_name = ? AND id = ?"
PAUSED = (
    "(SELECT string_agg(concat_ws(E'\\n', queue_name, job_name), E'\\n'"
    " ORDER BY queue_name, job_name) FROM conveyor_paused_names)"
)
"""All that is paused: programs of Conveyor do not tell of it."""

_MOVED = "conveyor_nb_moved"
_SEEN = "job.queue_name = its.queue_name AND job.id = its.id AND job.xmin = its.version"
_LAST = "(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence})"


class NotQuickError(Exception):
    """It takes a transaction."""


class UnseenError(NotQuickError):
    """It has to see what the same group changes, which is not written yet."""


class _Shape(NamedTuple):
    """A statement for each of many rows, as one for all of them.

    Args:
        text: with a ``{arrays}`` for one array of each column.
        types: those of the columns.
        is_guarded: whether it is about jobs as they were seen: the last column is their version.
    """

    text: str
    types: Sequence[str]
    is_guarded: bool


@cache
def _shape_of(text: str, there: tuple[bool, ...] | None = None) -> _Shape:
    if (made := _INSERT.fullmatch(text)) is not None:
        table, names, conflict = made.groups()
        columns = names.split(", ")
        if there is not None:
            columns = list(compress(columns, there))
            names = ", ".join(columns)
        known = types_of(table)
        one = f"INSERT INTO {table} ({names}) SELECT its.* FROM own, unnest({{arrays}}) AS its"
        return _Shape(f"{one}{conflict or ''}", [known[name] for name in columns], False)
    known = types_of("conveyor_jobs")
    columns = _names_of(text)
    if columns:
        put = ", ".join(f"{name} = its.new_{name}" for name in columns)
        one = f"UPDATE conveyor_jobs AS job SET {put} FROM"
    elif text == _DELETE:
        one = "DELETE FROM conveyor_jobs AS job USING"
    else:
        raise NotQuickError(text)
    names = ", ".join((*(f"new_{name}" for name in columns), "queue_name", "id", "version"))
    return _Shape(
        f"{one} own, unnest({{arrays}}) AS its({names}) WHERE {_SEEN} RETURNING 1",
        [*(known[name] for name in columns), "text", "text", "xid"],
        True,
    )


@cache
def _names_of(text: str) -> list[str]:
    """The columns of a job that a statement changes."""
    made = _UPDATE.fullmatch(text)
    return [part.partition(" ")[0] for part in made[1].split(", ")] if made is not None else []


@cache
def _one_statement(
    given: tuple[tuple[str, tuple[bool, ...]], ...], sequence: str, use: str, *, adds: bool
) -> str:
    """The statement for all that was changed by statements of some texts.

    Args:
        given: the texts, and of each which of its columns have a value.
        sequence: that of the jobs' numbers.
        use: what uses one up.
        adds: whether jobs are added.
    """
    last = f" AND {_LAST.format(sequence=sequence)} = ?" if adds else ""
    parts = [
        "own AS (UPDATE conveyor_nb_counters SET value = ? WHERE name = 'moved' AND value = ?"
        f" AND {PAUSED} IS NOT DISTINCT FROM ?::text{last} RETURNING 1)"
    ]
    seen = []
    for place, (text, there) in enumerate(given):
        shape = _shape_of(text, there)
        arrays = ", ".join(f"?::{one}[]" for one in shape.types)
        parts.append(f"_{place} AS ({shape.text.format(arrays=arrays)})")
        if shape.is_guarded:
            seen.append(f"(SELECT count(*) FROM _{place})")
    # where a row was not as it was seen this fails, and all that was done is undone
    check = f"1 / ({' + '.join(seen or '0')} = ?)::int"
    return numbered(
        f"WITH {', '.join(parts)} SELECT txid_current(), {check}, {use if adds else '0'},"
        " pg_notify(channel, payload)"
        " FROM own, unnest(?::text[], ?::text[]) AS _(channel, payload)"
    )


class Quick(Link):
    """What one group reads, and writes in one statement.

    Args:
        connection: a connection of ``asyncpg``, in no transaction.
        versions: of which version the jobs are that are known.
    """

    def __init__(self, connection: Any, versions: Mapping[Key, int]) -> None:
        super().__init__(connection)
        self._versions = versions
        self._rows: dict[str, list[Sequence[Any]]] = {}

    async def fetch(self, text: str, values: Sequence[Any]) -> list[Any]:
        """The rows that a statement gives.

        Raises:
            UnseenError: something has been changed in what it reads.
        """
        if not self._touched.isdisjoint(table_of(text)):
            raise UnseenError(text)
        rows: list[Any] = await self.connection.fetch(numbered(text), *values)
        return rows

    def _keep(self, text: str, rows: list[Sequence[Any]]) -> None:
        if text == Counters.write_text:  # the statement itself counts up
            return
        shape = _shape_of(text)
        if shape.is_guarded:
            try:
                rows = [(*row, self._versions[row[-2], row[-1]]) for row in rows]
            except KeyError as missing:
                raise NotQuickError from missing
        self._touched |= table_of(text)
        self._rows.setdefault(text, []).extend(rows)

    @property
    def witness(self) -> tuple[Key, int] | None:
        """A job that is written, and the number that its row has by that, if there is such a one.

        No other row ever has that number, nor has this one by what another store writes.
        """
        for text, rows in self._rows.items():
            row = rows[0]
            if text.startswith("INSERT INTO conveyor_jobs "):
                return (row[1], row[0]), row[-1]
            names = _names_of(text)
            if _MOVED in names:
                return (row[-3], row[-2]), row[names.index(_MOVED)]
        return None

    async def write(
        self,
        moved: tuple[int, int],
        added: tuple[int, int] | None,
        paused: str | None,
        place: tuple[str, str],
        told: tuple[Sequence[str], Sequence[str]],
    ) -> int | None:
        """Write and tell it all.

        Args:
            moved: the count of all transactions, after this one and before.
            added: the number of the last job, after this and before; ``None``: none is added.
            paused: all that is paused, as it was when it was read.
            place: the sequence of these numbers, and what uses one up.
            told: channels, and what is told there.

        Returns:
            The version of what was written; ``None``: another store was there first.

        Raises:
            Exception: nothing was written, or the connection is lost, and it may have been.
        """
        texts = tuple(sorted(self._rows))
        values: list[Any] = [*moved, paused]
        if added is not None:
            values.append(added[1])
        seen = 0
        given: list[tuple[str, tuple[bool, ...]]] = []
        for text in texts:
            rows = self._rows[text]
            columns = list(zip(*rows, strict=True))
            is_guarded = _shape_of(text).is_guarded
            seen += len(rows) if is_guarded else 0
            # a new row has no value where none is given, and most of a job's columns have none
            there = tuple(
                is_guarded or any(one is not None for one in column) for column in columns
            )
            given.append((text, there))
            values += (list(one) for one, is_there in zip(columns, there, strict=True) if is_there)
        values.append(seen)
        if added is not None:
            values.append(added[0])
        text = _one_statement(tuple(given), *place, adds=added is not None)
        found = await self.connection.fetch(text, *values, *told)
        return found[0][0] & 0xFFFFFFFF if found else None
