"""What a database that was found lacks: decided from what is there, with nothing read or written.

A database is used as it is if it has the columns that we know, whoever made it, and however many
steps of others or of later versions it has gone through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from conveyor_nb.core.errors import SchemaError
from conveyor_nb.stores.sql.schema import original, own

__all__ = ["KNOWN_COLUMNS", "Found", "Plan", "SchemaFacts", "plan", "stand_ins"]

MIGRATIONS = "conveyor_migrations"
JOBS = "conveyor_jobs"
OWN_MIGRATIONS = "conveyor_nb_migrations"

_TABLE = re.compile(r"\s*CREATE TABLE (\w+) \((.*)\)\s*", re.DOTALL)
_COLUMN = re.compile(r"^ +([a-z_]+) ", re.MULTILINE)
KNOWN_COLUMNS: Mapping[str, frozenset[str]] = {
    made[1]: frozenset(_COLUMN.findall(made[2]))
    for statement in original.TABLES
    if (made := _TABLE.fullmatch(statement))
}
"""The columns of the shared tables, by table."""


class Found(NamedTuple):
    """What is there.

    Args:
        columns: the columns of each table whose name begins with ``conveyor_``.
        version: the number of the last of Conveyor's migrations; 0: there is none.
        own_version: the number of the last of our steps; 0: there is none.
        indexes: the names of the indexes of ``conveyor_jobs`` that can be used.
    """

    columns: Mapping[str, Set[str]]
    version: int = 0
    own_version: int = 0
    indexes: Set[str] = frozenset()


class Plan(NamedTuple):
    """What is to be done, in this order.

    Args:
        statements: to be run in one transaction; none has a parameter.
        indexes: what makes indexes of a table that others may be at work with; to be run after
            that, each by itself.
    """

    statements: Sequence[str] = ()
    indexes: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.statements or self.indexes)


class SchemaFacts(NamedTuple):
    """What a store has to know of the tables that it works on.

    Args:
        fractional_priorities: whether a priority may be 0.5, and the progress of a job 12.5.
        made_by_us: whether these tables did not exist before.
    """

    fractional_priorities: bool
    made_by_us: bool


def plan(found: Found, dialect: str, *, may_migrate: bool) -> Plan:
    """Decide what a database needs.

    Args:
        found: what is there.
        dialect: ``"sqlite"`` or ``"postgres"``.
        may_migrate: whether anything may be changed.

    Raises:
        SchemaError: it is of no use to us, and why; or it would be, and may not be changed.
    """
    is_new = _is_empty(found)
    if not is_new:
        _check(found)
    statements = [*_make_original()] if is_new else []
    indexes: list[str] = []
    known = KNOWN_COLUMNS[JOBS] if is_new else found.columns[JOBS]
    for number, step in enumerate(own.STEPS, 1):
        if number > found.own_version:
            statements += _make_own(step, number, dialect, known)
        indexes += _make_indexes(step, found.indexes)
    if found.own_version >= own.VERSION:
        _check_own(found)
    wanted = [_written(one, dialect) for one in statements]
    if wanted and not may_migrate:
        missing = "the tables of a queue" if is_new else "columns that conveyor_nb needs"
        raise SchemaError(
            f"the database lacks {missing}, and auto_migrate=False: open it once without that"
        )
    if not may_migrate:
        return Plan()  # it only takes longer without an index
    if is_new or dialect == "sqlite":
        return Plan([*wanted, *indexes])
    return Plan(wanted, indexes)


def stand_ins(found: Found, dialect: str, source: str) -> list[str]:
    """What lets a database be read as if it had what is ours, and does not change it.

    Args:
        found: what is there.
        dialect: ``"sqlite"`` or ``"postgres"``.
        source: what statements call the schema that the tables are in.

    Raises:
        SchemaError: it is of no use to us, and why.
    """
    if _is_empty(found):
        raise SchemaError("the database has no tables of a queue")
    _check(found)
    if found.own_version >= own.VERSION:
        _check_own(found)
        return []
    tables: list[str] = []
    lacking: list[str] = []
    for step in own.STEPS:
        lacking += [
            _written(f"CAST(NULL AS {declared.partition(' ')[0]}) AS {name}", dialect)
            for name, declared in step.columns.items()
            if name not in found.columns[JOBS]
        ]
        for statement in (*step.statements, *step.only.get(dialect, ())):
            made = _OWN_TABLE.match(statement)
            if made is not None and made[1] not in found.columns:
                written = _written(statement, dialect)
                tables.append(written.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
    columns = "".join(f", {column}" for column in lacking)
    stand_ins = [one for one in tables if _QUEUES not in one]
    if lacking:
        stand_ins.append(f"CREATE TEMP VIEW {JOBS} AS SELECT *{columns} FROM {source}.{JOBS}")
    if _QUEUES not in found.columns:
        listed = _written("{true}", dialect)
        stand_ins.append(
            f"CREATE TEMP VIEW {_QUEUES} AS SELECT DISTINCT queue_name AS name, 0 AS numbers,"
            f" {listed} AS listed, NULL AS limit_seconds, NULL AS group_limit_seconds"
            f" FROM {source}.{JOBS}"
        )
    return stand_ins


_OWN_TABLE = re.compile(r"\s*CREATE TABLE IF NOT EXISTS (\w+)")
_QUEUES = "conveyor_nb_queues"


def _is_empty(found: Found) -> bool:
    if found.version:
        return False
    strange = sorted(found.columns.keys() & KNOWN_COLUMNS.keys() - {MIGRATIONS})
    if strange:
        raise SchemaError(
            f"the database has a table {strange[0]}, and no record of Conveyor's migrations: "
            "it is none of Conveyor's, or only half of one"
        )
    return True


def _check(found: Found) -> None:
    """Raise for a database of Conveyor that can't be used."""
    if found.version < original.VERSION:
        raise SchemaError(
            f"the database is of version {found.version} of Conveyor's schema, and version "
            f"{original.VERSION} is needed: let a current program of Conveyor open it once"
        )
    for table, known in KNOWN_COLUMNS.items():
        _require(found, table, known, f"version {found.version} of Conveyor's schema")


