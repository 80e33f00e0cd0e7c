"""The handler that a ``%%worker`` cell is."""

from __future__ import annotations

import ast
import inspect
import keyword
import linecache
import re
from collections.abc import Callable, Coroutine
from typing import Any

from conveyor_nb.notebook.command_line import Mistake

__all__ = ["CellHandler", "compile_handler"]

CellHandler = Callable[[Any], Coroutine[Any, Any, Any]]


def compile_handler(
    cell: str, *, name: str, first_line: str, filename: str, variables: dict[str, Any]
) -> CellHandler:
    """Make a cell the body of an async function of ``job``.

    Args:
        cell: the code below the first line.
        name: what tracebacks call the function.
        first_line: the line of the magic: line 1 of the cell.
        filename: what tracebacks call the cell; no other cell's.
        variables: the global variables of the function.

    Raises:
        SyntaxError: the code is wrong; its line is that of the cell.
        Mistake: the code can't be a handler.
    """
    source = f"{first_line}\n{cell}"
    # Python looks here for the lines of a traceback; no file of this name could go out of date.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    body = ast.parse(f"\n{cell}", filename).body
    if not body:
        raise Mistake("the cell is empty; say what is to be done, for instance: return job.data")
    name = _identifier(name)
    module = ast.parse(f"async def {name}(job): pass", filename)
    function = module.body[0]
    assert isinstance(function, ast.AsyncFunctionDef)
    function.body = body
    made: dict[str, Any] = {}
    exec(compile(module, filename, "exec", dont_inherit=True), variables, made)
    handler: CellHandler = made[name]
    if not inspect.iscoroutinefunction(handler):
        raise Mistake("a handler can't `yield`; it gives its one result with `return`")
    return handler


def _identifier(name: str) -> str:
    """A name like this that a function can have.

    >>> _identifier("daily report"), _identifier("2 b"), _identifier("class")
    ('daily_report', 'handler', 'handler')
    """
    text = re.sub(r"\W+", "_", name)
    return text if text.isidentifier() and not keyword.iskeyword(text) else "handler"
