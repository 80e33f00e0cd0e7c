"""A server that is not there, or goes away and comes back: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from conveyor_nb import Queue, StoreEvent, Worker
from conveyor_nb.core.errors import StoreUnavailableError
from conveyor_nb.stores.sql.postgres.store import PgStore
from conveyor_nb.testing.events import all_told
from tests.postgres import Server, new_schema, running_server

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that these tests may stop."""
    with running_server(is_durable=True) as server:
        yield server


@pytest.mark.parametrize(
    ("dsn", "error", "told"),
    [
        ("postgresql://a:secret@127.0.0.1:1/q", StoreUnavailableError, "'127.0.0.1:1/q' can't be"),
        ("postgresql://a:secret@127.0.0.1:x/q", ValueError, "is no address of a PostgreSQL"),
        ("http://a:secret@127.0.0.1/q", ValueError, "is no address of a PostgreSQL server such as"),
    ],
)
async def test_a_wrong_address_is_said_in_a_sentence_without_its_password(
    dsn: str, error: type[Exception], told: str
) -> None:
    store = PgStore(dsn)
    with pytest.raises(error, match=told) as raised:
        await store.connect()
    assert "secret" not in f"{raised.value} {store.address} {store!r}"
    with pytest.raises(error):
        await Queue("emails", store=store).add("send")
    await store.disconnect()


async def test_a_database_that_is_not_there_is_named(server: Server) -> None:
    dsn = server.dsn.replace("/postgres?", "/nowhere?")
    with pytest.raises(StoreUnavailableError, match="'/nowhere' has no such database"):
        await PgStore(dsn).connect()


async def test_without_the_driver_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ImportError, match=r"pip install 'conveyor_nb\[postgres\]'"):
        PgStore("postgresql://localhost/q")


async def test_a_store_can_be_connected_again(server: Server) -> None:
    store = PgStore(server.dsn, schema=new_schema())
    queue = Queue("emails", store=store)
    job = await queue.add("send")
    await store.disconnect()
    with pytest.raises(StoreUnavailableError, match="is disconnected"):
        await queue.get_job(job.id)
    await store.connect()
    assert await queue.get_job(job.id) is not None
    await store.disconnect()


async def end_backends(server: Server) -> int:
    """Let the server end every connection of a store, wherever it is; returns how many."""
    connection = await asyncpg.connect(server.dsn)
    ended = await connection.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'conveyor_nb'"
    )
    await connection.close()
    return int(ended)


async def live(store: PgStore, server: Server, count: int, disturb: Any, every: int) -> None:
    """Add jobs and do them, disturbed all the while; every one is done, and once."""
    done: list[int] = []
    queue = Queue("emails", store=store)

    async def add(number: int) -> None:
        # an answer may be lost that was on its way: whoever gives an id may ask again
        while True:
            try:
                await queue.add("send", number, job_id=f"job-{number}", attempts=5)
            except StoreUnavailableError:
                await asyncio.sleep(0)
            else:
                return

    async with Worker("emails", lambda job: done.append(job.data), store=store, concurrency=5):
        for start in range(0, count, every):
            adding = asyncio.gather(*(add(number) for number in range(start, start + every)))
            await disturb()
            await adding
        for number in range(count):
            job = await queue.get_job(f"job-{number}")
            assert job is not None
            await job.wait_until_finished(timeout=60)
    counts = await queue.get_job_counts()
    assert counts["completed"] == count
    # an attempt whose report was lost runs again, by the rules of a lock; here none was
    assert sorted(done) == list(range(count))


async def test_no_queue_is_left_out_when_it_is_listened_once_more_in_vain(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["emails", "reports", "sums"]
    async with PgStore(server.dsn, schema=new_schema()) as store:
        come = {name: asyncio.get_running_loop().create_future() for name in names}

        def hear(event: StoreEvent) -> None:
            if event.type == "queue:drained":
                come[event.queue_name].set_result(None)

        for name in names:
            store.subscribe(name, hear)
        await all_told(store)
        plain = asyncpg.Connection.add_listener
        broken: list[str] = []

        async def add_listener(connection: Any, channel: str, callback: Any) -> None:
            if channel.startswith("conveyor:") and not broken:
                broken.append(channel)
                connection.terminate()
                raise ConnectionResetError("lost")
            await plain(connection, channel, callback)

        monkeypatch.setattr(asyncpg.Connection, "add_listener", add_listener)
        assert await end_backends(server) >= 2
        await all_told(store)
        assert broken
        theirs = await asyncpg.connect(server.dsn)
        for name in names:
            told = json.dumps({"type": "queue:drained", "queueName": name})
            await theirs.execute("SELECT pg_notify($1, $2)", f"conveyor:{name}", told)
        await theirs.close()
        await asyncio.wait_for(asyncio.gather(*come.values()), 10)


async def test_who_may_have_missed_something_is_told_so(server: Server) -> None:
    async with PgStore(server.dsn, schema=new_schema()) as store:
        heard: list[StoreEvent] = []
        store.subscribe("emails", heard.append)
        await all_told(store)
        assert not heard
        assert await end_backends(server) >= 2
        await all_told(store)
        assert {event.type for event in heard} == {"stream:missed"}


async def test_connections_that_are_ended_cost_nothing(server: Server) -> None:
    async with PgStore(server.dsn, schema=new_schema()) as store:

        async def disturb() -> None:
            ended = 0
            while ended < 2:  # it may be about to make new ones, after the time before
                ended += await end_backends(server)

        await live(store, server, 200, disturb, 20)


async def test_a_server_that_is_stopped_at_once_and_comes_back_costs_nothing(
    server: Server,
) -> None:
    async with PgStore(server.dsn, schema=new_schema()) as store:

        async def disturb() -> None:
            await asyncio.to_thread(server.restart, "immediate")

        await live(store, server, 60, disturb, 20)


async def test_an_add_to_a_server_that_is_gone_says_so(server: Server) -> None:
    async with PgStore(server.dsn, schema=new_schema()) as store:
        queue = Queue("emails", store=store)
        await queue.add("send", job_id="a")
        server.stop("immediate")
        try:
            with pytest.raises(StoreUnavailableError, match="can't be reached"):
                await queue.add("send", job_id="b")
            with pytest.raises(StoreUnavailableError, match="can't be reached"):
                await queue.get_job("a")
        finally:
            server.start()
        assert await queue.get_job("a") is not None
        assert await queue.get_job("b") is None


async def test_what_is_wrong_with_events_is_told_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with PgStore(server.dsn, schema=new_schema()) as store:
        store.subscribe("emails", lambda event: None)
        await store.list_queues()
        server.stop("immediate")
        try:
            for number in range(5):  # each asks the server to be told of one queue more
                store.subscribe(f"emails-{number}", lambda event: None)
            with pytest.raises(StoreUnavailableError):
                await store.list_queues()
        finally:
            server.start()
        await store.list_queues()
    told = [one.getMessage() for one in caplog.records if "events of programs" in one.message]
    assert told
    assert len(told) == len({*told})