def _check_own(found: Found) -> None:
    """Raise if what our steps have made is not there any more."""
    for step in own.STEPS:
        _require(found, JOBS, step.columns.keys(), f"step {found.own_version} of conveyor_nb")


def _require(found: Found, table: str, known: Set[str], of: str) -> None:
    missing = sorted(known - found.columns.get(table, frozenset()))
    if missing:
        raise SchemaError(
            f"the database's table {table} has no column {missing[0]}: "
            f"it is of {of}, which this version of conveyor_nb does not know"
        )


def _make_original() -> Iterator[str]:
    for statement in original.TABLES:
        # its record may have been made, and nothing else
        yield statement.replace(f"TABLE {MIGRATIONS}", f"TABLE IF NOT EXISTS {MIGRATIONS}")
    rows = ", ".join(
        f"({number}, '{name}')" for number, name in enumerate(original.MIGRATION_NAMES, 1)
    )
    yield f"INSERT INTO {MIGRATIONS} (version, name) VALUES {rows}"


def _make_own(step: own.OwnStep, number: int, dialect: str, known: Set[str]) -> Iterator[str]:
    yield f"""
        CREATE TABLE IF NOT EXISTS {OWN_MIGRATIONS} (
            version INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            applied_at {{instant}} NOT NULL DEFAULT {{now}}
        )
        """
    for name, declared in step.columns.items():
        if name not in known:
            yield f"ALTER TABLE {JOBS} ADD COLUMN {name} {declared}"
    yield from step.statements
    yield from step.only.get(dialect, ())
    yield f"INSERT INTO {OWN_MIGRATIONS} (version, name) VALUES ({number}, '{step.name}')"


def _make_indexes(step: own.OwnStep, known: Set[str]) -> Iterator[str]:
    for name, on in step.indexes.items():
        if name not in known:
            yield f"CREATE INDEX {name} ON {JOBS} {on}"


def _written(statement: str, dialect: str) -> str:
    lines = statement.format(**original.TYPES[dialect]).strip().splitlines()
    return "\n".join(line.strip() for line in lines)
