"""What a store asks a server among 100,000 jobs: it goes by indexes, and looks at few of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from conveyor_nb import Deduplication, Group, GroupLimits, JobState, Limiter, PgStore, Queue
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.actions import Complete
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import Lock
from tests.postgres import new_schema, shared_dsn

QUEUE = "emails"
FEW = 150
"""How many jobs a statement may look at."""

JOBS = 100_000
# of a thousand jobs 800 are completed, 50 failed, 50 delayed, 60 waiting, 39 waiting in one of 50
# groups and one is active; a fifth of them are another queue's
FILL = f"""
INSERT INTO conveyor_jobs (
    id, queue_name, name, state, seq, created_at, delay_until, processed_at, completed_at,
    failed_at, lock_until, locked_by, group_id, deduplication_key, conveyor_nb_moved,
    conveyor_nb_fence, attempt_logs)
SELECT 'job-' || n, CASE WHEN n % 5 = 0 THEN 'letters' ELSE '{QUEUE}' END,
    CASE WHEN n % 7 = 0 THEN 'fax' ELSE 'send' END, state,
    n, now, CASE WHEN state = 'delayed' THEN now + n * interval '1 second' END,
    CASE WHEN state IN ('completed', 'failed', 'active') THEN now END,
    CASE WHEN state = 'completed' THEN now END, CASE WHEN state = 'failed' THEN now END,
    CASE WHEN state = 'active' THEN now + interval '30 seconds' END,
    CASE WHEN state = 'active' THEN 'worker-1' END,
    CASE WHEN n / 10 % 100 BETWEEN 96 AND 99 AND state = 'waiting' THEN 'group-' || n % 50 END,
    CASE WHEN n % 3 = 0 THEN 'key-' || n END, n, 0, '[]'
FROM (
    SELECT n, $1::timestamptz AS now, CASE
        WHEN n % 1000 < 800 THEN 'completed' WHEN n % 1000 < 850 THEN 'failed'
        WHEN n % 1000 < 900 THEN 'delayed' WHEN n % 1000 < 999 THEN 'waiting' ELSE 'active'
    END AS state FROM generate_series(1, {JOBS}) AS n
) AS made
"""
TURNS = """
INSERT INTO conveyor_nb_groups (queue_name, group_id, came, busy)
SELECT queue_name, coalesce(group_id, ''), min(seq), count(*) FROM conveyor_jobs
WHERE state IN ('waiting', 'active') GROUP BY 1, 2
"""
LISTED = (
    f"INSERT INTO conveyor_nb_queues (name) VALUES ('{QUEUE}'), ('letters');"
    f"UPDATE conveyor_nb_counters SET value = {JOBS};"
    f"SELECT setval('conveyor_jobs_seq_seq', {JOBS}); ANALYZE"
)


@pytest.fixture(scope="module")
def schema() -> str:
    """A schema with very many jobs."""
    name = new_schema()

    async def fill() -> None:
        async with PgStore(shared_dsn(), schema=name):
            pass
        connection = await asyncpg.connect(shared_dsn(), server_settings={"search_path": name})
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(FILL, VirtualClock().now())
        await connection.execute(TURNS)
        await connection.execute(LISTED)
        await connection.close()

    asyncio.run(fill())
    return name


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def seen(node: dict[str, Any]) -> int:
    """How many rows of jobs a step of a plan has looked at."""
    about_jobs = node.get("Relation Name") == "conveyor_jobs" or "idx_" in node.get(
        "Index Name", ""
    )
    if not about_jobs or node["Node Type"] == "ModifyTable":
        return 0
    left_out = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + left_out) * node["Actual Loops"])


class Plans:
    """The plans of all that is sent while it is watched."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, bool]] = []
        """The texts, how many jobs each looked at, and whether it read the whole table."""
        self._fetch = asyncpg.Connection.fetch

    async def see(self, connection: Any, text: str, *given: Any, **options: Any) -> Any:
        if "conveyor_jobs" in text and "EXPLAIN" not in text:
            is_within = connection.is_in_transaction()
            await connection.execute("SAVEPOINT its" if is_within else "BEGIN")
            explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}"
            ((found,),) = await self._fetch(connection, explain, *given)
            await connection.execute("ROLLBACK TO its; RELEASE its" if is_within else "ROLLBACK")
            steps = list(nodes(json.loads(found)[0]["Plan"]))
            scans = any(
                one["Node Type"] == "Seq Scan" and one.get("Relation Name") == "conveyor_jobs"
                for one in steps
            )
            self.sent.append((text, sum(map(seen, steps)), scans))
        return await self._fetch(connection, text, *given, **options)


