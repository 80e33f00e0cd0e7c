"""What the columns on a server are: read from what makes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from conveyor_nb.stores.sql.schema import original, own

__all__ = ["types_of"]

_TABLE = re.compile(r"\s*CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*)\)\s*", re.DOTALL)
_COLUMN = re.compile(r"^ +([a-z_]+) (\w+(?: PRECISION)?)", re.MULTILINE)
_NUMBERED = {"BIGSERIAL": "BIGINT"}


@cache
def types_of(table: str) -> Mapping[str, str]:
    """The types of a table's columns, by name.

    >>> types_of("conveyor_nb_counters")
    {'name': 'TEXT', 'value': 'BIGINT'}
    """
    found: dict[str, str] = {}
    for statement in _written():
        made = _TABLE.fullmatch(statement)
        if made is not None and made[1] == table:
            found |= {name: _NUMBERED.get(kind, kind) for name, kind in _COLUMN.findall(made[2])}
    return found


def _written() -> Iterator[str]:
    types = original.TYPES["postgres"]
    for statement in original.TABLES:
        yield statement.format(**types)
    for step in own.STEPS:
        for statement in step.statements:
            yield statement.format(**types)
        columns = "".join(f"\n {name} {declared}," for name, declared in step.columns.items())
        yield f"CREATE TABLE conveyor_jobs ({columns})".format(**types)
