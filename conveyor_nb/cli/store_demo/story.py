"""The story of the demo: letters are added, a worker is killed, another one goes on.

The workers are processes of ``python -m conveyor_nb worker``, as anybody starts them, and what is
told is read from the store.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conveyor_nb import ConveyorError, JobData, Queue, StoreEvent, StoreInterface, open_store
from conveyor_nb.cli.errors import CommandError, missing_packages
from conveyor_nb.cli.store_demo.picture import (
    AT_WORK,
    ENDED,
    KILLED,
    Outcome,
    WorkerLine,
    picture,
    table,
)
from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.core.model import EventType, JobState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["KINDS", "run_store_demo"]

KINDS = {
    "sqlite": "sqlite:///{folder}/queue.db",
    "postgres": "postgresql+local:///{folder}/server",
}
"""What ``--store`` may be, and where the jobs are then."""

QUEUE = "letters"
_LETTERS = (
    *("ada", "alan", "barbara", "edsger", "frances", "grace"),
    *("john", "katherine", "margaret", "niklaus", "radia", "tony"),
)
_SLOTS = 2
_LOCK = 2.0
"""For how many seconds a worker that is gone may still come back."""
_DELIVERED_FIRST = 3
"""How many letters are delivered before the worker is killed."""
_LOOK = 0.1
_STANDSTILL = 1.0
"""For how many seconds nobody works."""
_MOST = 60.0
"""Seconds: more than it ever takes."""


def run_store_demo(kind: str) -> None:
    """Show that jobs outlive their worker, over a store of its own.

    Args:
        kind: ``"sqlite"`` or ``"postgres"``.

    Raises:
        CommandError: something that is needed is not there, or does not go on.
    """
    try:
        from rich.console import Console
    except ImportError as error:
        raise missing_packages("the demo", error) from error

    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="conveyor_nb-", ignore_cleanup_errors=True) as folder:
        url = KINDS[kind].format(folder=Path(folder).as_posix())
        try:
            asyncio.run(_Story(url, Path(folder), console).tell())
        except (ConveyorError, ImportError) as error:
            raise CommandError(str(error)) from error
    console.print(
        "[dim]With a queue of your own:[/dim] python -m conveyor_nb worker app.jobs:send "
        f"--store {_own_url(kind)} --queue emails",
        soft_wrap=True,
    )


def _own_url(kind: str) -> str:
    return KINDS[kind].format(folder="").replace(":////", ":///")


class _Story:
    """What happens, one after the other.

    Args:
        url: where the jobs are.
        folder: where the workers write what they have to say.
        console: where it is told.
    """

    def __init__(self, url: str, folder: Path, console: Console) -> None:
        self._url, self._folder, self._console = url, folder, console
        self._where = f"{QUEUE}, in {url}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lines: list[WorkerLine] = []
        self._jobs: Sequence[JobData] = ()
        self._delivered: Counter[str | None] = Counter()
        self._show: Callable[[RenderableType], object] = lambda _: None

    async def tell(self) -> None:
        """Tell it, from its beginning to its end."""
        from rich.live import Live

        self._say(f"A queue is made in {self._url}")
        try:
            async with open_store(self._url) as store:
                store.subscribe(QUEUE, self._note, kinds=(EventType.COMPLETED,))
                with Live(console=self._console, auto_refresh=False) as live:
                    self._show = lambda drawn: live.update(drawn, refresh=True)
                    await self._tell_in_time(store)
                if not self._console.is_terminal:
                    self._console.print()  # what is left of the picture has no end of line
            outcome = await self._look_again()  # by a store that knows of nothing
        finally:
            for one in self._processes:
                one.kill()
                one.wait()
        self._console.print(table(outcome))
        if outcome.lost or outcome.doubled or outcome.done != outcome.letters:
            raise CommandError("that is not as it should be; please report it")

    async def _tell_in_time(self, store: StoreInterface) -> None:
        telling = asyncio.ensure_future(self._tell(store))
        try:
            if not await REAL_TIME.wait(telling, _MOST):
                raise CommandError(f"the demo did not come to its end in {_MOST:g} s")
        finally:
            telling.cancel()  # of no effect at its end
            await asyncio.gather(telling, return_exceptions=True)
        telling.result()

    async def _tell(self, store: StoreInterface) -> None:
        queue = Queue(QUEUE, store=store)
        await queue.add_bulk(
            [{"name": "letter", "data": {"to": one}, "attempts": 3} for one in _LETTERS]
        )
        self._say(f"{len(_LETTERS)} letters are added, and a worker is started")
        first = self._start_worker()
        await self._until(store, lambda: self._counts(_DELIVERED_FIRST, _SLOTS))
        first.kill()
        first.wait()
        self._note_worker(KILLED)
        self._say(f"The worker is killed (kill -9) while it runs {_SLOTS} letters")
        await self._look_for(store, _STANDSTILL)
        left = sum(job.state is not JobState.COMPLETED for job in self._jobs)
        self._say(f"Nobody works, and the {left} letters that are left are still there")
        second = self._start_worker()
        self._say(
            "Another worker takes those that wait, and the two that were begun when their locks "
            f"of {_LOCK:g} s are over"
        )
        await self._until(store, lambda: self._counts(len(_LETTERS), 0))
        second.terminate()
        await asyncio.to_thread(second.wait)
        self._note_worker(ENDED)
        await self._look(store)

    def _counts(self, done: int, running: int) -> bool:
        states = Counter(job.state for job in self._jobs)
        return states[JobState.COMPLETED] >= done and states[JobState.ACTIVE] == running

    # -- workers ------------------------------------------------------------------------------

    def _start_worker(self) -> subprocess.Popen[bytes]:
        number = len(self._processes) + 1
        options: dict[str, Any] = {
            "store": self._url,
            "queue": QUEUE,
            "name": WorkerLine(number, 0).name,
            "concurrency": _SLOTS,
            "lock-duration": f"{_LOCK:g}s",
            "stalled-interval": "0.5s",
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "conveyor_nb", "worker"]
        handler = "conveyor_nb.cli.store_demo.letters:deliver"
        with self._log(number).open("wb") as log:
            process = subprocess.Popen([*command, handler, *flags], stdout=log, stderr=log)
        self._processes.append(process)
        self._lines.append(WorkerLine(number, process.pid))
        return process

    def _log(self, number: int) -> Path:
        return self._folder / f"worker-{number}.log"

    def _note_worker(self, doing: str) -> None:
        self._lines[-1] = self._lines[-1]._replace(doing=doing)

    def _require_worker(self) -> None:
        """Raise if the worker that is to be at work has ended by itself."""
        last = self._lines[-1] if self._lines else None
        if last is not None and last.doing == AT_WORK and self._processes[-1].poll() is not None:
            *_, told = ["", *self._log(last.number).read_text(errors="replace").splitlines()]
            raise CommandError(f"worker {last.number} has ended: {told}")

    # -- looking ------------------------------------------------------------------------------

    def _note(self, event: StoreEvent) -> None:
        self._delivered[event.job_id] += 1

    async def _look(self, store: StoreInterface) -> None:
        self._require_worker()
        self._jobs = await store.list_jobs(QUEUE)
        gone = {one.name for one in self._lines if one.is_gone}
        self._show(picture(self._where, self._jobs, self._lines, gone))

    async def _until(self, store: StoreInterface, holds: Callable[[], bool]) -> None:
        await self._look(store)
        while not holds():
            await store.clock.sleep(_LOOK)
            await self._look(store)

    async def _look_for(self, store: StoreInterface, seconds: float) -> None:
        for _ in range(round(seconds / _LOOK)):
            await store.clock.sleep(_LOOK)
            await self._look(store)

    async def _look_again(self) -> Outcome:
        async with open_store(self._url) as store:
            jobs = await store.list_jobs(QUEUE)
        return Outcome(
            letters=len(_LETTERS),
            done=sum(job.state is JobState.COMPLETED for job in jobs),
            again=sum(job.attempt_logs[-1].attempt > 1 for job in jobs if job.attempt_logs),
            lost=len(_LETTERS) - len(jobs),
            doubled=sum(count > 1 for count in self._delivered.values()),
        )

    def _say(self, text: str) -> None:
        self._console.print(f"• {text}", markup=False, soft_wrap=True)
