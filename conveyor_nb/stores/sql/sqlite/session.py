"""Steps on a connection: what they ask is answered at once, so each is taken once."""

from __future__ import annotations

import contextlib
import random as random_module
import sqlite3
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from datetime import datetime
from types import GeneratorType
from typing import Any

from msgspec.structs import replace

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.model import JobData, StoreEvent
from conveyor_nb.core.rows import Key, Rows
from conveyor_nb.core.steps import serving
from conveyor_nb.core.steps.many import promote_due
from conveyor_nb.core.values.ids import random_id
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.sqlite.connecting import ask
from conveyor_nb.stores.sql.unclaimed import giving_back
from conveyor_nb.stores.sql.writing import Writing
from conveyor_nb.stores.working_set.changes import Changes
from conveyor_nb.stores.working_set.questions import Question
from conveyor_nb.stores.working_set.rows import WorkingSet

__all__ = ["HasToWriteError", "Session", "Step"]

Step = Callable[[Rows, datetime], Any]
"""A step of ``core``, with all its arguments but the rows and the instant."""


_EVERY_JOB = frozenset({("", "")})
"""Makes steps note what each job returned: somebody may follow it in another process."""


class HasToWriteError(BaseException):
    """Raised by who was to look only, and found that there is something to be written."""


class _AnsweredSet(WorkingSet):
    """A working set that never lacks an answer, and is given what is known without a question."""

    def __init__(self, answer: Callable[[Question], Any], answers: Answers, **options: Any) -> None:
        self._answer = answer
        self._known, self._counters = answers.known, answers.counters
        self._has_random_ids = not answers.sequential_ids
        self._added = 0
        super().__init__(**options)

    @property
    def random(self) -> random_module.Random:
        """What chance has a say in; no step is taken again."""
        return self._random

    def job(self, queue_name: str, job_id: str) -> JobData | None:
        """The job, as it is now."""
        active = self._known.active.get(queue_name)
        if (
            active is not None
            and job_id in active
            and (queue_name, job_id) not in self.changes.jobs
        ):
            return active[job_id]
        return super().job(queue_name, job_id)

    def new_id(self, queue_name: str) -> str:
        """An id that no job of the queue has."""
        return random_id() if self._has_random_ids else super().new_id(queue_name)

    def add(self, job: JobData, values: Mapping[str, Any]) -> JobData:
        """Take in a new row."""
        last = self._counters.known("sequence")
        self._added += 1
        if last is None:
            return super().add(job, values)
        row = replace(job, sequence=last + self._added, **values)
        self._put((row.queue_name, row.id), None, row)
        return row

    def next_in_turn(self, queue_name: str, options: FetchOptions, now: datetime) -> JobData | None:
        """The job to serve now."""
        if not options.lifo:
            job = self._known.next_waiting(queue_name, len(self.changes.started))
            if job is not None:
                return job
        return super().next_in_turn(queue_name, options, now)

    def _ask(self, what: str, *about: Any) -> Any:
        question = Question(what, about)
        answers = self.answers
        if question not in answers:
            self.learn((question,), (self._answer(question),))
        return answers[question]

    def is_idle(self, queue_name: str) -> bool:
        """Whether nothing is waiting or active."""
        changed = self.changes.jobs
        if len(changed) == 1 and self._known.has_busy(queue_name, changed):
            return False
        overlay = self._overlay
        if overlay.busy[queue_name]:
            return False
        were_busy = overlay.were_busy[queue_name]
        known = self._known.busy(queue_name, len(were_busy) + 1)
        if known is not None:
            return were_busy.issuperset(known)
        return super().is_idle(queue_name)


