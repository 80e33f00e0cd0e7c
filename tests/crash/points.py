"""``python -m tests.crash.points``: die right before and right after each commit, one by one.

After each death another process goes on with the file: nothing that was said to be done is lost,
nothing has happened twice, and all that is left comes to its end.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    JobOptions,
    JobState,
    Keep,
    Queue,
    SqliteStore,
    StoreInterface,
    VirtualClock,
    Worker,
)
from conveyor_nb.core.actions import Fail
from conveyor_nb.testing.steps import LOCK_DURATION, apply, complete
from tests.crash.accounting import faults_of

__all__ = ["SCENARIOS", "main", "walk"]

QUEUE, SUMS = "crash", "sums"
DIED = 9

Say = Callable[[str], None]
Scenario = Callable[[StoreInterface, Say], Awaitable[None]]


async def add(store: StoreInterface, say: Say) -> None:
    """Jobs are added one by one."""
    queue = Queue(QUEUE, store=store)
    for job_id in "abc":
        await queue.add("send", {"to": job_id}, job_id=job_id)
        say(job_id)


async def add_bulk(store: StoreInterface, say: Say) -> None:
    """Jobs are added together: all or none."""
    await Queue(QUEUE, store=store).add_bulk([{"name": "send", "job_id": one} for one in "abcde"])
    for job_id in "abcde":
        say(job_id)


async def work(store: StoreInterface, say: Say) -> None:
    """Jobs are taken, fail, are tried again, and complete."""
    queue = Queue(QUEUE, store=store)
    for job_id in "ab":
        await queue.add("send", job_id=job_id, attempts=5)
        say(job_id)
    first = await store.fetch_next_job(QUEUE, "w", LOCK_DURATION)
    assert first is not None
    await apply(store, first, Fail("boom"))
    while (job := await store.fetch_next_job(QUEUE, "w", LOCK_DURATION)) is not None:
        await complete(store, job, job.id)
        say(f"done {job.id}")


async def flow(store: StoreInterface, say: Say) -> None:
    """Children tell their parent in the step in which they end."""
    children = [FlowJob("part", QUEUE, None, JobOptions(job_id=one, attempts=5)) for one in "ab"]
    opts = JobOptions(job_id="whole", attempts=5)
    await FlowProducer(store=store).add(FlowJob("whole", QUEUE, None, opts, children))
    for job_id in ("whole", "a", "b"):
        say(job_id)
    while (job := await store.fetch_next_job(QUEUE, "w", LOCK_DURATION)) is not None:
        await complete(store, job, job.id)
        say(f"done {job.id}")


async def schedule(store: StoreInterface, say: Say) -> None:
    """The next run of a schedule is made in the step in which one ends."""
    await Queue(QUEUE, store=store).every("1 hour", "tick", job_id="tick", attempts=5)
    while (job := await store.fetch_next_job(QUEUE, "w", LOCK_DURATION)) is not None:
        await complete(store, job)
        say(f"done {job.id}")


async def keep(store: StoreInterface, say: Say) -> None:
    """What is kept by count goes in the step in which one ends."""
    queue = Queue(QUEUE, store=store)
    for _ in range(3):
        await queue.add("send", remove_on_complete=Keep(count=1), attempts=5)
        job = await store.fetch_next_job(QUEUE, "w", LOCK_DURATION)
        assert job is not None
        await complete(store, job)
        assert await store.count_jobs(QUEUE, JobState.COMPLETED) == 1


SCENARIOS: Mapping[str, Scenario] = {
    "add": add,
    "add_bulk": add_bulk,
    "work": work,
    "flow": flow,
    "schedule": schedule,
    "keep": keep,
}


class _Mortal(sqlite3.Connection):
    """Ends the process right before or right after so many commits, over all connections."""

    left = 0
    before = False

    def execute(self, text: str, *given: Any) -> sqlite3.Cursor:
        """As ever, while there are commits left."""
        if text == "COMMIT":
            _Mortal.left -= 1
            if not _Mortal.left and _Mortal.before:
                os._exit(DIED)
        cursor = super().execute(text, *given)
        if text == "COMMIT" and not _Mortal.left:
            os._exit(DIED)
        return cursor


def _live(scenario: Scenario, path: Path, told: Path) -> None:
    """Go through a scenario, and write down what was said; in a process of its own."""
    plain = sqlite3.connect

    def connect(*given: Any, **options: Any) -> sqlite3.Connection:
        return plain(*given, **options, factory=_Mortal)

    sqlite3.connect = connect  # type: ignore[assignment]
    words = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def run() -> None:
        async with SqliteStore(path) as store:
            await scenario(store, lambda text: void(os.write(words, f"{text}\n".encode())))

    asyncio.run(run())


def void(_: object) -> None:
    """Nothing."""


async def _look_after(path: Path, told: list[str]) -> list[str]:
    """Go on with a file, and say what does not hold."""
    clock = VirtualClock()
    await clock.advance("3650 days")  # whoever held a lock holds it no more
    acknowledged = [(QUEUE, one) for one in told if not one.startswith("done ")]
    async with SqliteStore(path, clock=clock) as store:
        faults = await faults_of(store, acknowledged, Counter(), is_over=False)
        for word in told:
            if word.startswith("done "):
                job = await store.get_job(QUEUE, word.removeprefix("done "))
                if job is None or job.state is not JobState.COMPLETED:
                    faults.append(f"{word}: it is {job}")
        async with Worker(QUEUE, lambda job: job.id, store=store, stalled_interval=1):
            await clock.advance(10)
        faults += await faults_of(store, acknowledged, Counter(), is_over=True)
    with sqlite3.connect(path) as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchall()
        groups = connection.execute(
            "SELECT group_id, busy FROM conveyor_nb_groups WHERE busy > 0"
        ).fetchall()
    connection.close()
    if sound != [("ok",)]:
        faults.append(f"the file is damaged: {sound}")
    if groups:
        faults.append(f"groups are busy: {groups}")
    return faults


def walk(name: str, folder: Path) -> tuple[int, list[str]]:
    """Die at each point of a scenario; returns how often it did, and what did not hold."""
    faults: list[str] = []
    deaths = 0
    for before in (True, False):
        for number in itertools.count(1):
            path, told = (folder / f"{name}-{before}-{number}.{end}" for end in ("db", "told"))
            child = os.fork()
            if not child:
                code = 1
                try:
                    _Mortal.left, _Mortal.before = number, before
                    _live(SCENARIOS[name], path, told)
                    code = 0
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code not in (0, DIED):
                faults.append(f"{name}, commit {number}: the process ended with {code}")
                break
            words = told.read_text().splitlines() if told.exists() else []
            found = asyncio.run(_look_after(path, words))
            moment = "before" if before else "after"
            faults += (f"{name}, {moment} commit {number}: {fault}" for fault in found)
            if not code:
                break
            deaths += 1
    return deaths, faults


def main() -> int:
    """Walk all scenarios, or those that are named; returns 1 if something did not hold."""
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="conveyor-points-") as folder:
        for name in sys.argv[1:] or SCENARIOS:
            deaths, found = walk(name, Path(folder))
            print(f"{name}: died {deaths} times, {len(found)} faults", flush=True)
            faults += found
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
