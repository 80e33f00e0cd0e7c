"""What runs inside Pyodide: pytest, on Pyodide's own event loop, without what isn't there.

pytest waits for a test's loop. Pyodide's ``WebLoop`` can't be waited for: it hands each callback
to the browser (here: to Node), and ``run_until_complete`` returns at once, unless WebAssembly can
switch stacks (JSPI), which Node does unasked from version 25 on only. So the loop here is
``WebLoop`` as it is, with its futures and tasks and no ready queue that anyone could see; only the
browser below it is made of Python: it calls what is due within 2 ms in order, and the rest in
time. That can be waited for, and pytest-asyncio gives every test a loop of its own, as elsewhere.
That the engine runs on a ``WebLoop`` with Node's own timers as well, a script shows: see
``test_pyodide.py``.
"""

from __future__ import annotations

import asyncio
import builtins
import functools
import heapq
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyodide import webloop  # type: ignore[import-not-found]

CANNOT = {
    "threads": "there is one thread, so no plain 'def' handlers",
    "processes": "there are no processes",
    "sockets": "there are no sockets and no pipes",
    "packages": "a package isn't there: it has no wheel for Pyodide, or the engine doesn't use it",
    "stack": "the browser's stack overflows, which ends Pyodide, before Python sees it coming",
}
"""Why a test can't run here. Nobody lists these tests: one that fails and has asked for such a
thing is put down as one that can't; all others have to pass. Only ``ENDLESS`` ones aren't tried."""

ENDLESS = frozenset({"test_a_payload_too_deep_to_copy_is_an_error"})

PATIENCE = 60.0
"""For how many seconds a test may run."""

PATIENCE_IN_VAIN = 3.0
"""For how many seconds a test may run that waits for what isn't there."""

NOT_THE_ENGINE = (
    "tests/unit/test_cli.py",
    "tests/unit/test_site.py",
    "tests/unit/test_style.py",
    "tests/unit/test_typed.py",
    # These are about several threads, and loops that end with what is at work in them.
    "tests/engine/test_loops.py",
    "tests/engine/test_threads_of_a_store.py",
    "tests/engine/test_unstoppable.py",
    "tests/engine/test_unstoppable_at_random.py",
    "tests/engine/test_unstoppable_closed.py",
    # These wind the clocks of a machine with a loop of sockets.
    "tests/unit/test_real_time.py",
    "tests/engine/test_clock_jumps.py",
)


class Browser:
    """The part of a browser that calls back: what Pyodide calls ``scheduleCallback``."""

    def __init__(self) -> None:
        self._ready: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def schedule(self, callback: Callable[[], object], milliseconds: float = 0) -> None:
        if milliseconds <= 2:
            self._ready.append(callback)
        else:
            when = time.monotonic() + int(milliseconds) / 1000
            heapq.heappush(self._timers, (when, next(self._order), callback))

    def call_next(self) -> None:
        """Call what is next, waiting for it if need be."""
        if self._timers and (not self._ready or self._timers[0][0] <= time.monotonic()):
            when, _, callback = heapq.heappop(self._timers)
            time.sleep(max(0.0, when - time.monotonic()))
        elif self._ready:
            callback = self._ready.popleft()
        else:
            raise RuntimeError("this would wait for ever: no callback is ready and no timer is set")
        callback()

    def clear(self) -> None:
        self._ready.clear()
        self._timers.clear()


BROWSER = Browser()


