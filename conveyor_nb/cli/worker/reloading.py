"""A worker process that is started anew when the code beside it changes."""

from __future__ import annotations

import math
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from conveyor_nb.cli.errors import CommandError, missing_packages

__all__ = ["run_reloading"]

_MORE = 5.0
"""Seconds beyond its grace after which a process that does not end is killed."""


def run_reloading(argv: Sequence[str], grace: str) -> int:
    """Run a worker process, and another one after each change of a ``.py`` file in this folder.

    Args:
        argv: the arguments of this process, in which ``--reload`` is.
        grace: how long its jobs have to finish before the next one starts, as text.

    Raises:
        CommandError: the package that watches files is not installed, or ``grace`` is no time.
    """
    from conveyor_nb.core.values.durations import to_seconds

    try:
        patience = to_seconds(grace, what="--grace") + _MORE
    except ValueError as error:
        raise CommandError(str(error)) from error
    try:
        from watchfiles import PythonFilter, run_process
    except ImportError as error:
        raise missing_packages("--reload", error, extra="worker") from error
    # a function and not a command: that would be cut into words, which Windows does in another way
    run_process(
        Path.cwd(),
        target=_work,
        target_type="function",
        args=([one for one in argv if one != "--reload"],),
        watch_filter=PythonFilter(),
        sigint_timeout=math.ceil(patience),
    )
    return 0


def _work(argv: Sequence[str]) -> None:
    """Be ``python -m conveyor_nb`` with these arguments, in a new Python."""
    sys.argv[1:] = argv
    runpy.run_module("conveyor_nb", run_name="__main__")
