"""What can be done to a job that is in a store: one small record for each action.

``lifecycle.decide`` says what an action changes; a store applies the decided change in one
atomic step (``StoreInterface.apply``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = [
    "Action",
    "Cancel",
    "ChangeDelay",
    "ChangePriority",
    "ClearLogs",
    "Complete",
    "Discard",
    "ExtendLock",
    "Fail",
    "Log",
    "MoveToDelayed",
    "Promote",
    "Release",
    "Retry",
    "SetProgress",
    "Stall",
    "UpdateData",
]


@dataclass(frozen=True, slots=True)
class Complete:
    """The handler returned. Needs the lock."""

    returnvalue: Any = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The attempt failed. Needs the lock; ``final`` rules out a retry."""

    reason: str
    stacktrace: str | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """The worker gives the job back unfinished: no attempt is spent. Needs the lock."""

    reason: str = "the worker was closed"


@dataclass(frozen=True, slots=True)
class MoveToDelayed:
    """The handler puts its job off until an instant: no attempt is spent. Needs the lock."""

    until: datetime


@dataclass(frozen=True, slots=True)
class ExtendLock:
    """Hold the lock for ``duration`` seconds from now. Needs the lock."""

    duration: float


@dataclass(frozen=True, slots=True)
class Stall:
    """The lock ran out with nobody to renew it: the attempt counts as failed.

    With ``lock_until``, only if the lock still is the one that ran out then.
    """

    lock_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the job, whatever it waits for; of a settled job: no effect."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Let a delayed job run now."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Run a settled job again."""


@dataclass(frozen=True, slots=True)
class Discard:
    """No retry after the attempt under way, or after the next one."""


@dataclass(frozen=True, slots=True)
class UpdateData:
    """Replace the payload."""

    data: Any


@dataclass(frozen=True, slots=True)
class ChangeDelay:
    """Let a delayed job become due ``delay`` seconds from now."""

    delay: float


@dataclass(frozen=True, slots=True)
class ChangePriority:
    """Give a job that has not settled another priority."""

    priority: float


@dataclass(frozen=True, slots=True)
class SetProgress:
    """Say how far the job is, in percent."""

    value: float


@dataclass(frozen=True, slots=True)
class Log:
    """Add a line to the job's log, and to that of the attempt under way; then ``more`` lines."""

    line: str
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClearLogs:
    """Empty the job's log."""


Action = (
    Complete
    | Fail
    | Release
    | MoveToDelayed
    | ExtendLock
    | Stall
    | Cancel
    | Promote
    | Retry
    | Discard
    | UpdateData
    | ChangeDelay
    | ChangePriority
    | SetProgress
    | Log
    | ClearLogs
)
