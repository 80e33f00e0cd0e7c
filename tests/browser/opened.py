"""What the fixtures that open notebooks give, for the type checker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from playwright.sync_api import Locator, Page

__all__ = ["Notebook", "OpenNotebook"]


class Notebook(Protocol):
    """A notebook that is open in JupyterLab."""

    page: Page
    folder: Path

    @property
    def panel(self) -> Locator:
        """The first panel in it."""

    def run(self, number: int) -> None:
        """Run a cell, and wait until it has run."""

    def start(self, number: int) -> None:
        """Run a cell, and go on at once."""


OpenNotebook = Callable[..., Notebook]
"""Opens the test's notebook, with these cells."""
