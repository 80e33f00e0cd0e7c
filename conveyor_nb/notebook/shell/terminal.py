"""What a kernel has by itself and IPython in a terminal lacks.

There, a cell runs in the event loop only if it awaits, an interrupt leaves the cell's task behind
to go on later, and the loop stands still while the prompt waits unless ``%gui asyncio`` is on.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any, TypeVar, cast
from weakref import WeakSet

from IPython.core.async_helpers import get_asyncio_loop
from IPython.core.interactiveshell import InteractiveShell

from conveyor_nb.core.worker_info import WorkerStatus
from conveyor_nb.notebook.mistakes import quoted
from conveyor_nb.worker import Worker, live_workers

__all__ = ["CellRunner", "Terminal", "is_terminal", "once_loop_stops"]

T = TypeVar("T")

_ASYNCIO = "asyncio"
_PACKAGE = __name__.partition(".")[0]
_NAMES = re.compile(r"[^\W\d]\w*")
_STARTS_WORK = re.compile(rf"\.worker\b|%%worker\b|\b(from|import)\s+{_PACKAGE}\b")
_HAS_ITS_OWN_LOOP = re.compile(
    r"\basyncio\.(run|Runner)\b|\brun_until_complete\b|run_line_magic\('run'"
)


def is_terminal(shell: object) -> bool:
    """Whether a shell is IPython in a terminal, or embedded in a program there."""
    # by its name, as a kernel need not import all that draws a prompt
    return any(one.__name__ == "TerminalInteractiveShell" for one in type(shell).__mro__)


def once_loop_stops(shell: InteractiveShell, action: Callable[[], None]) -> None:
    """Do something now, or after this cell if the loop runs it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        action()
        return
    events: Any = shell.events

    def act(*_: object) -> None:
        events.unregister("post_run_cell", act)
        action()

    events.register("post_run_cell", act)


