"""A short soak finds nothing, and what it looks for is found when it is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from conveyor_nb import Job, JobState, MemoryStore, Queue, StoreEvent
from conveyor_nb.core.model import EventType
from tests.soak.rules import Rules

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def test_a_short_one_finds_nothing(checkout: Path) -> None:
    command = [sys.executable, "-m", "tests.soak", "--minutes", "0.02", "--seed", "1"]
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert "0 violations with seed 1" in result.stdout, result.stdout + result.stderr
    assert (result.returncode, result.stderr) == (0, "")


@pytest_asyncio.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore(ids="sequential") as store:
        yield store


@pytest.fixture
def rules(store: MemoryStore) -> Rules:
    return Rules(store)


def tell(rules: Rules, queue: str, job_id: str | None, *types: EventType, **data: Any) -> None:
    for kind in types:
        rules.hear(StoreEvent(kind, queue, job_id, {"name": "naps", **data}, NOW))


WAITING, ACTIVE = EventType.WAITING, EventType.ACTIVE


@pytest.mark.asyncio
async def test_a_job_of_a_paused_queue_may_not_start(rules: Rules) -> None:
    tell(rules, "mixed", None, EventType.PAUSED, job_name="naps")
    tell(rules, "mixed", "a", WAITING, ACTIVE)
    assert "starts though ['naps'] of mixed is paused" in rules.violations[0]


@pytest.mark.asyncio
async def test_a_parent_may_not_start_before_its_children_settle(rules: Rules) -> None:
    rules.expect_family(("flows", "parent"), [("mixed", "child")])
    tell(rules, "mixed", "child", WAITING)
    tell(rules, "flows", "parent", WAITING, ACTIVE)
    assert "its child ('mixed', 'child') is waiting" in rules.violations[0]


@pytest.mark.asyncio
async def test_limits_may_not_be_passed(rules: Rules) -> None:
    for number in range(16):
        tell(rules, "limited", str(number), WAITING, ACTIVE)
    assert "starts though 3 of limited are active" in rules.violations[0]
    assert "more than Limiter(max=15, duration=0.3) start in limited" in rules.violations[-1]


@pytest.mark.asyncio
async def test_no_state_may_be_left_out(rules: Rules) -> None:
    tell(rules, "mixed", "a", WAITING, EventType.COMPLETED)
    assert "no legal transition" in rules.violations[0]


@pytest.mark.asyncio
async def test_an_added_job_may_not_be_lost(rules: Rules) -> None:
    tell(rules, "mixed", "a", WAITING, EventType.REMOVED)
    rules.acknowledge("mixed", "a")
    assert rules.violations == []
    rules.acknowledge("mixed", "b")
    assert rules.violations == ["('mixed', 'b') was added, and is nowhere"]


@pytest.mark.asyncio
async def test_no_job_may_run_twice_at_once_or_too_often(rules: Rules, store: MemoryStore) -> None:
    queue = Queue("mixed", store=store)
    job = await queue.add("naps")
    with rules.running(job):
        assert rules.violations == []
        with rules.running(job):
            assert rules.violations.pop() == "('mixed', 'mixed-1') runs twice at once"
    record = await store.get_job("mixed", job.id)
    assert record is not None
    with rules.running(Job(replace(record, attempts_made=1), store)):
        assert "runs after 1 of 1 attempts" in rules.violations[0]


@pytest.mark.asyncio
async def test_store_and_events_may_not_differ(rules: Rules, store: MemoryStore) -> None:
    queue = Queue("mixed", store=store)
    await queue.add("naps")
    await rules.look([queue])
    assert rules.violations == []
    rules.close()
    await queue.add("naps")
    await rules.look([queue])
    assert "events and store differ" in rules.violations[0]
    assert rules.held["mixed"] == {JobState.WAITING: 1}


def test_what_grows_is_told() -> None:
    from tests.soak.leaks import FEWEST, Memory, Sample

    memory = Memory()
    memory.samples = [Sample(100_000 + 1_000 * number, 500, 900) for number in range(FEWEST)]
    medians, grown = memory.trend()
    assert grown == ["blocks grew from 114,500 to 124,500"]
    assert medians["objects"] == (500, 500)