class Loop(webloop.WebLoop):  # type: ignore[misc]
    """Pyodide's loop, which can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._running = False
        asyncio._set_running_loop(None)  # it says it runs from the start

    def is_running(self) -> bool:
        return self._running

    def run_until_complete(self, future: Any) -> Any:
        self._running = True
        asyncio._set_running_loop(self)
        try:
            task = asyncio.ensure_future(future, loop=self)
            start = time.monotonic()
            while not task.done():
                BROWSER.call_next()
                patience = PATIENCE_IN_VAIN if needed else PATIENCE
                if time.monotonic() > start + patience:
                    raise TimeoutError(f"the test has run for {patience} s")
            return task.result()
        finally:
            asyncio._set_running_loop(None)
            self._running = False

    def close(self) -> None:
        BROWSER.clear()

    def _decrement_in_progress(self, future: Any = None) -> None:
        # WebLoop reports a task's error at once if nobody waits for it yet, be it awaited a line
        # later; asyncio does it when the error is lost, and that is what the tests look for.
        self._in_progress -= 1

    def run_in_executor(self, executor: Any, function: Any, *args: Any) -> Any:
        # WebLoop calls the function in this thread: one that waits for the loop would never end.
        need("threads")
        raise RuntimeError("can't start new thread")


class Policy(webloop.WebLoopPolicy):  # type: ignore[misc]
    """Makes the loops of ``asyncio.run`` and ``asyncio.Runner``."""

    def new_event_loop(self) -> Loop:
        return Loop()


# -- what isn't there -------------------------------------------------------------------------

needed: set[str] = set()
"""What the current test asked for that isn't there."""

outcomes: dict[str, str] = {}
"""For each test: passed, failed, skipped, or what it needs that isn't there."""


def need(what: str) -> None:
    needed.add(what)


def tell(owner: type, what: str, *names: str) -> None:
    """Have methods, which are going to fail here, tell that a test needs them."""
    for name in names:
        setattr(owner, name, _telling(getattr(owner, name), what))


def _telling(method: Callable[..., Any], what: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def tell_and_call(*args: Any, **kwargs: Any) -> Any:
        need(what)
        return method(*args, **kwargs)

    return tell_and_call


class Absent:
    """Stands in a test's module for a package that isn't there, until something is done with it."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Absent:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self.__name__}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        need("packages")
        pytest.skip(f"{self.__name__} isn't there")


def import_or_stand_in(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Any = (),
    level: int = 0,
) -> Any:
    try:
        return original_import(name, globals, locals, fromlist, level)
    except ModuleNotFoundError as error:
        here = (globals or {}).get("__file__") or ""
        if here.startswith("/checkout/tests/") and not (error.name or "").startswith("conveyor_nb"):
            return Absent(name)
        raise


original_import = builtins.__import__


# -- the hooks of pytest ----------------------------------------------------------------------


def pytest_runtest_logstart() -> None:
    needed.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.name in ENDLESS:
        need("stack")
        pytest.skip(CANNOT["stack"])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if needed and not report.passed:
        outcomes[item.nodeid] = what = min(needed)
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, f"{what}: {CANNOT[what]}")
    elif not report.passed or report.when == "call":
        outcomes[item.nodeid] = report.outcome
    return report


def main(report: str, *tests: str) -> int:
    """Run the tests; write what came of each of them as JSON."""
    webloop.scheduleCallback = BROWSER.schedule
    webloop.create_once_callable = lambda function, **_: function
    asyncio.run = webloop._orig_run
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(Policy())
    asyncio._set_running_loop(None)

    builtins.__import__ = import_or_stand_in
    from conveyor_nb.running.processes import ProcessRunner
    from conveyor_nb.running.runners import ThreadRunner

    tell(threading.Thread, "threads", "start")
    tell(ThreadRunner, "threads", "__init__")
    tell(subprocess.Popen, "processes", "__init__")
    tell(ProcessRunner, "processes", "__init__")
    tell(Loop, "sockets", "add_reader", "add_writer", "connect_read_pipe", "connect_write_pipe")
    tell(Loop, "sockets", "create_connection", "create_server", "create_datagram_endpoint")

    os.chdir("/checkout")
    arguments = [
        "--verbose",
        "--tb=short",
        "--color=no",
        "--durations=10",
        "--override-ini=addopts=--import-mode=importlib --strict-markers",
        "--override-ini=faulthandler_timeout=0",  # it needs a thread
        "--override-ini=timeout=0",  # it needs signals
        # Hypothesis asks the collector for what holds its generator; conftest froze that.
        "-Wignore:It looks like `register_random`::",
        "-Wignore::ResourceWarning",  # a test that can't run leaves files open
        "-pno:cacheprovider",
        *(f"--ignore={each}" for each in NOT_THE_ENGINE),
    ]
    code = pytest.main([*arguments, *tests], plugins=[sys.modules[__name__]])
    Path(report).write_text(json.dumps(outcomes), encoding="utf-8")
    return int(code)
