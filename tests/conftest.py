"""What every test shares: nothing that a test starts may outlive it.

Warnings are errors (see ``pyproject.toml``), so a coroutine that is never awaited fails its test
as soon as it is collected; the fixtures here see to it that this happens in that same test, and
add what Python itself does not warn of: tasks, errors on the loop, and threads left behind.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import shutil
import threading
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

BROWSER_TESTS = Path(__file__).resolve().parent / "browser"
THREADS = pytest.StashKey[frozenset[threading.Thread]]()
THREAD_PATIENCE = 2.0
"""For how many seconds a thread that was told to end may still be on its way out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser tests last: while Playwright is open, no other event loop can run."""
    items.sort(key=lambda item: BROWSER_TESTS in item.path.parents)


def pytest_collection_finish() -> None:
    """Leave all that is loaded by now out of later collections, which then take no time."""
    gc.collect()
    gc.freeze()


def is_async(item: pytest.Item) -> bool:
    """Whether a test is a coroutine function, under Hypothesis' ``@given`` or not."""
    function = getattr(item, "obj", None)
    function = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return inspect.iscoroutinefunction(function)


@pytest_asyncio.fixture
async def _loop_left_as_found() -> AsyncIterator[None]:
    errors: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    before = asyncio.all_tasks()

    yield

    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    # A task that was cancelled or woken last of all has its end still to run.
    for _ in range(3):
        left = {task for task in left if not task.done()}
        await asyncio.sleep(0)
    del before
    # Whatever hangs in a cycle is destroyed now, and so warns now, in the test that left it.
    gc.collect()
    if left:
        lines = "\n".join(f"  {task!r}" for task in left)
        pytest.fail(f"the test left {len(left)} running task(s):\n{lines}", pytrace=False)
    if errors:
        lines = "\n".join(f"  {context['message']}: {context}" for context in errors)
        pytest.fail(f"errors reached the event loop:\n{lines}", pytrace=False)


@pytest.fixture(autouse=True)
def _leak_check(request: pytest.FixtureRequest) -> None:
    """Fail an async test that leaves a task running or an error on the loop.

    It is set up before the test's other fixtures, so it looks when they are gone as well.
    """
    if is_async(request.node):
        request.getfixturevalue("_loop_left_as_found")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[THREADS] = frozenset(threading.enumerate())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fail an async test that leaves a thread behind, once its loop is closed."""
    yield
    if not is_async(item):
        return
    before = item.stash[THREADS]
    for thread in threading.enumerate():
        if thread in before:
            continue
        thread.join(THREAD_PATIENCE)
        if thread.is_alive():
            pytest.fail(f"the test left a thread running: {thread!r}", pytrace=False)


def chromium_path() -> str | None:
    """Debian's Chromium, or whatever the machine has by one of its usual names."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a browser; skips the test where there is none, but never on CI."""
    path = chromium_path()
    if path is not None:
        return path
    reason = "no Chromium on this machine (apt-get install chromium)"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; on CI the browser tests must run")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top folder of the source tree."""
    return Path(__file__).resolve().parent.parent
