"""What the extension holds for a kernel, from ``%load_ext`` to ``%unload_ext`` or the kernel's end.

The default store, what happened in it lately, the tasks that commands left behind, and the end
of all of these.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Any, TypeGuard

from IPython.core.async_helpers import get_asyncio_loop
from IPython.core.interactiveshell import InteractiveShell

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.model import StoreEvent
from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.commands.awaiting import CAN_NOT_WAIT
from conveyor_nb.notebook.commands.store_context import StoreContext
from conveyor_nb.notebook.known_workers import is_named, take_workers_by_hand
from conveyor_nb.notebook.mistakes import Mistake
from conveyor_nb.queue import Queue
from conveyor_nb.registry import take_named_workers
from conveyor_nb.stores import StoreInterface, default_store, open_store, set_default_store
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.worker import Worker, holding_workers, live_workers

__all__ = ["KEPT_EVENTS", "Session", "finish_closing", "wait_for_closing"]

KEPT_EVENTS = 1_000
"""How many of the newest events ``%conveyor events`` has."""

_LAST_SECONDS = 2.0
"""For how many seconds a kernel that ends waits for what is being closed."""

_MOST_STOPS = 10


class Session(StoreContext):
    """The extension's state in a kernel.

    Args:
        shell: the shell that it is loaded into.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.events: deque[StoreEvent] = deque(maxlen=KEPT_EVENTS)
        self._tasks = BackgroundTasks()
        self._opened: list[StoreInterface] = []
        self._watched: StoreInterface | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.touch()

    # -- looking ------------------------------------------------------------------------------

    @property
    def store(self) -> StoreInterface:
        """The default store, whose events are kept from now on."""
        self.touch()
        return default_store()

    @property
    def variables(self) -> dict[str, Any]:
        """The notebook's variables."""
        variables: dict[str, Any] = self.shell.user_ns
        return variables

    def queue_names_now(self, limit: float) -> list[str]:
        """The same, with those of the store that it lists within so many seconds."""
        names = self.queues_here()
        with contextlib.suppress(Exception):  # whatever a store raises: Tab offers the other queues
            names |= set(read_now(self.store, lambda reads: reads.list_queues(), limit))
        return sorted(names)

    def queues_here(self) -> set[str]:
        """Those of workers, and those that a variable holds."""
        store = self.store
        names = {one.name for one in self.variables.values() if _is_queue_of(one, store)}
        return names | super().queues_here()

    def queue_variables(self) -> list[str]:
        """The variables of the notebook that hold a queue of the store."""
        store = self.store
        variables = self.variables.items()
        return sorted(
            name for name, one in variables if name[0] != "_" and _is_queue_of(one, store)
        )

    def any_queue(self, name: str) -> Queue:
        """A queue of the store, known or new: the one that a variable holds if there is one."""
        store = self.store
        mine = (one for one in self.variables.values() if _is_queue_of(one, store))
        return next((one for one in mine if one.name == name), None) or Queue(name, store=store)

    # -- doing --------------------------------------------------------------------------------

    def touch(self) -> None:
        """Follow the default store, which may be another one by now, and note the loop."""
        store = default_store()
        if store is not self._watched:
            if self._watched is not None:
                self._watched.unsubscribe(None, self._keep)
            self._watched = store
            store.subscribe(None, self._keep)
        with contextlib.suppress(RuntimeError):  # in a terminal there is none between two cells
            self._loop = asyncio.get_running_loop()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background; what it raises is logged.

        Raises:
            Mistake: there is no running loop to do it.
        """
        try:
            self._tasks.spawn(work)
        except RuntimeError:
            raise Mistake(CAN_NOT_WAIT) from None

    async def open(self, url: str, *, read_only: bool) -> StoreInterface:
        """Connect the store at an address, until the extension is unloaded.

        Raises:
            Mistake: it is no address, or the store can't be reached.
        """
        try:
            store = open_store(url, read_only=read_only)
            await store.connect()
        except (ConveyorError, ValueError) as error:
            raise Mistake(str(error)) from None
        self._opened.append(store)
        return store

    def reset(self, store: StoreInterface, how: str) -> asyncio.Task[None]:
        """Go on with another default store, and close the workers of the one until now.

        The old one stays as it is, for the panels and queues that still show it.

        Args:
            store: the other store.
            how: the command that did it, which those panels name.

        Returns:
            The task that closes the workers.

        Raises:
            Mistake: there is no running loop to do it.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise Mistake(CAN_NOT_WAIT) from None
        left = self.store
        workers = [*take_named_workers(self.store), *take_workers_by_hand(self.store)]
        set_default_store(store)
        self.events.clear()
        self.touch()
        if (widget := _widgets()) is not None:
            widget.end_panels(left, f"From before %conveyor {how}: its workers are closed")
        return _close(workers, loop)

    def refuse_elsewhere(self, name: str) -> None:
        """Raise ``Mistake`` if a variable or a worker has a queue of that name in another store."""
        if elsewhere := self._store_elsewhere(name):
            raise Mistake(
                f"queue {shown(name)} is in another store than the default one, which is all that "
                f"%conveyor sees; set_default_store({elsewhere}) makes that one the default"
            )

    def _store_elsewhere(self, name: str) -> str | None:
        """What stands for the store of a queue of this name that is not in the default one."""
        for variable, one in self.variables.items():
            is_mine = isinstance(one, Queue) and one.name == name and not one.closed
            if is_mine and variable[0] != "_":
                return f"{variable}.store"
        return "store" if any(one.queue_name == name for one in live_workers()) else None

    def _keep(self, event: StoreEvent) -> None:
        self.events.append(event)

    # -- the end ------------------------------------------------------------------------------

    def named_at_work(self) -> list[str]:
        """The names of the workers that :meth:`close` stops, in all stores."""
        return sorted(one.name for one in live_workers() if is_named(one))

    def close(self) -> asyncio.Task[None]:
        """Close all that was started: workers, panels, knobs and tasks.

        The workers' names are free at once; their jobs go back to the queue as soon as their
        handlers have been cancelled, which the returned task waits for.
        """
        if (widget := _widgets()) is not None:
            widget.close_panels()
        if (exploring := sys.modules.get("conveyor_nb.notebook.exploring")) is not None:
            exploring.close_explorations()
        self._tasks.cancel()
        if self._watched is not None:
            self._watched.unsubscribe(None, self._keep)
            self._watched = None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = self._loop or get_asyncio_loop()
        opened, self._opened = self._opened, []
        if default_store() in opened:
            set_default_store(None)
        return _close(take_named_workers(), loop, opened)


