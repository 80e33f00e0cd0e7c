"""``%conveyor``, ``%%worker`` and ``%%record``."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

from IPython.core.magic import no_var_expand
from IPython.display import display

from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.handlers import ALL_OTHERS
from conveyor_nb.core.options.worker_options import GroupLimits, WorkerKeywords
from conveyor_nb.core.values.text import fit, one_line, shown
from conveyor_nb.notebook.commands.awaiting import (
    CAN_NOT_WAIT,
    GIVE,
    INSTALL,
    RECORD,
    SHOW,
    finish,
    require_loop,
)
from conveyor_nb.notebook.commands.cell_handler import compile_handler
from conveyor_nb.notebook.commands.command_line import (
    duration,
    expanded,
    limiter,
    split,
    whole_number,
    word,
)
from conveyor_nb.notebook.commands.commands import (
    Argument,
    Command,
    Runner,
    build_parser,
    help_of,
    parse,
    suggestions,
)
from conveyor_nb.notebook.commands.export_command import EXPORT_COMMANDS
from conveyor_nb.notebook.commands.kernel_commands import KERNEL_COMMANDS
from conveyor_nb.notebook.commands.magic_output import Answer, Said, counted
from conveyor_nb.notebook.commands.queue_commands import QUEUE_COMMANDS, show_overview
from conveyor_nb.notebook.commands.record_command import RECORD_PARSER, record_cell
from conveyor_nb.notebook.known_workers import called, others_at_work, stop_line
from conveyor_nb.notebook.mistakes import Mistake, near
from conveyor_nb.notebook.shell.session import Session
from conveyor_nb.registry import install_worker, named_workers, next_version
from conveyor_nb.stores.reads import SynchronousReads
from conveyor_nb.worker import Worker

__all__ = ["COMMANDS", "NAME", "WORKER_ARGUMENTS", "Magics", "help_text"]

NAME = "conveyor"
COMMANDS = QUEUE_COMMANDS | KERNEL_COMMANDS | EXPORT_COMMANDS

WORKER_ARGUMENTS = (
    Argument("queue", "the queue whose jobs it takes", completes="queues"),
    Argument("--name", "what to call the worker; as the queue if not given", completes="workers"),
    Argument(
        "--job-name",
        "only the jobs of this name, in one worker with the cells for other names (* for the rest)",
        completes="job names",
        dest="job_name",
    ),
    Argument("--concurrency", "how many jobs at once (1)", whole_number("--concurrency")),
    Argument(
        "--max-global-concurrency",
        "how many jobs of the queue at once, over all its workers",
        whole_number("--max-global-concurrency"),
        dest="max_global_concurrency",
    ),
    Argument("--limit", "how many jobs may start in a time, such as 10/1s", limiter),
    Argument(
        "--group-concurrency",
        "how many jobs of one group at once",
        whole_number("--group-concurrency"),
        dest="group_concurrency",
    ),
    Argument(
        "--lock-duration",
        "how long a job stays locked without renewal (30s)",
        duration("--lock-duration"),
        dest="lock_duration",
    ),
    Argument("--lifo", "take the newest job first", flag=True),
    Argument(
        "--no-capture",
        "show what jobs print in the output of this cell, not in their logs",
        flag=True,
        dest="no_capture",
    ),
)
_WORKER_HELP = """Make this cell the handler of a queue's worker, and start it.

The cell is the body of an async function of `job`: `job.data` is the payload, `return` gives
the result, and an exception fails the attempt. What it prints goes to the job's log. `await`
works, and names that it does not set itself are the notebook's variables as they are when the
job runs. Code that computes without `await` stops the kernel's loop meanwhile: do long
computations in `await asyncio.to_thread(...)`, or in a plain function under `@queue.worker`.

Run the cell again to go on with new code: jobs that run finish with the old one. If the new
code can't be compiled, the old one goes on."""
_WORKER_PARSER = build_parser(
    "%worker", _WORKER_HELP, WORKER_ARGUMENTS, "For instance: %%worker emails --concurrency 2"
)


def help_text() -> str:
    """What ``%conveyor -h`` prints."""
    usages = {one.usage: one.summary for one in COMMANDS.values()}
    width = max(map(len, usages)) + 2
    lines = [f"  {usage:<{width}}{summary}" for usage, summary in usages.items()]
    head = [
        "%conveyor [COMMAND ...]: look at the queues of this kernel, and work with them.",
        "",
        f"  {'(nothing)':<{width}}Show the dashboard of all queues",
    ]
    tail = [
        "",
        "%conveyor COMMAND -h says more. Durations are written 500ms, 5s, 10m, 2h, 1d; a payload",
        'is JSON, such as {"to": "ada@example.org"}, or $name for a variable. $name.attribute and',
        "{code} stand for their text everywhere else. `x = %conveyor ...` keeps what a command",
        "gives. It works on the default store: set_default_store(store) makes",
        "another one the default.",
    ]
    return "\n".join([*head, *lines, *tail])


