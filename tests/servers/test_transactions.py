"""Jobs that are added in a transaction of the caller's own: there with it, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from conveyor_nb import Deduplication, FlowJob, FlowProducer, Job, PgStore, Queue, Worker
from conveyor_nb.core.errors import PayloadError, UnsupportedError
from tests.postgres import new_schema

pytestmark = pytest.mark.asyncio

EMAILS = "emails"
SHOP = "SELECT mail FROM orders ORDER BY mail"


@pytest.fixture
def schema() -> str:
    return new_schema()


@pytest_asyncio.fixture
async def store(postgres_dsn: str, schema: str) -> AsyncIterator[PgStore]:
    async with PgStore(postgres_dsn, schema=schema, ids="sequential") as store:
        yield store


@pytest.fixture
def queue(store: PgStore) -> Queue:
    return Queue(EMAILS, store=store)


@pytest_asyncio.fixture
async def shop(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A program's own connection, whose tables are in another schema of the database."""
    connection = await asyncpg.connect(postgres_dsn)
    name = f"{new_schema()}_shop"
    await connection.execute(f"CREATE SCHEMA {name}; SET search_path TO {name}, public")
    await connection.execute("CREATE TABLE orders (mail TEXT)")
    yield connection
    await connection.close()


async def order(shop: asyncpg.Connection, queue: Queue, mail: str) -> Job:
    await shop.execute("INSERT INTO orders VALUES ($1)", mail)
    return await queue.add("confirm", {"to": mail}, connection=shop)


async def test_an_order_and_its_mail_are_there_together_or_not_at_all(
    shop: asyncpg.Connection, queue: Queue
) -> None:
    path = await shop.fetchval("SELECT current_setting('search_path')")
    transaction = shop.transaction()
    await transaction.start()
    await order(shop, queue, "ada@example.org")
    assert await queue.count() == 0  # nobody else sees it yet
    await transaction.rollback()
    assert (await shop.fetch(SHOP), await queue.get_jobs()) == ([], [])

    async with shop.transaction():
        job = await order(shop, queue, "bob@example.org")
        assert await shop.fetchval("SELECT current_setting('search_path')") == path

    assert await shop.fetchval(SHOP) == "bob@example.org"
    assert [one.id for one in await queue.get_jobs()] == [job.id] == ["emails-1"]


async def test_an_idle_worker_begins_when_it_is_committed(
    shop: asyncpg.Connection, queue: Queue, postgres_dsn: str, schema: str
) -> None:
    async def send(job: Job) -> str:
        return f"sent to {job.data['to']}"

    async with (
        PgStore(postgres_dsn, schema=schema) as elsewhere,
        Worker(EMAILS, send, store=elsewhere),
    ):
        async with shop.transaction():
            job = await order(shop, queue, "ada@example.org")
        assert await job.wait_until_finished() == "sent to ada@example.org"


async def test_whole_batches_and_flows_belong_to_it(
    shop: asyncpg.Connection, queue: Queue, store: PgStore
) -> None:
    flow = FlowJob("book", "books", children=[FlowJob("page", "pages") for _ in range(2)])
    for how in ("rollback", "commit"):
        transaction = shop.transaction()
        await transaction.start()
        await queue.add_bulk([{"name": "a"}, {"name": "b"}], connection=shop)
        await FlowProducer(store=store).add(flow, connection=shop)
        await getattr(transaction, how)()
        assert await queue.count() == (0 if how == "rollback" else 2)
    assert await store.count_jobs("pages", "waiting") == 2
    assert await store.count_jobs("books", "waiting-children") == 1


async def test_events_are_told_in_the_order_of_the_transactions(
    shop: asyncpg.Connection, queue: Queue, store: PgStore
) -> None:
    told: list[str | None] = []
    all_told = asyncio.Event()

    def note(event: Any) -> None:
        told.append(event.job_id)
        if len(told) == 3:
            all_told.set()

    store.subscribe(EMAILS, note, kinds={"job:waiting"})
    await queue.add("first", job_id="1")
    async with shop.transaction():
        await queue.add("second", job_id="2", connection=shop)
    await queue.add("third", job_id="3")
    await all_told.wait()
    assert told == ["1", "2", "3"]


async def test_what_is_there_already_is_returned_and_nothing_added(
    shop: asyncpg.Connection, queue: Queue
) -> None:
    await queue.add("send", job_id="x")
    keyed = await queue.add("send", deduplication=Deduplication(key="k"))
    async with shop.transaction():
        assert (await queue.add("other", job_id="x", connection=shop)).name == "send"
        again = await queue.add("send", deduplication=Deduplication(key="k"), connection=shop)
    assert again.id == keyed.id
    assert await queue.count() == 2


async def test_what_is_refused_leaves_the_transaction_as_it_was(
    shop: asyncpg.Connection, queue: Queue
) -> None:
    async with shop.transaction():
        await shop.execute("INSERT INTO orders VALUES ('ada@example.org')")
        with pytest.raises(PayloadError):
            await queue.add("send", {"when": object()}, connection=shop)
        await queue.add("send", job_id="x", connection=shop)
        taken = FlowJob("book", EMAILS, job_id="x")
        with pytest.raises(ValueError, match="'x'"):
            await FlowProducer(store=queue.store).add(taken, connection=shop)
    assert await shop.fetchval(SHOP) == "ada@example.org"
    assert [job.id for job in await queue.get_jobs()] == ["x"]


async def test_a_connection_that_can_not_do_is_refused(
    shop: asyncpg.Connection, queue: Queue, postgres_dsn: str
) -> None:
    with pytest.raises(TypeError, match=r"one of asyncpg to the server .*, not 'shop'"):
        await queue.add("send", connection="shop")
    with pytest.raises(ValueError, match=r"in no transaction: async with .*transaction\(\)"):
        await queue.add("send", connection=shop)
    await shop.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    async with shop.transaction():
        with pytest.raises(TypeError, match="a codec of its own for jsonb"):
            await queue.add("send", connection=shop)
    await shop.execute("CREATE DATABASE another_shop")
    elsewhere = await asyncpg.connect(postgres_dsn, database="another_shop")
    async with elsewhere.transaction():
        with pytest.raises(ValueError, match="to another database than that of the store"):
            await queue.add("send", connection=elsewhere)
    await elsewhere.close()
    await shop.execute("DROP DATABASE another_shop")
    assert await queue.count() == 0


async def test_a_store_that_only_reads_has_no_part_in_any(
    shop: asyncpg.Connection, store: PgStore, postgres_dsn: str, schema: str
) -> None:
    async with PgStore(postgres_dsn, schema=schema, read_only=True) as view, shop.transaction():
        with pytest.raises(UnsupportedError, match="no transactions of the caller's own"):
            await Queue(EMAILS, store=view).add("send", connection=shop)
