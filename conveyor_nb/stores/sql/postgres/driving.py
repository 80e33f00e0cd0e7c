"""How a step is driven over a connection to its end: what it asks is answered, many at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from typing import Any

from conveyor_nb.clocks.clock import Clock
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.steps import serving
from conveyor_nb.stores.sql.postgres.answers import ServerAnswers
from conveyor_nb.stores.sql.postgres.calls import Fetch, Step
from conveyor_nb.stores.sql.postgres.link import Link
from conveyor_nb.stores.sql.postgres.quick import NotQuickError
from conveyor_nb.stores.working_set.changes import Changes
from conveyor_nb.stores.working_set.loop import tries
from conveyor_nb.stores.working_set.questions import Question
from conveyor_nb.stores.working_set.rows import WorkingSet

__all__ = ["drive", "fetching", "look", "outcome"]

_QUICK = frozenset(
    {"job", "in_turn", "busy", "next_due", "paused_names", "new_ids", "next_sequence"}
    | {"has_waiting", "next_opening"}
)
"""What may be asked about what is not locked: it is only asked who is next, and which are free.

A job has to be of the version that was read, if it is changed; no step of what is asked here goes
by a job that it leaves as it is.
"""


async def look(
    link: Link, answers: ServerAnswers, clock: Clock, step: Step, freeze: Callable[[Any, str], Any]
) -> tuple[Any, bool]:
    """Take a step that is to look only; returns its result, and whether it would have written."""
    rows = WorkingSet(freeze=freeze)
    now = clock.now()
    would_write = False

    async def commit(changes: Changes) -> None:
        nonlocal would_write
        would_write = bool(changes) or answers.limits.is_wider

    result = await drive(link, answers, rows, lambda: step(rows, now), commit)
    return result, would_write


async def drive(
    link: Link,
    answers: ServerAnswers,
    rows: WorkingSet,
    step: Callable[[], Any],
    commit: Callable[[Changes], Any],
) -> Any:
    """Take a step until it has what it asks for; returns its result."""
    with contextlib.closing(tries(lambda _: _to_its_end(step()), rows)) as taken:
        given: Any = None
        while True:
            try:
                wanted = taken.send(given)
            except StopIteration as end:
                return end.value
            if isinstance(wanted, Changes):
                await commit(wanted)
                given = True
            elif wanted is not None:
                given = await _answer(link, answers, rows, wanted)


async def _answer(
    link: Link, answers: ServerAnswers, rows: WorkingSet, questions: Sequence[Question]
) -> list[Any]:
    """The answers to questions; all about jobs by one statement."""
    if answers.lasting.is_guarded and not _QUICK.issuperset(one.what for one in questions):
        raise NotQuickError
    found: dict[Question, Any] = {}
    jobs = [one for one in questions if one.what == "job"]
    if len(jobs) > 1:
        keys = sorted({one.about for one in jobs})
        read = dict(zip(keys, await link.ask(answers.jobs(keys)), strict=True))
        found = {one: read[one.about] for one in jobs}
    for question in questions:
        if question.what in answers.at_once:
            found[question] = await _more(link, answers, rows, question)
        elif question not in found:
            found[question] = await link.ask(answers.answer(question))
    return [found[question] for question in questions]


async def _more(
    link: Link, answers: ServerAnswers, rows: WorkingSet, question: Question
) -> list[Any]:
    """The answer to a question for the first of something, and to all that ask for fewer."""
    *about, most = question.about
    wanted = max(most, answers.at_once[question.what])
    if question.what == "busy":
        wanted = answers.known_busy(about[0], most) or wanted
    found: list[Any] = await link.ask(answers.answer(Question(question.what, (*about, wanted))))
    fewer = 1
    while fewer <= wanted:
        rows.learn([Question(question.what, (*about, fewer))], [found[:fewer]])
        fewer *= 2
    return found[:most]


def fetching(wanted: Fetch) -> Step:
    """The step of a fetch."""
    given = (
        *(wanted.queue_name, wanted.worker_id, wanted.lock_duration),
        *(wanted.options, wanted.limit),
    )
    return lambda rows, now: serving.fetch(rows, *given, now)


def outcome(step: Step, rows: Rows, now: datetime) -> tuple[Any, BaseException | None]:
    """What comes of a step: its result, or what it raises."""
    try:
        return _to_its_end(step(rows, now)), None
    except Exception as error:
        return None, error


def _to_its_end(result: Any) -> Any:
    """What a step gives, also one that may be interrupted, and is not: others wait for its end."""
    if not isinstance(result, Generator):
        return result
    try:
        while True:
            next(result)
    except StopIteration as end:
        return end.value
