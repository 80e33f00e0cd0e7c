"""What a worker opens before its first job and closes after its last one, for all of its jobs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME, resolve
from conveyor_nb.core.options.worker_options import WorkerOptions
from conveyor_nb.core.values.text import error_line, shown
from conveyor_nb.running.faults import FaultReporter
from conveyor_nb.running.runner import Argument, Background, Runner

__all__ = ["Lifespan", "Resources", "lifespan_of"]

_PATIENCE = 10.0
"""For how many real seconds a worker that closes waits for its lifespan to do so."""

_LAST_WORDS = 1.0


class Lifespan:
    """The async context of a worker, entered and left in one task of its own.

    Args:
        make: makes the context manager.
        worker: whose it is; ``make`` is called with it if it takes an argument.
        name: what errors call the worker.
        on_end: called with the error, if there is one, when it ends though nobody closed it.
    """

    def __init__(
        self,
        make: Callable[..., AbstractAsyncContextManager[Any]],
        worker: object,
        name: str,
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self.value: Any = None
        """What it gave when it was opened."""
        self._make = make
        self._arguments = (worker,) if _takes_worker(make) else ()
        self._name = name
        self._on_end = on_end
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[bool]
        self._leave: asyncio.Event

    async def open(self) -> bool:
        """Open it, if it is not open; ``False``: it was closed before it was open.

        Raises:
            RuntimeError: it could not be opened; another try may do.
        """
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._opened, self._leave = loop.create_future(), asyncio.Event()
            self._task = loop.create_task(self._live())
            self._task.add_done_callback(self._note_end)
        task = self._task
        either: set[asyncio.Future[Any]] = {self._opened, task}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise RuntimeError(
                f"worker {shown(self._name)} takes no jobs: its lifespan raised {error_line(error)}"
            ) from error
        return self._opened.done()

    def call_off(self) -> None:
        """Do not wait until it is open."""
        if self._task is not None and not self._opened.done():
            self._task.cancel()

    async def close(self) -> None:
        """Close it, if it is open; what it raises then is raised.

        Raises:
            TimeoutError: it did not close.
        """
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            return  # it is closed, by its loop's end if by nobody else
        self.call_off()
        self._leave.set()
        if not await REAL_TIME.wait(task, _PATIENCE):
            task.cancel()
            if not await REAL_TIME.wait(task, _LAST_WORDS):
                raise TimeoutError(f"the lifespan of worker {shown(self._name)} does not close")
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _live(self) -> None:
        manager = self._make(*self._arguments)
        if not isinstance(manager, AbstractAsyncContextManager):
            raise TypeError(
                f"it gave {shown(manager)}, which is not an async context manager; "
                "contextlib.asynccontextmanager makes one of an async generator function"
            )
        try:
            async with manager as self.value:
                resolve(self._opened, True)
                await self._leave.wait()
        except (SystemExit, KeyboardInterrupt) as error:  # they would end the loop
            raise RuntimeError(error_line(error)) from error
        finally:
            self.value = None

    def _note_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._opened.done() and not self._leave.is_set() and not task.cancelled():
            self._on_end(error)


def lifespan_of(
    options: WorkerOptions,
    worker: object,
    name: str,
    *,
    on_end: Callable[[BaseException | None], None],
) -> Lifespan | None:
    """The lifespan that a worker's options ask for; arguments as those of :class:`Lifespan`.

    Raises:
        ValueError: its handlers run in other processes.
    """
    if options.lifespan is None:
        return None
    if options.executor is not None:
        raise ValueError(
            "lifespan is for handlers in this process, which all have what it gives at hand; "
            "with executor='process' let the handler open what it needs, or leave that out"
        )
    return Lifespan(options.lifespan, worker, name, on_end)


class Resources:
    """What the jobs of a worker have at hand; none, if it has no lifespan.

    Args:
        lifespan: gives them.
        faults: told of what the lifespan raises.
    """

    def __init__(self, lifespan: Lifespan | None, faults: FaultReporter) -> None:
        self._lifespan = lifespan
        self._faults = faults

    @property
    def are_given(self) -> bool:
        """Whether there are any, until they are closed."""
        return self._lifespan is not None

    def given_to(self, runner: Runner) -> Runner:
        """A runner that lets each job have them, and calls the handler as another does."""
        return runner if self._lifespan is None else _ResourceRunner(runner, self._lifespan)

    async def open(self) -> bool:
        """Open the lifespan; ``False``: it was closed before it was open.

        Raises:
            RuntimeError: it could not be opened.
        """
        if self._lifespan is None:
            return True
        try:
            return await self._lifespan.open()
        except RuntimeError as error:
            await self._faults.publish(error, None)
            raise

    def call_off(self) -> None:
        """Do not wait for a lifespan that is not open yet."""
        if self._lifespan is not None:
            self._lifespan.call_off()

    async def close(self) -> None:
        """Close the lifespan, once and for all; what it raises is told."""
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is None:
            return
        try:
            await lifespan.close()
        except Exception as error:  # it is a person's
            await self._faults.report_closing(error)


class _ResourceRunner(Runner):
    """Lets each job have what a lifespan gave, and calls the handler as another runner does."""

    def __init__(self, runner: Runner, lifespan: Lifespan) -> None:
        self._runner = runner
        self._lifespan = lifespan

    def call(self, argument: Argument, keep: Callable[[Background], None]) -> Awaitable[Any]:
        """Call it."""
        for job in argument if isinstance(argument, list) else (argument,):
            job.give_resources(self._lifespan.value)
        return self._runner.call(argument, keep)

    def resize(self, size: int) -> None:
        """Let the other one be ready for so many calls."""
        self._runner.resize(size)

    async def close(self) -> None:
        """Let the other one go."""
        await self._runner.close()


def _takes_worker(make: Callable[..., object]) -> bool:
    """Whether it is to be called with the worker: it can't be called with nothing."""
    try:
        signature = inspect.signature(make)
    except ValueError:  # some built-ins don't tell
        return False
    try:
        signature.bind()
    except TypeError:
        return True
    return False
