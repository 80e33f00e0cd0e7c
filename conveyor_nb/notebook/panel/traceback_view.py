"""A traceback as a page shows it: frame by frame, the person's own code apart from all other."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.getipython import get_ipython

__all__ = ["traceback_parts"]

_FRAME = re.compile(r'  File "(?P<file>[^\n"]*)", line (?P<line>\d+)(?:, in (?P<function>.*))?')
_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]|^<frozen ")
_OTHERS = tuple(
    f"{folder}/"
    for folder in {
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        str(Path(__file__).parents[2]),
    }
)


def traceback_parts(text: str) -> list[dict[str, Any]]:
    r"""The parts of a traceback in their order.

    A frame has ``where`` (``Cell In[4], line 5`` for code of a notebook), ``function``, ``code``
    and ``own``: whether it is a person's own code. All other text is a part with ``text`` only.

    >>> traceback_parts('  File "job.py", line 3, in send\n    1/0\nError: no')[0]
    {'where': 'job.py, line 3', 'function': 'send', 'own': True, 'code': '1/0'}
    """
    name_cell = _cell_names()
    parts: list[dict[str, Any]] = []
    for line in text.splitlines():
        if (frame := _FRAME.fullmatch(line)) is not None:
            parts.append(_frame(frame, name_cell))
        elif parts and "where" in parts[-1] and line.startswith("    "):
            code = parts[-1]["code"]
            parts[-1]["code"] = f"{code}\n{line[4:]}" if code else line[4:]
        elif parts and "text" in parts[-1]:
            parts[-1]["text"] += f"\n{line}"
        elif line:
            parts.append({"text": line})
    return parts


def _frame(found: re.Match[str], name_cell: Callable[[str], str | None]) -> dict[str, Any]:
    file = found["file"]
    cell = name_cell(file)
    own = bool(cell) or not (_INSTALLED.search(file) or file.startswith(_OTHERS))
    where = f"{cell or file}, line {found['line']}"
    return {"where": where, "function": found["function"] or "", "own": own, "code": ""}


def _cell_names() -> Callable[[str], str | None]:
    """How a cell's code is called: in this kernel, and by its last run."""
    compiler = getattr(get_ipython(), "compile", None)
    format_name = getattr(compiler, "format_code_name", None)
    if format_name is None:
        return lambda file: None

    def name(file: str) -> str | None:
        found = format_name(file)
        return f"{found[0]} {found[1]}" if found else None

    return name
