"""The life of a worker: its phase, and the tasks in which it runs, steps and closes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable
from typing import Protocol

from conveyor_nb.clocks.loops import call_on
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.handlers import Handler, Handlers
from conveyor_nb.core.model import EventType
from conveyor_nb.core.options.worker_options import WorkerOptions
from conveyor_nb.core.values.durations import to_seconds
from conveyor_nb.core.values.text import error_line, shown
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo, WorkerStatus
from conveyor_nb.job import Job
from conveyor_nb.running.closing import Closing
from conveyor_nb.running.commands import Commands
from conveyor_nb.running.dispatcher import Dispatcher
from conveyor_nb.running.lifespan import lifespan_of
from conveyor_nb.running.phase import PhaseChange
from conveyor_nb.stores.interface import StoreInterface

__all__ = ["Life", "require_loop"]


class _Worker(Protocol):
    """What a worker's life is made of."""

    store: StoreInterface
    queue_name: str
    name: str
    id: str
    handler: Handler | Handlers
    options: WorkerOptions
    concurrency: int
    stop_timeout: float

    def info(self) -> WorkerInfo:
        """What a store is told of it, as it is now."""


class Life:
    """The life of a worker, from its making to its end.

    Args:
        worker: whose it is.
        logger: where faults are reported.
        on_closed: called when the worker is closed.
    """

    def __init__(
        self, worker: _Worker, logger: logging.Logger, on_closed: Callable[[], object]
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where the worker was started first."""
        self._worker = worker
        self._logger = logger
        self._on_closed = on_closed
        self._fault: str | None = None
        self._run: asyncio.Task[None] | None = None
        self._steps = BackgroundTasks()
        self._commands = Commands(
            worker.store, worker.queue_name, worker.id, obey=self.obey, enlist=self._enlist_again
        )
        self._stopping = BackgroundTasks(on_end=lambda *_: None)  # its closing tells of faults
        self._closing: Closing | None = None
        self._announced = (WorkerStatus.STOPPED, worker.options.concurrency)
        self.dispatcher = Dispatcher(
            worker.store,
            worker.queue_name,
            worker.id,
            worker.handler,
            worker.options,
            logger=logger,
            on_turn=self._announce,
            on_loop_gone=self._note_loop_gone,
            on_disconnect=self._note_disconnected,
            on_end=self._stop_listening,
            on_beat=self._commands.look,
            lifespan=lifespan_of(
                worker.options, worker, worker.name, on_end=self._note_lifespan_gone
            ),
        )
        self.dispatcher.hearing.react({EventType.WORKER_COMMANDED: self._commands.hear})

    # -- looking ------------------------------------------------------------------------------

    @property
    def status(self) -> WorkerStatus:
        """What people are told of it."""
        return self.dispatcher.phase.status

    @property
    def fault(self) -> str | None:
        """What has stopped it, in short, if it was not told to stop."""
        return self._fault if self.status is WorkerStatus.STOPPED else None

    def require_open(self) -> None:
        """Refuse what a worker that is closed, or whose loop is, can't do.

        Raises:
            RuntimeError: it is one of these.
        """
        name = shown(self._worker.name)
        if self.loop is not None and self.loop.is_closed():
            raise RuntimeError(
                f"worker {name} can't go on, as the event loop that it was started on "
                "is closed; worker.successor() starts a new one like it on the loop that runs now"
            )
        if self._closing is not None:
            raise RuntimeError(
                f"worker {name} is closed; worker.successor() starts a new one like it"
            )

    # -- being told ---------------------------------------------------------------------------

    def note(self, change: PhaseChange) -> None:
        """Take note of what happens to the worker, and let the dispatcher act on it."""
        before = self.dispatcher.phase
        if (phase := before.after(change)) is not before:
            self.dispatcher.enter(phase)

    def start(self, change: PhaseChange = PhaseChange.START) -> None:
        """Run from now on, on the loop where it was started first.

        Raises:
            RuntimeError: it can't any more, or there is no running event loop.
        """
        self.require_open()
        if self.loop is None:
            self.loop = require_loop(
                "a worker runs in an event loop", "await it inside an async function"
            )
        self._fault = None
        self.note(change)
        self._listen()
        call_on(self.loop, self._run_on)

    def obey(self, command: WorkerCommand) -> None:
        """Do what the worker is told through its store, if it is not closing anyway."""
        if self._closing is not None:
            return
        if command.concurrency is not None:
            self._worker.concurrency = command.concurrency
        match command.status:
            case WorkerStatus.PAUSED:
                self.note(PhaseChange.PAUSE)
            case WorkerStatus.RUNNING:
                self.note(PhaseChange.RESUME)
            case WorkerStatus.CLOSED:
                given = command.timeout
                timeout = self._worker.stop_timeout if given is None else to_seconds(given)
                self._stopping.spawn(self.close(timeout))

    async def step(self) -> Job | None:
        """Take and run exactly one job, also if whoever waits for that is interrupted."""
        if not await self.dispatcher.resources.open():
            return None
        return await self._steps.see_through(self._step())

    async def until_idle(self) -> int:
        """Run until nothing is running and nothing can start now; returns how many jobs ended."""
        if not await self.dispatcher.resources.open():
            return 0
        slots = self.dispatcher.slots
        before = slots.ended_count
        is_for_a_while = not self.dispatcher.phase.stays_on
        if is_for_a_while:
            self.start(PhaseChange.START_FOR_A_WHILE)
        try:
            await self.dispatcher.until_idle()
        finally:
            if is_for_a_while:
                self.note(PhaseChange.END_OF_WHILE)
        return slots.ended_count - before

    def retire(self) -> concurrent.futures.Future[None]:
        """Close, as soon as the running jobs are done: see ``Worker.retire``."""
        if self._closing is None:
            loop = self.loop
            if loop is None or not loop.is_running():
                loop = require_loop("a worker closes in an event loop", "await worker.close()")
            self._closing = Closing(
                loop, self.dispatcher, self._worker.store.clock, self._tasks, self._finish
            )
            self._closing.over.add_done_callback(self._note_closed)
            self.note(PhaseChange.CLOSE)
            self._closing.begin()
        return self._closing.over

    async def close(self, timeout: float | None) -> None:
        """Close, and wait until that is done; after so many seconds stop what still runs."""
        self.retire()
        assert self._closing is not None, "it retires"
        await self._closing.wait(timeout)

    # -- running ------------------------------------------------------------------------------

    def _run_on(self) -> None:
        """Let its task run, if it doesn't."""
        if self._run is None or self._run.done():
            self._run = asyncio.get_running_loop().create_task(
                self._dispatch(), name=f"conveyor_nb worker {self._worker.id}"
            )
            self._run.add_done_callback(self._note_end)

    async def _dispatch(self) -> None:
        try:
            is_open = await self.dispatcher.resources.open()
        except RuntimeError as error:
            self._fault = f"its lifespan raised {error_line(error.__cause__ or error)}"
            raise
        if is_open:
            await self.dispatcher.run()
        if self._closing is None:  # it was started for a while only
            await self._announce()
            self._stop_listening()

    async def _step(self) -> Job | None:
        self._listen()
        try:
            return await self.dispatcher.step()
        finally:
            if not self.dispatcher.phase.stays_on and len(self._steps) == 1:
                self._stop_listening()

    def _tasks(self) -> list[asyncio.Task[None] | asyncio.Task[Job | None]]:
        return [task for task in (self._run, *self._steps) if task is not None]

    async def _finish(self) -> None:
        self.note(PhaseChange.CLOSED)
        try:
            await self._announce()
        finally:
            self._on_closed()

    def _listen(self) -> None:
        self.dispatcher.hearing.listen()

    def _stop_listening(self) -> None:
        self.dispatcher.hearing.stop()

    async def _announce(self) -> None:
        """Tell the store, and through it everybody, what the worker does now."""
        news = (self.status, self._worker.options.concurrency)
        (status, _), (known_as, _) = news, self._announced
        if news == self._announced:
            return
        if not known_as.is_at_work and not status.is_at_work and known_as != WorkerStatus.CLOSING:
            return  # nobody was told that it began
        self._announced = news
        await self._worker.store.save_worker(self._worker.info())

    async def _enlist_again(self) -> None:
        """Be listed once more: the worker was not seen for so long that it was taken for gone."""
        if self.status.is_at_work:
            await self._worker.store.save_worker(self._worker.info())

    # -- what happens to it -------------------------------------------------------------------

    def _note_end(self, run: asyncio.Task[None]) -> None:
        """Say so if the worker has stopped in any other way than it should."""
        if run.cancelled():
            self.note(PhaseChange.STOP)
        elif (error := run.exception()) is not None:
            self.note(PhaseChange.STOP)
            self._fault = self._fault or error_line(error)
            self._logger.error(
                "worker %r has stopped: %s; worker.start() tries again",
                self._worker.name,
                self._fault,
                exc_info=error,
            )

    def _note_closed(self, over: concurrent.futures.Future[None]) -> None:
        """Say so if it did not close as it should: nobody may wait for that."""
        self._stopping.cancel()  # there is nothing left to hurry
        if (error := over.exception()) is not None:
            self._logger.error(
                "worker %r did not close as it should", self._worker.name, exc_info=error
            )

    def _note_loop_gone(self) -> None:
        """Leave the queue to others: this worker can do nothing any more."""
        self._stop_listening()
        self.note(PhaseChange.STOP)
        if asyncio._get_running_loop() is not None:
            self.retire()

    def _note_disconnected(self) -> None:
        """Take no more jobs, as the store does not tell of them; :meth:`start` listens anew."""
        self.note(PhaseChange.STOP)

    def _note_lifespan_gone(self, error: BaseException | None) -> None:
        """Take no more jobs, as they would not have what they need."""
        self._fault = "its lifespan has ended"
        if error is not None:
            self._fault += f": {error_line(error)}"
        self.note(PhaseChange.STOP)
        self._logger.error(
            "worker %r takes no more jobs: its lifespan has ended; worker.start() opens a new one",
            self._worker.name,
            exc_info=error,
        )


def require_loop(what: str, remedy: str) -> asyncio.AbstractEventLoop:
    """The running loop; if there is none, an error that says what needs one and what to do."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(f"{what} and there is no running event loop; {remedy}") from None
