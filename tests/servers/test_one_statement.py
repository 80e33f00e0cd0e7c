"""What a store on a server is asked is mostly one statement, by the rows as they were last seen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from conveyor_nb import JobState, LostLockError, PgStore, Queue, StoreEvent, StoreUnavailableError
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import SetProgress
from conveyor_nb.core.model import JobData
from conveyor_nb.stores.sql.postgres import connecting, writing_calls
from conveyor_nb.stores.sql.postgres.doubts import Doubts
from conveyor_nb.testing.events import all_told
from conveyor_nb.testing.steps import QUEUE, add, apply, complete, get, ids_in, state_of, take
from tests.postgres import new_schema

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def store(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PgStore]:
    """A store that has written by itself for a while, and believes what it knows for long."""
    monkeypatch.setattr(writing_calls, "_FRESH", timedelta(hours=1))
    async with PgStore(postgres_dsn, schema=new_schema()) as store:
        for name in ("x", "y"):
            await add(store, name)
            await complete(store, await take(store))
        yield store


@pytest_asyncio.fixture
async def theirs(store: PgStore, postgres_dsn: str) -> AsyncIterator[Any]:
    """A connection of a program of Conveyor."""
    settings = {"search_path": f'"{store._connecting._schema}"'}
    connection = await asyncpg.connect(postgres_dsn, server_settings=settings)
    yield connection
    await connection.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of all that is sent."""
    texts: list[str] = []
    for name in ("execute", "executemany", "fetch"):

        def noting(plain: Any) -> Any:
            async def note(connection: Any, text: str, *given: Any, **options: Any) -> Any:
                texts.append(text)
                return await plain(connection, text, *given, **options)

            return note

        monkeypatch.setattr(asyncpg.Connection, name, noting(getattr(asyncpg.Connection, name)))
    return texts


async def test_adding_and_settling_are_one_statement_each(store: PgStore, sent: list[str]) -> None:
    queue = Queue(QUEUE, store=store)
    await queue.add("send")
    await queue.add("send")
    assert [text[:8] for text in sent] == ["WITH own"] * 2
    job = await take(store)
    sent.clear()
    await complete(store, job)
    changes = [text for text in sent if "UPDATE" in text]
    assert [text[:8] for text in changes] == ["WITH own"]
    assert "BEGIN" not in sent


async def test_settling_is_one_statement_where_metrics_are_collected(
    postgres_dsn: str, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_calls, "_FRESH", timedelta(hours=1))
    clock = VirtualClock()  # it is the same minute all the while
    async with PgStore(postgres_dsn, schema=new_schema(), metrics=True, clock=clock) as store:
        for job_id in ("a", "b", "c"):
            await add(store, job_id)
        first, second, third = [await take(store) for _ in range(3)]
        sent.clear()
        await complete(store, first)
        assert any("DELETE FROM conveyor_nb_metrics" in text for text in sent)  # of long ago
        await complete(store, second)
        sent.clear()
        await complete(store, third)
        assert [text[:8] for text in sent if "UPDATE" in text] == ["WITH own"]
        assert (await store.aggregate_metrics(QUEUE)).completed == 3


async def test_a_row_that_others_have_changed_is_read_again(store: PgStore, theirs: Any) -> None:
    await add(store, "a")
    job = await take(store)
    await theirs.execute("UPDATE conveyor_jobs SET data = '[1]' WHERE id = 'a'")
    await complete(store, job)
    found = await store.get_job(QUEUE, "a")
    assert found is not None
    assert (found.state, found.data) == (JobState.COMPLETED, [1])


async def test_who_was_robbed_of_a_job_does_not_settle_it(store: PgStore, theirs: Any) -> None:
    await add(store, "a")
    job = await take(store)
    await theirs.execute("UPDATE conveyor_jobs SET locked_by = 'worker-x' WHERE id = 'a'")
    with pytest.raises(LostLockError):
        await complete(store, job)
    assert await state_of(store, "a") is JobState.ACTIVE


async def test_who_was_robbed_does_not_settle_what_was_seen_to_wait_again(
    store: PgStore, theirs: Any
) -> None:
    await add(store, "a", priority=5)
    job = await take(store)
    await theirs.execute(
        "UPDATE conveyor_jobs SET state = 'waiting', locked_by = NULL, lock_until = NULL"
        " WHERE id = 'a'"
    )
    await add(store, "b")
    assert (await take(store)).id == "b"  # and what comes after it was seen
    with pytest.raises(LostLockError):
        await complete(store, job)
    assert await state_of(store, "a") is JobState.WAITING


