"""A site of JupyterLite with this package in it, which needs nothing from elsewhere.

Pyodide comes from npm, and what it would load from its own server from PyPI: pure wheels of the
versions that it names, whose hashes are put into its list.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

__all__ = ["INSTALL", "build_site", "served"]

JUPYTERLITE = ("jupyterlite-core==0.8.6", "jupyterlite-pyodide-kernel==0.8.6", "jupyter-server")
"""Each brings its own Pyodide, and so its own Python and packages."""

OF_PYODIDE = (
    *("micropip", "ipython", "jedi", "packaging"),  # what the kernel loads
    *("cloudpickle", "python-dateutil", "pytz", "sortedcontainers", "tqdm", "typing-extensions"),
    "tzdata",
)
LIKE_HERE = ("anywidget", "ipywidgets", "jupyterlab_widgets")
"""Their parts for the page are those that are installed here."""

FROM_PYPI = ("comm", "cron-descriptor", "croniter", "psygnal")
COMPILED = "msgspec==0.22.0"

INSTALL = f"""\
import piplite
names = {[*OF_PYODIDE[4:], *LIKE_HERE, *FROM_PYPI, COMPILED, "conveyor_nb"]}
await piplite.install(names, deps=False)
"""
"""What a notebook does first: all that the package needs but pandas."""

KERNEL = "@jupyterlite/pyodide-kernel-extension:kernel"
CONFIG = {
    "jupyter-lite-schema-version": 0,
    "jupyter-config-data": {
        "exposeAppInBrowser": True,
        "litePluginSettings": {KERNEL: {"pyodideUrl": "./static/pyodide/pyodide.mjs"}},
    },
}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command says, which must not fail."""
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout


def build_site(folder: Path, checkout: Path, content: Path) -> Path:
    """Build it in a folder, in an environment of its own.

    Args:
        folder: where all of it goes.
        checkout: the source tree.
        content: a folder with notebooks.
    """
    run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "-q")
    run(*pip, "install", *JUPYTERLITE)
    for name in ("anywidget", "@jupyter-widgets"):
        shutil.copytree(_extensions(sys.prefix) / name, _extensions(folder / "venv") / name)

    pyodide = _fetch_pyodide(folder, python)
    lock = json.loads((pyodide / "pyodide-lock.json").read_text("utf-8"))
    major, minor, _ = lock["info"]["python"].split(".")
    download = (*pip, "download", "--no-deps", "--only-binary=:all:")
    pure = (*download, f"--python-version={major}.{minor}", "--platform=any", "--abi=none")
    pins = _with_dependencies(lock["packages"], OF_PYODIDE)
    run(*pure, f"--dest={pyodide}", *(f"{one['name']}=={one['version']}" for one in pins))
    for package in pins:
        _name_wheel(package, pyodide)
    (pyodide / "pyodide-lock.json").write_text(json.dumps(lock))

    wheels = folder / "wheels"
    like_here = [f"{name}=={version(name)}" for name in LIKE_HERE]
    run(*pure, f"--dest={wheels}", *like_here, *FROM_PYPI)
    kind = f"pyemscripten_{lock['info']['abi_version']}_{lock['info']['arch']}"
    of_kind = (f"--python-version={major}.{minor}", f"--platform={kind}", f"--abi=cp{major}{minor}")
    run(*download, *of_kind, "--implementation=cp", f"--dest={wheels}", COMPILED)
    run(*pip, "wheel", "--no-deps", f"--wheel-dir={wheels}", checkout)

    (folder / "jupyter-lite.json").write_text(json.dumps(CONFIG))
    site = folder / "site"
    mine = [f"--piplite-wheels={wheel}" for wheel in wheels.iterdir()]
    build = ("jupyterlite_core", "build", f"--contents={content}", f"--output-dir={site}", *mine)
    run(python, "-m", *build, cwd=folder)
    shutil.copytree(pyodide, site / "static" / "pyodide")
    return site


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve the files of a site, and give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _extensions(prefix: str | Path) -> Path:
    return Path(prefix, "share", "jupyter", "labextensions")


def _fetch_pyodide(folder: Path, python: Path) -> Path:
    """The Pyodide that the kernel is made for."""
    look = "from jupyterlite_pyodide_kernel.constants import PYODIDE_VERSION as v; print(v)"
    wanted = f"pyodide@{run(python, '-c', look).strip()}"
    quiet = ("--no-audit", "--no-fund", "--no-save", "--no-update-notifier")
    run("npm", "install", *quiet, "--prefix", folder, wanted)
    return folder / "node_modules" / "pyodide"


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
