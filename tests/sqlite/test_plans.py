"""What a step costs does not grow with what a file holds: seen in how SQLite plans it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from conveyor_nb import (
    Deduplication,
    FlowJob,
    FlowProducer,
    Group,
    GroupLimits,
    Job,
    Keep,
    Limiter,
    Queue,
    SqliteStore,
    Worker,
)
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.stores.sql.sqlite import connecting

Act = Callable[[Queue], Awaitable[None]]

SHORT = frozenset(
    {
        "conveyor_paused_names",
        "conveyor_nb_commands",
        "conveyor_nb_queues",
        "conveyor_nb_workers",
    }
)
"""Tables of which one may read all: they have a row for each queue, worker or paused name."""

LIMITS = FetchOptions(False, Limiter(1_000, 60), 1_000, GroupLimits(1_000, Limiter(1_000, 60)))


async def add(queue: Queue) -> None:
    await queue.add("send")
    await queue.add("send", job_id="mine")
    await queue.add("send", deduplication=Deduplication(key="one"))
    await queue.add("send", delay=60, priority=3)
    await queue.add("send", group=Group("g", max_size=3))
    await queue.add_bulk([{"name": "send", "deduplication": Deduplication(hash=True)}] * 3)


async def fetch(queue: Queue) -> None:
    await add(queue)
    for options in (FetchOptions(), FetchOptions(lifo=True), LIMITS):
        assert (await queue.store.fetch_jobs(queue.name, "w", 30, options, limit=2)).jobs


async def look_for_nothing(queue: Queue) -> None:
    await queue.add("send", delay=60)
    for options in (FetchOptions(), LIMITS):
        assert not (await queue.store.fetch_jobs(queue.name, "w", 30, options)).jobs


async def work(queue: Queue) -> None:
    async def send(job: Job) -> None:
        await job.update_progress(50)
        await job.log("on its way")
        if job.name == "fail":
            raise ValueError("no such address")

    await add(queue)
    await queue.add("fail", attempts=2)
    await queue.add("send", remove_on_complete=True)
    await queue.add_bulk([{"name": "send", "remove_on_complete": Keep(count=1, age=60)}] * 3)
    await FlowProducer(store=queue.store).add(
        FlowJob("sum", "sums", children=[FlowJob("send", queue.name) for _ in range(2)])
    )
    async with Worker(queue.name, send, store=queue.store, concurrency=3):
        await queue.join()


async def see_to_locks(queue: Queue) -> None:
    job = await queue.add("send")
    await queue.store.fetch_jobs(queue.name, "w", 30)
    await queue.store.renew_locks(queue.name, "w", {job.id: 1}, 30)
    await queue.store.get_job(queue.name, job.id)
    await queue.store.promote_delayed_jobs(queue.name)


async def plans_of(act: Act, path: Path, told: list[str]) -> dict[str, list[str]]:
    """The statements of some steps, by their text, and how each is carried out."""
    async with SqliteStore(path) as store, Queue("emails", store=store) as queue:
        await queue.pause("other")
        await queue.count("waiting")  # the file was opened, to write and to read
        told.clear()
        await act(queue)
        sent = dict.fromkeys(told)
    with contextlib.closing(sqlite3.connect(path)) as other:
        return {
            text: [row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {text}")]
            for text in (one.replace("-Inf", "-9e999") for one in sent)
            if text.startswith(("SELECT", "UPDATE", "DELETE", "INSERT"))
        }


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that a store says to SQLite."""
    texts: list[str] = []

    def connect(*given: Any, **options: Any) -> sqlite3.Connection:
        connection = connecting.connect(*given, **options)
        connection.set_trace_callback(texts.append)
        return connection

    monkeypatch.setattr("conveyor_nb.stores.sql.sqlite.store.connect", connect)
    return texts


@pytest.mark.asyncio
@pytest.mark.parametrize("act", [add, fetch, look_for_nothing, work, see_to_locks])
async def test_no_step_on_a_job_reads_all_rows(act: Act, tmp_path: Path, told: list[str]) -> None:
    plans = await plans_of(act, tmp_path / "queue.db", told)

    dear = {text: plan for text, plan in plans.items() if any(map(_reads_all, plan))}
    assert len(plans) > 5
    assert not dear


@pytest.mark.asyncio
async def test_whether_a_job_of_a_group_waits_is_seen_among_those_that_wait(
    tmp_path: Path, told: list[str]
) -> None:
    """And not among all that are, or were, in a group."""
    plans = await plans_of(fetch, tmp_path / "queue.db", told)

    (plan,) = (plan for text, plan in plans.items() if text.startswith("SELECT 1 FROM"))
    assert "conveyor_nb_idx_lines" in plan[0]


def _reads_all(line: str) -> bool:
    """Whether a step of a plan reads a table, or an index, from its start to its end, or sorts it.

    Rows that are alike in what an index has are sorted by the rest: those are few.
    """
    kind, _, rest = line.partition(" ")
    table = rest.split()[0]
    is_scan = kind == "SCAN" and table.startswith("conveyor_") and table not in SHORT
    return is_scan or line.startswith("USE TEMP B-TREE FOR ORDER BY")
