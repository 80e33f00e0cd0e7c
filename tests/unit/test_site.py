"""The pages of the site, as far as they can be checked by reading them."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import conveyor_nb
from conveyor_nb.cli import VERBS, build_parser
from conveyor_nb.notebook.commands.commands import parse
from conveyor_nb.notebook.commands.magics import COMMANDS
from conveyor_nb.stores.interface import StoreInterface
from tests.pages import PAGES, blocks_of

KINDS = {
    "python": "runs, in order with the others of its page",
    "ipython": "the same, with magics",
    "text": "what the block above it prints",
    "sh": "is read here",
    "py": "another library's",
    "ts": "another library's, in another language",
}
OF_OTHERS = "notebooks/howto/from-"
ELSEWHERE = {"cd", "docker", "git", "jupyter", "mypy", "ruff", "ssh"}
"""Programs whose arguments are not ours to check."""


@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_each_block_is_of_a_kind_that_is_checked(page: str) -> None:
    before = ""
    for kind, text in blocks_of(page):
        assert kind in KINDS or kind.startswith("{"), f"{page}: a block of {kind!r}\n{text}"
        if kind == "text":
            assert before in ("python", "ipython"), f"{page}: nothing prints this\n{text}"
        if kind in ("py", "ts"):
            assert page.startswith(OF_OTHERS), f"{page}: whose is this?\n{text}"
        if kind == "py":
            compile(text, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        before = kind


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    for page in ["README.md", *PAGES]:
        for kind, text in blocks_of(page):
            if kind == "sh":
                for line in filter(None, re.split(r"\n|&&", text)):
                    if words := shlex.split(line, comments=True):
                        yield page, words


def check_conveyor(words: list[str]) -> None:
    """Read the arguments of ``python -m conveyor_nb``, as it does."""
    if words == ["--help"]:
        return
    arguments, rest = build_parser().parse_known_args(words)
    if arguments.command in VERBS:
        known = COMMANDS[arguments.command]
        parse(known.parser, rest, known.arguments, example=known.example)
        assert arguments.store, f"no --store: {words}"
    else:
        assert rest == [], words


def check_pip(words: list[str], checkout: Path) -> None:
    """Look whether what is installed is there."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if words[0] == "wheel":
        return
    assert words[0] == "install"
    wanted = words[2] if words[1] == "-e" else words[1]
    match = re.fullmatch(rf"({project['name']}|\.)(?:\[(.+)\])?", wanted)
    assert match, words
    extras = set(filter(None, (match[2] or "").split(",")))
    assert extras <= set(project["optional-dependencies"])


def test_each_line_for_a_shell_is_one_that_there_is(checkout: Path) -> None:
    lines = list(shell_lines())
    assert len(lines) > 20
    for page, words in lines:
        match words:
            case ["python", "-m", "conveyor_nb", *rest]:
                check_conveyor(rest)
            case ["python", "-m", "pip", *rest]:
                check_pip(rest, checkout)
            case ["python", "-m", "pytest" | "tests.versions", *rest]:
                paths = [one for one in rest if not one.startswith("-") and "/" in one]
                assert all((checkout / path).exists() for path in paths), words
            case _:
                assert words[0] in ELSEWHERE, f"{page}: {words}"


def test_who_writes_a_store_is_told_how_many_methods_to_write(checkout: Path) -> None:
    page = (checkout / "notebooks" / "howto" / "own-store.md").read_text(encoding="utf-8")
    assert re.findall(r"(\d+) abstract methods", page) == [
        str(len(StoreInterface.__abstractmethods__))
    ]


@pytest.fixture(scope="module")
def reference(checkout: Path) -> str:
    pages = (checkout / "notebooks" / "reference").glob("*.md")
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


@pytest.mark.parametrize("name", conveyor_nb.__all__)
def test_each_public_name_is_in_the_reference_once(name: str, reference: str) -> None:
    found = re.findall(rf"^\.\. auto\w+:: conveyor_nb\.{name}$", reference, re.MULTILINE)
    assert len(found) == 1, f"put {name} on a page of notebooks/reference"


def test_the_reference_has_nothing_that_is_not_there(reference: str) -> None:
    names = re.findall(r"^\.\. auto\w+:: conveyor_nb\.(\w+)$", reference, re.MULTILINE)
    modules = {"frames", "testing"}
    assert set(names) - set(conveyor_nb.__all__) - modules == set()


@pytest.fixture(scope="module")
def from_code(checkout: Path) -> Any:
    """What makes the tables of the site, which is no module of the package."""
    path = checkout / "notebooks" / "site" / "from_code.py"
    spec = importlib.util.spec_from_file_location("from_code", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


@pytest.mark.parametrize("name", conveyor_nb.__all__)
def test_each_public_name_is_seen_at_work(name: str, from_code: Any) -> None:
    """In an example of its docstring, or in a notebook or page that its reference links to."""
    documented = getattr(conveyor_nb, name)
    own = [documented, *vars(documented).values()] if isinstance(documented, type) else [documented]
    has_example = any(">>>" in (getattr(one, "__doc__", None) or "") for one in own)
    assert has_example or from_code.users_of(name), f"nothing shows {name} at work"