class Magics:
    """The magics of a session, in its shell."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._versions: Counter[str] = Counter()

    def register(self) -> None:
        """Put the magics into the shell."""
        shell: Any = self._session.shell
        for kind, name, function in self._all():
            shell.register_magic_function(function, kind, name)

    def unregister(self) -> None:
        """Remove the magics from the shell."""
        magics = self._session.shell.magics_manager.magics
        for kind, name, _ in self._all():
            magics[kind].pop(name, None)

    def _all(self) -> list[tuple[str, str, Callable[..., object]]]:
        """Each magic: line or cell, its name, and its function, whose text is for ``?``."""

        def conveyor(line: str) -> object:
            return self._run_at_once(line)

        async def show(line: str) -> None:
            await self._show(line)

        async def give(line: str) -> object:
            answer = await self._run(line)
            return answer and answer.value

        def worker(line: str, cell: str) -> None:
            self._install(line, cell)

        async def install(line: str, cell: str) -> None:
            self._install(line, cell)
            await self._session.settle()

        def record(line: str, cell: str) -> None:
            _tell("%%record", Mistake(CAN_NOT_WAIT))

        async def record_and_wait(line: str, cell: str) -> None:
            try:
                await record_cell(self._session, line, cell)
            except (Mistake, ConveyorError, ValueError) as error:
                _tell("%%record", error)

        record.__doc__ = record_and_wait.__doc__ = help_of(RECORD_PARSER)
        conveyor.__doc__ = show.__doc__ = give.__doc__ = help_text()
        worker.__doc__ = install.__doc__ = help_of(_WORKER_PARSER)
        found: list[tuple[str, str, Callable[..., object]]] = [
            ("line", NAME, conveyor),
            ("line", SHOW, show),
            ("line", GIVE, give),
            ("cell", "worker", worker),
            ("cell", INSTALL, install),
            ("cell", "record", record),
            ("cell", RECORD, record_and_wait),
        ]
        for _, _, function in found:
            # IPython would replace {...} and $name in the line, which are JSON and ours
            no_var_expand(function)
        return found

    # -- %conveyor ----------------------------------------------------------------------------

    async def _show(self, line: str) -> None:
        answer = await self._run(line)
        if answer is None:
            return
        if isinstance(answer.shown, Said):
            print(answer.shown)
        else:
            display(answer.shown)

    async def _run(self, line: str, *, settle: bool = True) -> Answer | None:
        """Run a line; a mistake is told, and gives nothing.

        Args:
            line: what stands after ``%conveyor``.
            settle: let a virtual clock's store come to rest before and after.
        """
        name = _first_word(line)
        try:
            words = split(line)
            if help_wanted := _help_for(words):
                return Answer.saying(help_wanted)
            run, args = await _read(words, self._session)
            if settle:
                await self._session.settle()
            answer = await run(self._session, args)
            if settle:
                if answer.rest is not None:  # an interrupt ends the wait, and nothing else
                    await asyncio.wait({answer.rest})
                    answer.rest.result()
                await self._session.settle()
        except (Mistake, ConveyorError, ValueError) as error:
            _tell(f"%conveyor {name}" if name in COMMANDS else "%conveyor", error)
            return None
        return answer

    def _run_at_once(self, line: str) -> object:
        """Run a line where nothing can be awaited; what has to wait goes on by itself."""
        name = _first_word(line)
        try:
            if name in COMMANDS and COMMANDS[name].waits:
                self._session.spawn(self._show(line))
                return None
            if not (_help_for(line.split()) or self._answers_at_once()):
                raise Mistake(CAN_NOT_WAIT)  # before anything has begun
            answer = finish(self._run(line, settle=False))
        except Mistake as error:
            _tell("%conveyor", error)
            return None
        if answer is None:
            return None
        return answer.shown if answer.value is None else answer.value

    def _answers_at_once(self) -> bool:
        return isinstance(self._session.store, SynchronousReads)

    # -- %%worker -----------------------------------------------------------------------------

    def _install(self, line: str, cell: str) -> None:
        """Start a worker, or let it take over; the old one stays if anything is wrong."""
        try:
            print(fit(self._take_over(line, cell)))
        except SyntaxError as error:
            shell: Any = self._session.shell
            shell.showsyntaxerror()
            shell.displayhook.exec_result.error_in_exec = error  # the cell counts as failed
        except (Mistake, ConveyorError, ValueError, RuntimeError) as error:
            _tell("%%worker", error)

    def _take_over(self, line: str, cell: str) -> str:
        """Start it, and say what was done."""
        example = "%%worker emails --concurrency 2"
        words = split(line)
        if {"-h", "--help"} & set(words):
            return help_of(_WORKER_PARSER)
        words = _expanded(words, WORKER_ARGUMENTS, self._session)
        args = parse(_WORKER_PARSER, words, WORKER_ARGUMENTS, example=example)
        require_loop()
        session = self._session
        name = args.name or args.queue
        before = named_workers(session.store).get(name)
        version = max(self._versions[name] + 1, next_version(before))
        handler = compile_handler(
            cell,
            name=args.job_name or name,
            first_line=f"%%worker {line}".rstrip(),
            # each has a name of its own in tracebacks, as old code may still run
            filename=f"<%%worker {name}{f', version {version}' if version > 1 else ''}>",
            shell=session.shell,
        )
        worker = install_worker(
            args.queue,
            handler,
            store=session.store,
            version=version,
            job_name=args.job_name,
            **_options(args),
        )
        self._versions[name] = version
        return _told_of(worker, before, args.job_name)


def _options(args: Namespace) -> WorkerKeywords:
    """The options of a worker that its line gives."""
    given = {
        "name": args.name,
        "concurrency": args.concurrency,
        "max_global_concurrency": args.max_global_concurrency,
        "lock_duration": args.lock_duration,
        "limiter": args.limit,
        "group": args.group_concurrency and GroupLimits(concurrency=args.group_concurrency),
        "lifo": args.lifo or None,
        "capture": False if args.no_capture else None,
    }
    return cast("WorkerKeywords", {name: one for name, one in given.items() if one is not None})


def _first_word(line: str) -> str:
    return line.split(maxsplit=1)[0] if line.strip() else ""


async def _read(words: list[str], session: Session) -> tuple[Runner, Namespace]:
    """What a line asks for."""
    if not words:
        return show_overview, Namespace()
    found = await _find(words[0], session)
    typed = _expanded(words[1:], found.arguments, session)
    return found.run, parse(found.parser, typed, found.arguments, example=found.example)


def _expanded(words: list[str], arguments: tuple[Argument, ...], session: Session) -> list[str]:
    """The words with variables in them worked out, but for a payload, which may be one itself."""
    wanted = (suggestions(arguments, words[:place])[0] for place in range(len(words)))
    return [
        typed
        if one is not None and one.completes == "variables"
        else expanded(typed, session.variables)
        for typed, one in zip(words, wanted, strict=True)
    ]


async def _find(name: str, session: Session) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    if (queue := word(name)) in await session.queue_names():
        raise Mistake(f"what about queue {shown(queue)}? For instance: %conveyor watch {name}")
    hint = near(name, COMMANDS) if name.isprintable() else ""
    if "did you" not in hint:
        hint = "%conveyor -h lists what there is"
    raise Mistake(f"there is no command {shown(name)}; {hint}")


def _help_for(words: list[str]) -> str | None:
    """The help that is asked for, if it is."""
    if words[:1] != ["help"] and not {"-h", "--help"} & set(words):
        return None
    named = next((one for one in words if one in COMMANDS), None)
    return help_of(COMMANDS[named].parser) if named else help_text()


def _told_of(worker: Worker, before: Worker | None, job_name: str | None) -> str:
    """What a cell says that has started a worker, perhaps in place of the one ``before``."""
    queue, name = worker.queue_name, worker.name
    which = "" if job_name is None else f" for jobs named {shown(job_name)}"
    if before is not None and before.queue_name == queue:
        running = len(before.running)
        rest = f"; {counted(running, 'job')} to finish with the one before" if running else ""
        if job_name is None or (isinstance(before.handler, Mapping) and job_name in before.handler):
            return f"worker {name} goes on with this handler{which}{rest}"
        alone = "too" if isinstance(before.handler, Mapping) else "alone now"
        if job_name != ALL_OTHERS and alone != "too":
            alone += " (a cell with --job-name * takes all others)"
        return f"worker {name} has a handler{which} {alone}{rest}"
    told = f"worker {name} takes jobs of {queue}, {worker.concurrency} at a time"
    if job_name is not None:
        told += f"; it has a handler{which}"
    if before is not None:
        told += f", and no more of {before.queue_name}"
    others = others_at_work(worker)
    if others:
        told += f"; so does {' and '.join(map(called, others))}"
        told += f" (to have this one alone: {'; '.join(map(stop_line, others))})"
    return told


def _tell(where: str, error: Exception) -> None:
    """Say on one line what is wrong."""
    print(f"{where}: {one_line(str(error), 2_000)}", file=sys.stderr)
