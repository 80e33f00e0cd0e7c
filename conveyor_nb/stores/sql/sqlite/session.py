"""Steps on a connection: what they ask is answered at once, so each is taken once."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from datetime import datetime
from typing import Any

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.model import JobData, StoreEvent
from conveyor_nb.core.rows import Key, Rows
from conveyor_nb.core.steps import serving
from conveyor_nb.core.steps.many import promote_due
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking
from conveyor_nb.stores.sql.sqlite.connecting import ask
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
    """A working set that never lacks an answer."""

    def __init__(self, answer: Callable[[Question], Any], **options: Any) -> None:
        self._answer = answer
        super().__init__(**options)

    def _ask(self, what: str, *about: Any) -> Any:
        question = Question(what, about)
        answers = self.answers
        if question not in answers:
            self.learn((question,), (self._answer(question),))
        return answers[question]


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
        self.writing = Writing(answers)
        self.may_write = False
        """Whether it is in a transaction that may write."""
        self.told: list[StoreEvent] = []
        """What the steps of the transaction have noted."""
        self.results: dict[Key, Any] = {}
        """What jobs returned that somebody follows here."""
        self.lost_results: dict[Key, Any] = {}
        """What jobs returned that are gone by now: others may follow them elsewhere."""
        self._now = clock.now
        self._answer_of = answers.answer
        self._followed = followed
        self._options: Mapping[str, Any] = {
            "random": random.Random(seed),
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
        rows = _AnsweredSet(self.answer, about=about, **self._options)
        result = step(rows, self._now())
        if isinstance(result, Generator):
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
        due = self.ask(self.answers.next_due(queue_name))
        if due is not None and due <= self._now():
            self.take(lambda rows, now: promote_due(rows, queue_name, now))
        given = (queue_name, worker_id, lock_duration, options, limit)
        fetched: Fetched = self.take(lambda rows, now: serving.fetch(rows, *given, now))
        if self.answers.limits.is_wider and not self.may_write:
            raise HasToWriteError  # from now on the starts of jobs are noted for this limit
        return fetched

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
        self.ask(self.writing.write(changes))
        self.told += changes.events
        for key, result in changes.results.items():
            if key in self._followed:
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
