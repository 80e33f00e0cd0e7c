"""``%%record``: runs a cell, and shows what happened meanwhile."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.commands.awaiting import await_magics
from conveyor_nb.notebook.commands.command_line import expanded, split, whole_number
from conveyor_nb.notebook.commands.commands import Argument, build_parser, help_of, parse
from conveyor_nb.notebook.mistakes import Mistake, near
from conveyor_nb.notebook.shell.session import Session
from conveyor_nb.queue import Queue

__all__ = ["RECORD_ARGUMENTS", "RECORD_PARSER", "record_cell"]

RECORD_ARGUMENTS = (
    Argument("queue", "the queue; all of them, if not given", completes="queues", optional=True),
    Argument("--as", "the variable that is to have the tape (tape)", dest="variable"),
    Argument("--limit", "how many events it has at most (10,000)", whole_number("--limit")),
)
_EXAMPLE = "%%record emails --as first_run"
RECORD_PARSER = build_parser(
    "%record",
    """Run this cell, and show what happened in a queue meanwhile, as a picture.

What happened is kept as a tape in the variable `tape`: it can be looked at, saved to a file and
compared with another one. Of a cell that raises, the tape ends there.""",
    RECORD_ARGUMENTS,
    f"For instance: {_EXAMPLE}",
)


async def record_cell(session: Session, line: str, cell: str) -> None:
    """Run a cell, and show its tape.

    Raises:
        Mistake: a bad line; the cell is not run.
    """
    words = split(line)
    if {"-h", "--help"} & set(words):
        print(help_of(RECORD_PARSER))
        return
    words = [expanded(one, session.variables) for one in words]
    args = parse(RECORD_PARSER, words, RECORD_ARGUMENTS, example=_EXAMPLE)
    variable = args.variable or "tape"
    if not variable.isidentifier():
        raise Mistake(f"--as takes the name of a variable, such as tape, not {shown(variable)}")
    source = session.store if args.queue is None else _queue_of(session, args.queue)
    await session.settle()
    limit = 10_000 if args.limit is None else args.limit
    async with source.record(limit=limit) as tape:
        await _run(session.shell, cell)
        await session.settle()
    session.variables[variable] = tape
    if args.queue is not None and not tape.moments:
        known = await session.queue_names()
        if args.queue not in known:
            raise Mistake(f"there is no queue {shown(args.queue)}; {near(args.queue, known)}")
    display(tape)


def _queue_of(session: Session, name: str) -> Queue:
    """The queue of this name: that of a variable, in whatever store, or one of the default store.

    Raises:
        Mistake: variables have queues of this name in several stores.
    """
    held = [one for one in session.variables.values() if isinstance(one, Queue) and not one.closed]
    mine = {id(one.store): one for one in held if one.name == name}
    if id(session.store) in mine or not mine:
        return session.any_queue(name)
    if len(mine) > 1:
        raise Mistake(
            f"there are queues {shown(name)} in several stores;"
            " record the one that you mean by 'with queue.record() as tape:'"
        )
    return next(iter(mine.values()))


async def _run(shell: InteractiveShell, cell: str) -> None:
    """Run a cell as the shell does, within the one that runs."""
    running: Any = shell
    source = await_magics(shell.transform_cell(cell))
    name = running.compile.cache(source, shell.execution_count, raw_code=cell)
    try:
        tree = running.transform_ast(running.compile.ast_parse(source, filename=name))
    except SyntaxError as error:
        running.showsyntaxerror()
        running.displayhook.exec_result.error_in_exec = error  # the cell counts as failed
        return
    await running.run_ast_nodes(
        tree.body,
        name,
        interactivity=running.ast_node_interactivity,
        compiler=running.compile,
        result=running.displayhook.exec_result,
    )
