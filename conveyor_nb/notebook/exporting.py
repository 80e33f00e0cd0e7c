"""The code of a handler as a module: what it needs of the notebook's cells comes along.

A name is taken from where a cell bound it last: an import, a function, a class, or an assignment.
Of what none of these binds the notebook's variables may know: a module, what was imported from
one, the code of a function, a plain value.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import symtable
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from conveyor_nb.core.values.text import FAULTS
from conveyor_nb.notebook.mistakes import Mistake
from conveyor_nb.stores import StoreInterface

__all__ = ["HEAD", "HandlerSource", "function_of_body", "module_of", "without_worker"]

HEAD = '''\
"""The handler of queue {queue}, from a notebook.

    python -m conveyor_nb worker {module}:{name} --queue {queue} --store sqlite:///queue.db
"""

from __future__ import annotations

'''

_LAST = (sys.maxsize, 0)
"""The place of what comes after all cells."""

_KNOWN = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}


class HandlerSource(NamedTuple):
    """A handler, as code.

    Args:
        name: what its function is called.
        source: the definition of that.
    """

    name: str
    source: str


class _Binding(NamedTuple):
    """Where a name comes from.

    Args:
        place: the number of its cell, and its line there.
        source: the statement; ``None``: it can't stand in a module, for a reason.
        why_not: that reason.
        is_import: whether it is an import.
    """

    place: tuple[int, int]
    source: str | None
    why_not: str = ""
    is_import: bool = False


def module_of(
    handlers: Mapping[str | None, HandlerSource],
    cells: Sequence[str],
    variables: Mapping[str, Any],
    *,
    queue: str,
    module: str,
) -> tuple[str, str]:
    r"""The text of a module with a handler, or with handlers by job name, and all they need.

    Args:
        handlers: the handler, under ``None``; or those of a worker by the names of their jobs.
        cells: the notebook's cells as plain Python, in the order in which they ran.
        variables: what the notebook's names stand for.
        queue: the queue, for the first lines.
        module: the module's name, for these too.

    Returns:
        The text, and the name in it that is the handler, or the mapping of handlers.

    Raises:
        Mistake: the handlers use what can't come along; the message says which names.

    >>> send = HandlerSource("send", "def send(job):\n    return greet(job.data)")
    >>> cells = ["import math\nPOLITE = True", "def greet(name):\n    return POLITE and name"]
    >>> text, name = module_of({None: send}, cells, {}, queue="emails", module="jobs")
    >>> print(text.partition("annotations")[2].strip())
    POLITE = True
    <BLANKLINE>
    <BLANKLINE>
    def greet(name):
        return POLITE and name
    <BLANKLINE>
    <BLANKLINE>
    def send(job):
        return greet(job.data)
    """
    sources = {one.name: one.source for one in handlers.values()}
    found = _needed_by(sources, _bindings_of(cells), variables)
    imports = sorted({one.source for one in found if one.is_import and one.source})
    rest = [one for one in sorted(found, key=lambda one: one.place) if not one.is_import]
    parts = [*dict.fromkeys(one.source for one in rest if one.source), *sources.values()]
    if None in handlers:
        name = handlers[None].name
    else:
        name = "HANDLERS"
        pairs = "".join(f"    {job!r}: {one.name},\n" for job, one in handlers.items())
        parts.append(f"HANDLERS = {{\n{pairs}}}")
    head = HEAD.format(queue=queue, module=module, name=name)
    return head + "\n".join(imports) + _spaced(parts, after_imports=bool(imports)), name


def _spaced(parts: Sequence[str], *, after_imports: bool) -> str:
    """The parts below each other: a blank line around plain ones, two around definitions."""
    text, before = "\n" if after_imports else "", ""
    for part in parts:
        is_block = part.lstrip().startswith(("def ", "async def ", "class ", "@"))
        if before or after_imports:
            is_apart = is_block or before == "block"
            text += "\n\n" if is_apart else "" if before else "\n"
        text += part.strip() + "\n"
        before = "block" if is_block else "plain"
    return text


def _needed_by(
    sources: Mapping[str, str], bindings: Mapping[str, _Binding], variables: Mapping[str, Any]
) -> list[_Binding]:
    found: dict[str, _Binding] = {}
    missing: dict[str, str] = {}
    to_look_at = [*sources.values()]
    while to_look_at:
        for name in _names_in(to_look_at.pop()) - found.keys() - sources.keys() - missing.keys():
            binding = _special(name, variables) or bindings.get(name)
            if binding is None or binding.source is None:
                binding = _of_value(name, variables) or binding
            if binding is None:
                missing[name] = "no cell makes it"
            elif binding.source is None:
                missing[name] = binding.why_not
            else:
                found[name] = binding
                if not binding.is_import:
                    to_look_at.append(binding.source)
    if missing:
        told = "; ".join(f"{name} ({why})" for name, why in sorted(missing.items()))
        raise Mistake(f"nothing was written, as the handler uses what can't come along: {told}")
    return [*found.values()]


def _names_in(source: str) -> set[str]:
    """The names that code takes from its module."""

    def tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
        yield table
        for child in table.get_children():
            yield from tables(child)

    top = symtable.symtable(source, "cell", "exec")
    names = {one.get_name() for one in top.get_symbols() if one.is_referenced()}
    for table in tables(top):
        if table is not top:
            names |= {one.get_name() for one in table.get_symbols() if one.is_global()}
    bound = {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported()}
    return names - bound - _KNOWN


def _special(name: str, variables: Mapping[str, Any]) -> _Binding | None:
    """A store: there it is the one that the process works on."""
    if isinstance(variables.get(name), StoreInterface):
        return _Binding((0, 0), f"import conveyor_nb\n\n{name} = conveyor_nb.default_store()")
    return None


def _of_value(name: str, variables: Mapping[str, Any]) -> _Binding | None:
    """What a variable says of where it comes from, where no cell is known to make it."""
    if name not in variables:
        return None
    value = variables[name]
    if isinstance(value, ModuleType):
        return _imported(f"import {value.__name__} as {name}")
    if isinstance(value, (FunctionType, type)) and value.__module__ == "__main__":
        with contextlib.suppress(OSError):  # its code is not at hand
            return _Binding(_LAST, without_worker(inspect.getsource(value)))
        return None
    if (written := _as_literal(value)) is not None:
        return _Binding((0, 0), f"{name} = {written}")
    module, own = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(own, str)) or module == "__main__":
        return None
    if getattr(sys.modules.get(module), own, None) is value:
        return _imported(f"from {module} import {own} as {name}")
    return None


def _as_literal(value: object) -> str | None:
    """How a plain value is written, if it is one that comes back as it was."""
    try:
        written = repr(value)
        return written if ast.literal_eval(written) == value else None
    except FAULTS:  # it is somebody's own object
        return None


def _imported(source: str, place: tuple[int, int] = (0, 0)) -> _Binding:
    node = ast.parse(source).body[0]
    assert isinstance(node, (ast.Import, ast.ImportFrom))
    for alias in node.names:
        if alias.asname == alias.name:
            alias.asname = None
    return _Binding(place, ast.unparse(node), is_import=True)


# -- what cells bind --------------------------------------------------------------------------


def _bindings_of(cells: Sequence[str]) -> dict[str, _Binding]:
    found: dict[str, _Binding] = {}
    for number, cell in enumerate(cells):
        try:
            body = ast.parse(cell).body
        except SyntaxError:
            continue  # it never ran
        for node in body:
            found |= _bound_by(node, cell, (number, node.lineno))
    return found


def _bound_by(node: ast.stmt, cell: str, place: tuple[int, int]) -> dict[str, _Binding]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {
            alias.asname or alias.name.partition(".")[0]: _Binding(
                place, ast.unparse(_one_alias(node, alias)), is_import=True
            )
            for alias in node.names
            if alias.name != "*"
        }
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name: _Binding(place, without_worker(_text_of(node, cell)))}
    names = {
        one.id
        for one in ast.walk(node)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        why = f"it is made by `{ast.unparse(node).splitlines()[0]}`"
        return {name: _Binding(place, None, why) for name in names}
    if any(isinstance(one, ast.Await) for one in ast.walk(node)):
        return {name: _Binding(place, None, "it is awaited") for name in names}
    return {name: _Binding(place, _text_of(node, cell)) for name in names}


def _one_alias(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    if isinstance(node, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(node.module, [alias], node.level)


def _text_of(node: ast.stmt, cell: str) -> str:
    """The lines of a statement, with its decorators."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(one.lineno for one in decorators)])
    assert node.end_lineno is not None
    return "\n".join(cell.splitlines()[first - 1 : node.end_lineno])


