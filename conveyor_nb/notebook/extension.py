"""What ``%load_ext conveyor_nb`` and ``%unload_ext conveyor_nb`` do."""

from __future__ import annotations

import atexit

from IPython.core.interactiveshell import InteractiveShell

from conveyor_nb.core.values.text import fit
from conveyor_nb.notebook.commands.awaiting import CellTransformer
from conveyor_nb.notebook.commands.completion import Completion
from conveyor_nb.notebook.commands.magics import Magics
from conveyor_nb.notebook.shell.capture import Capture
from conveyor_nb.notebook.shell.cell_watch import CellWatch
from conveyor_nb.notebook.shell.duplicate_workers import DuplicateWorkerWatch
from conveyor_nb.notebook.shell.interrupts import LoopWaker
from conveyor_nb.notebook.shell.session import Session, finish_closing, wait_for_closing
from conveyor_nb.notebook.shell.terminal import Terminal, is_terminal, once_loop_stops

__all__ = ["load", "unload"]


class _Loaded:
    """The extension in a shell: what it put there, so that it can be taken away."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.session = Session(shell)
        self._magics = Magics(self.session)
        self._transformer = CellTransformer(shell)
        self._completion = Completion(self.session)
        self._magics.register()
        shell.input_transformers_post.append(self._transformer)
        self._completion.register()
        self._waker = LoopWaker.if_needed()
        self._capture = Capture(shell)
        self._duplicates = DuplicateWorkerWatch(shell)
        self._cells = CellWatch(shell)
        self._terminal: Terminal | None = None
        if is_terminal(shell):
            self._terminal = Terminal(shell, self._capture.watch, _close_at_exit)

    def take_away(self) -> None:
        shell = self.session.shell
        self._magics.unregister()
        self._completion.unregister()
        if self._transformer in shell.input_transformers_post:
            shell.input_transformers_post.remove(self._transformer)
        if self._waker is not None:
            self._waker.close()
        self._duplicates.close()
        self._cells.close()
        # what jobs print until they are stopped still goes to their logs
        self.session.close().add_done_callback(lambda _: self._capture.close())
        if self._terminal is not None:
            self._terminal.close()
            once_loop_stops(shell, wait_for_closing)  # from now on the prompt lets it stand still


_loaded: dict[InteractiveShell, _Loaded] = {}


def load(ipython: InteractiveShell) -> None:
    """Add ``%conveyor``, ``%%worker`` and ``%%record`` to a shell; a second time has no effect."""
    atexit.unregister(_close_at_exit)
    atexit.register(_close_at_exit)
    if ipython not in _loaded:
        _loaded[ipython] = _Loaded(ipython)


def unload(ipython: InteractiveShell) -> None:
    """Take the magics away, and close every worker, panel and task that came with them.

    The jobs that they ran go back to their queue. The store stays as it is, so that the queues
    of the notebook still have their jobs when the extension is loaded again. As IPython itself
    advises ``%reload_ext`` when ``%load_ext`` runs again, a line says which workers are closed.
    """
    if ipython not in _loaded:
        return
    names = _loaded[ipython].session.named_at_work()
    _take_away(ipython)
    if names:
        some, cells = f"workers {', '.join(names)} are", "the cells with their handlers"
        if len(names) == 1:
            some, cells = f"worker {names[0]} is", "the cell with its handler"
        print(fit(f"{some} closed; to start again, run {cells} again"))


def _take_away(shell: InteractiveShell) -> None:
    _loaded.pop(shell).take_away()


def _close_at_exit() -> None:
    """The kernel, or the terminal, ends and its loop has stopped: nothing may be left pending."""
    for shell in tuple(_loaded):
        _take_away(shell)
    finish_closing()
