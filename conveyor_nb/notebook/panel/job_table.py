"""The table of a panel: which jobs it shows, and what a row says of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from conveyor_nb.core.model import JobData, JobPage, JobState, to_state
from conveyor_nb.core.values.text import shorten_middle
from conveyor_nb.notebook.happening import what_happens
from conveyor_nb.notebook.job_words import instant_of, outcome, tries
from conveyor_nb.notebook.panel.job_choice import Choice, Search
from conveyor_nb.notebook.panel.job_deeds import Asking
from conveyor_nb.notebook.panel.job_export import export, file_name
from conveyor_nb.notebook.panel.job_form import JobForm
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.notebook.require_pandas import require_pandas
from conveyor_nb.queue import Queue

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["PAGE_SIZE", "JobsView", "job_row"]

PAGE_SIZE = 10
_IN_ORDER = frozenset({JobState.WAITING, JobState.DELAYED, JobState.WAITING_CHILDREN})
"""States whose jobs are shown in the order in which their turn comes; others: newest first."""

_SHORT_ID = 13
_MOST_KNOWN = 20
_LONGEST_KNOWN = 60


class JobsView(View):
    """Which page of which jobs a panel shows."""

    part: ClassVar[str] = "jobs"
    may_rest: ClassVar[bool] = False  # a file goes to a page once

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self.choice = Choice()
        self.page = 0
        self._search = Search(queue)
        self._form = JobForm(queue, self._search.forget)
        self._asking = Asking(queue, self._chosen, self._search.forget)
        self._shown: Sequence[JobData] = ()
        self._file: dict[str, Any] | None = None
        self._known: dict[str, dict[str, None]] = {
            what: {} for what in ("name", "group", "flow", "schedule")
        }

    @property
    def frame(self) -> DataFrame:
        """What the table shows, as a frame: these jobs, in this order, as they are shown."""
        require_pandas()  # a panel is there without
        from conveyor_nb.notebook.frames import jobs_frame

        return jobs_frame(self._shown)

    async def frame_of_all(self) -> DataFrame:
        """All that fit what is looked for, on whatever page, as they are now.

        They are sorted as the table is; of a table that is not, the newest come first.
        """
        require_pandas()
        from conveyor_nb.notebook.columns import in_turns
        from conveyor_nb.notebook.frames import building_jobs_frame

        return await in_turns(building_jobs_frame(await self._search.all(self.choice)))

    def show(self, state: str) -> None:
        """Show the jobs in a state, or all if it is empty, from the first page on.

        Raises:
            ValueError: there is no such state.
        """
        self._choose(replace(self.choice, state=to_state(state or None)))

    def filter(self, message: Message) -> None:
        """Show only what a person looks for, from the first page on."""
        self._choose(
            Choice(
                state=self.choice.state,
                text=message.text.strip(),
                name=message.name,
                group=message.group,
                flow=message.flow,
                schedule=message.schedule,
                added=message.grace,
                since=message.since,
                until=message.until,
                sort=self.choice.sort,
            )
        )

    def sort(self, by: str) -> None:
        """Sort the table, or show it as it happens if ``by`` is empty.

        Raises:
            ValueError: it can't be sorted so.
        """
        self._choose(replace(self.choice, sort=by))

    def turn_to(self, page: int) -> None:
        """Show another page, counted from 0; past the last one, the last."""
        self.page = max(0, page)

    def _choose(self, choice: Choice) -> None:
        self.choice = choice
        self.page = 0
        self._search.forget()

    def asks(self) -> Mapping[str, Action]:
        return {
            "show": plainly(lambda message: self.show(message.state)),
            "page": plainly(lambda message: self.turn_to(message.page)),
            "filter": plainly(self.filter),
            "export": self._export,
            "sort": plainly(lambda message: self.sort(message.sort)),
        }

    def acts(self) -> Mapping[str, Action]:
        queue = self.queue
        return {
            "pause_name": lambda message: queue.pause(message.name),
            "resume_name": lambda message: queue.resume(message.name),
            **self._asking.acts(),
            **self._form.acts(),
        }

    @property
    def again(self) -> float | None:
        return self._search.again if self.choice.is_searched else None

    async def read(self, glance: Glance) -> dict[str, Any]:
        """The page as the front end draws it; without a search, no more is read than a page."""
        found = await self._read_page(glance)
        pages = max(1, -(-found.total // PAGE_SIZE))
        if self.page >= pages:
            self.page = pages - 1
            found = await self._read_page(glance)
        for job in found.jobs:
            self._learn(job)
        self._shown = found.jobs
        file, self._file = self._file, None  # a page gets it once
        return {
            "file": file,
            "state": str(self.choice.state or ""),
            "sort": self.choice.sort,
            "filter": {
                what: getattr(self.choice, what)
                for what in ("text", *self._known, "added", "since", "until")
            },
            "question": self._asking.shown,
            "form": self._form.shown,
            "known": {what: list(values) for what, values in self._known.items()},
            "page": self.page,
            "pages": pages,
            "total": found.total,
            "first": self.page * PAGE_SIZE,
            "rows": [job_row(job) for job in found.jobs],
        }

    async def _read_page(self, glance: Glance) -> JobPage:
        choice, store, name = self.choice, self.queue.store, self.queue.name
        first = self.page * PAGE_SIZE
        if choice.is_searched:
            return await self._search.page(choice, first, PAGE_SIZE)
        if choice.state is None:
            jobs = await what_happens(store, name, glance.counts, first, PAGE_SIZE)
            return JobPage(jobs, glance.total)
        newest_first = choice.state not in _IN_ORDER
        jobs = await store.list_jobs(
            name, choice.state, first, first + PAGE_SIZE, newest_first=newest_first
        )
        return JobPage(jobs, glance.counts[choice.state])

    async def _chosen(self, message: Message) -> Sequence[JobData]:
        """The jobs that a page has chosen, or all that fit, as they are now."""
        if message.all:
            return await self._search.all(self.choice)
        store, name = self.queue.store, self.queue.name
        found = [await store.get_job(name, job_id) for job_id in message.ids]
        return [job for job in found if job is not None]

    async def _export(self, message: Message) -> None:
        """Let the page that asks save the jobs that it has chosen as a file."""
        jobs = await self._chosen(message)
        text = await export(jobs, message.act, self.queue.store.clock)
        name = file_name(self.queue.name, message.act)
        self._file = {"name": name, "text": text, "view": message.view}

    def _learn(self, job: JobData) -> None:
        """Keep what there is to filter by, as far as it was seen: the newest few of each."""
        values = (job.name, job.group_id, job.parent_id, job.scheduler_id)
        for known, value in zip(self._known.values(), values, strict=True):
            if value and value not in known and len(value) <= _LONGEST_KNOWN:
                known[value] = None
                if len(known) > _MOST_KNOWN:
                    del known[next(iter(known))]


def job_row(job: JobData) -> dict[str, Any]:
    """A job as a row of the table."""
    at, word = instant_of(job)
    return {
        "id": job.id,
        "short_id": shorten_middle(job.id, _SHORT_ID),
        "name": job.name,
        "state": str(job.state),
        "progress": _progress(job),
        "tries": tries(job),
        "at": at.timestamp() if at else None,
        "at_word": word,
        "text": outcome(job),
        "tags": [[kind, text] for kind, text in _tags(job) if text],
    }


def _tags(job: JobData) -> tuple[tuple[str, str | None], ...]:
    """What a job belongs to: its flow, by its parent or as a parent; its schedule; its group."""
    flow = job.parent_id and shorten_middle(job.parent_id, _SHORT_ID)
    if job.children_ids:
        flow = f"{len(job.children_ids):,} {'child' if len(job.children_ids) == 1 else 'children'}"
    schedule = job.scheduler_id and shorten_middle(job.scheduler_id, _SHORT_ID)
    group = job.group_id and shorten_middle(job.group_id, _SHORT_ID)
    return ("flow", flow), ("schedule", schedule), ("group", group)


def _progress(job: JobData) -> float | None:
    """How far a running job has come, or a failed job had come."""
    if job.state is JobState.ACTIVE or (job.progress and job.state is not JobState.COMPLETED):
        return job.progress
    return None