async def test_numbers_go_on_after_those_that_others_used(store: PgStore, theirs: Any) -> None:
    await add(store, "a")
    await theirs.execute(
        "INSERT INTO conveyor_jobs (queue_name, id, name) VALUES ('emails', 'b', 'send')"
    )
    await add(store, "c")
    order = await theirs.fetch("SELECT id FROM conveyor_jobs WHERE id < 'x' ORDER BY seq")
    assert [one for (one,) in order] == ["a", "b", "c"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("deed", ["add", "complete"])
async def test_a_connection_that_breaks_has_done_it_once(
    store: PgStore, when: str, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job: JobData | None = None
    if deed == "complete":
        await add(store, "a")
        job = await take(store)
    heard: list[StoreEvent] = []
    store.subscribe(QUEUE, heard.append)
    breaks = _breaking(when)
    monkeypatch.setattr(asyncpg.Connection, "fetch", breaks)
    if job is None:
        await add(store, "a")
    else:
        await complete(store, job)
    await all_told(store)
    wanted = JobState.WAITING if job is None else JobState.COMPLETED
    assert await state_of(store, "a") is wanted
    told = [event.type for event in heard if event.job_id == "a"]
    assert told == [f"job:{wanted}"]


def _breaking(when: str) -> Any:
    """A connection's ``fetch``, which breaks the first time that it sends a whole group."""
    plain, has_broken = asyncpg.Connection.fetch, False

    async def fetch(connection: Any, text: str, *given: Any, **options: Any) -> Any:
        nonlocal has_broken
        breaks = text.startswith("WITH own") and not has_broken
        if breaks:
            has_broken = True
            if when == "after":
                await plain(connection, text, *given, **options)
            connection.terminate()
            raise ConnectionResetError("lost")
        return await plain(connection, text, *given, **options)

    return fetch


async def test_what_can_not_be_known_is_said(
    store: PgStore, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = asyncpg.Connection.fetch

    async def fetch(connection: Any, text: str, *given: Any, **options: Any) -> Any:
        result = await plain(connection, text, *given, **options)
        if text.startswith("WITH own"):
            await plain(connection, "DELETE FROM conveyor_jobs WHERE id = 'a'")  # without a trace
            connection.terminate()
            raise ConnectionResetError("lost")
        return result

    monkeypatch.setattr(asyncpg.Connection, "fetch", fetch)
    with pytest.raises(StoreUnavailableError, match="can't be known"):
        await add(store, "a")


async def test_what_was_found_not_to_be_done_is_not_done_later(
    store: PgStore, theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    plain, plain_execute = asyncpg.Connection.fetch, asyncpg.Connection.execute
    late: list[Any] = []

    async def fetch(connection: Any, text: str, *given: Any, **options: Any) -> Any:
        if text.startswith("WITH own") and not late:
            late.append(lambda: plain(theirs, text, *given))
            connection.terminate()
            raise ConnectionResetError("lost")
        return await plain(connection, text, *given, **options)

    async def execute(connection: Any, text: str, *given: Any, **options: Any) -> Any:
        if text == "BEGIN":  # it is done once more: only now does the server come to the first
            doing = asyncio.run_coroutine_threadsafe(late[0](), loop)
            assert await asyncio.wrap_future(doing) == []
        return await plain_execute(connection, text, *given, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", fetch)
    monkeypatch.setattr(asyncpg.Connection, "execute", execute)
    await add(store)
    assert len(await ids_in(store, JobState.WAITING)) == 1


async def test_what_is_not_known_to_be_done_is_told_when_it_is_heard_of(
    store: PgStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[StoreEvent] = []
    store.subscribe(QUEUE, heard.append)

    async def nobody(self: Doubts) -> Any:
        raise StoreUnavailableError("nobody there")

    with monkeypatch.context() as patches:
        patches.setattr(Doubts, "_open_again", nobody)
        patches.setattr(asyncpg.Connection, "fetch", _breaking("after"))
        with pytest.raises(StoreUnavailableError, match="can't be known"):
            await add(store, "a")
    await all_told(store)
    assert [event.type for event in heard if event.job_id == "a"] == ["job:waiting"]


async def test_what_comes_to_nothing_is_not_told_when_nobody_listens_any_more(
    store: PgStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[StoreEvent] = []
    store.subscribe(QUEUE, heard.append)
    plain, desk = asyncpg.Connection.fetch, store._desk
    assert desk is not None

    async def fetch(connection: Any, text: str, *given: Any, **options: Any) -> Any:
        if text.startswith("WITH own"):
            monkeypatch.setattr(asyncpg.Connection, "fetch", plain)
            assert desk._listening is not None
            desk._listening._connection.terminate()
            await plain(connection, "UPDATE conveyor_nb_counters SET value = value + 1")
        return await plain(connection, text, *given, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", fetch)
    await add(store, "a")
    await all_told(store)
    assert [event.type for event in heard if event.job_id == "a"] == ["job:waiting"]


async def test_calls_that_are_kept_out_together_wait_once(
    store: PgStore, theirs: Any, postgres_dsn: str, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connecting._SETTINGS, "lock_timeout", "100ms")
    async with (
        PgStore(postgres_dsn, schema=store._connecting._schema) as other,
        theirs.transaction(),
    ):
        await theirs.fetch("SELECT 1 FROM conveyor_nb_counters WHERE name = 'moved' FOR UPDATE")
        adding = [add(other, f"job-{number}") for number in range(5)]
        errors = await asyncio.gather(*adding, return_exceptions=True)
    assert {type(error) for error in errors} == {StoreUnavailableError}
    assert "another program keeps locked" in str(errors[0])
    assert sent.count("BEGIN") <= 2


async def test_what_was_rolled_back_is_not_taken_for_true(
    store: PgStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(store, "a")
    job = await take(store)
    assert store._desk is not None
    store._desk._group._pause = 1  # the next group is a transaction
    plain = asyncpg.Connection.fetch

    async def fetch(connection: Any, text: str, *given: Any, **options: Any) -> Any:
        if "pg_notify" in text:
            raise RuntimeError("at its end")
        return await plain(connection, text, *given, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", fetch)
    with pytest.raises(RuntimeError, match="at its end"):
        await apply(store, job, SetProgress(50.0))
    monkeypatch.setattr(asyncpg.Connection, "fetch", plain)
    await apply(store, job, SetProgress(50.0))
    assert (await get(store, "a")).progress == 50


async def test_stores_that_write_by_turns_go_on_at_once(
    store: PgStore, postgres_dsn: str, sent: list[str]
) -> None:
    async with PgStore(postgres_dsn, schema=store._connecting._schema) as other:
        for number in range(8):
            if number == 7:  # by now they know how the other one writes
                sent.clear()
            await add_as_heard_by(store, other, f"other-{number}")
            await add_as_heard_by(other, store, f"own-{number}")
    assert "BEGIN" not in sent
    assert [text[:8] for text in sent].count("WITH own") == 2


async def test_what_another_store_has_taken_is_not_ones_own_as_the_connection_broke(
    store: PgStore, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, loop = asyncpg.Connection.fetch, asyncio.get_running_loop()
    async with PgStore(postgres_dsn, schema=store._connecting._schema) as other:
        for number in range(8):
            await add_as_heard_by(store, other, f"other-{number}")
            await add_as_heard_by(other, store, f"own-{number}")
        theirs: list[JobData] = []

        async def take_theirs() -> None:
            theirs.append(await take(other, "w2"))

        async def fetch(connection: Any, text: str, *given: Any, **options: Any) -> Any:
            if text.startswith("WITH own"):  # it is about the same job, by the same count
                monkeypatch.setattr(asyncpg.Connection, "fetch", plain)
                taking = asyncio.run_coroutine_threadsafe(take_theirs(), loop)
                await asyncio.wrap_future(taking)
                connection.terminate()
                raise ConnectionResetError("lost")
            return await plain(connection, text, *given, **options)

        monkeypatch.setattr(asyncpg.Connection, "fetch", fetch)
        with contextlib.suppress(StoreUnavailableError):  # it may be that it can't be known
            assert (await take(store)).id != theirs[0].id
        assert (await get(store, theirs[0].id)).locked_by == "w2"


async def add_as_heard_by(hearer: PgStore, store: PgStore, job_id: str) -> None:
    """Add a job, and wait until another store has heard of it."""
    heard = asyncio.get_running_loop().create_future()

    def hear(event: StoreEvent) -> None:
        if event.job_id == job_id:
            heard.set_result(None)

    hearer.subscribe(QUEUE, hear)
    await add(store, job_id)
    await heard
    hearer.unsubscribe(QUEUE, hear)
