"""The engine in a browser's Python: its own tests, run in Pyodide under Node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from ..conftest import NpmInstall

HERE = Path(__file__).resolve().parent
PACKAGES = frozenset(
    "cloudpickle croniter hypothesis msgspec pytest pytest-asyncio pytest-timeout"
    " sortedcontainers tzdata".split()
)
"""What the engine and its tests need, of all that ``pyproject.toml`` asks for."""

PATIENCE = 280.0
"""For how many seconds the tests may run on a busy machine; an idle one needs about 60."""

SCRIPT = """
import asyncio
from conveyor_nb import MemoryStore, Queue, VirtualClock, Worker

async def send(job):
    if job.attempts_made == 0 and job.data["to"] == "bob":
        raise ConnectionError("no answer")
    await job.sleep(job.data["nap"])
    return f"sent to {job.data['to']}"

async def mail(clock, nap):
    async with MemoryStore(clock=clock) as store, Queue("emails", store=store) as queue:
        async with Worker("emails", send, store=store, concurrency=2):
            jobs = [
                await queue.add("send", {"to": to, "nap": nap}, attempts=2, backoff=nap)
                for to in ("ada", "bob", "eve")
            ]
            if clock is not None:
                await clock.advance("3 days")
            print([await job.wait_until_finished() for job in jobs])

print(type(asyncio.get_running_loop()).__module__)
await mail(None, "20 ms")
await mail(VirtualClock(), "1 day")
0
"""


class Pyodide(NamedTuple):
    """An installed Pyodide."""

    folder: Path
    version: str
    python: str
    site: Path
    checkout: Path

    def command(self, mode: str, source: str, out: Path) -> list[str]:
        node = shutil.which("node") or shutil.which("nodejs") or "node"
        mounts = {"/site": self.site, "/checkout": self.checkout, "/out": out}
        folders = json.dumps({there: str(here) for there, here in mounts.items()})
        # pytest alone takes much of the megabyte that V8 gives to its stack.
        script = [node, "--stack-size=4000", str(HERE / "run.mjs")]
        return [*script, str(self.folder), folders, mode, source]


def run(command: list[str], *, timeout: float, cwd: Path | None = None) -> str:
    """What a command says; if it fails, so does the test."""
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=cwd)
        try:
            how = f"ended with {code}" if (code := process.wait(timeout)) else ""
        except subprocess.TimeoutExpired:
            how = f"took more than {timeout} s"
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read()
    if how:
        pytest.fail(f"{Path(command[0]).name} {how}:\n{said[-8000:]}", pytrace=False)
    return said


@pytest.fixture(scope="module")
def pyodide(
    checkout: Path, npm_install: NpmInstall, tmp_path_factory: pytest.TempPathFactory
) -> Pyodide:
    """Pyodide from npm and the packages from PyPI, in a folder that is not the checkout."""
    work = tmp_path_factory.mktemp("pyodide")
    npm_install(HERE, work)
    folder = work / "node_modules" / "pyodide"
    version = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
    info = json.loads((folder / "pyodide-lock.json").read_text(encoding="utf-8"))["info"]
    python = info["python"].rpartition(".")[0]

    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    needed = [each for each in wanted if re.split(r"[^\w-]", each)[0] in PACKAGES]
    assert len(needed) == len(PACKAGES)
    wheels = [
        "--only-binary=:all:",
        f"--python-version={python}",
        "--implementation=cp",
        f"--abi=cp{python.replace('.', '')}",
        f"--platform=pyemscripten_{info['abi_version']}_{info['arch']}",
    ]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-compile"]
    site = work / "site"
    run([*pip, f"--target={site}", *wheels, *needed], timeout=120)
    return Pyodide(folder, version, python, site, checkout)


def test_a_script_runs_in_pyodides_own_loop(pyodide: Pyodide, tmp_path: Path) -> None:
    said = run(pyodide.command("async", SCRIPT, tmp_path), timeout=60)
    sent = "['sent to ada', 'sent to bob', 'sent to eve']"
    assert said.splitlines() == ["pyodide.webloop", sent, sent]


SUITES = "tests/conformance"
SQLITE, MACHINE, FLOWS = (
    f"{SUITES}/test_{name}.py" for name in ("sqlite_store", "state_machine", "flow_machine")
)


@pytest.mark.parametrize(
    "halves",
    [
        (("tests/unit",), ("tests/engine",)),
        ((SQLITE,), (SUITES, *(f"--ignore={one}" for one in (SQLITE, MACHINE, FLOWS)))),
        ((MACHINE,), (FLOWS,)),
    ],
    ids=["engine", "stores", "machines"],
)
def test_the_engines_own_tests_pass(
    halves: tuple[tuple[str, ...], tuple[str, ...]],
    pyodide: Pyodide,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run_tests(number: int, tests: tuple[str, ...]) -> str:
        source = f"import inside; inside.main('/out/{number}.json', {str(tests)[1:-1]})"
        return run(pyodide.command("sync", source, tmp_path), timeout=PATIENCE)

    # Two at once, for two processors.
    with ThreadPoolExecutor() as threads:
        running = [threads.submit(run_tests, *half) for half in enumerate(halves)]
    for half in running:
        half.result()
    outcomes: dict[str, str] = {}
    for report in tmp_path.glob("*.json"):
        outcomes |= json.loads(report.read_text(encoding="utf-8"))
    counts = Counter(outcomes.values())
    passed, skipped = counts.pop("passed"), counts.pop("skipped", 0)
    why = ", ".join(f"{count} need {what}" for what, count in counts.most_common())
    with capsys.disabled():
        print(
            f"\nPyodide {pyodide.version}, Python {pyodide.python}: {passed} tests passed,", end=" "
        )
        print(f"{counts.total()} can't run there ({why}), {skipped} were skipped")
    # An engine that needs threads for all it does would be found wanting in nearly every test.
    assert passed > 9 * counts.total()