# -- what handlers are ------------------------------------------------------------------------


def without_worker(source: str) -> str:
    r"""A definition without the decorator that made it a worker's handler.

    >>> print(without_worker("@emails.worker(concurrency=2)\ndef send(job):\n    return 1"))
    def send(job):
        return 1
    """
    source = textwrap.dedent(source)
    node = ast.parse(source).body[0]
    lines = source.splitlines()
    for one in reversed(getattr(node, "decorator_list", [])):
        called = one.func if isinstance(one, ast.Call) else one
        if isinstance(called, ast.Attribute) and called.attr == "worker":
            del lines[one.lineno - 1 : one.end_lineno]
    return "\n".join(lines)


def function_of_body(name: str, body: str) -> HandlerSource:
    """The function whose body a ``%%worker`` cell is.

    Raises:
        Mistake: it uses what only IPython knows.
    """
    tree = ast.parse(f"async def {name}(job):\n    pass")
    function = tree.body[0]
    assert isinstance(function, ast.AsyncFunctionDef)
    inner = ast.parse(body)
    if any(isinstance(one, ast.Name) and one.id == "get_ipython" for one in ast.walk(inner)):
        raise Mistake("nothing was written: a `!command` or `%magic` works in notebooks only")
    has_long_text = any(
        isinstance(one, (ast.Constant, ast.JoinedStr)) and one.lineno != one.end_lineno
        for one in ast.walk(inner)
        if isinstance(one, ast.expr)
    )
    if has_long_text:  # which must not be indented
        function.body = inner.body
        return HandlerSource(name, ast.unparse(tree))
    return HandlerSource(
        name, f"async def {name}(job):\n" + textwrap.indent(body.strip("\n"), "    ")
    )
