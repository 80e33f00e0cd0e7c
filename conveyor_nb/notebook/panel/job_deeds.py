"""What is done with many jobs at once from a panel: it is asked first, with how many it hits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.job_query import JobQuery
from conveyor_nb.core.lifecycle import UNSETTLED
from conveyor_nb.core.model import JobData, JobState, to_state
from conveyor_nb.core.steps.retention import entered_at
from conveyor_nb.core.values.durations import to_seconds
from conveyor_nb.core.values.text import one_line, shown
from conveyor_nb.job import Job
from conveyor_nb.notebook.commands.magic_output import counted
from conveyor_nb.notebook.mistakes import Mistake
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.view import Action
from conveyor_nb.queue import Queue

__all__ = ["Asking"]

_SETTLED = frozenset({JobState.COMPLETED, JobState.FAILED})


@dataclass(frozen=True, slots=True)
class _Deed:
    """What can be done with each of many jobs.

    Args:
        ask: the question, but for its end.
        done: the word for it when it was done.
        states: in which states a job may be.
        do: does it with one.
        is_final: whether it can't be undone.
    """

    ask: str
    done: str
    states: frozenset[JobState]
    do: Callable[[Job], Awaitable[None]]
    is_final: bool = False


_DEEDS: Mapping[str, _Deed] = {
    "retry": _Deed("Run {} again", "retried", _SETTLED, Job.retry),
    "promote": _Deed("Run {} now", "promoted", frozenset({JobState.DELAYED}), Job.promote),
    "cancel": _Deed("Cancel {}", "cancelled", UNSETTLED, Job.cancel, is_final=True),
    "remove": _Deed("Remove {} for good", "removed", frozenset(JobState), Job.remove, True),
}


@dataclass(frozen=True, slots=True)
class _Question:
    """What a person is asked, and what is done if the answer is yes."""

    number: int
    text: str
    yes: str
    is_final: bool
    do: Callable[[], Awaitable[object]]


class Asking:
    """Asks a person before many jobs are changed, and does it when they say so.

    Args:
        queue: whose jobs they are.
        chosen: gives the jobs that a message is about.
        done: called when something was done.
    """

    def __init__(
        self,
        queue: Queue,
        chosen: Callable[[Message], Awaitable[Sequence[JobData]]],
        done: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._chosen = chosen
        self._done = done
        self._number = 0
        self._question: _Question | None = None

    @property
    def shown(self) -> dict[str, Any] | None:
        """The question as a page shows it; ``None``: there is none."""
        asked = self._question
        if asked is None:
            return None
        told = {"n": asked.number, "text": asked.text, "yes": asked.yes}
        return told | {"final": asked.is_final}

    def acts(self) -> Mapping[str, Action]:
        """What a page may do."""
        return {"ask": self._ask, "answer": self._answer, "keep": self._keep}

    async def _ask(self, message: Message) -> None:
        self._number += 1
        self._question = None
        if message.act in _DEEDS:
            self._question = await self._about_jobs(_DEEDS[message.act], message)
        else:
            self._question = await self._about_queue(message)

    async def _answer(self, message: Message) -> None:
        """Do what was asked; an answer to an older question does nothing."""
        asked = self._question
        if asked is None or asked.number != message.question:
            raise Mistake("something else was asked meanwhile: nothing was done")
        self._question = None
        try:
            await asked.do()
        finally:
            self._done()

    async def _keep(self, message: Message) -> None:
        self._question = None

    def _new(
        self, ask: str, number: int, do: Callable[[], Awaitable[object]], *, final: bool = True
    ) -> _Question:
        yes = ask.format(counted(number, "job"))
        return _Question(self._number, f"{yes}?", yes.split(":")[0], final, do)

    async def _about_jobs(self, deed: _Deed, message: Message) -> _Question:
        jobs = await self._chosen(message)
        hit = [job.id for job in jobs if job.state in deed.states]
        if not hit:
            which = "this job can't" if len(jobs) == 1 else f"none of {len(jobs):,} jobs can"
            raise Mistake(f"{which} be {deed.done} as it is")
        others = len(jobs) - len(hit)
        told = f" ({counted(others, 'other')} can't be)" if others else ""
        question = self._new(deed.ask, len(hit), lambda: self._do(deed, hit), final=deed.is_final)
        return _Question(
            question.number, question.text + told, question.yes, question.is_final, question.do
        )

    async def _do(self, deed: _Deed, job_ids: Sequence[str]) -> None:
        """Do it with each; one that it can't be done with any more stops no other."""
        store, refused = self._queue.store, []
        for job_id in job_ids:
            try:
                data = await store.get_job(self._queue.name, job_id)
                if data is not None:
                    await deed.do(Job(data, store))
            except ConveyorError as error:
                refused.append(error)
            if store.clock.overdue():
                await checkpoint()
        if refused:
            of = f"{len(job_ids) - len(refused):,} of {counted(len(job_ids), 'job')}"
            raise Mistake(f"{deed.done} {of}; {one_line(str(refused[0]))}")

    async def _about_queue(self, message: Message) -> _Question:
        queue = self._queue
        counts = await queue.store.get_job_counts(queue.name)
        total = sum(counts.values())
        match message.act:
            case "retry_failed":
                number = counts[JobState.FAILED]
                return self._new("Run {} again", number, queue.retry_jobs, final=False)
            case "promote_delayed":
                number = counts[JobState.DELAYED]
                return self._new("Run {} now", number, queue.promote_jobs, final=False)
            case "drain":
                number = sum(counts[state] for state in UNSETTLED) - counts[JobState.ACTIVE]
                return self._new("Remove {}: all that wait", number, queue.drain)
            case "clean":
                return await self._about_cleaning(message)
            case "obliterate":
                active = counts[JobState.ACTIVE]
                told = f", {active:,} of them at work" if active else ""
                ask = f"Obliterate {{}}: the queue and all it has{told}"
                return self._new(ask, total, lambda: queue.obliterate(force=True))
        raise ValueError(f"a panel does not know how to do {shown(message.act)}")

    async def _about_cleaning(self, message: Message) -> _Question:
        queue, state = self._queue, to_state(message.state)
        if state is None or state is JobState.ACTIVE:
            raise Mistake("clean takes any state but active")
        grace = to_seconds(message.grace or 0, what="the age")
        query = JobQuery(states=frozenset({state}))
        found = (await queue.store.find_jobs(queue.name, query, 0, None)).jobs
        since = queue.store.clock.now() - timedelta(seconds=grace)
        number = sum(entered_at(job) <= since for job in found)
        aged = f", for {message.grace} or longer" if grace else ""
        ask = f"Remove {{}}: all that are {state.value}{aged}"
        return self._new(ask, number, lambda: queue.clean(state, grace))
