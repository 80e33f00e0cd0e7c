"""What every test shares: nothing that a test starts may outlive it, and none may last for ever.

Warnings are errors (see ``pyproject.toml``), so a coroutine that is never awaited fails its test
as soon as it is collected; the fixtures here see to it that this happens in that same test, and
add what Python itself does not warn of: tasks, errors on the loop, and threads left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from conveyor_nb import StoreEvent
from conveyor_nb.stores.subscriptions import Subscriptions
from conveyor_nb.testing.events import fault_of_data
from tests.postgres import postgres_dsn

__all__ = ["postgres_dsn"]  # a fixture, made where servers are

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"
BROWSER_TESTS = Path(__file__).resolve().parent / "browser"
THREADS = pytest.StashKey[frozenset[threading.Thread]]()
THREAD_PATIENCE = 2.0
"""For how many seconds a thread that was told to end may still be on its way out."""

LIMIT = pytest.StashKey[Any]()
EXIT_CODE = pytest.StashKey[int]()
STUBBORN = 1.0
"""Seconds after which a test that is past its time limit and still runs is stopped once more."""

CasesOf = Callable[[Callable[..., object]], list[pytest.Function]]
NpmInstall = Callable[[Path, Path], None]
StartChild = Callable[..., contextlib.AbstractContextManager[subprocess.Popen[str]]]


def pytest_configure() -> None:
    """Feel interrupts, and let all that is started from here feel them, wherever that is.

    What a script starts in its background ignores Ctrl-C, and so does all that this starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
    # Whatever hangs in a cycle is destroyed now, and so warns now, in the test that left it. What
    # is alive even so, such as modules, is left out of later collections: they take no time then.
    gc.collect()
    gc.freeze()
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


@pytest.fixture(autouse=True)
def _event_data_check(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fail a test in which a store publishes an event whose data is not as the table says."""
    faults: list[str] = []
    publish = Subscriptions.publish

    def checked(self: Subscriptions, events: Iterable[StoreEvent], *more: Any) -> None:
        events = list(events)
        faults.extend(filter(None, map(fault_of_data, events)))
        publish(self, events, *more)

    if BENCHMARKS not in request.node.path.parents:  # they count calls
        monkeypatch.setattr(Subscriptions, "publish", checked)
    yield
    if faults:
        pytest.fail(f"events are not as conveyor_nb.core.event_data says: {faults}", pytrace=False)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Generator[None, object, object]:
    """Stop a test that is past its limit (of ``pytest-timeout``) until it is over.

    Once is not enough: the error may be raised in a task that is not the test's own.
    """
    result = yield
    item.stash[LIMIT] = settings
    if settings.method == "signal":
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, STUBBORN)
    return result


@contextlib.contextmanager
def time_limit(item: pytest.Item) -> Iterator[None]:
    """Give a phase of a test the whole of its limit, and to pytest's own work beside it none."""
    settings = item.stash.get(LIMIT, None)
    if settings is None:
        yield
        return
    item.ihook.pytest_timeout_set_timer(item=item, settings=settings)
    try:
        yield
    finally:
        item.ihook.pytest_timeout_cancel_timer(item=item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    item.stash[THREADS] = frozenset(threading.enumerate())
    with time_limit(item):
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with time_limit(item):
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fail an async test that leaves a thread behind, once its loop is closed."""
    with time_limit(item):
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


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[EXIT_CODE] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Don't wait at the exit for the threads of tests that hung."""
    hung = [one for one in threading.enumerate() if not one.daemon and one.name != "MainThread"]
    if hung and (code := config.stash.get(EXIT_CODE, 0)):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture(scope="session")
def start_child() -> StartChild:
    """Starts a program for a block of code; it is killed at the end, if it still runs then."""

    @contextlib.contextmanager
    def start(command: list[Any], **options: Any) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(command, text=True, **options) as child:
            try:
                yield child
            finally:
                child.kill()

    return start


@pytest.fixture(scope="session")
def cases_of(request: pytest.FixtureRequest) -> CasesOf:
    """Gives the cases of a test that this run has, to begin all of them at once."""

    def cases(function: Callable[..., object]) -> list[pytest.Function]:
        tests = [one for one in request.session.items if isinstance(one, pytest.Function)]
        return [one for one in tests if one.function is function]

    return cases


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
def npm_install() -> NpmInstall:
    """Installs what the ``package.json`` of a folder names into another folder.

    Skips the test where there is no Node.js, but never on CI.
    """

    def install(source: Path, work: Path) -> None:
        if shutil.which("npm") is None or not (shutil.which("node") or shutil.which("nodejs")):
            reason = "no Node.js with npm on this machine (apt-get install nodejs npm)"
            if os.environ.get("CI") == "true":
                pytest.fail(f"{reason}; on CI what needs it must run")
            pytest.skip(reason)
        shutil.copy(source / "package.json", work)
        quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--no-update-notifier"]
        command = ["npm", "install", *quiet]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            said = f"{' '.join(command)}\n{done.stdout}{done.stderr}"
            pytest.fail(said[-8000:], pytrace=False)

    return install


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top folder of the source tree."""
    return Path(__file__).resolve().parent.parent
