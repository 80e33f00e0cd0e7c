"""``python -m conveyor_nb status --store URL`` and the like: ``%conveyor`` for a shell.

They are the commands of ``%conveyor``, over a store that a URL names.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from conveyor_nb import open_store
from conveyor_nb.cli.errors import CommandError
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.freezing import peek
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import fit, one_line
from conveyor_nb.job import Job
from conveyor_nb.notebook.commands.commands import Command, help_of, parse
from conveyor_nb.notebook.commands.kernel_commands import KERNEL_COMMANDS
from conveyor_nb.notebook.commands.magic_output import Answer
from conveyor_nb.notebook.commands.queue_commands import QUEUE_COMMANDS
from conveyor_nb.notebook.commands.store_context import StoreContext
from conveyor_nb.notebook.frames import DataFrame, jobs_frame
from conveyor_nb.notebook.mistakes import Mistake
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.opening import STORE_VARIABLE

__all__ = ["run_verb"]

_CHANGES = frozenset(
    {
        *("add", "pause", "resume", "retry", "promote", "drain", "clean"),
        *("stop", "pause-worker", "resume-worker", "concurrency"),
    }
)
_MOST = 2_000
"""The most characters that are shown of a payload."""

_IN_NOTEBOOK, _HERE = "%conveyor", "python -m conveyor_nb"


class OpenStore(StoreContext):
    """A store by itself: no notebook is around it."""

    def __init__(self, store: StoreInterface) -> None:
        self._store = store

    @property
    def store(self) -> StoreInterface:
        return self._store


def run_verb(name: str, url: str | None, words: Sequence[str], *, as_json: bool) -> int:
    """Run a command over a store, and print what came of it; returns the exit code.

    Args:
        name: the command.
        url: the store's URL.
        words: what else was typed.
        as_json: print what the command gives as JSON, for programs.

    Raises:
        CommandError: the words or the URL are wrong, or the store does not answer.
    """
    command = {**QUEUE_COMMANDS, **KERNEL_COMMANDS}[name]
    if {"-h", "--help"} & {*words}:
        print(_said(help_of(command.parser)))
        return 0
    try:
        example = command.example.replace(_IN_NOTEBOOK, _HERE)
        arguments = parse(command.parser, [*words], command.arguments, example=example)
        answer = asyncio.run(_answer(command, _url(url), arguments))
    except (Mistake, ConveyorError, ValueError, TypeError) as error:
        raise CommandError(_said(str(error))) from error
    if as_json:
        print(_as_json(answer.value))
    else:
        print(_said(fit(_text_of(answer.shown))))
    return 0


def _url(given: str | None) -> str:
    if not given:
        raise CommandError(
            f"where are the jobs? Say --store sqlite:///queue.db, or set {STORE_VARIABLE}"
        )
    return given


async def _answer(command: Command, url: str, arguments: argparse.Namespace) -> Answer:
    run: Any = command.run
    async with open_store(url, read_only=command.name not in _CHANGES) as store:
        answer: Answer = await run(OpenStore(store), arguments)
        if answer.rest is not None:
            await answer.rest
        return answer


def _said(text: str) -> str:
    """Words of a notebook's command as a shell's.

    >>> _said("nobody works on it; write a handler: %%worker it")
    'nobody works on it; start one: python -m conveyor_nb worker app.jobs:send --queue it'
    >>> _said("41 more; x = %conveyor jobs gives them all")
    '41 more; --json gives them all'
    """
    for pattern, words in _IN_SHELL:
        text = pattern.sub(words, text)
    return text.replace(_IN_NOTEBOOK, _HERE)


_IN_SHELL = (
    (re.compile("write a handler: %%worker"), f"start one: {_HERE} worker app.jobs:send --queue"),
    (
        re.compile(r"`?x = %conveyor \w+`? gives them(?: all)?(?: as a DataFrame)?"),
        "--json gives them all",
    ),
)


def _text_of(shown: object) -> str:
    return _job_text(shown) if isinstance(shown, Job) else repr(shown)


def _job_text(job: Job) -> str:
    """A job with its payload, its result and every attempt."""
    result = peek(job, "returnvalue")
    told = [
        ("payload", one_line(peek(job, "data"), _MOST)),
        ("result", "" if result is None else one_line(result, _MOST)),
        ("added", _instant(job.created_at)),
        ("due", _instant(job.delay_until)),
    ]
    lines = [f"{job.id}: {job.name} of {job.queue_name}, {job.state}"]
    lines += [f"  {what:<9} {value}" for what, value in told if value]
    for one in job.attempt_logs:
        took = ""
        if one.ended_at is not None:
            took = f" after {format_seconds((one.ended_at - one.started_at).total_seconds())}"
        lines.append(
            f"  attempt {one.attempt} {_instant(one.started_at)} {one.outcome}{took}, by "
            f"{one.worker_id}"
        )
        lines += [f"    {line}" for line in (one.stacktrace or one.error or "").splitlines()]
        lines += [f"    > {line}" for line in one.logs]
    return "\n".join(lines)


def _instant(when: datetime | None) -> str:
    return "" if when is None else f"{when:%Y-%m-%d %H:%M:%S} UTC"


def _as_json(value: Any) -> str:
    if isinstance(value, Job):
        value = jobs_frame([value])
    if isinstance(value, DataFrame):
        rows = value.reset_index()
        return str(rows.to_json(orient="records", date_format="iso", default_handler=str))
    return json.dumps(value, default=str)
