"""Other programs that a command runs to their end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["run_child"]


def run_child(
    command: Sequence[str | Path], *, cwd: Path | None = None, shows_output: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run one, and get what it says.

    Args:
        command: the program and its arguments.
        cwd: the folder it runs in; this one if not given.
        shows_output: only what it says of its faults is got, and the rest is shown.
    """
    return subprocess.run(
        command,
        stdout=None if shows_output else subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        # on Windows a Python would write as the machine does, and npm writes UTF-8 all the same
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
        errors="replace",
        check=False,
    )
