"""Workers and producers that are killed and stopped at any moment, and what is left then.

All that is done, and to whom, follows from a seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conveyor_nb import JobState, StoreInterface, open_store
from conveyor_nb.cli.worker.process import GAVE_BACK
from conveyor_nb.clocks.clock import REAL_TIME
from tests.crash import faults
from tests.crash.accounting import Outcomes, faults_of
from tests.crash.handlers import LEDGER
from tests.crash.places import Place
from tests.crash.producer import QUEUE, SUMS

__all__ = ["LOCK", "Crew", "Report", "torment"]

Deed = Callable[[random.Random], Awaitable[None]]

LOCK = 2.0
"""For how many seconds the lock of a job holds."""

_WORKERS, _PRODUCERS = 3, 1
_DRAINED_WITHIN = 60.0

_CLOCK_OFF_BY = 3.0
"""By how many seconds the clocks of processes are off at most."""


@dataclass
class Report:
    """What was done, and what came of it."""

    seconds: float = 0
    done: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    restarted: int = 0
    """Jobs of which a handler was started more than once."""
    last_words: Counter[str] = field(default_factory=Counter)
    """What processes said last that ended by themselves."""
    faults: list[str] = field(default_factory=list)


class Crew:
    """The processes, in a folder of their own.

    Args:
        place: the store that they share.
        folder: where they write.
        chance: by how much their clocks are off.
    """

    def __init__(self, place: Place, folder: Path, chance: random.Random) -> None:
        self._place, self._folder, self._chance = place, folder, chance
        self._ledger = folder / "starts"
        self._number = 0
        self._logs: dict[int, Path] = {}
        self.workers: list[subprocess.Popen[bytes]] = []
        self.producers: list[subprocess.Popen[bytes]] = []

    def start_worker(self) -> None:
        """Start a worker, by the command that there is for that."""
        handler = "tests.crash.handlers:work"
        command = ["conveyor_nb", "worker", f"{QUEUE}={handler}", f"{SUMS}={handler}"]
        options = {"concurrency": "5", "lock-duration": f"{LOCK}s", "stalled-interval": "0.5s"}
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.workers.append(self._start(*command, "--store", self._place.url, *flags))

    def start_producer(self) -> None:
        """Start a producer with a name of its own."""
        self._number += 1
        out = self._folder / f"acknowledged-{self._number}"
        command = ["tests.crash.producer", self._place.url, f"p{self._number}"]
        self.producers.append(self._start(*command, out=out))

    def _start(self, *command: str, out: Path | None = None) -> subprocess.Popen[bytes]:
        off_by = self._chance.uniform(-_CLOCK_OFF_BY, _CLOCK_OFF_BY)
        wrong = faults.environment(off_by, self._place.full)
        environment = {**os.environ, LEDGER: str(self._ledger), **wrong}
        with contextlib.ExitStack() as files:
            path = self._folder / f"log-{len(self._logs)}"
            log = files.enter_context(path.open("ab"))
            told = log if out is None else files.enter_context(out.open("ab"))
            process = subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, stdout=told, stderr=log
            )
            self._logs[process.pid] = path
            return process

    def end(self) -> None:
        """Kill all that runs."""
        for one in (*self.workers, *self.producers):
            kill(one)
        self.workers.clear()
        self.producers.clear()

    def fill(self) -> list[str]:
        """Start what is not there; returns what those said last that had ended by themselves."""
        gone = [one for one in (*self.workers, *self.producers) if one.poll() is not None]
        self.workers = [one for one in self.workers if one not in gone]
        self.producers = [one for one in self.producers if one not in gone]
        while len(self.workers) < _WORKERS:
            self.start_worker()
        while len(self.producers) < _PRODUCERS:
            self.start_producer()
        return [self._last_words(one) for one in gone if one.returncode not in _AS_TOLD]

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        *_, last = ["", *self._logs[process.pid].read_text().splitlines()]
        return last

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


_AS_TOLD = (0, GAVE_BACK, -signal.SIGKILL)
"""How processes end that were told to."""


def kill(process: subprocess.Popen[bytes]) -> None:
    """Let a process end at once."""
    process.kill()
    process.wait()


async def torment(
    place: Place, seconds: float, seed: int, tell: Callable[[str], object] = lambda _: None
) -> Report:
    """Let processes work on a store and die; returns what came of it.

    Args:
        place: where the store is.
        seconds: for how long.
        seed: what is done to whom.
        tell: told how it goes.
    """
    chance = random.Random(seed)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="conveyor-crash-") as folder:
        crew = Crew(place, Path(folder), random.Random(seed + 1))
        deeds = _deeds(crew, place)
        weights = [weight for weight, _ in deeds.values()]
        outcomes = Outcomes()
        try:
            async with open_store(place.url) as store:
                store.subscribe(None, outcomes)
                crew.fill()
                await _under_way(crew)
                began = REAL_TIME.now()
                while (REAL_TIME.now() - began).total_seconds() < seconds:
                    await REAL_TIME.sleep(chance.uniform(0.1, 1.0))
                    (name,) = chance.choices(list(deeds), weights)
                    await deeds[name][1](chance)
                    report.done[name] += 1
                    report.last_words.update(crew.fill())
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
            report.faults += await place.faults()
        finally:
            crew.end()
    report.seconds = (REAL_TIME.now() - began).total_seconds()
    return report


def _deeds(crew: Crew, place: Place) -> Mapping[str, tuple[int, Deed]]:
    """What is done to processes and to their store, by its name how often, and how."""

    async def kill_worker(chance: random.Random) -> None:
        kill(chance.choice(crew.workers))

    async def kill_producer(chance: random.Random) -> None:
        kill(chance.choice(crew.producers))

    async def stop_worker(chance: random.Random) -> None:
        victim = chance.choice(crew.workers)
        victim.send_signal(signal.SIGSTOP)
        await REAL_TIME.sleep(1.5 * LOCK)
        victim.send_signal(signal.SIGCONT)

    async def end_worker(chance: random.Random) -> None:
        chance.choice(crew.workers).terminate()

    return {
        "kill a worker": (6, kill_worker),
        "kill a producer": (2, kill_producer),
        "stop a worker for longer than a lock": (2, stop_worker),
        "ask a worker to end": (1, end_worker),
        **place.deeds(),
    }


async def _under_way(crew: Crew) -> None:
    """Wait until jobs are added: on a busy machine that takes a while."""
    until = REAL_TIME.now().timestamp() + _DRAINED_WITHIN
    while not crew.acknowledged() and REAL_TIME.now().timestamp() < until:
        await REAL_TIME.sleep(0.1)


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
