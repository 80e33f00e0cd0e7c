"""The notebooks of the guide: run twice in one kernel, and the solutions of their exercises."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from .conftest import Kernel

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
GUIDE = [path for path in NOTEBOOKS if path.stem >= "04"]
SOLUTION = re.compile(r"<details>.*?</details>", re.DOTALL)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("path", GUIDE, ids=lambda path: path.stem)
def test_a_notebook_runs_twice_and_what_its_text_holds_is_right(path: Path, kernel: Kernel) -> None:
    cells = nbformat.read(path, as_version=4).cells
    runs = []
    for is_first in (True, False):
        shown = []
        for cell in cells:
            if cell.cell_type == "code":
                ran = kernel.do(cell.source)
                shown.append((ran.out, [data["text/plain"] for data in ran.shown]))
            elif is_first:
                for code in CODE.findall("".join(SOLUTION.findall(cell.source))):
                    ran = kernel.do(code)
                    assert ran.out or ran.shown, f"a solution shows something: {code}"
        runs.append(shown)
    assert runs[0] == runs[1]
