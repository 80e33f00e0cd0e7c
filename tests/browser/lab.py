"""JupyterLab on this machine, and a page of a browser that shows it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import v4
from playwright.sync_api import Browser, Error, Locator, Page, expect

if TYPE_CHECKING:
    from ..conftest import StartChild

CHROMIUM_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()

SETTINGS = {
    # Cells out of sight stay in the page, so that a test finds them by their number.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}

CONFIG = {
    "LabApp": {"expose_app_in_browser": True},
    "KernelRestarter": {"time_to_dead": 0.1},  # seconds after which one that ended is missed
}

PATIENCE = 30_000.0
"""Milliseconds that the browser waits for what must come to pass, on a slow machine too."""


class Server:
    """A running JupyterLab.

    Args:
        folder: where its notebooks are.
        process: its process, which says where it is reached as soon as it is ready.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self._process = process

    @cached_property
    def address(self) -> str:
        """Where it is reached, once it is ready for a page."""
        assert self._process.stdout is not None
        lines = (line.strip() for line in self._process.stdout)
        address = next((line for line in lines if line.startswith("http")), None)
        if address is None:
            raise RuntimeError("JupyterLab ended before it was ready")
        return address.replace("/tree/start.ipynb", "")


class NotebookPage:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder

    @property
    def panel(self) -> Locator:
        """The first panel of a queue in the notebook."""
        return self.page.get_by_test_id("cv-panel").first

    def run(self, number: int) -> None:
        """Run a cell, counted from 0, and wait for the kernel to be done with it."""
        prompt = self.page.locator(".jp-Notebook .jp-Cell .jp-InputPrompt").nth(number)
        before = prompt.inner_text()
        self.start(number)
        # looked at whenever the page is drawn, where `expect` waits longer and longer
        self.page.wait_for_function(
            """([number, before]) => {
                const prompts = document.querySelectorAll(".jp-Notebook .jp-Cell .jp-InputPrompt");
                const now = prompts[number].innerText;
                return now !== before && /\\[\\d+\\]:/.test(now);
            }""",
            arg=[number, before],
        )

    def start(self, number: int) -> None:
        """Run a cell, and go on at once."""
        # JupyterLab's own command: keys and clicks get lost while it still builds its page.
        self.page.evaluate(
            """number => {
                jupyterapp.shell.currentWidget.content.activeCellIndex = number;
                void jupyterapp.commands.execute("notebook:run-cell");
            }""",
            number,
        )


@contextlib.contextmanager
def jupyterlab(checkout: Path, folder: Path, home: Path, start: StartChild) -> Iterator[Server]:
    """JupyterLab with its own settings, on a free port, with kernels of this very Python.

    It may not be ready yet.

    Args:
        checkout: the source tree that is run.
        folder: where its notebooks are.
        home: where it keeps what is its own.
        start: starts a program for a block of code.
    """
    nbformat.write(v4.new_notebook(), folder / "start.ipynb")
    (home / "jupyter_lab_config.json").write_text(json.dumps(CONFIG))
    (home / "labconfig").mkdir()
    (home / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    own = {name: str(home) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-m", "conveyor_nb", "lab", "--no-browser", "--port", str(port)]
    with start(
        [*command, folder / "start.ipynb"],
        cwd=folder,
        env={**os.environ, **own, "PYTHONPATH": str(checkout), "TZ": "UTC"},
        stdout=subprocess.PIPE,
    ) as process:
        yield Server(folder, process)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)


class Lab:
    """JupyterLab in a page of a browser.

    Args:
        browser: the browser.
        server: where JupyterLab runs.
        looks: how the page looks, as Playwright's contexts take it.
    """

    def __init__(self, browser: Browser, server: Server, **looks: Any) -> None:
        looks = {"viewport": {"width": 1280, "height": 1600}, **looks}
        self._context = browser.new_context(**looks)
        self._context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        self.page = self._context.new_page()
        self.folder = server.folder
        self.faults: list[str] = []
        self.page.on("pageerror", self._note_fault)
        self.page.goto(f"{server.address}&reset")  # not with what an earlier page had open
        self.page.wait_for_function("window.jupyterapp?.restored")

    def open(self, name: str, *cells: str) -> NotebookPage:
        """Open a new notebook with these cells, and wait until its kernel is there."""
        notebook = v4.new_notebook(
            cells=[v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self.folder / f"{name}.ipynb")
        self.page.evaluate(
            "path => { void jupyterapp.commands.execute('docmanager:open', { path }); }",
            f"{name}.ipynb",
        )
        self.page.wait_for_function(
            """path => {
                const context = window.jupyterapp.shell.currentWidget?.sessionContext;
                return context?.path === path && context.session?.kernel?.status === 'idle';
            }""",
            arg=f"{name}.ipynb",
        )
        return NotebookPage(self.page, self.folder)

    def begin(self, name: str) -> None:
        """Start the kernel of a notebook that will be opened later; it takes a second."""
        self.page.evaluate(
            """path => {
                const { baseUrl, token } = jupyterapp.serviceManager.serverSettings;
                const kernel = { name: "python3" };
                // not through JupyterLab, which would take the kernel's widgets for another page's
                void fetch(`${baseUrl}api/sessions`, {
                    method: "POST",
                    headers: { Authorization: `token ${token}` },
                    body: JSON.stringify({ path, name: path, type: "notebook", kernel }),
                });
            }""",
            f"{name}.ipynb",
        )

    def _note_fault(self, error: Error) -> None:
        # what JupyterLab itself says of a kernel that has ended while it was asked something
        if not str(error).startswith("Canceled future for "):
            self.faults.append(str(error))

    def close_notebook(self) -> None:
        """End the notebook's kernel and take it off the page, without a question."""
        self.page.evaluate(
            """() => {
                const notebook = jupyterapp.shell.currentWidget;
                const id = notebook?.sessionContext?.session?.id;
                notebook?.dispose();
                if (id) window.ending = jupyterapp.serviceManager.sessions.shutdown(id);
            }"""
        )

    def close(self) -> None:
        """Close the page, in which no script may have raised, once the last kernel has ended."""
        self.page.evaluate("() => window.ending?.catch(() => {})")
        self._context.close()
        self.check()

    def check(self) -> None:
        """No script of the page may have raised."""
        assert not self.faults, "scripts in the page raised"


def wear(page: Page, theme: str) -> None:
    """Give JupyterLab a theme."""
    change = "theme => { void jupyterapp.commands.execute('apputils:change-theme', { theme }); }"
    page.evaluate(change, theme)
    page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
