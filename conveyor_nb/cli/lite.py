"""The live pages of the site: JupyterLite, which runs notebooks in the reader's own browser.

As such a site is read, Pyodide and the packages come from their own servers, but for this package,
whose wheel is part of it. One that is made ``offline`` needs nothing from elsewhere: Pyodide comes
from npm, and what it would load from PyPI, pure wheels of the versions that it names, whose hashes
are put into its list. There pandas and what needs it is missing, as no registry has it for Pyodide.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from conveyor_nb.cli.children import run_child
from conveyor_nb.cli.errors import CommandError

__all__ = ["INSTALL_OFFLINE", "build_lite", "is_live"]

OF_PYODIDE = (
    *("micropip", "ipython", "jedi", "packaging"),  # what the kernel loads
    *("cloudpickle", "python-dateutil", "pytz", "sortedcontainers", "tqdm", "typing-extensions"),
    "tzdata",
)
LIKE_HERE = ("anywidget", "ipywidgets", "jupyterlab_widgets")
"""Their parts for the page are those that are installed here."""

FROM_PYPI = ("comm", "cron-descriptor", "croniter", "psygnal")
COMPILED = "msgspec==0.22.0"

EXTENSIONS = (
    "anywidget",
    "@jupyter-widgets/jupyterlab-manager",
    "@jupyterlite/pyodide-kernel-extension",
)
KERNEL = "@jupyterlite/pyodide-kernel-extension:kernel"
APPS = ("lab", "notebooks", "tree")

INSTALL = "%pip install -q conveyor_nb"
INSTALL_OFFLINE = f"""\
import piplite
names = {[*OF_PYODIDE[4:], *LIKE_HERE, *FROM_PYPI, COMPILED, "conveyor_nb"]}
await piplite.install(names, deps=False)"""
"""All that the package needs but pandas."""

WELCOME = """\
This notebook runs in your browser: there is no server, and nothing is installed on your computer.
The first cell loads Python's packages, which takes a while; then run the cells one by one with
<kbd>Shift</kbd>+<kbd>Enter</kbd>. What you change stays in this browser."""


def is_live(notebook: Mapping[str, Any]) -> bool:
    """Whether a notebook runs in a browser's Python: its metadata says so if it doesn't.

    >>> is_live({"metadata": {}}), is_live({"metadata": {"conveyor_nb": {"lite": False}}})
    (True, False)
    """
    return bool(notebook["metadata"].get("conveyor_nb", {}).get("lite", True))


def build_lite(notebooks: Iterable[Path], checkout: Path, site: Path, *, offline: bool) -> None:
    """Build it, in an environment that has the extra ``docs``.

    Args:
        notebooks: what can be opened in it; a folder named ``images`` beside them comes along.
        checkout: the source tree, of which a wheel is made.
        site: the folder that it goes to; what is there is replaced.
        offline: it needs nothing from elsewhere as it is read; it is made with npm.

    Raises:
        CommandError: npm is missing, or a step failed.
    """
    if offline and shutil.which("npm") is None:
        raise CommandError("--offline gets Pyodide by npm, which is not installed here")
    with tempfile.TemporaryDirectory(prefix="conveyor_nb-") as name:
        folder = Path(name)
        wheels = folder / "wheels"
        _run("hatchling", "build", "-t", "wheel", "-d", wheels, cwd=checkout)
        pyodide = _fetch_pyodide(folder, wheels) if offline else None
        _write_contents(notebooks, folder / "content", INSTALL_OFFLINE if offline else INSTALL)
        (folder / "jupyter-lite.json").write_text(json.dumps(_config(offline=offline)))
        (folder / "jupyter_lite_config.json").write_text(json.dumps(_build_config(wheels)))
        shutil.rmtree(site, ignore_errors=True)
        _run("jupyterlite_core", "build", f"--output-dir={site}", cwd=folder)
        if pyodide is not None:
            shutil.copytree(pyodide, site / "static" / "pyodide")


def _config(*, offline: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {"exposeAppInBrowser": True}
    if offline:
        settings["litePluginSettings"] = {KERNEL: {"pyodideUrl": "./static/pyodide/pyodide.mjs"}}
    return {"jupyter-lite-schema-version": 0, "jupyter-config-data": settings}


def _build_config(wheels: Path) -> dict[str, Any]:
    own = Path(sys.prefix, "share", "jupyter", "labextensions")
    return {
        "LiteBuildConfig": {
            "apps": APPS,
            "contents": ["content"],
            # of all that extends JupyterLab here, only this
            "ignore_sys_prefix": True,
            "federated_extensions": [str(own / name) for name in EXTENSIONS],
            "no_sourcemaps": True,
        },
        "PipliteAddon": {"piplite_urls": [str(wheel) for wheel in sorted(wheels.iterdir())]},
    }


def _run(module: str, *arguments: str | Path, cwd: Path | None = None) -> str:
    return _call(sys.executable, "-m", module, *arguments, cwd=cwd)


def _call(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command says.

    Raises:
        CommandError: it failed; the message has what it said last.
    """
    done = run_child(command, cwd=cwd)
    if done.returncode:
        said = ["it said nothing", *filter(None, (done.stdout + done.stderr).splitlines())]
        named = " ".join(Path(one).name for one in command[:4])
        raise CommandError(f"{named} ended with {done.returncode}: {said[-1]}")
    return done.stdout


