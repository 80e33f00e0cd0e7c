"""The handler that a ``%%worker`` cell is."""

from __future__ import annotations

import ast
import inspect
import keyword
import linecache
import re
import unicodedata
from collections.abc import Callable, Coroutine
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from conveyor_nb.notebook.commands.awaiting import await_magics
from conveyor_nb.notebook.mistakes import Mistake

__all__ = ["CellHandler", "compile_handler"]

CellHandler = Callable[[Any], Coroutine[Any, Any, Any]]


def compile_handler(
    cell: str, *, name: str, first_line: str, filename: str, shell: InteractiveShell
) -> CellHandler:
    """Make a cell the body of an async function of ``job``.

    Args:
        cell: the code below the first line; ``!command`` and ``%magic`` work as in any cell.
        name: what tracebacks call the function.
        first_line: the line of the magic: line 1 of the cell.
        filename: what tracebacks call the cell; no other cell's.
        shell: whose magics there are, and whose variables are the function's global ones.

    Raises:
        SyntaxError: the code is wrong; its line is that of the cell.
        Mistake: the code can't be a handler.
    """
    source = f"{first_line}\n{cell}"
    # Python looks here for the lines of a traceback; no file of this name could go out of date.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    body = ast.parse(_without_magics(cell, shell), filename).body
    if not body:
        raise Mistake("the cell is empty; say what is to be done, for instance: return job.data")
    name = _identifier(name)
    module = ast.parse(f"async def {name}(job): pass", filename)
    function = module.body[0]
    assert isinstance(function, ast.AsyncFunctionDef)
    function.body = body
    made: dict[str, Any] = {}
    exec(compile(module, filename, "exec", dont_inherit=True), shell.user_ns, made)
    handler: CellHandler = made[name]
    if not inspect.iscoroutinefunction(handler):
        raise Mistake("a handler can't `yield`; it gives its one result with `return`")
    return handler


def _without_magics(cell: str, shell: InteractiveShell) -> str:
    """The code as Python, below a line that stands for the cell's first."""
    # the line is a comment: IPython takes blank lines away where a cell begins
    source: str = shell.input_transformer_manager.transform_cell(f"#\n{cell}")
    if (inner := _CELL_MAGIC.search(source)) is not None:
        raise Mistake(
            f"%{inner[1]} can't stand in a %%worker cell: a cell has one cell magic, in its "
            "first line"
        )
    return await_magics(source)


_CELL_MAGIC = re.compile(r"\.run_line_magic\('(%\w+)'")


def _identifier(name: str) -> str:
    """A name like this that a function can have, spelt as Python spells it.

    >>> _identifier("daily report"), _identifier("2 b"), _identifier("class")
    ('daily_report', 'handler', 'handler')
    >>> _identifier("\N{LATIN SMALL LIGATURE FI}le")
    'file'
    """
    text = unicodedata.normalize("NFKC", re.sub(r"\W+", "_", name))
    return text if text.isidentifier() and not keyword.iskeyword(text) else "handler"
