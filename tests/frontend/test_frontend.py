"""The front end's modules: their types, their pure parts, and how they go together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conveyor_nb.core.values.text import fit
from conveyor_nb.notebook.panel.modules import bundle
from conveyor_nb.notebook.pictures.pieces import STATE_LOOKS, looks_of
from tests.hostile.texts import HOSTILE

if TYPE_CHECKING:
    from ..conftest import NpmInstall

HERE = Path(__file__).resolve().parent
MOST_LINES = 200


@pytest.fixture(scope="module")
def static(checkout: Path) -> Path:
    """Where the modules are."""
    return checkout / "conveyor_nb" / "notebook" / "panel" / "static"


@pytest.fixture(scope="module")
def tools(static: Path, npm_install: NpmInstall, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the checkout with the type checker from npm, and the modules' name."""
    work = tmp_path_factory.mktemp("frontend")
    npm_install(HERE, work)
    shutil.copytree(static, work / "node_modules" / "conveyor")
    manifest = {"name": "conveyor", "type": "module", "exports": {"./*": "./*"}}
    (work / "node_modules" / "conveyor" / "package.json").write_text(json.dumps(manifest))
    for file in HERE.glob("*.test.js"):
        shutil.copy(file, work)
    texts = [text[:2_000] for text in HOSTILE.values()]
    (work / "texts.json").write_text(json.dumps([(text, fit(text)) for text in texts]))
    return work


def run(*command: str, cwd: Path) -> None:
    """Run a command; if it fails, so does the test, with what it said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_their_types_fit(static: Path, tools: Path) -> None:
    config = json.loads((HERE / "tsconfig.json").read_text())
    config["include"] = [str(static / "*.js")]
    (tools / "tsconfig.json").write_text(json.dumps(config))
    run(str(tools / "node_modules" / ".bin" / "tsc"), "--project", str(tools), cwd=tools)


def test_their_pure_parts_do_as_they_should(tools: Path) -> None:
    run("node", "--test", "--test-reporter=spec", cwd=tools)


def test_none_is_longer_than_can_be_read_at_once(static: Path) -> None:
    lengths = {file.name: len(file.read_text().splitlines()) for file in static.glob("*.js")}
    assert {name: count for name, count in lengths.items() if count > MOST_LINES} == {}


def test_no_view_styles_what_is_another_views(static: Path) -> None:
    """What views share is in ``panel.css``; what pictures are made of has names in ``cvp-``."""
    sheets = {file.name: file.read_text() for file in static.glob("*.css")}
    classes = {name: set(re.findall(r"\.(cv-[\w-]+)", text)) for name, text in sheets.items()}
    shared = classes.pop("panel.css")
    for name, own in classes.items():
        others = set().union(*(found for other, found in classes.items() if other != name))
        assert not (own & others) - shared, f"{name} and another sheet"


def test_each_hue_of_a_picture_is_brighter_on_a_dark_ground(static: Path) -> None:
    """Pictures have their colours as attributes, which a style sheet finds by their values."""
    looks = [*looks_of("abcdef").values(), *STATE_LOOKS.values()]
    rules = (static / "pictures.css").read_text()
    for way in ("fill", "stroke"):
        missing = {look.colour for look in looks if f'[{way}="{look.colour}"]' not in rules}
        assert not missing, way


def test_together_they_are_one_module(static: Path) -> None:
    whole = bundle(static / "panel.js")
    exports = [line for line in whole.splitlines() if line.startswith("export ")]
    assert exports == ["export default { initialize, render };"]
    assert "import {" not in whole
    assert (
        whole.index("function h(")
        < whole.index("function makeJobs(")
        < whole.index("function render(")
    )


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ('import { b } from "./b.js";\nconst one = 1;', "export const one = 2;", "both have a one"),
        ('import { b as c } from "./b.js";', "export const b = 2;", "no name may be changed"),
    ],
)
def test_names_that_would_meet_are_refused(
    first: str, second: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "a.js").write_text(f"{first}\n")
    (tmp_path / "b.js").write_text(f"{second}\n")
    with pytest.raises(ValueError, match=said):
        bundle(tmp_path / "a.js")