class Session:
    """Takes steps on a connection, within the transaction that is under way.

    Args:
        answers: answers what they ask.
        clock: tells the instant of each.
        seed: fixes what chance has a say in.
        followed: the jobs that somebody follows by themselves.
        collects_metrics: whether settled jobs are counted.
    """

    def __init__(
        self,
        answers: Answers,
        clock: Clock,
        *,
        seed: int | None,
        followed: Collection[Key],
        collects_metrics: bool,
    ) -> None:
        self.connection: sqlite3.Connection
        self.answers = answers
        self.writing = Writing(answers, spares_nulls=True)
        self.may_write = False
        """Whether it is in a transaction that may write."""
        self.told: list[StoreEvent] = []
        """What the steps of the transaction have noted."""
        self.results: dict[Key, Any] = {}
        """What jobs returned that somebody follows here."""
        self.lost_results: dict[Key, Any] = {}
        """What jobs returned that are gone by now: others may follow them elsewhere."""
        self.now = clock.now
        self._answer_of = answers.answer
        self.followed = followed
        self._options: Mapping[str, Any] = {
            "random": random_module.Random(seed),
            "followed": _EVERY_JOB,
            "collects_metrics": collects_metrics,
            "freeze": answers.codec.freeze,
        }

    def ask(self, asking: Asking[Any]) -> Any:
        """Send statements; returns the answer."""
        return ask(self.connection, asking)

    def answer(self, question: Question) -> Any:
        """Answer a question of a working set."""
        return ask(self.connection, self._answer_of(question))

    def take(self, step: Step, about: Sequence[JobData | Key] = ()) -> Any:
        """Take a step, and write what it changed; returns its result."""
        rows = _AnsweredSet(self.answer, self.answers, about=about, **self._options)
        result = step(rows, self.now())
        if type(result) is GeneratorType:
            result = _to_its_end(result)
        self._write(rows.changes)
        return result

    def fetch(
        self,
        queue_name: str,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions,
        limit: int,
    ) -> Fetched:
        """Promote what is due, and take the next jobs."""
        known = self.answers.known.next_due
        due = known[queue_name] if queue_name in known else self._next_due(queue_name)
        if due is not None and due <= self.now():
            self.take(lambda rows, now: promote_due(rows, queue_name, now))
        given = (queue_name, worker_id, lock_duration, options, limit)
        fetched: Fetched = self.take(lambda rows, now: serving.fetch(rows, *given, now))
        if not self.may_write and self.answers.limits.is_wider:
            raise HasToWriteError  # from now on the starts of jobs are noted for this limit
        return fetched

    def take_and_fetch(
        self,
        step: Step,
        queue_name: str,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions,
        limit: int,
    ) -> tuple[Any, Fetched | None]:
        """Take a step, then fetch; ``None`` in place of jobs if that can't be done."""
        result = self.take(step)
        try:
            return result, self.fetch(queue_name, worker_id, lock_duration, options, limit)
        except sqlite3.Error:
            raise
        except Exception:  # who fetches alone is told
            return result, None

    def give_back(self, fetched: Fetched | None, worker_id: str) -> None:
        """Put back jobs that were taken for somebody who was gone before they had them."""
        for _, step in giving_back(fetched, worker_id):
            with contextlib.suppress(ConveyorError):  # it is not theirs any more
                self.take(step)

    def _next_due(self, queue_name: str) -> datetime | None:
        due: datetime | None = self.ask(self.answers.next_due(queue_name))
        return due

    def note(self, event: StoreEvent) -> None:
        """Note an event that is of no step."""
        if not self.may_write:
            raise HasToWriteError
        self.told.append(event)

    def _write(self, changes: Changes) -> None:
        if not self.may_write:
            if changes:
                raise HasToWriteError
            return
        statement = self.writing.at_once(changes)
        if statement is not None:
            self.connection.execute(*statement)
        else:
            self.ask(self.writing.write(changes))
        self.told += changes.events
        for key, result in changes.results.items():
            if key in self.followed:
                self.results[key] = result
            if changes.jobs.get(key, self) is None:  # there is no record that has it
                self.lost_results[key] = result


def _to_its_end(step: Generator[None, None, Any]) -> Any:
    """What a step gives that may be interrupted, and is not: others wait only for its end."""
    try:
        while True:
            next(step)
    except StopIteration as end:
        return end.value
