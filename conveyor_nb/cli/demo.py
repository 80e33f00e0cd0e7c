"""``python -m conveyor_nb demo``: a notebook run in the terminal, and the page it became."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from conveyor_nb.cli.errors import CommandError, missing_packages
from conveyor_nb.cli.notebooks import find_notebook
from conveyor_nb.cli.tally import EXPRESSION, QueueTally, read_tallies

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbformat import NotebookNode
    from rich.table import Table

__all__ = ["run_demo"]

CELL_TIMEOUT = 300
"""For how many seconds a cell may run: more than enough for any of the examples."""

REPLY_TIMEOUT = 30

WIDGET = "application/vnd.jupyter.widget-view+json"
STATES = ("waiting", "waiting-children", "delayed", "active", "completed", "failed")

ReportProgress = Callable[[int], None]
SignalHandler = Callable[[int, FrameType | None], Any] | int | None


def run_demo(notebook: Path | None, *, output: Path | None) -> None:
    """Run a notebook cell by cell, sum up its jobs, and write it as a page.

    Args:
        notebook: the notebook; the quick start if not given.
        output: where the page goes; a new temporary folder if not given, which never
            overwrites anything and can be written wherever one stands.

    Raises:
        CommandError: a cell failed, or something that is needed is not there.
    """
    works_in = Path.cwd() if notebook is None else notebook.parent
    notebook = find_notebook(notebook, is_read=True)
    if output is None:
        output = Path(tempfile.mkdtemp(prefix="conveyor_nb-"), notebook.stem + ".html")
    elif not output.parent.is_dir():
        raise CommandError(f"there is no folder {output.parent} to write {output.name} to")
    try:
        import nbconvert  # noqa: F401 - it is needed at the end, and missed at the start
        from nbclient import NotebookClient
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
    except ImportError as error:
        raise missing_packages("the demo", error) from error

    node = _read(notebook)
    client = NotebookClient(
        node,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--log-level=CRITICAL"],
        resources={"metadata": {"path": str(works_in)}},
    )
    console = Console()
    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task(escape(notebook.name), total=len(node.cells))
        tallies = asyncio.run(_execute(client, lambda done: progress.update(task, completed=done)))
    console.print(summary(tallies))
    try:
        output.write_text(render(node), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"can't write {output}: {error.strerror}") from error
    told = f"The notebook as a page: {output.resolve()}"
    console.print(told, soft_wrap=True, highlight=False, markup=False)


def summary(tallies: Iterable[QueueTally]) -> Table | str:
    """The jobs of each queue by state, and the attempts that they took."""
    from rich.markup import escape
    from rich.table import Table

    from conveyor_nb.core.values.text import fit

    tallies = list(tallies)
    if not tallies:
        return "The notebook left no jobs to sum up."
    states = [state for state in STATES if any(state in tally.states for tally in tallies)]
    table = Table(title="Jobs", title_justify="left")
    table.add_column("queue")
    for state in (*states, "jobs", "attempts"):
        table.add_column(state, justify="right")
    for tally in tallies:
        counts = [tally.states.get(state, 0) for state in states]
        table.add_row(escape(fit(tally.queue)), *map(str, (*counts, sum(counts), tally.attempts)))
    return table


def render(node: NotebookNode) -> str:
    """An executed notebook as a page that can be read without a kernel.

    A widget needs a kernel to be drawn, so the page shows the snapshot that comes with it.
    """
    from nbconvert import HTMLExporter

    for cell in node.cells:
        for output in cell.get("outputs", ()):
            if len(data := output.get("data", ())) > 1:
                data.pop(WIDGET, None)
    node.metadata.pop("widgets", None)
    page, _ = HTMLExporter().from_notebook_node(node)
    return str(page)


async def _execute(client: NotebookClient, report: ReportProgress) -> list[QueueTally]:
    """Run every cell; return the last tally of each queue that had jobs in it.

    Queues are counted after each cell, since a notebook may well disconnect its store at the end.
    """
    tallies: dict[tuple[int, str], QueueTally] = {}
    number = 0
    interrupt = signal.getsignal(signal.SIGINT)
    async with client.async_setup_kernel():
        _handle_signals_again(interrupt)
        for index, cell in enumerate(client.nb.cells):
            number += cell.cell_type == "code"
            await _execute_cell(client, index, f"cell {number}")
            for tally in await _ask_tallies(client):
                if tally.states:
                    tallies[tally.store, tally.queue] = tally
            report(index + 1)
    return list(tallies.values())


def _handle_signals_again(interrupt: SignalHandler) -> None:
    """Undo what nbclient does to Ctrl-C: it ends the kernel but not the wait for its answer.

    Handled by ``asyncio.run``, Ctrl-C cancels the wait, and the kernel is ended after it.
    """
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # on Windows nbclient changes nothing
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, interrupt)


async def _execute_cell(client: NotebookClient, index: int, name: str) -> None:
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    try:
        await client.async_execute_cell(client.nb.cells[index], index)
    except CellExecutionError as error:
        reason = f"{error.ename}: {error.evalue}".partition("\n")[0]
        raise CommandError(f"{name} failed: {reason}") from error
    except CellTimeoutError as error:
        raise CommandError(f"{name} failed: it ran for over {CELL_TIMEOUT} seconds") from error
    except DeadKernelError as error:
        # This is also what nbclient makes of being cancelled.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError from error
        raise CommandError(f"{name} failed: the kernel ended while it ran") from error


async def _ask_tallies(client: NotebookClient) -> list[QueueTally]:
    """Let the kernel count the jobs, unseen by the notebook."""
    kernel: Any = client.kc  # its types are those of the blocking client
    reply = await kernel.execute(
        "",
        silent=True,
        store_history=False,
        user_expressions={"tallies": EXPRESSION},
        reply=True,
        timeout=REPLY_TIMEOUT,
    )
    answer = reply["content"].get("user_expressions", {}).get("tallies", {})
    if answer.get("status") != "ok":
        return []
    return read_tallies(ast.literal_eval(answer["data"]["text/plain"]))


def _read(notebook: Path) -> NotebookNode:
    import nbformat

    try:
        node: NotebookNode = nbformat.read(notebook, as_version=4)
    except (ValueError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise CommandError(f"{notebook} can't be read as a notebook: {reason}") from error
    return node
