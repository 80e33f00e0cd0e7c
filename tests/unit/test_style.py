"""The checks that a reader of the code relies on, run like any other test."""

from __future__ import annotations

import subprocess

import pytest


@pytest.mark.parametrize(
    "check",
    ["ruff check --quiet", "ruff format --check --quiet", "mypy --no-error-summary"],
)
def test_the_code_passes(check: str, checks: dict[str, subprocess.Popen[str]]) -> None:
    process = checks[check]
    said, _ = process.communicate()
    if process.returncode:
        pytest.fail(f"{check}\n{said}", pytrace=False)
