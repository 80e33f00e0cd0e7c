"""Jobs that are added in a transaction of the caller's own: there with it, or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import (
    Deduplication,
    FlowJob,
    FlowProducer,
    Group,
    GroupFullError,
    Job,
    MemoryStore,
    Queue,
    Repeat,
    SqliteStore,
    StoreInterface,
    Worker,
)
from conveyor_nb.core.errors import PayloadError, SchemaError, UnsupportedError

EMAILS = "emails"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest_asyncio.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path, ids="sequential") as store:
        yield store


@pytest.fixture
def queue(store: SqliteStore) -> Queue:
    return Queue(EMAILS, store=store)


@pytest.fixture
def shop(path: Path, store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """A program's own connection, as the standard library makes it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, mail TEXT)")
        yield connection


def orders(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [mail for (mail,) in connection.execute("SELECT mail FROM orders ORDER BY id")]


async def order(shop: sqlite3.Connection, queue: Queue, mail: str) -> Job:
    shop.execute("INSERT INTO orders (mail) VALUES (?)", (mail,))
    return await queue.add("confirm", {"to": mail}, connection=shop)


@pytest.mark.asyncio
async def test_an_order_and_its_mail_are_there_together_or_not_at_all(
    shop: sqlite3.Connection, queue: Queue, path: Path
) -> None:
    await order(shop, queue, "ada@example.org")
    assert (await queue.get_job_counts())["waiting"] == 0  # nobody else sees it yet
    shop.rollback()
    assert (orders(path), await queue.get_jobs()) == ([], [])

    with shop:
        job = await order(shop, queue, "bob@example.org")

    assert orders(path) == ["bob@example.org"]
    assert [one.id for one in await queue.get_jobs()] == [job.id] == ["emails-1"]


@pytest.mark.asyncio
async def test_an_idle_worker_of_another_store_begins_when_it_is_committed(
    shop: sqlite3.Connection, queue: Queue, path: Path
) -> None:
    async def send(job: Job) -> str:
        assert orders(path) == ["ada@example.org"]
        return f"sent to {job.data['to']}"

    async with SqliteStore(path) as elsewhere, Worker(EMAILS, send, store=elsewhere):
        with shop:
            job = await order(shop, queue, "ada@example.org")
        assert await job.wait_until_finished() == "sent to ada@example.org"


@pytest.mark.asyncio
async def test_whole_batches_and_flows_belong_to_it(
    shop: sqlite3.Connection, queue: Queue, store: SqliteStore
) -> None:
    flow = FlowJob("book", "books", children=[FlowJob("page", "pages") for _ in range(2)])
    for end in (shop.rollback, shop.commit):
        jobs = await queue.add_bulk([{"name": "a"}, {"name": "b"}], connection=shop)
        await FlowProducer(store=store).add(flow, connection=shop)
        end()
        assert len(await queue.get_jobs()) == (0 if end == shop.rollback else len(jobs))

    assert await store.count_jobs("pages", "waiting") == 2
    assert await store.count_jobs("books", "waiting-children") == 1


@pytest.mark.asyncio
async def test_events_are_told_in_the_order_of_the_transactions(
    shop: sqlite3.Connection, queue: Queue, store: SqliteStore
) -> None:
    told: list[str | None] = []
    all_told = asyncio.Event()

    def note(event: Any) -> None:
        told.append(event.job_id)
        if len(told) == 3:
            all_told.set()

    store.subscribe(EMAILS, note, kinds={"job:waiting"})
    await queue.add("first", job_id="1")
    with shop:
        await queue.add("second", job_id="2", connection=shop)
    await queue.add("third", job_id="3")
    await all_told.wait()
    assert told == ["1", "2", "3"]


@pytest.mark.asyncio
async def test_what_is_there_already_is_returned_and_nothing_added(
    shop: sqlite3.Connection, queue: Queue
) -> None:
    given = await queue.add("send", job_id="x")
    keyed = await queue.add("send", deduplication=Deduplication(key="k"))
    with shop:
        assert (await queue.add("other", job_id="x", connection=shop)).name == given.name
        again = await queue.add("send", deduplication=Deduplication(key="k"), connection=shop)
    assert again.id == keyed.id
    assert len(await queue.get_jobs()) == 2


@pytest.mark.asyncio
async def test_a_connection_may_read_rows_and_texts_in_its_own_way(
    shop: sqlite3.Connection, queue: Queue
) -> None:
    shop.row_factory, shop.text_factory = sqlite3.Row, bytes
    with shop:
        job = await order(shop, queue, "ada@example.org")
    assert (shop.row_factory, shop.text_factory) == (sqlite3.Row, bytes)
    assert (await queue.get_job(job.id) or job).data == {"to": "ada@example.org"}


@pytest.mark.asyncio
async def test_what_is_refused_leaves_the_transaction_as_it_was(
    shop: sqlite3.Connection, queue: Queue, path: Path
) -> None:
    shop.execute("INSERT INTO orders (mail) VALUES ('ada@example.org')")
    with pytest.raises(PayloadError):
        await queue.add("send", {"when": object()}, connection=shop)
    with pytest.raises(TypeError, match="a schedule is no part of a transaction"):
        await queue.add("send", repeat=Repeat("1h"), connection=shop)
    await queue.add("send", job_id="x", connection=shop)
    taken = FlowJob("book", EMAILS, job_id="x")
    with pytest.raises(ValueError, match="'x'"):
        await FlowProducer(store=queue.store).add(taken, connection=shop)
    shop.commit()
    assert orders(path) == ["ada@example.org"]
    assert [job.id for job in await queue.get_jobs()] == ["x"]


@pytest.mark.asyncio
async def test_what_is_refused_begins_no_transaction(
    shop: sqlite3.Connection, queue: Queue
) -> None:
    group = Group("g", max_size=1)
    await queue.add("send", group=group)
    with pytest.raises(GroupFullError, match=r"holds 1 waiting job$"):
        await queue.add("send", group=group, connection=shop)
    assert not shop.in_transaction


@pytest.mark.asyncio
async def test_a_connection_that_can_not_do_is_refused(
    shop: sqlite3.Connection, queue: Queue, path: Path, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=r"must be a sqlite3\.Connection .*, not 'shop\.db'"):
        await queue.add("send", connection="shop.db")
    with (
        closing(sqlite3.connect(":memory:")) as other,
        pytest.raises(ValueError, match=r"is one to ':memory:', and the store is in '.*shop"),
    ):
        await queue.add("send", connection=other)
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        with pytest.raises(ValueError, match=r"in no transaction.*execute\('BEGIN IMMEDIATE'\)"):
            await queue.add("send", connection=plain)
        plain.execute("BEGIN IMMEDIATE")
        await queue.add("send", connection=plain)
        plain.execute("COMMIT")
    new = SqliteStore(tmp_path / "new.db")
    with (
        closing(sqlite3.connect(tmp_path / "new.db")) as early,
        pytest.raises(SchemaError, match=r"connect\(\) the store before the transaction"),
    ):
        await Queue(EMAILS, store=new).add("send", connection=early)
    assert len(await queue.get_jobs()) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [MemoryStore, lambda: SqliteStore(":memory:")])
async def test_a_store_in_memory_has_no_transactions(
    kind: Callable[[], StoreInterface], tmp_path: Path
) -> None:
    async with kind() as store:
        with (
            closing(sqlite3.connect(tmp_path / "a.db")) as connection,
            pytest.raises(UnsupportedError, match="no transactions of the caller's own"),
        ):
            await Queue(EMAILS, store=store).add("send", connection=connection)
        assert await store.list_queues() == []
