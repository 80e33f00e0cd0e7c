"""How a magic gets to wait, which IPython's own magics can't.

IPython calls a magic as a plain function and awaits nothing. But a cell may ``await``, so a
``%conveyor`` line at the top of a cell is turned into an awaited call before the cell is compiled::

    %conveyor stop emails      ->  await get_ipython().run_line_magic("_conveyor_show", ...)
    job = %conveyor job a-1    ->  job = await get_ipython().run_line_magic("_conveyor_give", ...)

and so are ``%%worker`` and ``%%record`` cells, which then have a running loop in a terminal too.

Where there is nothing that could wait (in a plain function, under ``%%time``) the line stays a
plain call, which :func:`finish` brings to its end at once.
"""

from __future__ import annotations

import ast
import asyncio
import sys
from collections.abc import Callable, Coroutine
from types import CodeType
from typing import Any, TypeVar

from IPython.core.interactiveshell import InteractiveShell

from conveyor_nb.clocks.clock import undisturbed
from conveyor_nb.clocks.loops import WouldWaitError, at_once
from conveyor_nb.notebook.mistakes import Mistake

__all__ = [
    "CAN_NOT_WAIT",
    "GIVE",
    "INSTALL",
    "RECORD",
    "SHOW",
    "CellTransformer",
    "await_magics",
    "finish",
    "require_loop",
]

T = TypeVar("T")


class _Hidden(str):
    """The name of a magic that nobody types: Tab never offers it."""

    __slots__ = ()

    def startswith(self, *_: object) -> bool:
        return False


SHOW = _Hidden("_conveyor_show")
"""The magic of a line that stands by itself, and shows what came of it."""

GIVE = _Hidden("_conveyor_give")
"""The magic of a line whose value is used."""

INSTALL = _Hidden("_conveyor_worker")
"""The magic of a cell that is a handler."""

RECORD = _Hidden("_conveyor_record")
"""The magic of a cell that is recorded."""

CAN_NOT_WAIT = "this has to wait; put the line at the top of a cell, outside of any function"

_CALLS = {
    ("run_line_magic", "conveyor"): GIVE,
    ("run_cell_magic", "worker"): INSTALL,
    ("run_cell_magic", "record"): RECORD,
}
"""The methods of a shell and their first arguments that can be awaited, by another magic."""


def finish(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, if it gets there without waiting.

    A store in memory does not wait, so neither do the commands that only talk to it: one step
    brings their coroutine to its end. Nothing can wait here, since the event loop that would
    end the wait runs the very function that calls this.

    Raises:
        Mistake: it would have to wait.
    """
    try:
        with undisturbed():
            return at_once(work)
    except WouldWaitError:
        raise Mistake(CAN_NOT_WAIT) from None


def require_loop() -> None:
    """Make sure that there is a loop for a worker to run in.

    Raises:
        Mistake: there is none, as in a shell that is embedded in a program.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise Mistake(
            "a worker runs in an event loop, and this cell does not; type %autoawait asyncio, "
            "and then run it again"
        ) from None


class CellTransformer:
    """Lets the magics in a cell be awaited; goes into the shell's ``input_transformers_post``."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def __call__(self, lines: list[str]) -> list[str]:
        """The lines of a cell, with every call of a magic awaited that can be."""
        source = "".join(lines)
        if not _has_calls(source) or not self._can_await():
            return lines
        return await_magics(source).splitlines(keepends=True)

    def _can_await(self) -> bool:
        shell = self._shell
        in_loop = str(shell.loop_runner) == "asyncio"  # what runs a cell; trio can't await us
        return bool(shell.autoawait) and in_loop and not _in_a_running_cell()


def await_magics(source: str) -> str:
    """Code with every call of a magic awaited that can be, at the top of a cell or a coroutine."""
    if not _has_calls(source):
        return source
    try:
        tree = compile(
            source, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True
        )
    except SyntaxError:
        return source
    found = _Calls()
    found.visit(tree)
    lines = source.encode().split(b"\n")  # as Python counts them: a form feed ends none
    for call, name in reversed(found.calls):
        _rewrite(lines, call, name)
    return b"\n".join(lines).decode()


def _has_calls(source: str) -> bool:
    return any(f"{method}({magic!r}" in source for method, magic in _CALLS)


_CLOSED = (
    *(ast.FunctionDef, ast.Lambda, ast.ClassDef),
    *(ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp),
)
"""Nothing inside of these can be awaited, at least not in every Python."""


class _Calls(ast.NodeVisitor):
    """Finds the calls that can be awaited, in order, each with the magic to call instead."""

    def __init__(self) -> None:
        self.calls: list[tuple[ast.Call, str]] = []

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and (name := _magic_for(node.value)):
            self.calls.append((node.value, SHOW if name == GIVE else name))
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if name := _magic_for(node):
            self.calls.append((node, name))
        else:
            self.generic_visit(node)

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, _CLOSED):
            super().visit(node)


def _magic_for(call: ast.Call) -> str | None:
    """The magic that an awaited call is to call."""
    function, arguments = call.func, call.args
    if not isinstance(function, ast.Attribute) or not arguments:
        return None
    name = arguments[0]
    return _CALLS.get((function.attr, str(name.value))) if isinstance(name, ast.Constant) else None


def _rewrite(lines: list[bytes], call: ast.Call, name: str) -> None:
    """Awaits a call, and calls another magic; columns are counted in bytes."""
    if (
        name in (INSTALL, RECORD)
        and isinstance(cell := call.args[-1], ast.Constant)
        and cell.value == ""
    ):
        _put(lines, cell, "\n")  # IPython would complain of an empty cell in its own words
    _put(lines, call.args[0], name)
    row = call.lineno - 1
    lines[row] = lines[row][: call.col_offset] + b"await " + lines[row][call.col_offset :]


def _put(lines: list[bytes], argument: ast.expr, text: str) -> None:
    """Put a text in the place of an argument that stands on one line."""
    assert argument.end_col_offset is not None
    row = argument.lineno - 1
    line = lines[row]
    lines[row] = line[: argument.col_offset] + repr(text).encode() + line[argument.end_col_offset :]


def _in_a_running_cell() -> bool:
    """Whether a cell runs code that runs this: ``%%capture`` and the like can't await."""
    codes = {_code_of(InteractiveShell.run_code), _code_of(InteractiveShell.run_ast_nodes)}
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code in codes:
            return True
    return False


def _code_of(function: Callable[..., Any]) -> CodeType:
    return function.__code__
