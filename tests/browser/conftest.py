"""A real JupyterLab on this machine, and a real browser that looks at it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.lab import CHROMIUM_FLAGS, Lab, NotebookPage, Server, jupyterlab

if TYPE_CHECKING:
    from ..conftest import StartChild


@pytest.fixture(scope="session")
def server(
    checkout: Path,
    chromium: str,
    start_child: StartChild,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """JupyterLab, one for all modules; it may not be ready yet, as the browser starts meanwhile."""
    folder = tmp_path_factory.mktemp("notebooks")
    with jupyterlab(checkout, folder, tmp_path_factory.mktemp("jupyter"), start_child) as server:
        yield server


@pytest.fixture(scope="module")
def browser(chromium: str, server: Server) -> Iterator[Browser]:
    """A browser without a window.

    Of one module only: as long as it runs, asyncio takes this thread for a running loop.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shared_lab(browser: Browser, server: Server) -> Iterator[Lab]:
    """JupyterLab in a page that it takes longer to build than most tests last."""
    lab = Lab(browser, server)
    yield lab
    lab.close()


@pytest.fixture
def open_notebook(
    shared_lab: Lab, request: pytest.FixtureRequest
) -> Iterator[Callable[..., NotebookPage]]:
    """Opens the test's notebook with the given cells; the next one's kernel starts meanwhile."""
    items = request.session.items
    following = items[items.index(request.node) + 1 :]
    uses = (one for one in following if request.fixturename in getattr(one, "fixturenames", ()))
    next_one = next(uses, None)

    def open_it(*cells: str) -> NotebookPage:
        notebook = shared_lab.open(name_of(request.node), *cells)
        if next_one is not None:
            shared_lab.begin(name_of(next_one))
        return notebook

    yield open_it
    shared_lab.close_notebook()
    shared_lab.check()


@pytest.fixture
def open_alone(
    browser: Browser, server: Server, request: pytest.FixtureRequest
) -> Iterator[Callable[..., NotebookPage]]:
    """The same in a page of its own, which JupyterLab may fill with questions."""
    lab = Lab(browser, server)
    yield lambda *cells: lab.open(name_of(request.node), *cells)
    lab.close()


def name_of(item: pytest.Item) -> str:
    """A notebook's name for a test."""
    module = item.path.stem.removeprefix("test_")
    return re.sub("[^a-z0-9]+", "-", f"{module} {item.name}".lower())
