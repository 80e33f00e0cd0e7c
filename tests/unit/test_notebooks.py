"""The notebooks as they are saved: their form, their links, and what of them is compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
GUIDE = [path for path in NOTEBOOKS if path.stem >= "04"]
LINK = re.compile(r"\]\(([^)#\s]+)")
MOST_IGNORED = 2

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == kind:
            yield "".join(cell["source"]), cell


def words_of(path: Path) -> str:
    return "\n\n".join(source for source, _ in cells_of(path, "markdown"))


@each
def test_what_is_not_compared_has_its_reason_in_the_cell(path: Path) -> None:
    ignored = 0
    for source, cell in cells_of(path, "code"):
        if "NBVAL_IGNORE_OUTPUT" in source:
            ignored += 1
            assert re.search(r"# NBVAL_IGNORE_OUTPUT\n# \w+", source), source
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            ignored += 1
            assert "# pixels are not compared: " in source, source
        assert "NBVAL_SKIP" not in source
    assert ignored <= MOST_IGNORED


@each
def test_it_was_run_from_top_to_bottom_and_holds_no_widget(path: Path) -> None:
    whole = json.loads(path.read_text(encoding="utf-8"))
    counts = [cell["execution_count"] for _, cell in cells_of(path, "code")]
    assert counts == list(range(1, len(counts) + 1))
    assert "widgets" not in whole["metadata"]
    assert whole["metadata"]["language_info"]["pygments_lexer"] == "ipython3", "it has magics"
    assert "widget-view" not in path.read_text(encoding="utf-8")


@each
def test_it_has_one_title_headings_without_a_gap_and_links_that_lead_somewhere(path: Path) -> None:
    words = words_of(path)
    levels = [len(mark) for mark in re.findall(r"^(#+) ", words, re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for target in LINK.findall(words):
        if "://" not in target:
            assert (FOLDER / target).exists(), target


@pytest.mark.parametrize("path", GUIDE, ids=lambda path: path.stem)
def test_a_notebook_of_the_guide_asks_shows_and_sets_an_exercise(path: Path) -> None:
    words = words_of(path)
    code = "\n".join(source for source, _ in cells_of(path, "code"))
    assert re.search(r"\*\*[^*]+\?\*\*", words), "it lets one predict"
    assert "await explore(" in code, "it has a knob"
    assert len(re.findall("<details>\n<summary>Solution</summary>\n\n", words)) == 1
    assert "## Exercise" in words
    for peer in ("**Celery**", "**BullMQ**", "**RQ**", "**Oban**"):
        assert peer in words.partition("## In production")[2]
    pictures = [
        output
        for _, cell in cells_of(path, "code")
        for output in cell["outputs"]
        if "data:image/svg+xml" in "".join(output.get("data", {}).get("text/html", ""))
    ]
    assert len(pictures) >= 2
