"""A store by its address, and what can't be opened: one sentence each, and nothing done."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conveyor_nb import (
    JobData,
    Keep,
    MemoryStore,
    Queue,
    SchemaError,
    SqliteStore,
    StoreUnavailableError,
    Worker,
    open_store,
)
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.model import Lock
from conveyor_nb.stores.sql.schema import original
from tests.read_only import look_and_change_nothing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


# -- addresses --------------------------------------------------------------------------------


def test_an_address_says_which_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_store("memory:"), MemoryStore)
    assert isinstance(open_store("memory://"), MemoryStore)
    here, there = open_store("sqlite:///a%20queue.db"), open_store(f"sqlite:///{tmp_path}/b.db")
    assert isinstance(here, SqliteStore)
    assert isinstance(there, SqliteStore)
    assert (here.path, there.path) == ("a queue.db", f"{tmp_path}/b.db")
    assert list(tmp_path.iterdir()) == [], "it is made when it is first used"


@pytest.mark.parametrize(
    "url",
    [
        *("queue.db", "", "sqlite:queue.db", "sqlite://queue.db", "sqlite://", "sqlite:///"),
        *("sqlite:///a.db?mode=ro", "memory:a", "redis://here", "http://here/queue.db"),
    ],
)
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be .*'sqlite:///queue\.db'.* not"):
        open_store(url)


def test_a_password_is_never_told() -> None:
    with pytest.raises(ValueError, match=r"ada:\.\.\.@host") as caught:
        open_store("mysql://ada:secret@host/queue")
    assert "secret" not in str(caught.value)


def test_bad_options_are_named() -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match="url must be text"):
        open_store(nothing)
    with pytest.raises(TypeError, match="colour"):
        open_store("memory:", colour="red")
    with pytest.raises(ValueError, match="read-only"):
        open_store("memory:", read_only=True)
    wrong: dict[str, Any] = {"durability": "high", "payloads": "yaml", "ids": "random"}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=repr(value)):
            open_store("sqlite:///queue.db", **{name: value})


def test_a_path_is_one() -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match=r"'queue\.db', not None"):
        SqliteStore(nothing)
    for wrong in ("", " ", "a\0b"):
        with pytest.raises(ValueError, match=r"'queue\.db', not"):
            SqliteStore(wrong)
    with pytest.raises(ValueError, match="read-only"):
        SqliteStore(":memory:", read_only=True)


@pytest.mark.parametrize(("durability", "synchronous"), [("normal", 1), ("full", 2)])
@pytest.mark.asyncio
async def test_durability_says_what_a_commit_waits_for(
    path: Path, durability: Any, synchronous: int
) -> None:
    async with SqliteStore(path, durability=durability) as store:
        connection = store._writer._session.connection
        assert connection.execute("PRAGMA synchronous").fetchall() == [(synchronous,)]
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


# -- files that are none ----------------------------------------------------------------------


async def failing(path: Path, **options: Any) -> Exception:
    """What is raised by an ``add`` to such a file, and again by the next."""
    store = SqliteStore(path, **options)
    errors: list[Exception] = []
    for _ in range(2):
        try:
            await store.save_job(JobData("", "send", "emails"))
        except Exception as error:
            errors.append(error)
    await store.disconnect()
    assert len(errors) == 2
    assert str(errors[0]) == str(errors[1])
    assert "\n" not in str(errors[0])
    return errors[0]


@pytest.mark.asyncio
async def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    text = "id,name\n" * 1_000
    path.write_text(text)
    error = await failing(path)
    assert isinstance(error, SchemaError)
    assert str(error) == f"'{path}' is no database of SQLite"
    assert path.read_text() == text


@pytest.mark.asyncio
async def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE conveyor_jobs (id TEXT)")
    connection.close()
    error = await failing(path)
    assert isinstance(error, SchemaError)
    assert "table conveyor_jobs" in str(error)


@pytest.mark.asyncio
async def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    error = await failing(tmp_path / "none" / "queue.db")
    assert isinstance(error, StoreUnavailableError)
    assert "none/queue.db' can't be opened: there is no such folder" in str(error)


@pytest.mark.asyncio
async def test_a_store_that_did_not_connect_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.enumerate()
    with pytest.raises(StoreUnavailableError):
        async with SqliteStore(tmp_path / "none" / "queue.db"):
            pytest.fail("there is no such folder")
    assert threading.enumerate() == before


@pytest.mark.asyncio
async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    error = await failing(tmp_path)
    assert isinstance(error, StoreUnavailableError)


@pytest.mark.asyncio
async def test_tables_are_not_made_unasked(path: Path) -> None:
    error = await failing(path, auto_migrate=False)
    assert isinstance(error, SchemaError)
    assert "auto_migrate=False" in str(error)


@pytest.mark.asyncio
async def test_a_file_that_is_mended_is_used(path: Path) -> None:
    path.write_text("no database" * 100)
    store = SqliteStore(path)
    with pytest.raises(SchemaError):
        await store.connect()
    path.unlink()
    await store.connect()
    await store.disconnect()


@pytest.mark.asyncio
async def test_a_file_that_is_away_when_it_is_opened_again_is_named(path: Path) -> None:
    """Also if another process had written to it, of which nobody here had been told yet."""
    folder = path.parent / "folder"
    folder.mkdir()
    store = SqliteStore(folder / "queue.db")
    await store.connect()
    store._woken += timedelta(hours=1)  # until then it has nobody look
    async with SqliteStore(folder / "queue.db") as other:
        await other.save_job(JobData("a", "send", "emails"))
    await store.save_job(JobData("b", "send", "emails"))
    assert store._writer.others_wrote
    await store.disconnect()
    store._woken -= timedelta(hours=2)
    moved = folder.rename(path.parent / "moved")
    with pytest.raises(StoreUnavailableError, match="can't be opened"):
        await asyncio.wait_for(store.connect(), 60)
    moved.rename(folder)
    await store.connect()
    assert await store.count_jobs("emails") == 2
    await store.disconnect()


# -- locked, full -----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_file_that_is_locked_for_too_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor_nb.stores.sql.sqlite.connecting._PATIENCE", 0.05)
    async with SqliteStore(path) as store:
        await store.save_job(JobData("a", "send", "emails"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="is locked by another program"):
            await store.save_job(JobData("b", "send", "emails"))
        assert await store.count_jobs("emails") == 1, "who reads does not wait"
        other.execute("ROLLBACK")
        other.close()
        await store.save_job(JobData("c", "send", "emails"))
        assert await store.count_jobs("emails") == 2


@pytest.mark.asyncio
async def test_a_worker_goes_on_when_a_file_can_be_written_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor_nb.stores.sql.sqlite.connecting._PATIENCE", 0.05)
    async with SqliteStore(path) as store:
        queue = Queue("emails", store=store)
        other = sqlite3.connect(path, isolation_level=None)
        begun, locked = asyncio.Event(), asyncio.Event()

        async def send(_: object) -> str:
            begun.set()
            await locked.wait()
            return "sent"

        async with Worker("emails", send, store=store):
            job = await queue.add("send")
            await begun.wait()
            other.execute("BEGIN IMMEDIATE")
            locked.set()
            with pytest.raises(StoreUnavailableError):
                await queue.add("send")
            other.execute("ROLLBACK")
            other.close()
            assert await job.wait_until_finished(timeout=60) == "sent"
            assert len((await job.refresh()).attempt_logs) == 1


@pytest.mark.asyncio
async def test_a_full_disk_keeps_what_it_has(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SqliteStore(path) as store:
        await store.save_job(JobData("a", "send", "emails"))
        session = store._writer._session
        pages = session.connection.execute("PRAGMA page_count").fetchone()[0]
        session.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreUnavailableError, match="can't grow: the disk is full"):
            await store.save_job(JobData("b", "send", "emails", {"text": "x" * 100_000}))
        assert await store.count_jobs("emails") == 1
        session.connection.execute(f"PRAGMA max_page_count = {pages + 1_000}")
        await store.save_job(JobData("c", "send", "emails", {"text": "x" * 100_000}))
        assert await store.count_jobs("emails") == 2


@pytest.mark.asyncio
async def test_of_calls_that_go_together_only_the_one_that_fails_does(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.connect()
        session = store._writer._session
        pages = session.connection.execute("PRAGMA page_count").fetchone()[0]
        session.connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        sizes = (10, 200_000, 10)
        jobs = [JobData(f"{n}", "send", "emails", "x" * size) for n, size in enumerate(sizes)]
        told = await asyncio.gather(*map(store.save_job, jobs), return_exceptions=True)
        assert [type(one) for one in told] == [JobData, StoreUnavailableError, JobData]
        assert {job.id for job in await store.list_jobs("emails")} == {"0", "2"}


# -- read-only --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_file_that_is_only_read_is_not_changed(path: Path) -> None:
    async with SqliteStore(path) as store, SqliteStore(path, read_only=True) as view:
        await look_and_change_nothing(store, view)


@pytest.mark.asyncio
async def test_who_only_reads_is_not_kept_busy_by_jobs_that_are_kept_for_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SqliteStore(path) as store:
        job = await Queue("emails", store=store).add("send", remove_on_complete=Keep(age="1 hour"))
        await store.fetch_jobs("emails", "w", 30)
        await store.apply("emails", job.id, Complete("sent"), lock=Lock("w", 1))
    view = SqliteStore(path, read_only=True)
    view.subscribe(None, lambda event: None)
    view._writer.connect()
    settled: list[str] = []
    monkeypatch.setattr(view, "_settle_on_loop", lambda: settled.append("once more"))
    view._look_around()
    view._writer.close()
    assert view._writer.next_expiry is not None
    assert not settled


@pytest.mark.asyncio
async def test_a_file_that_is_not_there_is_not_made_to_be_read(path: Path) -> None:
    error = await failing(path, read_only=True)
    assert isinstance(error, StoreUnavailableError)
    assert not path.exists()


@pytest.mark.asyncio
async def test_a_file_of_conveyor_is_read_as_it_is(path: Path) -> None:
    types = original.TYPES["sqlite"]
    connection = sqlite3.connect(path)
    for table in original.TABLES:
        connection.execute(table.format(**types))
    for number, name in enumerate(original.MIGRATION_NAMES, 1):
        row = (number, name)
        connection.execute("INSERT INTO conveyor_migrations (version, name) VALUES (?, ?)", row)
    connection.execute(
        "INSERT INTO conveyor_jobs (id, queue_name, name, data, seq, created_at)"
        " VALUES ('a', 'emails', 'send', '{\"to\":\"ada\"}', 1, 1796000000000)"
    )
    connection.commit()
    connection.close()
    before = path.read_bytes()
    async with SqliteStore(path, read_only=True) as view:
        (job,) = await view.list_jobs("emails")
        assert (job.id, job.data) == ("a", {"to": "ada"})
        assert await view.list_queues() == ["emails"]
        assert [job.id for job in await view.next_jobs("emails", 5)] == ["a"]
    assert path.read_bytes() == before