def _write_contents(notebooks: Iterable[Path], folder: Path, install: str) -> None:
    """Write the notebooks as they begin in a browser: without outputs, and with their packages."""
    folder.mkdir()
    for path in notebooks:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"], cell["execution_count"] = [], None
        notebook["cells"] = [_markdown(WELCOME), _code(install), *notebook["cells"]]
        spec = {"name": "python", "display_name": "Python (Pyodide)", "language": "python"}
        notebook["metadata"]["kernelspec"] = spec
        (folder / path.name).write_text(json.dumps(notebook), encoding="utf-8")
        if (images := path.parent / "images").is_dir() and not (folder / "images").exists():
            shutil.copytree(images, folder / "images")


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": "welcome", "metadata": {}, "source": text}


def _code(text: str) -> dict[str, Any]:
    cell = {"cell_type": "code", "id": "install", "metadata": {}, "source": text}
    return {**cell, "execution_count": None, "outputs": []}


# -- without a network ------------------------------------------------------------------------


def _fetch_pyodide(folder: Path, wheels: Path) -> Path:
    """Get the Pyodide that the kernel is made for, and wheels of what it and the package load."""
    from jupyterlite_pyodide_kernel.constants import PYODIDE_VERSION

    quiet = ("--no-audit", "--no-fund", "--no-save", "--no-update-notifier")
    npm = shutil.which("npm") or "npm"
    _call(npm, "install", *quiet, "--prefix", folder, f"pyodide@{PYODIDE_VERSION}")
    pyodide = folder / "node_modules" / "pyodide"
    lock = json.loads((pyodide / "pyodide-lock.json").read_text("utf-8"))
    major, minor, _ = lock["info"]["python"].split(".")

    download = ("pip", "--disable-pip-version-check", "-q", "download", "--no-deps")
    python = ("--only-binary=:all:", f"--python-version={major}.{minor}")
    pure = (*download, *python, "--platform=any", "--abi=none")
    pins = _with_dependencies(lock["packages"], OF_PYODIDE)
    _run(*pure, f"--dest={pyodide}", *(f"{one['name']}=={one['version']}" for one in pins))
    for package in pins:
        _name_wheel(package, pyodide)
    (pyodide / "pyodide-lock.json").write_text(json.dumps(lock))

    like_here = [f"{name}=={version(name)}" for name in LIKE_HERE]
    _run(*pure, f"--dest={wheels}", *like_here, *FROM_PYPI)
    kind = f"pyemscripten_{lock['info']['abi_version']}_{lock['info']['arch']}"
    compiled = (f"--platform={kind}", f"--abi=cp{major}{minor}", "--implementation=cp")
    _run(*download, *python, *compiled, f"--dest={wheels}", COMPILED)
    return pyodide


def _with_dependencies(packages: dict[str, Any], names: Iterable[str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    todo = list(names)
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name not in found:
            found[name] = packages[name]
            todo += packages[name]["depends"]
    return list(found.values())


def _name_wheel(package: dict[str, Any], folder: Path) -> None:
    """Name the wheel that has come in the place of Pyodide's own."""
    name = re.sub("[-_.]", "[-_.]", package["name"])
    start = re.compile(f"{name}-{re.escape(package['version'])}-", re.IGNORECASE)
    [wheel] = [one for one in folder.glob("*.whl") if start.match(one.name)]
    package["file_name"] = wheel.name
    package["sha256"] = hashlib.sha256(wheel.read_bytes()).hexdigest()
