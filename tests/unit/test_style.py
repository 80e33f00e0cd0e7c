"""The checks that a reader of the code relies on, run like any other test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "check",
    ["ruff check --quiet", "ruff format --check --quiet", "mypy --no-error-summary"],
)
def test_the_code_passes(check: str, checkout: Path) -> None:
    command = [sys.executable, "-m", *check.split()]
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.fail(f"{check}\n{result.stdout}{result.stderr}", pytrace=False)
