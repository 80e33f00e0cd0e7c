"""What is wrong with a process from its start: its clock is off, and its disk may become full.

The environment says so, and the process arms itself before it opens a store.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.real_time import RealTime

__all__ = ["CLOCK_OFF_BY", "FULL", "arm", "environment"]

CLOCK_OFF_BY = "CRASH_CLOCK_OFF_BY"
"""The variable that says by how many seconds a process's clock is ahead."""

FULL = "CRASH_FULL"
"""The variable that names a file: while it is there, files of SQLite do not grow."""

_ALL_PAGES = 0xFFFFFFFE


def environment(clock_off_by: float, full: Path) -> Mapping[str, str]:
    """What a process is to find in its environment."""
    return {CLOCK_OFF_BY: str(clock_off_by), FULL: str(full)}


def arm() -> None:
    """Do what the environment says to this process."""
    if (seconds := float(os.environ.get(CLOCK_OFF_BY, 0))) != 0:
        _set_clock(seconds)
    if FULL in os.environ:
        plain = sqlite3.connect
        _Connection.full = Path(os.environ[FULL])
        made = functools.partial(plain, factory=_Connection)
        sqlite3.connect = made  # type: ignore[assignment]


def _set_clock(seconds: float) -> None:
    """Let the machine's time be another one, here alone."""

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=seconds)

    REAL_TIME._wall = now
    RealTime.__init__.__defaults__ = (now, time.monotonic)


class _Connection(sqlite3.Connection):
    """Finds the disk full, from one transaction to the next."""

    full = Path()
    _is_full = False

    def execute(self, text: str, *given: Any) -> sqlite3.Cursor:
        """As ever; a transaction that begins looks at the disk."""
        if text.startswith("BEGIN IMMEDIATE") and self.full.exists() is not self._is_full:
            self._is_full = not self._is_full
            (pages,) = super().execute("PRAGMA page_count").fetchone()
            most = pages if self._is_full else _ALL_PAGES
            super().execute(f"PRAGMA max_page_count = {most}")
        return super().execute(text, *given)
