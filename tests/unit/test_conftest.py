"""What ``tests/conftest.py`` does to tests that hang, and for those that a script starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform in ("win32", "emscripten"), reason="there are no signals here"
)

HANGING = """
import asyncio, subprocess, sys, threading
import pytest

ENDLESS = [sys.executable, "-c", "import threading; print('ready', flush=True);"
    "threading.Event().wait()"]

def test_wait():
    threading.Event().wait()

@pytest.mark.asyncio
async def test_await():
    await asyncio.Event().wait()

@pytest.mark.asyncio
async def test_busy_tasks():
    async def turn():
        while True:
            await asyncio.sleep(0)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(turn())

@pytest.mark.asyncio
async def test_swallowed():
    async def swallow():
        while True:
            try:
                await asyncio.Event().wait()
            except BaseException:
                pass
    await asyncio.gather(asyncio.create_task(swallow()))

@pytest.mark.asyncio
async def test_thread():
    await asyncio.to_thread(threading.Event().wait)

@pytest.fixture
def endless():
    yield
    threading.Event().wait()

def test_teardown(endless):
    pass

@pytest.fixture(scope="session")
def never_ready(start_child):
    with start_child(ENDLESS, stdout=subprocess.PIPE) as child:
        print("child", child.pid)
        child.communicate()

def test_child(never_ready):
    pass

@pytest.mark.timeout(60)
def test_that_passes():
    pass
"""


def run_pytest(folder: Path, checkout: Path, *options: str, before: str = "") -> str:
    """What pytest says of the tests in a folder, with the suite's own settings."""
    shutil.copy(checkout / "tests" / "conftest.py", folder)
    pytest_itself = [sys.executable, "-m", "pytest", f"-c{checkout / 'pyproject.toml'}", "-rA"]
    own = [f"--rootdir={folder}", "-pno:cacheprovider", "-pno:nbval", "-oaddopts=", *options]
    result = subprocess.run(
        ["sh", "-c", f'{before}exec "$@"', "sh", *pytest_itself, *own, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        # what is added to the options of this run is not for that one
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": ""},
    )
    assert result.stderr == ""
    return result.stdout


def test_a_test_that_hangs_fails_alone(tmp_path: Path, checkout: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    said = run_pytest(tmp_path, checkout, "--timeout=0.3")
    ended = dict(re.findall(r"^(?:FAILED|ERROR|PASSED) \S+::(\w+) ?-? ?(.*)$", said, re.MULTILINE))
    assert ended.pop("test_that_passes") == ""
    assert len(ended) == HANGING.count("def test_") - 1, said
    child = re.search(r"child (\d+)", said)
    assert child is not None
    with pytest.raises(ProcessLookupError):
        os.kill(int(child[1]), 0)


FEELING = """
import signal, subprocess, sys

def test_interrupts_are_felt_here_and_by_what_is_started_here():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    look = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert subprocess.check_output([sys.executable, "-c", look], text=True) == "True\\n"
"""


def test_a_suite_in_the_background_of_a_script_feels_interrupts(
    tmp_path: Path, checkout: Path
) -> None:
    (tmp_path / "test_feeling.py").write_text(FEELING)
    assert "1 passed" in run_pytest(tmp_path, checkout, before="trap '' INT; ")