Deed = Callable[[PgStore], Awaitable[object]]


async def settle(store: PgStore) -> None:
    for _ in range(3):  # as they are found in a transaction, and then as they are known
        job = await store.fetch_next_job(QUEUE, "worker-2", 30)
        assert job is not None
        lock = Lock("worker-2", job.attempt_logs[-1].attempt)
        await store.apply(QUEUE, job.id, Complete(None), lock=lock)


async def promote(store: PgStore) -> None:
    assert isinstance(store.clock, VirtualClock)
    await store.clock.advance(timedelta(seconds=1000 + 849 + 20))
    assert await store.promote_delayed_jobs(QUEUE)


async def add(store: PgStore) -> None:
    queue = Queue(QUEUE, store=store)
    await queue.add("send")
    await queue.add_bulk([{"name": "send"}] * 10)
    await queue.add("send", deduplication=Deduplication(key="key-3"))
    await queue.add("send", group=Group("group-1", max_size=100_000))


def page(state: JobState | None, *, newest_first: bool) -> Deed:
    return lambda store: store.list_jobs(QUEUE, state, 0, 50, newest_first=newest_first)


def fetch(options: FetchOptions | None = None, pauses: str | None = None) -> Deed:
    async def deed(store: PgStore) -> None:
        if pauses is not None:
            await store.pause_job_name(QUEUE, pauses)
        for _ in range(2):
            fetched = await store.fetch_jobs(QUEUE, "worker-2", 30, options, limit=4)
            assert fetched.jobs

    return deed


IN_GROUPS = GroupLimits(concurrency=5, limiter=Limiter(1000, "1m"))
DEEDS: dict[str, Deed] = {
    "add": add,
    "settle": settle,
    "fetch": fetch(),
    "fetch-lifo": fetch(FetchOptions(lifo=True)),
    "fetch-limited": fetch(FetchOptions(limiter=Limiter(1000, "1m"), max_global_concurrency=10**6)),
    "fetch-paused": fetch(pauses="fax"),
    "promote": promote,
    "stalled": lambda store: store.get_stalled_jobs(QUEUE),
    "next-due": lambda store: store.get_next_delayed_timestamp(QUEUE),
    "look-ahead": lambda store: store.next_jobs(QUEUE, 5),
    "one": lambda store: store.get_job(QUEUE, "job-1"),
    "by-key": lambda store: store.find_by_deduplication_key(QUEUE, "key-3"),
    "page-all": page(None, newest_first=True),
    **{f"page-{one}": page(one, newest_first=one in ("completed", "failed")) for one in JobState},
}


async def plans_of(
    schema: str, deed: Deed, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, int, bool]]:
    plans = Plans()
    async with PgStore(shared_dsn(), schema=schema, clock=VirtualClock()) as store:

        async def see(connection: Any, text: str, *given: Any, **options: Any) -> Any:
            return await plans.see(connection, text, *given, **options)

        monkeypatch.setattr(asyncpg.Connection, "fetch", see)
        await deed(store)
        monkeypatch.undo()
    assert plans.sent
    return plans.sent


@pytest.mark.asyncio
@pytest.mark.parametrize("name", DEEDS)
async def test_few_jobs_are_looked_at(
    name: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, count, scans in await plans_of(schema, DEEDS[name], monkeypatch):
        assert count <= FEW, f"{count} jobs are looked at by {text}"
        assert not scans, f"the whole table is read by {text}"


@pytest.mark.asyncio
async def test_counts_go_by_an_index(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = await plans_of(schema, lambda store: store.get_job_counts("letters"), monkeypatch)
    assert [scans for _, _, scans in sent] == [False]
