"""``python -m conveyor_nb docs``: the site, built of the notebooks and the pages beside them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from conveyor_nb.cli.checkout import find_checkout
from conveyor_nb.cli.children import run_child
from conveyor_nb.cli.errors import CommandError, missing_packages
from conveyor_nb.cli.notebooks import SITE, notebooks_folder
from conveyor_nb.cli.serving import HOST, Place, has_browser

__all__ = ["build_site", "run_docs"]

NEEDED = ("sphinx", "myst_nb", "furo", "sphinx_copybutton")
NEEDED_LIVE = ("hatchling", "jupyter_server", "jupyterlite_core", "jupyterlite_pyodide_kernel")
LIVE = "live"
"""The folder of the live pages, in the site."""


def run_docs(
    output: Path | None,
    port: int | None,
    *,
    live: bool = True,
    offline: bool = False,
    serve: bool = True,
    no_browser: bool = False,
) -> None:
    """Build the site, and serve it until Ctrl-C.

    Args:
        output: the folder that it goes to.
        port: where it is served, on this computer; a free port if not given.
        live: with notebooks that run in the browser.
        offline: these need nothing from elsewhere.
        serve: or only build it.
        no_browser: only print the address.

    Raises:
        CommandError: a package is missing, a page has a fault, other files are in the folder, or
            one can't listen there.
    """
    if serve:
        Place(port=port).require()
    checkout = find_checkout()
    if output is None:
        output = Path(SITE) if checkout is None else checkout / "build" / "site"
    if live and checkout is None:
        print("Pages that run in the browser are left out: they are made in a checkout.")
    build_site(output, live=live and checkout is not None, offline=offline)
    print(f"The site is in {output.resolve()}", flush=True)
    if serve:
        serve_until_interrupted(output, port, opens_browser=not no_browser and has_browser())


def build_site(output: Path, *, live: bool = True, offline: bool = False) -> None:
    """Build it.

    Args:
        output: the folder that it goes to: a new or an empty one, or that of a site, which is
            renewed.
        live: with notebooks that run in the browser; needs a checkout.
        offline: these need nothing from elsewhere.

    Raises:
        CommandError: a package is missing, a page has a fault, or other files are there.
    """
    for name in (*NEEDED, *(NEEDED_LIVE if live else ())):
        if find_spec(name) is None:
            raise missing_packages("the site", ModuleNotFoundError(name=name), extra="docs")
    home = notebooks_folder()
    output = output.resolve()
    _require_own(output)
    print("Building the pages ...", flush=True)
    _build_pages(home, output, live=LIVE if live else "")
    checkout = find_checkout()
    if live and checkout is not None:
        from conveyor_nb.cli.lite import build_lite, is_live

        print("Building those that run in the browser ...", flush=True)
        notebooks = [
            path
            for path in sorted(home.glob("*.ipynb"))
            if is_live(json.loads(path.read_text(encoding="utf-8")))
        ]
        build_lite(notebooks, checkout, output / LIVE, offline=offline)


def _require_own(folder: Path) -> None:
    """Check that nothing but a site is lost when one is written to a folder."""
    # Sphinx leaves the file in each site that it makes
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ".buildinfo").is_file():
        raise CommandError(
            f"{folder} has files that are no site of ours; name a new or an empty folder with "
            "--output"
        )


def _build_pages(home: Path, output: Path, *, live: str) -> None:
    """Have Sphinx build them, in a folder of its own: it leaves things beside what it builds."""
    sphinx = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    with tempfile.TemporaryDirectory(prefix="conveyor_nb-") as folder:
        built = Path(folder) / "site"
        settings = [f"-Dlive_pages={live}", "-d", f"{folder}/doctrees"]
        folders: list[str | Path] = ["-c", home / "site", home, built]
        done = run_child([*sphinx, *settings, *folders], shows_output=True)
        if done.returncode:
            print(done.stderr, file=sys.stderr, end="")
            raise CommandError("the site has faults: see above")
        try:
            shutil.copytree(built, output, dirs_exist_ok=True)
        except OSError as error:
            raise CommandError(f"can't write to {output}: {error}") from error


_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
}
"""The types that Windows takes from its registry, where another program may have made a script
plain text, which no browser runs."""


class _Quiet(SimpleHTTPRequestHandler):
    def guess_type(self, path: str | PathLike[str]) -> str:
        return _TYPES.get(Path(path).suffix) or super().guess_type(path)

    def log_message(self, *_: object) -> None: ...


def serve_until_interrupted(site: Path, port: int | None, *, opens_browser: bool) -> None:
    """Serve the files of a site on this computer, and say where.

    Raises:
        CommandError: one can't listen there.
    """
    try:
        server = ThreadingHTTPServer((HOST, port or 0), partial(_Quiet, directory=str(site)))
    except OSError as error:  # the port was free before the site was built
        raise Place(port=port).refusal(error) from error
    with server:
        address = f"http://{HOST}:{server.server_port}"
        print(f"The site is ready on this computer; Ctrl-C ends it.\n\n    {address}\n", flush=True)
        if opens_browser:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
