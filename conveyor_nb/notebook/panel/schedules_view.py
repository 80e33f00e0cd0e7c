"""The schedules of a queue in its panel: when each runs next, and what is done with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from msgspec.structs import replace

from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobState
from conveyor_nb.core.new_jobs import new_job
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.schedule import first_run, runs_from, why_no_run
from conveyor_nb.core.values.text import shorten_middle, shown
from conveyor_nb.notebook.mistakes import Mistake
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.sizes import fitting, sendable
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.notebook.schedule_words import read_rule, rule_in_words, rule_text
from conveyor_nb.queue import Queue

__all__ = ["SchedulesView"]

_MOST_SCHEDULES = 50
_NEXT_RUNS = 5
_ROOM = 24_000

_runs_from = lru_cache(maxsize=1_024)(runs_from)  # a cron line takes a while to be walked


@dataclass(frozen=True, slots=True)
class _Draft:
    """A rule that a person is typing."""

    schedule: str
    rule: str
    tz: str


class SchedulesView(View):
    """The job schedulers of a queue, in the order in which they were made."""

    part: ClassVar[str] = "schedules"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._draft: _Draft | None = None
        self._saved = 0

    async def read(self, glance: Glance) -> dict[str, Any]:
        known = await self.queue.store.get_job_schedulers(self.queue.name)
        rows = [await self._row(one) for one in known[:_MOST_SCHEDULES]]
        rows = fitting(sendable(rows), _ROOM)
        return {
            "rows": rows,
            "more": len(known) - len(rows),
            "draft": self._told_of_draft(known),
            "saved": self._saved,  # tells the page that what was typed has been taken
        }

    async def _row(self, scheduler: JobScheduler) -> dict[str, Any]:
        pending = scheduler.pending_job_id
        job = await self.queue.store.get_job(self.queue.name, pending) if pending else None
        return {
            "id": scheduler.id,
            "short_id": shorten_middle(scheduler.id, 24),
            "name": scheduler.name,
            "words": rule_in_words(scheduler.repeat),
            "rule": rule_text(scheduler.repeat),
            "tz": scheduler.repeat.tz or "",
            "paused": scheduler.paused,
            "planned": scheduler.runs,
            "limit": scheduler.repeat.limit,
            "last": scheduler.last_run and scheduler.last_run.timestamp(),
            "end": scheduler.repeat.end_date and scheduler.repeat.end_date.timestamp(),
            "job": pending if job else None,
            "running": job is not None and job.state is JobState.ACTIVE,
            "runs": _next_runs(scheduler),
        }

    def _told_of_draft(self, known: list[JobScheduler]) -> dict[str, Any] | None:
        """What the rule that is being typed would mean, or what is wrong with it."""
        draft = self._draft
        like = next((one for one in known if draft and one.id == draft.schedule), None)
        if draft is None or like is None:
            return None
        told: dict[str, Any] = {"schedule": draft.schedule, "rule": draft.rule, "tz": draft.tz}
        try:
            repeat = read_rule(draft.rule, draft.tz, like.repeat)
            first = self._first_run(repeat)
        except ValueError as error:
            return {**told, "words": "", "error": str(error), "runs": []}
        runs = _runs_from(repeat, first, like.runs or 1, _NEXT_RUNS)
        times = [run.timestamp() for run in runs]
        return {**told, "words": rule_in_words(repeat), "error": "", "runs": times}

    @property
    def again(self) -> float | None:
        return self.unheard  # no event tells of another rule

    def asks(self) -> Mapping[str, Action]:
        return {"draft_schedule": plainly(self._take_draft)}

    def acts(self) -> Mapping[str, Action]:
        queue = self.queue
        return {
            "run_schedule": self._run_now,
            "edit_schedule": self._edit,
            "pause_schedule": self._doing(queue.pause_job_scheduler),
            "resume_schedule": self._doing(queue.resume_job_scheduler),
            "remove_schedule": self._doing(queue.remove_job_scheduler),
        }

    def _take_draft(self, message: Message) -> None:
        """Tell what a rule would mean; none is typed any more if it is empty."""
        self._draft = (
            _Draft(message.schedule, message.rule, message.tz) if message.schedule else None
        )

    def _doing(self, do: Callable[[str], Awaitable[bool]]) -> Action:
        async def action(message: Message) -> None:
            if not await do(message.schedule):
                raise self._is_gone(message.schedule)

        return action

    async def _run_now(self, message: Message) -> None:
        """Add one more job as the schedule would: its own runs stay as they are planned."""
        one = await self._require(message.schedule)
        await self.queue.store.save_job(new_job(self.queue.name, one.name, one.data, one.opts))

    async def _edit(self, message: Message) -> None:
        """Give a schedule another rule, as ``upsert_job_scheduler`` does; a paused one stays so."""
        one = await self._require(message.schedule)
        try:
            repeat = read_rule(message.rule, message.tz, one.repeat)
            self._first_run(repeat)
        except ValueError as error:
            raise Mistake(str(error)) from error
        await self.queue.store.upsert_job_scheduler(replace(one, repeat=repeat))
        self._draft = None
        self._saved += 1

    def _first_run(self, repeat: Repeat) -> Any:
        """When it would run first.

        Raises:
            ValueError: never.
        """
        now = self.queue.store.clock.now()
        first = first_run(repeat, now)
        if first is None:
            raise ValueError(f"it would have no run to come: {why_no_run(repeat, now)}")
        return first

    async def _require(self, scheduler_id: str) -> JobScheduler:
        one = await self.queue.store.get_job_scheduler(self.queue.name, scheduler_id)
        if one is None:
            raise self._is_gone(scheduler_id)
        return one

    def _is_gone(self, scheduler_id: str) -> ConveyorError:
        whose = f"queue {shown(self.queue.name)}"
        return ConveyorError(f"{whose} has no schedule {shown(scheduler_id)} any more")


def _next_runs(scheduler: JobScheduler) -> list[float]:
    """The instants of the runs to come, the pending one first."""
    if scheduler.next_run is None or scheduler.paused:
        return []
    runs = _runs_from(scheduler.repeat, scheduler.next_run, scheduler.runs, _NEXT_RUNS)
    return [run.timestamp() for run in runs]
