"""Other queues that last, each on the same disk or the same server, at its best honest settings.

What outlasts a crash is the same for all that are compared. Each adds no-op jobs with a small
payload one by one, ten at a time where it can, and works on ten at a time until all are settled
for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec.json

from tests.benchmarks.measuring import PAYLOAD, Sample, Stopwatch
from tests.benchmarks.peers import CONCURRENCY, huey_consumer

__all__ = ["ON_A_SERVER", "DurablePeer", "huey_flow", "is_installed", "ten_at_a_time"]

T = TypeVar("T")

_LOOK = 0.001
_CONNECTIONS = CONCURRENCY + 2


@dataclass(frozen=True, slots=True)
class DurablePeer:
    """A queue on a PostgreSQL server to compare with.

    Args:
        name: what to call it, and what has to be installed.
        flow: runs so many jobs in a schema of a server.
        remark: how it is set up.
    """

    name: str
    flow: Callable[[str, str, int], Sample]
    remark: str


def is_installed(package: str) -> bool:
    """Whether it can be measured here."""
    return importlib.util.find_spec(package) is not None


async def ten_at_a_time(
    things: Iterable[T], do: Callable[[T], Coroutine[Any, Any, object]]
) -> None:
    """Do something with each thing, by ten tasks that take one after the other."""
    left = iter(things)

    async def do_some() -> None:
        for thing in left:
            await do(thing)

    await asyncio.gather(*(do_some() for _ in range(CONCURRENCY)))


# -- huey ---------------------------------------------------------------------------------------


def huey_flow(synchronous: str, path: Path, jobs: int) -> Sample:
    """Jobs of huey in a file, which adds them one after the other."""
    storage = importlib.import_module("huey.storage")

    class Storage(storage.SqliteStorage):  # type: ignore[misc,name-defined] # made here
        def _create_connection(self) -> Any:
            connection = super()._create_connection()
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            return connection

    huey_module = importlib.import_module("huey")
    huey = huey_module.Huey("benchmark", storage_class=Storage, filename=str(path), immediate=False)
    task = huey.task()(_no_op_of_huey)
    with Stopwatch() as watch:
        for _ in range(jobs):
            task(PAYLOAD)
        with huey_consumer(huey, CONCURRENCY):
            while huey.storage.result_store_size() < jobs:
                time.sleep(_LOOK)
    huey.storage.close()
    return watch.sample


def _no_op_of_huey(_: dict[str, Any]) -> int:
    return 1


# -- pgqueuer -----------------------------------------------------------------------------------


def _pgqueuer_flow(dsn: str, schema: str, jobs: int) -> Sample:
    async def run() -> Sample:
        async with _pool(dsn, schema) as pool:
            queries = importlib.import_module("pgqueuer.queries").Queries(
                importlib.import_module("pgqueuer.db").AsyncpgPoolDriver(pool)
            )
            await queries.install()
            manager = importlib.import_module("pgqueuer.qm").QueueManager(queries)
            done = 0

            @manager.entrypoint("send")  # type: ignore[untyped-decorator] # it is imported late
            async def send(_: Any) -> None:
                nonlocal done
                done += 1
                if done == jobs:
                    manager.shutdown.set()

            payload = msgspec.json.encode(PAYLOAD)
            with Stopwatch() as watch:
                await ten_at_a_time(range(jobs), lambda _: queries.enqueue("send", payload))
                await manager.run(batch_size=CONCURRENCY)  # all is acknowledged as it returns
            assert await pool.fetchval("SELECT count(*) FROM pgqueuer") == 0
            return watch.sample

    return asyncio.run(run())


@contextlib.asynccontextmanager
async def _pool(dsn: str, schema: str) -> AsyncIterator[Any]:
    asyncpg = importlib.import_module("asyncpg")
    settings = {"search_path": schema}
    async with asyncpg.create_pool(
        dsn, min_size=_CONNECTIONS, max_size=_CONNECTIONS, server_settings=settings
    ) as pool:
        yield pool


# -- procrastinate ------------------------------------------------------------------------------


def _procrastinate_flow(dsn: str, schema: str, jobs: int) -> Sample:
    procrastinate = importlib.import_module("procrastinate")
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    connector = procrastinate.PsycopgConnector(
        conninfo=dsn,
        kwargs={"options": f"-c search_path={schema}"},
        min_size=_CONNECTIONS,
        max_size=_CONNECTIONS,
    )
    app = procrastinate.App(connector=connector)
    task = app.task(name="send")(_no_op)

    async def run() -> Sample:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            with Stopwatch() as watch:
                await ten_at_a_time(range(jobs), lambda _: task.defer_async(**PAYLOAD))
                await app.run_worker_async(
                    concurrency=CONCURRENCY,
                    wait=False,
                    listen_notify=False,
                    install_signal_handlers=False,
                )
            left = await app.job_manager.list_jobs_async(status="todo")
            assert not list(left)
            return watch.sample

    return asyncio.run(run())


async def _no_op(**_: Any) -> None:
    """The handler: nothing to do."""


ON_A_SERVER = (
    DurablePeer(
        "pgqueuer",
        _pgqueuer_flow,
        "asyncpg, ten a batch; a settled job is deleted and logged, in batches of ten",
    ),
    DurablePeer(
        "procrastinate",
        _procrastinate_flow,
        "psycopg, listening to nothing as all jobs are there; settled jobs are kept",
    ),
)
