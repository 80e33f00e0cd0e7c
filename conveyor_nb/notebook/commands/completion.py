"""What the tab key offers after ``%conveyor``, ``%%worker`` and ``%%record``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from conveyor_nb.core.model import JobState
from conveyor_nb.notebook.commands.command_line import split
from conveyor_nb.notebook.commands.commands import Argument, suggestions
from conveyor_nb.notebook.commands.magics import COMMANDS, WORKER_ARGUMENTS
from conveyor_nb.notebook.commands.record_command import RECORD_ARGUMENTS
from conveyor_nb.notebook.mistakes import Mistake, quoted
from conveyor_nb.notebook.shell.session import Session
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.reads import Reads

__all__ = ["Completion"]

_LINE = re.compile(r"(?:^|=)\s*(?P<magic>%conveyor|%%worker|%%record)\s+(?P<typed>.*)$")
_MOST_JOBS = 200
"""How many of the newest jobs are searched for ids and names."""

_LIMIT = 0.5
"""For how many seconds Tab waits for a store."""


class Completion:
    """Completes commands, names of queues, workers and jobs, states and options."""

    def __init__(self, session: Session) -> None:
        self._session = session

        @context_matcher()  # type: ignore[untyped-decorator]
        def conveyor_matcher(context: CompletionContext) -> SimpleMatcherResult:
            return self._match(context)

        self._matcher = conveyor_matcher

    def register(self) -> None:
        """Register with the shell's completer."""
        self._matchers().append(self._matcher)

    def unregister(self) -> None:
        """Leave the shell's completer."""
        if self._matcher in (matchers := self._matchers()):
            matchers.remove(self._matcher)

    def offers(self, magic: str, typed: str) -> list[str]:
        """What may stand in the place of the word that ``typed`` ends with.

        Args:
            magic: ``"%conveyor"``, ``"%%worker"`` or ``"%%record"``.
            typed: what stands after it, up to the cursor.
        """
        before, begun = _split_last(typed)
        arguments: tuple[Argument, ...] = WORKER_ARGUMENTS
        if magic == "%%record":
            arguments = RECORD_ARGUMENTS
        if magic == "%conveyor":
            if not before:
                return _fitting(begun, COMMANDS)
            if before[0] not in COMMANDS:
                return []
            arguments = COMMANDS[before[0]].arguments
            before = before[1:]
        wanted, may_be_option = suggestions(arguments, before)
        if may_be_option and begun.startswith("-"):
            return _fitting(begun, [one.name for one in arguments if one.is_option])
        return _fitting(begun, self._values(wanted, before)) if wanted else []

    def _match(self, context: CompletionContext) -> SimpleMatcherResult:
        found = _LINE.search(context.text_until_cursor)
        if found is None:
            return {"completions": []}
        offers = self.offers(found["magic"], found["typed"])
        # IPython replaces its own idea of the last word, which may be shorter than ours
        begun = _split_last(found["typed"])[1]
        kept = len(begun) - len(context.token)
        completions = [SimpleCompletion(one[max(0, kept) :], type="keyword") for one in offers]
        return {"completions": completions, "suppress": bool(offers), "ordered": True}

    def _matchers(self) -> list[Any]:
        completer: Any = self._session.shell.Completer
        matchers: list[Any] = completer.custom_matchers
        return matchers

    def _values(self, argument: Argument, before: list[str]) -> Iterable[str]:
        session = self._session
        match argument.completes:
            case "queues":
                return session.queue_names_now(_LIMIT)
            case "workers":
                return {*session.workers(), *self._far_workers()}
            case "states":
                return map(str, JobState)
            case "clock":
                return ["advance"]
            case "clocks":
                return ["real", "virtual", "x60"]
            case "ids":
                return ["sequential", "random"]
            case "variables":
                return [f"${name}" for name in session.variables if not name.startswith("_")]
            case "job names":
                return self._jobs(before[:1], "name")
            case "jobs":
                return self._jobs(session.queue_names_now(_LIMIT), "id")
            case _:
                return []

    def _far_workers(self) -> set[str]:
        async def look(reads: Reads) -> set[str]:
            return {one.name for one in await reads.list_workers()}

        try:
            return read_now(self._session.store, look, _LIMIT)
        except Exception:  # whatever a store raises, there is nothing to offer
            return set()

    def _jobs(self, queue_names: list[str], field: str) -> set[str]:
        async def look(reads: Reads) -> set[str]:
            found = set()
            for name in queue_names:
                jobs = await reads.list_jobs(name, None, 0, _MOST_JOBS, newest_first=True)
                found |= {getattr(job, field) for job in jobs}
            return found

        try:
            return read_now(self._session.store, look, _LIMIT)
        except Exception:  # whatever a store raises, there is nothing to offer
            return set()


def _split_last(typed: str) -> tuple[list[str], str]:
    """The finished words, and the beginning of the next one."""
    start = len(typed.rstrip()) if typed[-1:].isspace() else typed.rfind(" ") + 1
    try:
        return split(typed[:start]), typed[start:].strip()
    except Mistake:
        return typed[:start].split(), typed[start:].strip()


def _fitting(begun: str, values: Iterable[str]) -> list[str]:
    """The names that begin like this, sorted; in quotation marks if they have blanks."""
    return [
        value if value.startswith("$") else quoted(value)
        for value in sorted(values)
        if value.startswith(begun.lstrip('"'))
    ]
