"""``python -m conveyor_nb dashboard``: what a notebook shows, as a page of its own."""

from __future__ import annotations

import logging
import webbrowser
from pathlib import Path

from conveyor_nb.cli.errors import missing_packages
from conveyor_nb.cli.notebooks import find_notebook
from conveyor_nb.cli.serving import Place, has_browser, unwarned

__all__ = ["run_dashboard"]

NOTEBOOK_7 = "@jupyter-notebook/lab-extension"
"""What Notebook 7 adds to JupyterLab, and fails in a page of Voila."""


def run_dashboard(notebook: Path | None, place: Place, *, no_browser: bool) -> None:
    """Serve what a notebook shows, without its code, until Ctrl-C.

    Args:
        notebook: the notebook; the quick start if not given.
        place: where it is served.
        no_browser: only print the address.

    Raises:
        CommandError: there is no such notebook, Voila is not installed, or one can't listen there.
    """
    serve(find_notebook(notebook), place, opens_browser=not no_browser and has_browser())


def serve(notebook: Path, place: Place, *, opens_browser: bool) -> None:
    """Serve a notebook that is there: each page that is opened runs it in a kernel of its own."""
    place.require()
    with unwarned():
        try:
            from tornado.ioloop import IOLoop
            from voila.app import Voila
        except ImportError as error:
            raise missing_packages("the dashboard", error) from error

        server = Voila.instance()
        server.initialize(server_arguments(notebook, place))
    logging.getLogger("tornado").setLevel(logging.ERROR)  # Voila leaves it to itself

    def announce() -> None:
        place.announce("The dashboard", "", server.port)
        if opens_browser:
            webbrowser.open(place.addresses("", server.port)[0])

    IOLoop.current().add_callback(announce)
    server.start()


def server_arguments(notebook: Path, place: Place) -> list[str]:
    """Voila's own arguments; they win over whatever the user's configuration says."""
    settings = {
        **place.traits("Voila"),
        "Voila.token": place.token,
        "Voila.root_dir": notebook.parent,
        "Voila.open_browser": False,  # it would ask for the token
        "Voila.log_level": "ERROR",
        "VoilaConfiguration.show_tracebacks": True,  # else a cell that fails says nothing of why
        "VoilaConfiguration.extension_denylist": NOTEBOOK_7,
        # a page that is closed ends its kernel, and one that is lost does not
        "MappingKernelManager.cull_interval": 60,
        "MappingKernelManager.cull_idle_timeout": 300,
    }
    return [*(f"--{name}={value}" for name, value in settings.items()), str(notebook)]
