"""A machine whose clock is set, and that sleeps, as a test wants; its loops take no real time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from conveyor_nb import SystemClock

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Machine:
    """A machine whose clocks are wound by hand."""

    def __init__(self) -> None:
        self.wall = NOON
        self.even = 5_000.0

    def pass_by(self, seconds: float) -> None:
        """Time goes by."""
        self.wall += timedelta(seconds=seconds)
        self.even += seconds

    def set(self, by: timedelta) -> None:
        """Somebody sets the clock, or the machine sleeps."""
        self.wall += by

    def clock(self) -> SystemClock:
        """The clock of a store on this machine."""
        return SystemClock(lambda: self.wall, lambda: self.even)


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: the time that it was to wait has gone by at once."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def select(self, timeout: float | None = None) -> Any:
        if timeout:
            self._machine.pass_by(timeout)
        return super().select(0)


class MachineLoop(asyncio.SelectorEventLoop):
    """A loop of a machine: it takes no time of anybody's own."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        super().__init__(_Selector(machine))
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._machine.even


def run(machine: Machine, work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, on a loop of a machine."""
    with asyncio.Runner(loop_factory=lambda: MachineLoop(machine)) as runner:
        return runner.run(work)
