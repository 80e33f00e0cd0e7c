"""What is done to a database that was found, by what is there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from conveyor_nb.core.errors import SchemaError
from conveyor_nb.stores.sql.schema import original, own
from conveyor_nb.stores.sql.schema.planning import JOBS, KNOWN_COLUMNS, Found, Plan, plan
from conveyor_nb.stores.sql.schema.sqlite import migrate

DIALECTS = ("sqlite", "postgres")
OF_CONVEYOR = Found(KNOWN_COLUMNS, version=original.VERSION)
OWN_COLUMNS = {name for step in own.STEPS for name in step.columns}
OWN_INDEXES = {name for step in own.STEPS for name in step.indexes}
WHOLE = OF_CONVEYOR._replace(
    columns={**KNOWN_COLUMNS, JOBS: KNOWN_COLUMNS[JOBS] | OWN_COLUMNS},
    own_version=own.VERSION,
    indexes=OWN_INDEXES,
)


def made_by(wanted: Plan, what: str) -> list[str]:
    """The names of what a plan makes."""
    return [
        one.removeprefix(f"{what} ").removeprefix("IF NOT EXISTS ").split()[0]
        for one in (*wanted.statements, *wanted.indexes)
        if one.startswith(f"{what} ")
    ]


# -- what is decided ------------------------------------------------------------------------


def test_the_columns_of_the_shared_tables_are_known() -> None:
    assert len(KNOWN_COLUMNS) == 6
    assert len(KNOWN_COLUMNS[JOBS]) == 30
    assert {"id", "queue_name", "seq", "children_ids"} <= KNOWN_COLUMNS[JOBS]
    assert KNOWN_COLUMNS["conveyor_rate_limits"] == {"queue_name", "fetched_at"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_empty_database_gets_all_and_the_record_of_ten_migrations(dialect: str) -> None:
    wanted = plan(Found({}), dialect, may_migrate=True)
    assert set(made_by(wanted, "CREATE TABLE")) > KNOWN_COLUMNS.keys()
    (recorded,) = (one for one in wanted.statements if one.startswith("INSERT INTO conveyor_mig"))
    assert "(1, 'initial_schema')" in recorded
    assert "(10, 'add_children_ids')" in recorded
    assert wanted.indexes == ()  # nobody else is there to be held up
    assert set(made_by(wanted, "CREATE INDEX")) > OWN_INDEXES


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_taken_over_is_only_added_to(dialect: str) -> None:
    wanted = plan(OF_CONVEYOR, dialect, may_migrate=True)
    assert all("conveyor_nb_" in one for one in (*wanted.statements, *wanted.indexes))
    altered = [one for one in wanted.statements if one.startswith("ALTER")]
    assert len(altered) == len(OWN_COLUMNS)
    for one in altered:  # its programs name no column of ours when they insert
        assert "NOT NULL" not in one or "DEFAULT" in one
    assert all("REFERENCES" not in one for one in wanted.statements)
    assert set(made_by(wanted, "CREATE INDEX")) > OWN_INDEXES


def test_only_a_server_makes_indexes_beside_those_who_are_at_work() -> None:
    assert len(plan(OF_CONVEYOR, "postgres", may_migrate=True).indexes) == len(OWN_INDEXES)
    assert plan(OF_CONVEYOR, "sqlite", may_migrate=True).indexes == ()


@pytest.mark.parametrize("may_migrate", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_database_is_left_alone(dialect: str, may_migrate: bool) -> None:
    assert not plan(WHOLE, dialect, may_migrate=may_migrate)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_take_over_that_was_cut_short_goes_on(dialect: str) -> None:
    wanted = plan(WHOLE._replace(indexes=set[str]()), dialect, may_migrate=True)
    assert set(made_by(wanted, "CREATE INDEX")) == OWN_INDEXES
    half = OF_CONVEYOR._replace(columns=WHOLE.columns)
    assert not any("ALTER" in one for one in plan(half, dialect, may_migrate=True).statements)


@pytest.mark.parametrize("found", [OF_CONVEYOR, WHOLE])
def test_a_newer_one_is_good_if_it_has_the_columns(found: Found) -> None:
    newer = found._replace(version=12, own_version=found.own_version and 7)
    newer = newer._replace(columns={**found.columns, "conveyor_new": {"x"}})
    same = plan(found, "sqlite", may_migrate=True)
    assert plan(newer, "sqlite", may_migrate=True).statements == same.statements


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (OF_CONVEYOR._replace(version=7), "of version 7 .* version 10 is needed"),
        (
            OF_CONVEYOR._replace(version=11, columns={**KNOWN_COLUMNS, JOBS: {"id"}}),
            "conveyor_jobs has no column attempt_logs: it is of version 11 of Conveyor's schema",
        ),
        (
            WHOLE._replace(own_version=9, columns=KNOWN_COLUMNS),
            "no column conveyor_nb_counted: it is of step 9 of conveyor_nb",
        ),
        (Found({JOBS: {"id"}}), "a table conveyor_jobs, and no record"),
    ],
)
def test_what_can_not_be_used_is_refused_in_a_sentence(found: Found, told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        plan(found, "postgres", may_migrate=True)


@pytest.mark.parametrize(("found", "told"), [(Found({}), "tables"), (OF_CONVEYOR, "columns")])
def test_what_may_not_be_changed_is_not(found: Found, told: str) -> None:
    with pytest.raises(SchemaError, match=f"lacks .*{told}.* auto_migrate=False"):
        plan(found, "sqlite", may_migrate=False)


# -- files ----------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as connection:
        yield connection


def make_original(file: sqlite3.Connection) -> None:
    """The tables as a program of Conveyor leaves them in a file."""
    for statement in original.TABLES:
        whole = statement.format(**original.TYPES["sqlite"])
        if "CREATE INDEX" in whole:
            whole = whole.partition("WHERE")[0]
        file.execute(whole)
    names: Iterable[tuple[int, str]] = enumerate(original.MIGRATION_NAMES, 1)
    file.executemany("INSERT INTO conveyor_migrations VALUES (?, ?, 0)", names)


def test_a_new_file_is_made_once(file: sqlite3.Connection) -> None:
    assert migrate(file, may_migrate=True) == (True, True)
    before = list(file.iterdump())
    assert migrate(file, may_migrate=False) == (True, False)
    assert migrate(file, may_migrate=True) == (True, False)
    assert list(file.iterdump()) == before
    applied = file.execute("SELECT version, name FROM conveyor_migrations ORDER BY 1").fetchall()
    assert applied == list(enumerate(original.MIGRATION_NAMES, 1))
    assert file.execute("SELECT applied_at > 1.7e12 FROM conveyor_migrations").fetchone() == (1,)


def test_a_file_of_conveyor_is_taken_over_with_its_jobs(file: sqlite3.Connection) -> None:
    make_original(file)
    insert = "INSERT INTO conveyor_jobs (id, queue_name, name, seq, created_at) VALUES "
    file.execute(f"{insert} ('a', 'emails', 'send', 7, 0), ('b', 'emails', 'send', -9, 0)")
    assert migrate(file, may_migrate=True) == (True, False)
    sequence = "SELECT value FROM conveyor_nb_counters WHERE name = 'sequence'"
    assert file.execute(sequence).fetchone() == (9,)
    assert file.execute("SELECT id, conveyor_nb_fence FROM conveyor_jobs").fetchall() == [
        ("a", 0),
        ("b", 0),
    ]
    file.execute(f"{insert} ('c', 'emails', 'send', 8, 0)")  # as its programs go on doing


def test_a_step_that_fails_leaves_a_file_as_it_was(file: sqlite3.Connection) -> None:
    make_original(file)
    file.execute("CREATE TABLE conveyor_nb_queues (odd)")
    file.execute("CREATE VIEW conveyor_nb_idx_settled AS SELECT 1")
    before = list(file.iterdump())
    with pytest.raises(sqlite3.OperationalError):
        migrate(file, may_migrate=True)
    assert list(file.iterdump()) == before
    assert not file.in_transaction
