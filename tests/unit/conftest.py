"""Checks of the code that take their time begin with the first test, whichever that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = pytest.StashKey[dict[str, subprocess.Popen[str]]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the checks that a test will ask for."""
    checks = session.config.stash.setdefault(CHECKS, {})
    if not session.config.option.collectonly:
        for item in session.items:
            if item.path.name == "test_style.py" and isinstance(item, pytest.Function):
                check = str(item.callspec.params["check"])
                checks[check] = subprocess.Popen(
                    [sys.executable, "-m", *check.split()],
                    cwd=Path(__file__).resolve().parents[2],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End those that no test has waited for."""
    for process in session.config.stash.get(CHECKS, {}).values():
        with process:
            process.kill()


@pytest.fixture(scope="session")
def checks(pytestconfig: pytest.Config) -> dict[str, subprocess.Popen[str]]:
    """The checks that run."""
    return pytestconfig.stash[CHECKS]
