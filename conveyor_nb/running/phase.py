"""The phases of a worker, and what takes it from one to another: rules alone, no task and no time.

A worker that ``run_until_idle`` has started is running for a while: it stops by itself, unless it
was started to stay meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from conveyor_nb.core.worker_info import WorkerStatus

__all__ = ["Phase", "PhaseChange"]


class PhaseChange(Enum):
    """What happens to a worker that may take it to another phase."""

    START = auto()
    START_FOR_A_WHILE = auto()
    END_OF_WHILE = auto()
    PAUSE = auto()
    RESUME = auto()
    STOP = auto()
    """Something that it needs is gone: its loop, its lifespan, its store."""
    CLOSE = auto()
    """It is told to close."""
    CLOSED = auto()
    """It has done so."""


class Phase(Enum):
    """Where a worker is between its start and its end.

    >>> Phase.STOPPED.after(PhaseChange.START)
    <Phase.RUNNING: 'running'>
    >>> Phase.STOPPED.after(PhaseChange.PAUSE)
    <Phase.STOPPED: 'stopped'>
    """

    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    RUNNING_FOR_A_WHILE = "running for a while"
    PAUSED_FOR_A_WHILE = "paused for a while"
    CLOSING = "closing"
    CLOSED = "closed"

    def __init__(self, words: str) -> None:
        self.status = WorkerStatus(words.removesuffix(" for a while"))
        """What people are told of it."""
        # plain attributes, as they are looked at for each job
        self.takes_jobs = self.status is WorkerStatus.RUNNING
        """Whether free slots take jobs by themselves."""
        self.stays_on = self.status.is_at_work
        """Whether it stays when it has nothing to do."""
        self.is_closing = self.status.is_over
        """Whether it is over, or will be."""

    def after(self, change: PhaseChange) -> Phase:
        """The phase that a change leads to: this one, if it makes no difference to it."""
        return _AFTER[change].get(self, self)


_OPEN = [phase for phase in Phase if not phase.is_closing]

_AFTER: Mapping[PhaseChange, Mapping[Phase, Phase]] = {
    PhaseChange.START: dict.fromkeys(_OPEN, Phase.RUNNING),
    PhaseChange.START_FOR_A_WHILE: {Phase.STOPPED: Phase.RUNNING_FOR_A_WHILE},
    PhaseChange.END_OF_WHILE: {
        Phase.RUNNING_FOR_A_WHILE: Phase.STOPPED,
        Phase.PAUSED_FOR_A_WHILE: Phase.STOPPED,
    },
    PhaseChange.PAUSE: {
        Phase.RUNNING: Phase.PAUSED,
        Phase.RUNNING_FOR_A_WHILE: Phase.PAUSED_FOR_A_WHILE,
    },
    PhaseChange.RESUME: {
        Phase.PAUSED: Phase.RUNNING,
        Phase.PAUSED_FOR_A_WHILE: Phase.RUNNING_FOR_A_WHILE,
    },
    PhaseChange.STOP: dict.fromkeys(_OPEN, Phase.STOPPED),
    PhaseChange.CLOSE: dict.fromkeys(_OPEN, Phase.CLOSING),
    PhaseChange.CLOSED: {Phase.CLOSING: Phase.CLOSED},
}
