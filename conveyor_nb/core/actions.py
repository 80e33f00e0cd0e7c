"""What can be done to a job that is in a store: one small record for each action.

``lifecycle.decide`` says what an action changes; a store applies the decided change in one
atomic step (``StoreInterface.apply``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

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
    "Hold",
    "LetGo",
    "Log",
    "MoveToDelayed",
    "Promote",
    "Release",
    "Retry",
    "SetProgress",
    "Stall",
    "UpdateData",
]


class Complete(Struct, frozen=True):
    """The handler returned. Needs the lock."""

    returnvalue: Any = None


class Fail(Struct, frozen=True):
    """The attempt failed. Needs the lock.

    Args:
        reason: what is noted of it.
        stacktrace: its traceback.
        final: there is to be no retry.
        delay: seconds until the retry; ``None``: as the job's backoff says.
        asked: the handler asked for a retry: the reason says so if there is none.
    """

    reason: str
    stacktrace: str | None = None
    final: bool = False
    delay: float | None = None
    asked: bool = False


class Release(Struct, frozen=True):
    """The worker gives the job back unfinished: no attempt is spent. Needs the lock."""

    reason: str = "the worker was closed"


class Hold(Struct, frozen=True):
    """The run was told to stop and goes on: it ends as ``end`` says. Needs the lock.

    What is final is so at once; whatever lets the job run again has to wait until the handler
    has returned, and so does a retry of a job that has ended: its lock stays until ``LetGo``.
    """

    end: Fail | Release


class LetGo(Struct, frozen=True):
    """The handler of a job that had ended before it has returned. Needs the lock."""


class MoveToDelayed(Struct, frozen=True):
    """The handler puts its job off until an instant: no attempt is spent. Needs the lock."""

    until: datetime


class ExtendLock(Struct, frozen=True):
    """Hold the lock for ``duration`` seconds from now. Needs the lock."""

    duration: float


class Stall(Struct, frozen=True):
    """The lock ran out with nobody to renew it: the attempt counts as failed.

    With ``lock_until``, only if the lock still is the one that ran out then.
    """

    lock_until: datetime | None = None


class Cancel(Struct, frozen=True):
    """Stop the job, whatever it waits for; of a settled job: no effect."""


class Promote(Struct, frozen=True):
    """Let a delayed job run now."""


class Retry(Struct, frozen=True):
    """Run a settled job again; a parent of policy ``fail`` waits for its failed children."""


class Discard(Struct, frozen=True):
    """No retry after the attempt under way, or after the next one."""


class UpdateData(Struct, frozen=True):
    """Replace the payload."""

    data: Any


class ChangeDelay(Struct, frozen=True):
    """Let a delayed job become due ``delay`` seconds from now."""

    delay: float


class ChangePriority(Struct, frozen=True):
    """Give a job that has not settled another priority."""

    priority: float


class SetProgress(Struct, frozen=True):
    """Say how far the job is, in percent."""

    value: float


class Log(Struct, frozen=True):
    """Add a line to the job's log, and to that of the attempt under way; then ``more`` lines."""

    line: str
    more: tuple[str, ...] = ()


class ClearLogs(Struct, frozen=True):
    """Empty the job's log."""


Action = (
    Complete
    | Fail
    | Release
    | Hold
    | LetGo
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
