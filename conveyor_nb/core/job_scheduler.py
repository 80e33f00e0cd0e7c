"""The record of a repeating job; ``schedule`` says when its runs are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import inline, shown

__all__ = ["JobScheduler"]


class JobScheduler(Struct, frozen=True):
    """A repeating job: the template of its runs, and where its chain stands.

    ``runs`` counts the runs that were planned; ``next_run`` is when the pending one is planned
    for, and ``pending_job_id`` is its job; ``last_run`` is when the one before was planned for.
    """

    id: str
    queue_name: str
    repeat: Repeat
    name: str
    data: Any
    opts: JobOptions
    runs: int = 0
    last_run: datetime | None = None
    next_run: datetime | None = None
    pending_job_id: str | None = None
    paused: bool = False

    def __repr__(self) -> str:
        whose = f"{inline(self.id)} of {inline(self.queue_name)}: {shown(self.name)}"
        state = "paused" if self.paused else "" if self.next_run else "no run to come"
        due = f"next {self.next_run:%Y-%m-%d %H:%M:%S} UTC" if self.next_run else ""
        told = [f"{whose} {self.rule}", f"{self.runs} planned", due, state]
        return f"<JobScheduler {', '.join(part for part in told if part)}>"

    @property
    def rule(self) -> str:
        """When it runs, in a few words."""
        repeat = self.repeat
        if repeat.every is not None:
            return f"every {format_seconds(repeat.every)}"
        return f"at {shown(repeat.cron)}{f' in {repeat.tz}' if repeat.tz else ''}"
