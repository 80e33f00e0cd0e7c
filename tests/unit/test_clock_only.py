"""Time comes from ``clocks/clock.py`` and nowhere else, so that a virtual clock sees all of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "conveyor_nb"
MODULES = {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py"))}
for _own in ("clocks/clock.py", "clocks/real_time.py"):
    del MODULES[_own]

FORBIDDEN = frozenset(
    {
        *(f"time.{name}" for name in ("time", "monotonic", "perf_counter", "process_time")),
        *(f"time.{name}_ns" for name in ("time", "monotonic", "perf_counter", "process_time")),
        *(f"time.{name}" for name in ("sleep", "gmtime", "localtime")),
        *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
        "datetime.date.today",
        *(f"asyncio.{name}" for name in ("sleep", "timeout", "timeout_at", "wait_for")),
        "threading.Timer",
    }
)
TIMERS = frozenset({"call_at", "call_later", "time"})
"""Methods of an event loop; a clock has methods of these names too, which are what to use."""


def uses_of_time(source: str) -> Iterator[str]:
    """The uses of another clock in a program, each as its line and its name."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Name, ast.Attribute)):
            continue
        dotted = _dotted(node)
        head, dot, rest = dotted.partition(".")
        full = f"{names.get(head, '')}{dot}{rest}"
        if full in FORBIDDEN:
            yield f"line {node.lineno}: {full}"
        elif isinstance(node, ast.Attribute) and node.attr in TIMERS and _is_loop(node.value):
            yield f"line {node.lineno}: {dotted}"


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each imported name, and what it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _dotted(node: ast.expr) -> str:
    """``a.b.c`` as text; a call stands for what it calls, anything else for nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return _dotted(node.func)
    return ""


def _is_loop(node: ast.expr) -> bool:
    return "loop" in _dotted(node).rpartition(".")[2].lower()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_no_time_of_its_own(module: str) -> None:
    assert not list(uses_of_time(MODULES[module].read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.time()", ["line 2: time.time"]),
        ("import time as t\nt.sleep(1)", ["line 2: time.sleep"]),
        ("from time import monotonic as now\nnow()", ["line 2: time.monotonic"]),
        ("import time\nf(default=time.perf_counter)", ["line 2: time.perf_counter"]),
        ("from datetime import datetime\ndatetime.now(UTC)", ["line 2: datetime.datetime.now"]),
        ("import datetime as dt\ndt.datetime.utcnow()", ["line 2: datetime.datetime.utcnow"]),
        ("import asyncio\nawait_(asyncio.sleep(0))", ["line 2: asyncio.sleep"]),
        ("self._loop.call_later(1, f)", ["line 1: self._loop.call_later"]),
        (
            "import asyncio\nasyncio.get_running_loop().call_at(1, f)",
            ["line 2: asyncio.get_running_loop.call_at"],
        ),
        ("self.clock.call_later(1, f)", []),
        ("store.clock.now()", []),
        ("time = 3\ntime.time", []),
        ("from datetime import datetime\ndatetime.fromtimestamp(0)", []),
    ],
)
def test_uses_of_time_are_told_from_what_only_looks_like_them(
    source: str, found: list[str]
) -> None:
    assert list(uses_of_time(source)) == found