_closing = BackgroundTasks()


def finish_closing() -> None:
    """Close the workers that are left, once the kernel's loop has stopped; wait a little for it."""
    left: dict[asyncio.AbstractEventLoop, list[Worker]] = {}
    for worker in live_workers():
        if (loop := worker.loop) is not None and not loop.is_closed() and not loop.is_running():
            left.setdefault(loop, []).append(worker)
    for loop, workers in left.items():
        _close(workers, loop)
    wait_for_closing()
    for worker in holding_workers():  # threads end with the process
        if (loop := worker.loop) is not None and not loop.is_closed() and not loop.is_running():
            loop.run_until_complete(worker.let_go())


def wait_for_closing() -> None:
    """Wait a little, without a running loop, until what is being closed has closed."""
    for loop in {task.get_loop() for task in _closing}:
        if not loop.is_closed() and not loop.is_running():
            waiting = loop.create_task(_closed(loop))
            for _ in range(_MOST_STOPS):
                with contextlib.suppress(RuntimeError):  # the kernel stops it more than once
                    loop.run_until_complete(waiting)
                    break


async def _closed(loop: asyncio.AbstractEventLoop) -> None:
    mine = [task for task in _closing if task.get_loop() is loop]
    await REAL_TIME.wait(asyncio.gather(*mine, return_exceptions=True), _LAST_SECONDS)


def _widgets() -> Any:
    """The module of the panels; ``None``: none was ever shown."""
    return sys.modules.get("conveyor_nb.notebook.panel.widget")


def _is_queue_of(value: object, store: StoreInterface) -> TypeGuard[Queue]:
    return isinstance(value, Queue) and value.store is store and not value.closed


def _close(
    workers: list[Worker], loop: asyncio.AbstractEventLoop, stores: Iterable[StoreInterface] = ()
) -> asyncio.Task[None]:
    """Close workers side by side; the jobs that they run go back to their queues.

    Then disconnect stores.
    """

    async def close() -> None:
        closing = [worker.close(timeout=0) for worker in workers]
        await asyncio.gather(*closing, return_exceptions=True)  # each tells what it raises
        for store in stores:
            await store.disconnect()

    return _closing.spawn(close(), loop=loop)
