"""A short torment finds nothing, and what it looks for is found when it is there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from conveyor_nb import FlowJob, FlowProducer, MemoryStore, Queue, StoreEvent
from conveyor_nb.core.model import JobData
from conveyor_nb.testing.steps import complete, take
from tests.crash.accounting import Outcomes, faults_of
from tests.crash.points import OPENING, SCENARIOS

QUEUE = "emails"
POSTGRES = ("--store", "postgres")
_DEATHS = re.compile(r"(\w+): died (\d+) times, 0 faults")


def run(checkout: Path, *command: str) -> str:
    """What a command prints that finds no fault."""
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.timeout(360)
@pytest.mark.parametrize(
    ("store", "deed"), [((), "fill the disk"), (POSTGRES, "end connections of the server")]
)
def test_processes_that_are_killed_lose_and_double_nothing(
    store: Sequence[str], deed: str, checkout: Path
) -> None:
    told = run(checkout, "tests.crash", "--minutes", "0.15", "--seed", "3", *store)
    assert "kill a worker" in told
    assert deed in told
    acknowledged = re.search(r"([\d,]+) jobs acknowledged", told)
    assert acknowledged is not None
    assert int(acknowledged[1].replace(",", "")) > 0, "as many as the machine has time for"


@pytest.mark.timeout(360)
@pytest.mark.parametrize("store", [(), POSTGRES])
def test_a_process_may_die_before_and_after_each_commit(
    store: Sequence[str], checkout: Path
) -> None:
    told = run(checkout, "tests.crash.points", *store)
    deaths = {name: int(count) for name, count in _DEATHS.findall(told)}
    assert deaths.keys() == SCENARIOS.keys()
    least = dict.fromkeys(SCENARIOS, 6) | {OPENING: 2, "add_bulk": 2}
    assert all(count >= least[name] for name, count in deaths.items()), deaths


# -- what would be found ----------------------------------------------------------------------


async def faults(store: MemoryStore, *acknowledged: str, **starts: int) -> str:
    counted = Counter({(QUEUE, job_id): count for job_id, count in starts.items()})
    wanted = [(QUEUE, job_id) for job_id in acknowledged]
    return "\n".join(await faults_of(store, wanted, counted, is_over=True))


@pytest.mark.asyncio
async def test_lost_and_unfinished_jobs_are_found() -> None:
    async with MemoryStore() as store:
        queue = Queue(QUEUE, store=store)
        for job_id in "abc":
            await queue.add("send", job_id=job_id)
        await complete(store, await take(store))
        await take(store)
        told = await faults(store, "a", "d", a=2)
        assert told.splitlines() == [
            "lost: emails/d",
            "emails/a: started more often than its record says",
            "emails/b: is active, None",
            "emails/c: is waiting, None",
        ]


def test_doubled_outcomes_are_found() -> None:
    outcomes = Outcomes()
    now = JobData("a", "send", QUEUE).created_at
    for _ in range(2):
        outcomes(StoreEvent("job:completed", QUEUE, "a", {}, now))
    assert outcomes.doubled == ["emails/a completed 2 times"]


@pytest.mark.asyncio
async def test_a_parent_that_waits_in_vain_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryStore() as store:
        flows = FlowProducer(store=store)
        node = await flows.add(FlowJob("whole", QUEUE, children=[FlowJob("part", QUEUE)]))
        await store.remove_job(QUEUE, node.children[0].job.id)
        await flows.add(FlowJob("whole", "sums", children=[FlowJob("part", QUEUE)]))

        async def none(*_: str) -> list[JobData]:
            return []

        monkeypatch.setattr(store, "get_children_jobs", none)
        told = await faults(store)
        assert "waits for 1, 0 are unsettled" in told
        assert "is waiting-children with 0 unsettled children" in told


@pytest.mark.asyncio
async def test_a_schedule_without_its_run_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryStore() as store:
        await Queue(QUEUE, store=store).every("1 hour", "tick", job_id="tick")
        listed = await store.list_jobs(QUEUE)

        async def none(queue: str, *_: object, **__: object) -> list[JobData]:
            return []

        assert await faults(store) == ""
        monkeypatch.setattr(store, "list_jobs", none)
        assert f"tick: to come are [], not {listed[0].id}" in await faults(store)
