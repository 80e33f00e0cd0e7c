"""A real JupyterLab on this machine, and a real browser that looks at it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat import v4
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

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

CONFIG = {"LabApp": {"expose_app_in_browser": True}}

PATIENCE = 30_000.0
"""Milliseconds that the browser waits for what must come to pass, on a slow machine too."""


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address with ``{name}`` in place of a notebook's name."""

    address: str
    folder: Path


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
        expect(prompt).not_to_have_text(before)
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"))

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


@pytest.fixture(scope="session")
def lab(
    checkout: Path,
    chromium: str,
    start_child: StartChild,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    """JupyterLab with its own settings, on a free port, with kernels of this very Python."""
    folder = tmp_path_factory.mktemp("notebooks")
    home = tmp_path_factory.mktemp("jupyter")
    nbformat.write(v4.new_notebook(), folder / "start.ipynb")
    (home / "jupyter_lab_config.json").write_text(json.dumps(CONFIG))
    (home / "labconfig").mkdir()
    (home / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    own = {name: str(home) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-m", "conveyor_nb", "lab", "--no-browser", "--port", str(port)]
    with start_child(
        [*command, folder / "start.ipynb"],
        cwd=folder,
        env={**os.environ, **own, "PYTHONPATH": str(checkout), "TZ": "UTC"},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        lines = (line.strip() for line in process.stdout)
        address = next((line for line in lines if line.startswith("http")), None)
        if address is None:
            pytest.fail("JupyterLab ended before it was ready", pytrace=False)
        yield Lab(address.replace("start", "{name}"), folder)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser without a window.

    Of one module only: as long as it runs, asyncio takes this thread for a running loop.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page, which fails the test if a script in it raises."""
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert not faults, "scripts in the page raised"


@pytest.fixture
def open_notebook(
    lab: Lab, page: Page, request: pytest.FixtureRequest
) -> Callable[..., NotebookPage]:
    """Opens a new notebook with the given cells, and waits until its kernel is there."""

    def open_new(*cells: str) -> NotebookPage:
        name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())
        notebook = v4.new_notebook(
            cells=[v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, lab.folder / f"{name}.ipynb")
        # In a workspace of its own, as JupyterLab reopens what a workspace had open before.
        address = lab.address.replace("/tree/", f"/workspaces/{name}/tree/")
        page.goto(address.replace("{name}", name))
        page.wait_for_function(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
            " === 'idle'"
        )
        return NotebookPage(page, lab.folder)

    return open_new
