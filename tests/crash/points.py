"""``python -m tests.crash.points``: die right before and right after each commit, one by one.

``--store postgres`` does so over a server. After each death another process goes on with the
database: nothing that was said to be done is lost, nothing has happened twice, and all that is left
comes to its end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import sqlite3
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import asyncpg

from conveyor_nb import (
    FlowJob,
    FlowProducer,
    JobOptions,
    JobState,
    Keep,
    PgStore,
    Queue,
    SqliteStore,
    StoreInterface,
    VirtualClock,
    Worker,
)
from conveyor_nb.clocks.clock import Clock
from conveyor_nb.core.actions import Fail
from conveyor_nb.testing.steps import LOCK_DURATION, apply, complete
from tests.crash.accounting import faults_of
from tests.crash.mortal import DIED, Death
from tests.postgres import running_server

__all__ = ["SCENARIOS", "main", "walk"]

QUEUE = "crash"
OPENING = "opening"
"""The scenario of which commits count from the beginning."""

Say = Callable[[str], None]
Scenario = Callable[[StoreInterface, Say], Awaitable[None]]


async def opening(store: StoreInterface, say: Say) -> None:
    """The tables are made."""


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
    OPENING: opening,
    "add": add,
    "add_bulk": add_bulk,
    "work": work,
    "flow": flow,
    "schedule": schedule,
    "keep": keep,
}


class Database(ABC):
    """A database for one life, and for whoever goes on after it."""

    @abstractmethod
    def open(self, clock: Clock | None = None) -> StoreInterface:
        """A store on it."""

    @abstractmethod
    def expect(self, death: Death) -> None:
        """Let the death of this process come at a commit to it."""

    @abstractmethod
    async def faults(self) -> list[str]:
        """What is wrong with it."""


class FileDatabase(Database):
    """A file of SQLite's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, clock: Clock | None = None) -> StoreInterface:
        return SqliteStore(self._path, clock=clock)

    def expect(self, death: Death) -> None:
        death.come_to_files()

    async def faults(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self._path)) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchall()
            busy = connection.execute(_BUSY_GROUPS.format(schema="main")).fetchall()
        damage = [] if sound == [("ok",)] else [f"the file is damaged: {sound}"]
        return [*damage, *(f"group {group} is busy" for (group,) in busy)]


class ServerDatabase(Database):
    """A schema of a PostgreSQL server."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn, self._schema = dsn, schema

    def open(self, clock: Clock | None = None) -> StoreInterface:
        return PgStore(self._dsn, schema=self._schema, clock=clock)

    def expect(self, death: Death) -> None:
        death.come_to_servers()

    async def faults(self) -> list[str]:
        connection = await asyncpg.connect(self._dsn)
        try:
            busy = await connection.fetch(_BUSY_GROUPS.format(schema=self._schema))
            return [f"group {group} is busy" for (group,) in busy]
        finally:
            await connection.close()


_BUSY_GROUPS = "SELECT group_id FROM {schema}.conveyor_nb_groups WHERE busy > 0"


def live(name: str, database: Database, told: Path, death: Death) -> None:
    """Go through a scenario, and write down what was said; in a process of its own."""
    database.expect(death)
    words = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def run() -> None:
        death.is_near = name == OPENING
        async with database.open() as store:
            death.is_near = True
            await SCENARIOS[name](store, lambda text: void(os.write(words, f"{text}\n".encode())))

    asyncio.run(run())


def void(_: object) -> None:
    """Nothing."""


async def _look_after(database: Database, told: list[str]) -> list[str]:
    """Go on with a database, and say what does not hold."""
    clock = VirtualClock()
    await clock.advance("3650 days")  # whoever held a lock holds it no more
    acknowledged = [(QUEUE, one) for one in told if not one.startswith("done ")]
    async with database.open(clock) as store:
        faults = await faults_of(store, acknowledged, Counter(), is_over=False)
        for word in told:
            if word.startswith("done "):
                job = await store.get_job(QUEUE, word.removeprefix("done "))
                if job is None or job.state is not JobState.COMPLETED:
                    faults.append(f"{word}: it is {job}")
        async with Worker(QUEUE, lambda job: job.id, store=store, stalled_interval=1):
            await clock.advance(10)
        faults += await faults_of(store, acknowledged, Counter(), is_over=True)
    return faults + await database.faults()


def walk(name: str, folder: Path, dsn: str | None = None) -> tuple[int, list[str]]:
    """Die at each point of a scenario; returns how often it did, and what did not hold.

    Args:
        name: the scenario.
        folder: for files.
        dsn: the server to die over; a file if not given.
    """
    faults: list[str] = []
    deaths = 0
    for before in (True, False):
        for number in itertools.count(1):
            point = f"{name}_{'before' if before else 'after'}_{number}"
            told = folder / f"{point}.told"
            database = ServerDatabase(dsn, point) if dsn else FileDatabase(folder / f"{point}.db")
            child = os.fork()
            if not child:
                code = 1
                try:
                    live(name, database, told, Death(number, before=before))
                    code = 0
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code not in (0, DIED):
                faults.append(f"{point}: the process ended with {code}")
                break
            words = told.read_text().splitlines() if told.exists() else []
            found = asyncio.run(_look_after(database, words))
            faults += (f"{point}: {fault}" for fault in found)
            if not code:
                break
            deaths += 1
    return deaths, faults


def main(argv: Sequence[str] | None = None) -> int:
    """Walk all scenarios, or those that are named; returns 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.points", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args(argv)
    if unknown := {*options.scenarios} - {*SCENARIOS}:
        parser.error(f"there is no {unknown}; there are {', '.join(SCENARIOS)}")
    faults: list[str] = []
    with contextlib.ExitStack() as around:
        folder = around.enter_context(tempfile.TemporaryDirectory(prefix="conveyor-points-"))
        dsn = None
        if options.store == "postgres":
            dsn = around.enter_context(running_server()).dsn
        for name in options.scenarios or SCENARIOS:
            deaths, found = walk(name, Path(folder), dsn)
            print(f"{name}: died {deaths} times, {len(found)} faults", flush=True)
            faults += found
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
