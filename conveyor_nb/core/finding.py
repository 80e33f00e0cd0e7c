"""What is odd in a store: one record for each thing that was found."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

__all__ = ["Finding", "Severity"]


class Severity(StrEnum):
    """How serious a finding is."""

    INFO = "info"
    """Worth knowing; nothing has to be done."""

    WARNING = "warning"
    """Something does not go on as it should, or may not."""

    ERROR = "error"
    """A job, or a program that reads it, is stuck or wrong until somebody does something."""


class Finding(Struct, frozen=True):
    """One thing that is odd in a store.

    Args:
        what: its kind, in a word or some.
        severity: how serious it is.
        queue_name: where; ``None``: it is of no queue.
        job_id: of which job, if it is of one.
        detail: what was found.
        advice: what to do.
    """

    what: str
    severity: Severity
    queue_name: str | None
    job_id: str | None
    detail: str
    advice: str
