"""The loop that takes a step: load what is missing, take it again, write what it changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.stores.working_set.changes import Changes
from conveyor_nb.stores.working_set.questions import Question, RowMissing
from conveyor_nb.stores.working_set.rows import WorkingSet

__all__ = ["RowsSession", "run_step", "tries"]

Step = Callable[[WorkingSet], Any]
"""A step of ``core``, with all its arguments but the rows; one on many jobs is a generator."""


def tries(step: Step, rows: WorkingSet) -> Generator[list[Question] | Changes | None, Any, Any]:
    """Take a step until what it changed is written; returns its result, or raises what it raises.

    Yields what is to be done, and is sent what came of it:

    - questions: ask the store; the list of its answers.
    - changes: write them, if all of ``rows.answers`` still holds; whether it did. They may be
      empty: what a step only says, or refuses, is as true as what it was told.
    - ``None``: others may have a turn; anything.
    """
    while True:
        rows.begin()
        try:
            result = step(rows)
            if isinstance(result, Generator):
                result = yield from result
        except RowMissing as missing:
            questions = rows.alike(missing.question)
            rows.learn(questions, (yield questions))
            continue
        except Exception:
            if (yield Changes()):
                raise
        else:
            if (yield rows.changes):
                return result
        rows.forget()


class RowsSession(Protocol):
    """The part of a store that loads and writes for one step."""

    async def load(self, questions: Sequence[Question]) -> Sequence[Any]:
        """Answer them."""

    async def commit(self, changes: Changes) -> bool:
        """Write the changes, if what was loaded since the last time still holds."""


async def run_step(step: Step, rows: WorkingSet, session: RowsSession) -> Any:
    """Take a step over rows that are loaded and written by coroutines; returns its result."""
    with contextlib.closing(tries(step, rows)) as taken:
        answer: Any = None
        while True:
            try:
                wanted = taken.send(answer)
            except StopIteration as end:
                return end.value
            if wanted is None:
                await checkpoint()
            elif isinstance(wanted, Changes):
                answer = await session.commit(wanted)
            else:
                answer = await session.load(wanted)
