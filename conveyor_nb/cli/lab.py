"""``python -m conveyor_nb lab``: JupyterLab, open on a notebook, in this very process."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from conveyor_nb.cli.errors import missing_packages
from conveyor_nb.cli.notebooks import find_notebook
from conveyor_nb.cli.serving import HOST, has_browser, is_root

__all__ = ["run_lab"]

FIRST_PORT = 8888
ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"


def run_lab(notebook: Path | None, *, port: int | None, no_browser: bool) -> None:
    """Serve JupyterLab until Ctrl-C.

    Args:
        notebook: what it opens on; the quick start if not given.
        port: the port; without one, 8888 or the next that is free.
        no_browser: only print the address.

    Raises:
        CommandError: there is no such notebook, or JupyterLab is not installed.
    """
    notebook = find_notebook(notebook)
    try:
        from jupyterlab.labapp import LabApp
    except ImportError as error:
        raise missing_packages("the lab", error) from error

    token = secrets.token_hex(24)
    opens_browser = not no_browser and has_browser()
    server = LabApp.initialize_server(
        server_arguments(notebook, port=port, token=token, opens_browser=opens_browser)
    )

    server.web_app.settings["page_config_hook"] = without_announcements

    def announce() -> None:
        address = address_of(notebook, port=server.port, token=token)
        print(f"JupyterLab is ready on this computer; Ctrl-C ends it.\n\n    {address}\n")
        sys.stdout.flush()

    server.io_loop.add_callback(announce)
    server.start()


def without_announcements(_: object, page_config: dict[str, Any]) -> dict[str, Any]:
    """Nobody who came for the queue is asked about Jupyter's news, and nothing is looked up."""
    disabled = page_config.get("disabledExtensions", [])
    return {**page_config, "disabledExtensions": [*disabled, ANNOUNCEMENTS]}


def server_arguments(
    notebook: Path, *, port: int | None, token: str, opens_browser: bool
) -> list[str]:
    """JupyterLab's own arguments; they win over whatever the user's configuration says."""
    settings = {
        "ServerApp.ip": HOST,
        "ServerApp.port": port or FIRST_PORT,
        "ServerApp.root_dir": notebook.parent,
        "LabApp.default_url": f"/lab/tree/{quote(notebook.name)}",
        "ServerApp.open_browser": opens_browser,
        "ServerApp.answer_yes": True,  # one Ctrl-C is enough
        "Application.log_level": "ERROR",
        "IdentityProvider.token": token,
    }
    if port is not None:
        settings["ServerApp.port_retries"] = 0  # this port or none
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    return [*arguments, "--allow-root"] if is_root() else arguments


def address_of(notebook: Path, *, port: int, token: str) -> str:
    """The address that opens a notebook.

    >>> address_of(Path("a b.ipynb"), port=8888, token="123")
    'http://127.0.0.1:8888/lab/tree/a%20b.ipynb?token=123'
    """
    return f"http://{HOST}:{port}/lab/tree/{quote(notebook.name)}?token={token}"
