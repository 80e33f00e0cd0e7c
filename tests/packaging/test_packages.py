"""What is built to be installed: complete, in order, and of use without a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import urlopen

import pytest

if TYPE_CHECKING:
    from ..conftest import StartChild


class Built(NamedTuple):
    """The two files that a version is published as, and a wheel that was made of the first."""

    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a module says, which must not fail."""
    whole = [sys.executable, "-m", *command]
    done = subprocess.run(whole, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dist")
    run("hatchling", "build", "-d", folder, cwd=checkout)
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    run("hatchling", "build", "-t", "wheel", "-d", folder / "second", cwd=source)
    return Built(sdist, wheel, folder / "second" / wheel.name)


def test_their_readers_find_no_fault(built: Built) -> None:
    run("twine", "check", "--strict", built.sdist, built.wheel)
    run("check_wheel_contents", built.wheel)


def test_a_wheel_has_all_that_is_used_and_is_the_same_from_either(
    built: Built, checkout: Path
) -> None:
    names = set(zipfile.ZipFile(built.wheel).namelist())
    assert names == set(zipfile.ZipFile(built.wheel_of_sdist).namelist())

    wanted = {"conveyor_nb/py.typed", "conveyor_nb/notebook/panel/static/panel.js"}
    for path in checkout.glob("notebooks/**/*"):
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts):
            wanted.add(f"conveyor_nb/_{path.relative_to(checkout).as_posix()}")
    assert wanted - names == set()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"conveyor_nb"}


def test_every_version_has_its_changes(built: Built, checkout: Path) -> None:
    version = built.wheel.name.split("-")[1]
    headings = re.findall(r"^## \[(.+?)\]", (checkout / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert {"Unreleased", version} & set(headings[:1]), f"no changes are told of {version}"


def test_no_extra_needs_what_only_an_extra_of_another_version_has(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for needed in (one for extra in extras.values() for one in extra):
        if match := re.fullmatch(rf"{project['name']}\[(.+)\]", needed):
            assert set(match[1].split(",")) <= set(extras)


SCRIPT = """
import asyncio
from pathlib import Path

import conveyor_nb
from conveyor_nb import Queue, Worker, open_store

async def send(job):
    return f"sent to {job.data}"

async def main():
    async with open_store("sqlite:///queue.db") as store:
        async with Queue("emails", store=store) as queue, Worker("emails", send, store=store):
            job = await queue.add("send", "ada")
            print(await job.wait_until_finished())

asyncio.run(main())
print(Path(conveyor_nb.__file__).parent)
"""


def test_an_installed_wheel_is_of_use_without_a_checkout(
    built: Built, tmp_path: Path, start_child: StartChild
) -> None:
    run("venv", "--without-pip", tmp_path / "venv")
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    python = tmp_path / "venv" / scripts / Path(sys.executable).name
    offline = ("--disable-pip-version-check", "--no-index", "--no-deps")
    run("pip", f"--python={python}", "install", "--quiet", *offline, built.wheel)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ask: list[str | Path] = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    # all but the package comes from here; what a .pth file here names, such as a checkout, doesn't
    (own / "here.pth").write_text(sysconfig.get_path("purelib"))
    (here := tmp_path / "here").mkdir()

    command: list[str | Path] = [python, "-W", "error", "-c", SCRIPT]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"sent to ada\n{own / 'conveyor_nb'}\n", "")

    lab = [python, "-m", "conveyor_nb", "lab", "--no-browser"]
    with start_child(lab, cwd=here, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told.endswith(f"copied to {here / 'conveyor_notebooks'}\n")
        address = next(line.strip() for line in process.stdout if "?token=" in line)
        assert "/lab/tree/01_quickstart.ipynb?" in address
        content = address.replace("/lab/tree/", "/api/contents/")
        with urlopen(content, timeout=60) as answer:
            assert b"# " in answer.read()
