"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def readme(checkout: Path) -> str:
    return (checkout / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def blocks(readme: str) -> list[tuple[str, str]]:
    """The fenced blocks, each as its language and its text."""
    return [(match["language"], match["text"]) for match in BLOCK.finditer(readme)]


def is_cell(text: str) -> bool:
    """Whether a block of Python is for a notebook."""
    return text.startswith("%")


def test_the_scripts_print_what_is_shown(blocks: list[tuple[str, str]], tmp_path: Path) -> None:
    scripts = [
        (text, shown)
        for (language, text), (next_language, shown) in pairwise(blocks)
        if language == "python" and next_language == "text"
    ]
    assert scripts
    for text, shown in scripts:
        (script := tmp_path / "script.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-W", "error", str(script)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (result.stdout, result.stderr) == (shown, "")


def test_the_cells_run_in_a_notebook_and_end_in_a_picture(blocks: list[tuple[str, str]]) -> None:
    cells = [text for language, text in blocks if language == "python" and is_cell(text)]
    assert cells
    for text in cells:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text)])
        NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
        [output] = notebook.cells[0].outputs
        assert "data:image/svg+xml;base64," in output.data["text/html"]
        assert "emails" in output.data["text/plain"]


def test_every_block_of_python_is_one_of_these(blocks: list[tuple[str, str]]) -> None:
    followers = [*(language for language, _ in blocks[1:]), ""]
    for (language, text), follower in zip(blocks, followers, strict=True):
        assert language != "python" or is_cell(text) or follower == "text"


def test_every_file_it_names_exists(readme: str, checkout: Path) -> None:
    links = re.findall(r"\]\(([^):]+)\)", readme)
    paths = re.findall(r"`((?:conveyor_nb|notebooks|tests)/[\w/.]+)`", readme)
    assert [name for name in links + paths if not (checkout / name).exists()] == []


def test_both_commands_are_there_as_they_are_run(readme: str) -> None:
    for command in (
        'python -m pip install -e ".[lab]" && python -m conveyor_nb lab',
        'python -m pip install -e ".[test]" && python -m pytest',
    ):
        assert f"```sh\n{command}\n```" in readme


def test_every_room_is_on_the_map(readme: str, checkout: Path) -> None:
    package = checkout / "conveyor_nb"
    rooms = {
        path.parent.name for path in package.rglob("__init__.py") if path.parent != package
    } - {"conformance"}  # a part of testing/
    table = readme.partition("| room |")[2]
    named = set(re.findall(r"`(\w+)/`", table))
    assert named == rooms
    files = re.findall(r"`(\w+\.py)`", table)
    assert files
    assert all((package / name).is_file() for name in files)
