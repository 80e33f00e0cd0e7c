"""``python -m conveyor_nb dashboard``: what a notebook, or a store, shows as a page of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from conveyor_nb.cli.errors import CommandError, missing_packages
from conveyor_nb.cli.notebooks import find_notebook
from conveyor_nb.cli.serving import Place, has_browser, unwarned

__all__ = ["run_dashboard", "run_store_dashboard"]

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


def run_store_dashboard(url: str, place: Place, *, read_only: bool, no_browser: bool) -> None:
    """Serve the dashboard of a store, with no notebook at all, until Ctrl-C.

    Args:
        url: the store's URL.
        place: where it is served.
        read_only: show and change nothing.
        no_browser: only print the address.

    Raises:
        CommandError: there is no such store, Voila is not installed, or one can't listen there.
    """
    # kernels have the environment of the server: what is in a URL, such as a password, stays
    # out of every file and page
    from conveyor_nb.stores.opening import STORE_VARIABLE

    os.environ[STORE_VARIABLE] = check_url(url)
    with tempfile.TemporaryDirectory(prefix="conveyor_nb-") as folder:
        notebook = Path(folder) / "dashboard.ipynb"
        notebook.write_text(json.dumps(_notebook(read_only=read_only)), encoding="utf-8")
        serve(notebook, place, opens_browser=not no_browser and has_browser())


def check_url(url: str) -> str:
    """The URL of a store that there is, with the path of a file made absolute.

    Raises:
        CommandError: there is none.
    """
    from conveyor_nb import ConveyorError, open_store

    async def look() -> None:
        async with open_store(url, read_only=True) as store:
            await store.list_queues()

    try:
        asyncio.run(look())
    except (ConveyorError, ValueError) as error:
        raise CommandError(str(error)) from error
    scheme, slashes, path = url.partition(":///")
    if scheme == "sqlite" and slashes:
        return f"{scheme}{slashes}{Path(unquote(path)).absolute().as_posix()}"
    return url


def _notebook(*, read_only: bool) -> dict[str, Any]:
    """A notebook whose one cell is the dashboard of the store that the environment names."""
    from conveyor_nb.stores.opening import STORE_VARIABLE

    code = (
        "import os\nfrom conveyor_nb import dashboard, open_store\n"
        f"dashboard(open_store(os.environ['{STORE_VARIABLE}'], read_only={read_only}))"
    )
    cell = {"cell_type": "code", "id": "dashboard", "metadata": {}, "source": code}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "cells": [cell | {"execution_count": None, "outputs": []}],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


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
