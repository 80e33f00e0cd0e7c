"""The table of a panel: which jobs it shows, and what a row says of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from conveyor_nb.core.model import JobData, JobState, to_state
from conveyor_nb.core.values.text import shorten
from conveyor_nb.notebook.job_words import instant_of, outcome, tries
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.queue import Queue

__all__ = ["PAGE_SIZE", "JobsView", "job_row"]

PAGE_SIZE = 10
_IN_ORDER = frozenset({JobState.WAITING, JobState.DELAYED, JobState.WAITING_CHILDREN})
"""States whose jobs are shown in the order in which their turn comes; others: newest first."""


class JobsView(View):
    """Which page of which state's jobs a panel shows."""

    part: ClassVar[str] = "jobs"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self.state: JobState | None = None
        self.page = 0

    def show(self, state: str) -> None:
        """Show the jobs in a state, or all if it is empty, from the first page on.

        Raises:
            ValueError: there is no such state.
        """
        self.state = to_state(state or None)
        self.page = 0

    def turn_to(self, page: int) -> None:
        """Show another page, counted from 0; past the last one, the last."""
        self.page = max(0, page)

    def asks(self) -> Mapping[str, Action]:
        return {
            "show": plainly(lambda message: self.show(message.state)),
            "page": plainly(lambda message: self.turn_to(message.page)),
        }

    async def read(self, glance: Glance) -> dict[str, Any]:
        """The page as the front end draws it; never more than a page is asked of the store."""
        total = glance.total if self.state is None else glance.counts[self.state]
        pages = max(1, -(-total // PAGE_SIZE))
        self.page = min(self.page, pages - 1)
        first = self.page * PAGE_SIZE
        jobs = await self.queue.store.list_jobs(
            self.queue.name,
            self.state,
            first,
            first + PAGE_SIZE,
            newest_first=self.state not in _IN_ORDER,
        )
        return {
            "state": str(self.state or ""),
            "page": self.page,
            "pages": pages,
            "total": total,
            "first": first,
            "rows": [job_row(job) for job in jobs],
        }


def job_row(job: JobData) -> dict[str, Any]:
    """A job as a row of the table."""
    at, word = instant_of(job)
    return {
        "id": job.id,
        "short_id": shorten(job.id, 13) if len(job.id) > 20 else job.id,
        "name": job.name,
        "state": str(job.state),
        "progress": _progress(job),
        "tries": tries(job),
        "at": at.timestamp() if at else None,
        "at_word": word,
        "text": outcome(job),
    }


def _progress(job: JobData) -> float | None:
    """How far a running job has come, or a failed job had come."""
    if job.state is JobState.ACTIVE or (job.progress and job.state is not JobState.COMPLETED):
        return job.progress
    return None