class Terminal:
    """Lets workers run at a prompt as they do in a kernel, or says why they can't.

    Args:
        shell: a terminal's.
        at_prompt: called when a prompt has put its own streams in place and begins to wait.
        at_exit: called when the shell ends, and its variables are still there for what runs.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        at_prompt: Callable[[], None],
        at_exit: Callable[[], None],
    ) -> None:
        self._shell = cast("Any", shell)
        self._at_prompt = at_prompt
        self._at_exit = at_exit
        self._told: WeakSet[Worker] = WeakSet()
        self._runner = CellRunner()
        self._runner_before = self._shell.loop_runner
        if self._runner_before is self._shell.loop_runner_map[_ASYNCIO][0]:
            self._shell.loop_runner = self._runner
        self._decide = self._shell.should_run_async
        self._shell.should_run_async = self._runs_in_loop
        # IPython has no hook for this, and clears the variables long before `atexit` runs
        self._end = getattr(self._shell, "_atexit_once", None)
        self._shell._atexit_once = self._finish
        self._integrates = not self._shell.simple_prompt and self._shell.active_eventloop is None
        if self._integrates:
            self._shell.enable_gui(_ASYNCIO)
        self._app = self._shell.pt_app
        if self._app is not None:
            self._ask = self._app.prompt_async
            self._app.prompt_async = self._prompt
        self._shell.events.register("post_run_cell", self._look)

    def close(self) -> None:
        """Leave the shell as it was."""
        shell = self._shell
        shell.events.unregister("post_run_cell", self._look)
        if shell.loop_runner is self._runner:
            shell.loop_runner = self._runner_before
        if vars(shell).get("should_run_async") == self._runs_in_loop:
            del shell.should_run_async
        if self._app is not None and self._app.prompt_async == self._prompt:
            del self._app.prompt_async
        if vars(shell).get("_atexit_once") == self._finish:
            del shell._atexit_once
        if self._integrates and shell.active_eventloop == _ASYNCIO:
            shell.enable_gui(None)

    def _prompt(self, *args: Any, **kwargs: Any) -> object:
        """Stands in for ``prompt_async``, whose coroutine the loop runs together with all else."""
        self._at_prompt()
        return self._ask(*args, **kwargs)

    def _finish(self) -> None:
        """Stands in for ``_atexit_once``."""
        self._at_exit()
        if self._end is not None:
            self._end()

    def _runs_in_loop(self, raw_cell: str, **given: Any) -> bool:
        """Whether a cell is to run in the loop; stands in for ``should_run_async``.

        Workers start only there. A cell that has nothing to do with this package runs as ever, so
        that it may call what runs a loop of its own.
        """
        if self._decide(raw_cell, **given):
            return True
        source = f"{raw_cell}\n{given.get('transformed_cell')}"
        if not self._shell.autoawait or given.get("preprocessing_exc_tuple") is not None:
            return False
        if _HAS_ITS_OWN_LOOP.search(source):
            return False
        variables = self._shell.user_ns
        return _STARTS_WORK.search(source) is not None or any(
            _is_ours(variables[name]) or _calls_ours(variables[name])
            for name in set(_NAMES.findall(source))
            if name in variables
        )

    def _look(self, *_: object) -> None:
        """After a cell, say if there are workers that the prompt won't let run."""
        if (remedy := self._remedy()) is None:
            self._told.clear()
            return
        at_work = [one for one in live_workers() if one.status is WorkerStatus.RUNNING]
        if new := [one for one in at_work if one not in self._told]:
            self._told.update(new)
            print(
                "conveyor_nb: workers stand still while this prompt waits; run a cell that awaits, "
                f"such as %conveyor wait {quoted(new[0].queue_name)}, or {remedy}",
                file=sys.stderr,
            )

    def _remedy(self) -> str | None:
        """What would let workers run while the prompt waits; ``None`` if they run already."""
        if self._shell.simple_prompt:
            return "start IPython in a terminal without --simple-prompt"
        if (gui := self._shell.active_eventloop) == _ASYNCIO:
            return None
        if gui is None:
            return "type %gui asyncio"
        return f"type %gui, which ends its {gui} loop, and then %gui asyncio"


class CellRunner:
    """Runs a cell in IPython's loop, as IPython itself does, until it ends or is interrupted.

    An interrupt cancels the cell, and nothing else that runs in the loop. IPython would stop the
    loop, and what is left of the cell would go on when the loop does.
    """

    def __call__(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a cell to its end."""
        loop: asyncio.AbstractEventLoop = get_asyncio_loop()
        task = loop.create_task(work)
        with _interrupts_cancel(task):
            return loop.run_until_complete(task)

    def __str__(self) -> str:
        return _ASYNCIO  # for %autoawait, which shows it


@contextlib.contextmanager
def _interrupts_cancel(task: asyncio.Task[Any]) -> Iterator[None]:
    """Let interrupts cancel a task; one that computes, or has been cancelled, is broken off."""
    loop = task.get_loop()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if asyncio.current_task(loop) is task or task.cancelling():
            signal.default_int_handler(number, frame)
        task.cancel()
        loop.call_soon_threadsafe(lambda: None)  # the loop may sleep

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_ours(value: object) -> bool:
    """Whether something belongs to this package: a queue, a worker, a class, the package itself."""
    if isinstance(value, ModuleType):
        name = value.__name__
    elif isinstance(value, (type, FunctionType)):
        name = value.__module__ or ""
    else:
        name = type(value).__module__
    return name.partition(".")[0] == _PACKAGE


def _calls_ours(value: object) -> bool:
    """Whether something is a function that names this package, such as one that makes workers."""
    if not isinstance(value, FunctionType):
        return False
    names = set(value.__code__.co_names)
    has_its_own_loop = {_ASYNCIO, "run"} <= names
    return not has_its_own_loop and any(_is_ours(value.__globals__.get(one)) for one in names)
