"""``python -m conveyor_nb demo`` with a real kernel."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat import v4

from conveyor_nb.cli import main

if TYPE_CHECKING:
    from ..conftest import StartChild

COMMAND = [sys.executable, "-m", "conveyor_nb", "demo"]


def write_notebook(path: Path, *cells: str) -> Path:
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells]), path)
    return path


def run_demo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def run_demo_here(*arguments: str | Path) -> int:
    """The same in this process, which has imported what it needs."""
    return main(["demo", *map(str, arguments)])


def test_it_sums_up_the_jobs_and_writes_the_page(tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "emails.ipynb",
        "from conveyor_nb import MemoryStore, Queue, Worker\n"
        "store = MemoryStore()\n"
        "emails = Queue('emails', store=store)\n"
        "def handler(job):\n"
        "    if job.data['fail']: raise ValueError('no such address')",
        "worker = Worker('emails', handler, store=store, auto_start=False)\n"
        "for fail in (True, False, False):\n"
        "    await emails.add('send', {'fail': fail}, attempts=2)\n"
        "await worker.run_until_idle()",
        "from IPython.display import HTML; HTML('<p>a snapshot</p>')",
        "await worker.close(); await emails.close(); await store.disconnect()",
    )
    page = tmp_path / "page.html"

    result = run_demo(notebook, "--output", page)

    assert (result.returncode, result.stderr) == (0, "")
    assert "4/4" in result.stdout
    rows = [line.strip("┃│ ").split() for line in result.stdout.splitlines()]
    # Two jobs were sent, one failed at its second attempt; the store is empty by now.
    assert ["emails", "│", "2", "│", "1", "│", "3", "│", "4"] in rows
    assert result.stdout.splitlines()[-1] == f"The notebook as a page: {page}"
    assert "<p>a snapshot</p>" in page.read_text(encoding="utf-8")
    assert not nbformat.read(notebook, as_version=4).cells[2].outputs, "the notebook is as it was"


def test_a_widget_is_shown_by_its_snapshot(tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "widget.ipynb",
        "from ipywidgets import IntSlider\n"
        "class Slider(IntSlider):\n"
        "    def _repr_mimebundle_(self, **kwargs):\n"
        "        return super()._repr_mimebundle_(**kwargs) | {'text/html': '<p>at seven</p>'}\n"
        "Slider(7)",
    )
    page = tmp_path / "page.html"

    assert run_demo_here(notebook, "--output", page) == 0

    html = page.read_text(encoding="utf-8")
    assert "<p>at seven</p>" in html
    assert "application/vnd.jupyter.widget" not in html


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("raise ValueError('boom\\nand more')", "ValueError: boom"),
        ("import os; os._exit(1)", "the kernel ended while it ran"),
    ],
)
def test_a_cell_that_fails_is_told_in_one_line(
    cell: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = write_notebook(tmp_path / "broken.ipynb", "1 + 1", cell, "2 + 2")
    page = tmp_path / "page.html"

    assert run_demo_here(notebook, "--output", page) == 1

    assert capsys.readouterr().err == f"conveyor_nb: cell 2 failed: {reason}\n"
    assert not page.exists()


@pytest.fixture(scope="module")
def interrupted(
    start_child: StartChild, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, tuple[int, str, int]]:
    """What became of demos that got Ctrl-C, begun together: status, errors, and their kernel."""
    ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]  # as a script's background does
    with contextlib.ExitStack() as children:
        running = {}
        for where, before in {"foreground": [], "background": ignoring}.items():
            folder = tmp_path_factory.mktemp(where)
            notebook = write_notebook(
                folder / "endless.ipynb",
                "import os, time\n"
                "with open('fifo', 'w') as fifo: fifo.write(str(os.getpid()))\n"
                "time.sleep(600)",
            )
            os.mkfifo(fifo := folder / "fifo")
            child = start_child(
                [*before, *COMMAND, notebook], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            running[where] = children.enter_context(child), fifo
        kernels = {where: int(fifo.read_text()) for where, (_, fifo) in running.items()}
        for process, _ in running.values():
            process.send_signal(signal.SIGINT)
        told = {where: child.communicate(timeout=60)[1] for where, (child, _) in running.items()}
        return {
            where: (child.returncode, told[where], kernels[where])
            for where, (child, _) in running.items()
        }


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send on Windows")
@pytest.mark.parametrize("where", ["foreground", "background"])
def test_ctrl_c_ends_it_and_its_kernel(
    where: str, interrupted: Mapping[str, tuple[int, str, int]]
) -> None:
    status, err, kernel = interrupted[where]

    assert (status, err) == (130, "")
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)
