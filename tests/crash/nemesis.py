"""Workers and producers that are killed and stopped at any moment, and what is left then."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conveyor_nb import JobState, StoreInterface, open_store
from conveyor_nb.clocks.clock import REAL_TIME
from tests.crash.accounting import Outcomes, faults_of
from tests.crash.handlers import LEDGER
from tests.crash.producer import QUEUE, SUMS

__all__ = ["LOCK", "Crew", "Report", "torment"]

LOCK = 2.0
"""For how many seconds the lock of a job holds."""

_WORKERS, _PRODUCERS = 3, 1
_DRAINED_WITHIN = 60.0


@dataclass
class Report:
    """What was done, and what came of it."""

    seconds: float = 0
    done: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    restarted: int = 0
    """Jobs of which a handler was started more than once."""
    faults: list[str] = field(default_factory=list)


class Crew:
    """The processes, in a folder of their own.

    Args:
        url: the store that they share.
        folder: where they write.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._ledger = folder / "starts"
        self._number = 0
        self.workers: list[subprocess.Popen[bytes]] = []
        self.producers: list[subprocess.Popen[bytes]] = []

    def start_worker(self) -> None:
        """Start a worker, by the command that there is for that."""
        handler = "tests.crash.handlers:work"
        command = ["conveyor_nb", "worker", f"{QUEUE}={handler}", f"{SUMS}={handler}"]
        options = {"concurrency": "5", "lock-duration": f"{LOCK}s", "stalled-interval": "0.5s"}
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.workers.append(self._start(*command, "--store", self._url, *flags))

    def start_producer(self) -> None:
        """Start a producer with a name of its own."""
        self._number += 1
        out = self._folder / f"acknowledged-{self._number}"
        command = ["tests.crash.producer", self._url, f"p{self._number}"]
        self.producers.append(self._start(*command, out=out))

    def _start(self, *command: str, out: Path | None = None) -> subprocess.Popen[bytes]:
        environment = os.environ | {LEDGER: str(self._ledger)}
        with contextlib.ExitStack() as files:
            log = files.enter_context((self._folder / "log").open("ab"))
            told = log if out is None else files.enter_context(out.open("ab"))
            return subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, stdout=told, stderr=log
            )

    def end(self) -> None:
        """Kill all that runs."""
        for one in (*self.workers, *self.producers):
            kill(one)
        self.workers.clear()
        self.producers.clear()

    def acknowledged(self) -> list[tuple[str, str]]:
        """Queue and id of each job that was added, by the whole lines that were written."""
        lines = [
            line.split()
            for path in self._folder.glob("acknowledged-*")
            for line in path.read_text().split("\n")[:-1]
        ]
        return [(queue, job_id) for _, queue, job_id in lines]

    def starts(self) -> Counter[tuple[str, str]]:
        """How often a handler was started for each job."""
        if not self._ledger.exists():
            return Counter()
        lines = [line.split() for line in self._ledger.read_text().splitlines()]
        return Counter((queue, job_id) for queue, job_id, *_ in lines)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Let a process end at once."""
    process.kill()
    process.wait()


async def torment(
    url: str, seconds: float, seed: int, tell: Callable[[str], object] = lambda _: None
) -> Report:
    """Let processes work on a store and die; returns what came of it.

    Args:
        url: the store.
        seconds: for how long.
        seed: what is done to whom.
        tell: told how it goes.
    """
    chance = random.Random(seed)
    report = Report()
    began = REAL_TIME.now()
    with tempfile.TemporaryDirectory(prefix="conveyor-crash-") as folder:
        crew = Crew(url, Path(folder))
        outcomes = Outcomes()
        try:
            async with open_store(url) as store:
                store.subscribe(None, outcomes)
                _fill(crew)
                while (REAL_TIME.now() - began).total_seconds() < seconds:
                    await REAL_TIME.sleep(chance.uniform(0.1, 1.0))
                    for deed in _harm(crew, chance):
                        report.done[deed] += 1
                        if deed.startswith("stop"):
                            await REAL_TIME.sleep(1.5 * LOCK)
                    _fill(crew)
                    tell(f"{report.done.total()} deeds, {len(crew.acknowledged()):,} jobs")
                for one in crew.producers:
                    kill(one)
                is_over = await _drained(store)
                crew.end()
                report.faults += outcomes.doubled
                starts = crew.starts()
                report.restarted = sum(count > 1 for count in starts.values())
                acknowledged = crew.acknowledged()
                report.acknowledged = len(acknowledged)
                if not is_over:
                    report.faults.append(f"not drained within {_DRAINED_WITHIN:g} s")
                report.faults += await faults_of(store, acknowledged, starts, is_over=is_over)
        finally:
            crew.end()
    report.seconds = (REAL_TIME.now() - began).total_seconds()
    return report


def _fill(crew: Crew) -> None:
    """Start what is not there."""
    crew.workers = [one for one in crew.workers if one.poll() is None]
    crew.producers = [one for one in crew.producers if one.poll() is None]
    while len(crew.workers) < _WORKERS:
        crew.start_worker()
    while len(crew.producers) < _PRODUCERS:
        crew.start_producer()


def _harm(crew: Crew, chance: random.Random) -> Iterator[str]:
    """Do something to somebody."""
    match chance.choices(["kill", "kill a producer", "stop", "end"], [6, 2, 2, 1])[0]:
        case "kill":
            kill(chance.choice(crew.workers))
            yield "kill a worker"
        case "kill a producer":
            kill(chance.choice(crew.producers))
            yield "kill a producer"
        case "stop":
            victim = chance.choice(crew.workers)
            victim.send_signal(signal.SIGSTOP)
            yield "stop a worker for longer than a lock"
            victim.send_signal(signal.SIGCONT)
        case _:
            chance.choice(crew.workers).terminate()
            yield "ask a worker to end"


async def _drained(store: StoreInterface) -> bool:
    """Wait until all jobs have ended, but for the runs of schedules."""
    until = REAL_TIME.now().timestamp() + _DRAINED_WITHIN
    while REAL_TIME.now().timestamp() < until:
        left = 0
        for queue in (QUEUE, SUMS):
            for state in JobState:
                if state not in (JobState.COMPLETED, JobState.FAILED):
                    jobs = await store.list_jobs(queue, state)
                    left += sum(job.scheduler_id is None for job in jobs)
                    left += state is JobState.ACTIVE and any(jobs)
        if not left:
            return True
        await REAL_TIME.sleep(0.2)
    return False
