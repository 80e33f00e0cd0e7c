"""The form of a panel by which a job is added, or one that has not run yet is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from conveyor_nb.core.errors import ConveyorError, InvalidJobStateError, JobNotFoundError
from conveyor_nb.core.freezing import peek
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.options.job_options import Deduplication, Group
from conveyor_nb.core.values.text import fit, one_line, shorten_middle, shown
from conveyor_nb.job import Job
from conveyor_nb.notebook.commands.command_line import backoff, duration, number, whole_number
from conveyor_nb.notebook.mistakes import Mistake
from conveyor_nb.notebook.panel.page_messages import MOST_PAYLOAD, Message
from conveyor_nb.notebook.panel.view import Action
from conveyor_nb.queue import Queue

__all__ = ["JobForm"]

_BEYOND_ASCII = re.compile(r"[^\x00-\x7e]")

_NOT_RUN = (JobState.WAITING, JobState.DELAYED, JobState.WAITING_CHILDREN)

_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "delay": duration("the delay"),
    "priority": number("the priority"),
    "attempts": whole_number("attempts"),
    "backoff": backoff,
    "timeout": duration("the timeout"),
    "group": Group,
    "job_id": str,
    "deduplication": Deduplication,
    "lifo": bool,
}
"""How the options that the form has are read."""


class JobForm:
    """Adds a job, or changes one; what is wrong is told in the form, where it can be mended.

    Args:
        queue: the queue.
        done: called when the queue was changed.
    """

    def __init__(self, queue: Queue, done: Callable[[], None]) -> None:
        self._queue = queue
        self._done = done
        self._saved = 0
        self._told = ""
        self._wrong = ""
        self._editing: dict[str, Any] | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """The form as a page shows it."""
        told = {"saved": self._saved, "told": self._told, "wrong": self._wrong}
        return told | {"editing": self._editing}

    def acts(self) -> Mapping[str, Action]:
        """What a page may do."""
        return {"add": self._add, "edit": self._edit, "change": self._change}

    async def _edit(self, message: Message) -> None:
        """Fill the form with a job; with none if the id is empty."""
        self._wrong, self._editing = "", None
        if message.id:
            job = await self._find(message.id)
            self._editing = {
                "id": job.id,
                "name": job.name,
                "data": _as_json(peek(job, "data")),
                "priority": f"{job.priority:g}",
                "delayed": job.state is JobState.DELAYED,
            }

    async def _add(self, message: Message) -> None:
        await self._try(self._added, message)

    async def _change(self, message: Message) -> None:
        await self._try(self._changed, message)

    async def _try(self, do: Callable[[Message], Any], message: Message) -> None:
        self._wrong = ""
        try:
            self._told = await do(message)
        except (ConveyorError, Mistake, TypeError, ValueError) as error:
            self._wrong = one_line(str(error), 300)
        else:
            self._saved += 1
            self._editing = None
            self._done()

    async def _added(self, message: Message) -> str:
        if not message.name:
            raise Mistake("a job has a name: it says which work it is")
        options = _read(message.options)
        job = await self._queue.add(message.name, _payload(message.data or ""), **options)
        return f"added {shorten_middle(job.id, 24)}"

    async def _changed(self, message: Message) -> str:
        job = await self._find(message.id)
        options = _read(message.options)
        changes = {key: options[key] for key in ("priority",) if key in options}
        if message.data is not None:
            changes["data"] = _payload(message.data)
        if changes:
            store, name = self._queue.store, self._queue.name
            await store.update_job(name, job.id, changes, expected_state=job.state)
        if "delay" in options:
            await Job(job, self._queue.store).change_delay(options["delay"])
        return f"changed {shorten_middle(job.id, 24)}"

    async def _find(self, job_id: str) -> JobData:
        job = await self._queue.store.get_job(self._queue.name, job_id)
        if job is None:
            raise JobNotFoundError(job_id, self._queue.name)
        if job.state not in _NOT_RUN:
            raise InvalidJobStateError(job.id, job.state, _NOT_RUN)
        return job


def _read(options: Mapping[str, str]) -> dict[str, Any]:
    unknown = next((name for name in options if name not in _OPTIONS), None)
    if unknown is not None:
        raise Mistake(f"a form has no field {shown(unknown)}")
    return {name: _OPTIONS[name](text) for name, text in options.items() if text}


def _payload(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise Mistake(f"the payload is not JSON: {error}") from None


def _as_json(data: object) -> str | None:
    """A payload as JSON to be changed; ``None``: it is more than JSON can say, or very long."""
    try:
        text = json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False)
        says_all = bool(json.loads(text) == data)
    except (TypeError, ValueError, RecursionError):
        return None
    text = _BEYOND_ASCII.sub(_seen, text)
    return text if says_all and len(text) <= MOST_PAYLOAD else None


def _seen(found: re.Match[str]) -> str:
    """A character as it is, or as JSON's escape where nobody would see it."""
    return found[0] if fit(found[0]) == found[0] else json.dumps(found[0])[1:-1]
