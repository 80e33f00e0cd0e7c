"""A worker process: from its arguments to its exit code."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence

from conveyor_nb import open_store, set_default_store
from conveyor_nb.cli.errors import CommandError, missing_packages
from conveyor_nb.cli.worker.lines import Journal, Records, Writer, writer_of
from conveyor_nb.cli.worker.plan import Plan, plan_of
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.job import Job
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.opening import STORE_VARIABLE
from conveyor_nb.worker import Worker

__all__ = ["GAVE_BACK", "run_worker"]

GAVE_BACK = 3
"""The exit code of a process that was told to stop and gave jobs back."""

_LOOK = 1.0
"""How often, in seconds, one looks whether a fault has stopped a worker."""


def run_worker(arguments: argparse.Namespace) -> int:
    """Run workers until told to stop; returns the process's exit code.

    Raises:
        CommandError: the arguments are wrong, the store can't be opened, or a fault stopped a
            worker.
    """
    store = _store(arguments.store)
    set_default_store(store)  # before handlers are imported, as they may add jobs of their own
    write = writer_of(arguments.log)
    logger, records = logging.getLogger("conveyor_nb"), Records(write)
    logger.addHandler(records)
    try:
        return asyncio.run(_run(plan_of(arguments), store, write))
    except ConveyorError as error:
        raise CommandError(str(error)) from error
    finally:
        set_default_store(None)
        logger.removeHandler(records)


def _store(url: str | None) -> StoreInterface:
    """The store at a URL, which is opened when it is first used."""
    if not url:
        raise CommandError(
            "where are the jobs? Say --store sqlite:///queue.db, or another URL, or set "
            f"{STORE_VARIABLE}"
        )
    try:
        return open_store(url)
    except ValueError as error:
        raise CommandError(str(error)) from error


async def _run(plan: Plan, store: StoreInterface, write: Writer) -> int:
    async with store:
        workers = [
            Worker(queue, handler, store=store, auto_start=False, **plan.options)
            for queue, handler in plan.handlers.items()
        ]
        for worker in workers:
            worker.stop_timeout = plan.grace
        with contextlib.ExitStack() as around:
            count = around.enter_context(_health(plan, workers, store, write))
            journal = Journal(write, {worker.id for worker in workers}, count)
            for worker in workers:
                store.subscribe(worker.queue_name, journal.note)
            signals = around.enter_context(_Signals())
            return await _Process(workers, store, plan, signals, write).run()


class _Signals:
    """The signals that tell the process to stop, while it is entered."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> _Signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends asyncio.run
                self._loop.add_signal_handler(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_signal_handler(number)

    def _note(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


class _Process:
    """The workers of a process, from their start to their end."""

    def __init__(
        self,
        workers: Sequence[Worker],
        store: StoreInterface,
        plan: Plan,
        signals: _Signals,
        write: Writer,
    ) -> None:
        self._workers = workers
        self._store = store
        self._plan = plan
        self._signals = signals
        self._write = write

    async def run(self) -> int:
        """Run until told to stop, or idle if that is the plan; returns the exit code."""
        if self._plan.until_idle:
            until_idle = [worker.run_until_idle() for worker in self._workers]
            await _first_of(_all_of(until_idle), self._signals.first.wait())
        else:
            await _first_of(self._until_fault(), self._signals.first.wait())
        faults = [worker.fault for worker in self._workers if worker.fault]
        running = [job for worker in self._workers for job in worker.running]
        signals = self._signals
        if signals.first.is_set() or self._are_told_to_stop():
            self._tell_of_stop(len(running))
        hurry = signals.second if signals.first.is_set() else signals.first
        await _first_of(self._close(self._plan.grace), hurry.wait())
        await self._close(0)
        for worker in self._workers:
            await worker.let_go()
        if faults:
            raise CommandError(f"a worker stopped: {faults[0]}")
        given_back = [job for job in running if await self._is_given_back(job)]
        return GAVE_BACK if given_back else 0

    async def _until_fault(self) -> None:
        for worker in self._workers:
            worker.start()
        while not (self._are_told_to_stop() or any(worker.fault for worker in self._workers)):
            await self._store.clock.sleep(_LOOK)

    def _are_told_to_stop(self) -> bool:
        """Whether all workers have been told so through the store."""
        return all(worker.status.is_over for worker in self._workers)

    async def _close(self, timeout: float) -> None:
        await _all_of([worker.close(timeout) for worker in self._workers])

    async def _is_given_back(self, job: Job) -> bool:
        found = await self._store.get_job(job.queue_name, job.id)
        return found is not None and found.state not in SETTLED and found.attempt_logs[-1].put_back

    def _tell_of_stop(self, running: int) -> None:
        told = "no job is running"
        if running:
            jobs = "1 job" if running == 1 else f"{running} jobs"
            wait = format_seconds(self._plan.grace)
            which = "a second signal" if self._signals.first.is_set() else "SIGTERM"
            told = f"waits up to {wait} for {jobs}; {which} gives them back"
        self._write(self._store.clock.now(), "stopping", {}, told)


async def _all_of(awaitables: Sequence[Awaitable[object]]) -> None:
    await asyncio.gather(*awaitables)


async def _first_of(*awaitables: Awaitable[object]) -> None:
    """Wait for the first, call off the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(one) for one in awaitables]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


@contextlib.contextmanager
def _health(
    plan: Plan, workers: Sequence[Worker], store: StoreInterface, write: Writer
) -> Iterator[Callable[[str, str, float | None], None]]:
    """Answer how the process is, if it was asked to; gives what counts attempts that end."""
    if plan.health is None:
        yield lambda *_: None
        return
    try:
        from conveyor_nb.cli.worker.health import Health, serve_health

        health = Health(workers, store, asyncio.get_running_loop())
    except ImportError as error:
        raise missing_packages("--health", error, extra="worker") from error
    with serve_health(plan.health, health) as address:
        write(store.clock.now(), "health", {}, f"http://{address}/health, http://{address}/metrics")
        yield health.count
