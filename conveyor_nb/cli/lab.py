"""``python -m conveyor_nb lab``: JupyterLab, open on a notebook, in this very process."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from conveyor_nb.cli.errors import missing_packages
from conveyor_nb.cli.notebooks import find_notebook
from conveyor_nb.cli.serving import Place, has_browser, is_root, unwarned

__all__ = ["run_lab"]

ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"


def run_lab(
    notebook: Path | None, place: Place, *, folder: Path | None = None, no_browser: bool
) -> None:
    """Serve JupyterLab until Ctrl-C.

    Args:
        notebook: what it opens on; the quick start if not given.
        folder: where the notebooks are copied to, see ``find_notebook``.
        place: where it is served.
        no_browser: only print the address.

    Raises:
        CommandError: there is no such notebook, JupyterLab is not installed, or one can't listen
            there.
    """
    place.require()
    notebook = find_notebook(notebook, folder)
    arguments = server_arguments(notebook, place, opens_browser=not no_browser and has_browser())
    with unwarned():
        try:
            from jupyterlab.labapp import LabApp
        except ImportError as error:
            raise missing_packages("the lab", error) from error

        server = LabApp.initialize_server(arguments)
    server.web_app.settings["page_config_hook"] = without_announcements
    path = path_of(notebook)
    server.io_loop.add_callback(lambda: place.announce("JupyterLab", path, server.port))
    server.start()


def without_announcements(_: object, page_config: dict[str, Any]) -> dict[str, Any]:
    """Nobody who came for the queue is asked about Jupyter's news, and nothing is looked up."""
    disabled = page_config.get("disabledExtensions", [])
    return {**page_config, "disabledExtensions": [*disabled, ANNOUNCEMENTS]}


def server_arguments(notebook: Path, place: Place, *, opens_browser: bool) -> list[str]:
    """JupyterLab's own arguments; they win over whatever the user's configuration says."""
    settings = {
        **place.traits("ServerApp"),
        "ServerApp.root_dir": notebook.parent,
        "LabApp.default_url": f"/{path_of(notebook)}",
        "ServerApp.open_browser": opens_browser,
        "ServerApp.answer_yes": True,  # one Ctrl-C is enough
        "Application.log_level": "ERROR",
        "IdentityProvider.token": place.token,
    }
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    return [*arguments, "--allow-root"] if is_root() else arguments


def path_of(notebook: Path) -> str:
    """What opens a notebook, below JupyterLab's address.

    >>> path_of(Path("a b.ipynb"))
    'lab/tree/a%20b.ipynb'
    """
    return f"lab/tree/{quote(notebook.name)}"
