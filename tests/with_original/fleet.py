"""Workers and producers of both kinds on one database, killed and stopped at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from conveyor_nb import JobState, PgStore
from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import EventType
from tests.crash.handlers import LEDGER
from tests.crash.producer import QUEUE, SUMS
from tests.with_original.program import Program, RefusedError, start

__all__ = ["LOCK", "Report", "torment"]

LOCK = 2.0
"""For how many seconds the lock of a job holds."""

_OURS, _THEIRS = 2, 2
_DRAINED_WITHIN = 90.0


@dataclass
class Report:
    """What was done, and what came of it."""

    seconds: float = 0
    done: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    run_by: Counter[str] = field(default_factory=Counter)
    doubled: Counter[str] = field(default_factory=Counter)
    """Jobs with two outcomes, by how that came: nobody can fence programs of Conveyor off."""
    faults: list[str] = field(default_factory=list)


class Outcomes:
    """Hears on the server who has said what of each job: each event comes once, from its source."""

    def __init__(self) -> None:
        self.said: defaultdict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
        """By queue and job: how often ``"ours"`` and ``"theirs"`` have told of which event."""

    def __call__(self, *told: Any) -> None:
        """Take in a notification, as ``asyncpg`` calls for it."""
        event = json.loads(told[-1])
        if event.get("jobId"):
            who = "ours" if event["_src"].startswith("conveyor_nb:") else "theirs"
            self.said[event["queueName"], event["jobId"]][who, event["type"]] += 1


class Fleet:
    """The processes, in a folder of their own.

    Args:
        dsn: the server.
        schema: where the tables are.
        folder: where processes write.
    """

    def __init__(self, dsn: str, schema: str, folder: Path) -> None:
        self._dsn, self._schema, self._folder = dsn, schema, folder
        joint = "&" if "?" in dsn else "?"
        self._url = f"{dsn}{joint}options=-csearch_path%3D{schema}"
        self.tasks = BackgroundTasks()
        self.numbers = count()
        self.ours: list[asyncio.subprocess.Process] = []
        self.theirs: list[Program] = []
        self.producer: asyncio.subprocess.Process | None = None
        self.their_producer: Program | None = None
        self.acknowledged: list[tuple[str, str, str]] = []

    async def fill(self) -> None:
        """Start what is not there."""
        self.ours = [one for one in self.ours if one.returncode is None]
        while len(self.ours) < _OURS:
            handler = "tests.crash.handlers:work"
            options = ("--concurrency", "5", "--lock-duration", f"{LOCK}s")
            self.ours.append(
                await self._python(
                    *("conveyor_nb", "worker", f"{QUEUE}={handler}", f"{SUMS}={handler}"),
                    *("--store", self._url, *options, "--stalled-interval", "0.5s"),
                )
            )
        while len(self.theirs) < _THEIRS:
            self.theirs.append(await self._their_worker())
        if self.producer is None or self.producer.returncode is not None:
            name = f"ours-{next(self.numbers)}"
            out = self._folder / f"acknowledged-{name}"
            self.producer = await self._python("tests.crash.producer", self._url, name, out=out)
        if self.their_producer is None:
            self.their_producer = await self._program()
            self.tasks.spawn(self._produce(self.their_producer, f"theirs-{next(self.numbers)}"))

    async def _python(self, *command: str, out: Path | None = None) -> asyncio.subprocess.Process:
        environment = os.environ | {LEDGER: str(self._folder / "starts")}
        with contextlib.ExitStack() as files:
            log = files.enter_context((self._folder / "log").open("ab"))
            told = log if out is None else files.enter_context(out.open("ab"))
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", *command, env=environment, stdout=told, stderr=log
            )

    async def _program(self) -> Program:
        program = Program(await start(self._dsn, self._schema))
        self.tasks.spawn(program.hear())
        await program.ready()
        return program

    async def _their_worker(self) -> Program:
        program = await self._program()
        options = {"concurrency": 5, "lockDuration": LOCK * 1000, "stalledInterval": 500}
        for queue in (QUEUE, SUMS):
            await program.ask("work", queue=queue, deed="shortly", options=options, poll=100)
        return program

    async def _produce(self, program: Program, name: str) -> None:
        """Let a program of Conveyor add jobs until it is killed."""
        with contextlib.suppress(RefusedError, ConnectionError):
            for number in count():
                await REAL_TIME.sleep(0.02)
                await self._add_some(program, number, f"{name}-{number}")

    async def _add_some(self, program: Program, number: int, name: str) -> None:
        options: dict[str, Any] = {"jobId": name, "attempts": 100}
        match number % 4:
            case 0:
                ids = [f"{name}-{n}" for n in range(3)]
                child = {"name": "part", "queueName": QUEUE, "data": {}}
                children = [child | {"opts": options | {"jobId": one}} for one in ids]
                flow = {"name": "whole", "queueName": SUMS, "data": {}, "opts": options}
                await program.ask("flow", flow=flow | {"children": children})
                self.acknowledged.append(("theirs", SUMS, name))
                self.acknowledged += [("theirs", QUEUE, one) for one in ids]
            case 1:
                ids = [f"{name}-{n}" for n in range(5)]
                jobs = [{"name": "some", "data": {}, "opts": options | {"jobId": n}} for n in ids]
                await program.queue(QUEUE, "addBulk", jobs)
                self.acknowledged += [("theirs", QUEUE, one) for one in ids]
            case 2:
                await program.queue(QUEUE, "add", "later", {}, options | {"delay": 300})
                self.acknowledged.append(("theirs", QUEUE, name))
            case _:
                await program.queue(QUEUE, "add", "send", {"n": number}, options)
                self.acknowledged.append(("theirs", QUEUE, name))

    async def harm(self, chance: random.Random) -> str:
        """Do something to somebody; returns what."""
        who = chance.choice(["ours", "theirs"])
        match chance.choices(["kill", "kill a producer", "stop"], [6, 2, 3])[0]:
            case "kill" if who == "ours":
                await _kill(self.ours.pop(chance.randrange(len(self.ours))))
            case "kill":
                await _kill(self.theirs.pop(chance.randrange(len(self.theirs))).process)
            case "kill a producer" if who == "ours":
                assert self.producer is not None
                await _kill(self.producer)
                return "kill a producer of ours"
            case "kill a producer":
                assert self.their_producer is not None
                await _kill(self.their_producer.process)
                self.their_producer = None
                return "kill a producer of theirs"
            case _:
                victim = (
                    chance.choice(self.ours)
                    if who == "ours"
                    else chance.choice(self.theirs).process
                )
                victim.send_signal(signal.SIGSTOP)
                await REAL_TIME.sleep(1.5 * LOCK)
                victim.send_signal(signal.SIGCONT)
                return f"stop a worker of {who} for longer than a lock"
        return f"kill a worker of {who}"

    async def stop_producing(self) -> None:
        """Let no more jobs come."""
        if self.producer is not None:
            await _kill(self.producer)
        if self.their_producer is not None:
            await _kill(self.their_producer.process)
        for path in self._folder.glob("acknowledged-*"):
            lines = path.read_text().split("\n")[:-1]
            self.acknowledged += [("ours", *line.split()[1:]) for line in lines]  # type: ignore[misc]

    async def end(self) -> None:
        """Kill all that runs."""
        programs = [one.process for one in self.theirs]
        if self.their_producer is not None:
            programs.append(self.their_producer.process)
        for one in (*self.ours, *programs, self.producer):
            if one is not None:
                await _kill(one)
        while self.tasks:
            await asyncio.wait(list(self.tasks))

    @property
    def log(self) -> Path:
        """What processes of ours said."""
        return self._folder / "log"


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@contextlib.asynccontextmanager
async def _listening(dsn: str, outcomes: Outcomes) -> AsyncIterator[None]:
    connection = await asyncpg.connect(dsn)
    for queue in (QUEUE, SUMS):
        await connection.add_listener(f"conveyor:{queue}", outcomes)
    yield
    await connection.close()


async def torment(dsn: str, schema: str, seconds: float, seed: int) -> Report:
    """Let both kinds of processes work on a database and die; returns what came of it.

    Args:
        dsn, schema: the database.
        seconds: for how long.
        seed: what is done to whom.
    """
    chance, report, outcomes = random.Random(seed), Report(), Outcomes()
    began = REAL_TIME.now()
    with tempfile.TemporaryDirectory(prefix="conveyor-fleet-") as folder:
        fleet = Fleet(dsn, schema, Path(folder))
        async with PgStore(dsn, schema=schema) as store, _listening(dsn, outcomes):
            try:
                await fleet.fill()
                while (REAL_TIME.now() - began).total_seconds() < seconds:
                    await REAL_TIME.sleep(chance.uniform(0.1, 1.0))
                    report.done[await fleet.harm(chance)] += 1
                    await fleet.fill()
                await fleet.stop_producing()
                if not await _drained(store):
                    report.faults.append(f"not drained within {_DRAINED_WITHIN:g} s")
            finally:
                await fleet.end()
            report.faults += [one async for one in _faults(store, fleet.acknowledged)]
        report.acknowledged = Counter(whose for whose, *_ in fleet.acknowledged)
        _account(report, outcomes)
    report.seconds = (REAL_TIME.now() - began).total_seconds()
    return report


def _account(report: Report, outcomes: Outcomes) -> None:
    for (queue, job_id), said in outcomes.said.items():
        takers = {who for who, kind in said if kind == EventType.ACTIVE}
        if takers:
            report.run_by[" and ".join(sorted(takers))] += 1
        ours, theirs = (said[who, EventType.COMPLETED] for who in ("ours", "theirs"))
        if ours + theirs < 2:
            continue
        if theirs:
            report.doubled["one a late one of a worker of theirs"] += 1
        elif said["theirs", EventType.STALLED]:
            # what they find stalled they put back without a look at what it is by then
            report.doubled["put back by theirs when it was done"] += 1
        else:
            report.faults.append(f"{queue}/{job_id} completed {ours} times: {dict(said)}")


async def _drained(store: PgStore) -> bool:
    until = REAL_TIME.now().timestamp() + _DRAINED_WITHIN
    while REAL_TIME.now().timestamp() < until:
        left = 0
        for queue in (QUEUE, SUMS):
            for state in JobState:
                if state not in SETTLED:
                    jobs = await store.list_jobs(queue, state, 0, 100)
                    left += sum(job.scheduler_id is None for job in jobs)
        if not left:
            return True
        await REAL_TIME.sleep(0.5)
    return False


async def _faults(store: PgStore, acknowledged: Iterable[tuple[str, str, str]]) -> Any:
    jobs = {
        (queue, job.id): job
        for queue in await store.list_queues()
        for job in await store.list_jobs(queue)
    }
    for whose, queue, job_id in acknowledged:
        if (queue, job_id) not in jobs:
            yield f"lost: {queue}/{job_id} of {whose}"
    for (queue, job_id), job in jobs.items():
        if job.scheduler_id is None and job.state is not JobState.COMPLETED:
            yield f"{queue}/{job_id} is {job.state}: {job.failed_reason}"
        if job.pending_children_count and job.state in SETTLED:
            yield f"{queue}/{job_id} is {job.state}, and waits for {job.pending_children_count}"
    for queue in await store.list_queues():
        for scheduler in await store.get_job_schedulers(queue):
            runs = [
                job.id
                for (its, _), job in jobs.items()
                if its == queue and job.scheduler_id == scheduler.id and job.state not in SETTLED
            ]
            if runs not in ([], [scheduler.pending_job_id]):
                yield f"{scheduler.id}: to come are {runs}, not {scheduler.pending_job_id}"
