"""Which notebook a command is about."""

from __future__ import annotations

from pathlib import Path

from conveyor_nb.cli.errors import CommandError

__all__ = ["find_notebook"]

CHECKOUT = Path(__file__).resolve().parents[2]
"""The source tree, if the package is installed with ``pip install -e``."""

QUICK_START = Path("notebooks", "01_quickstart.ipynb")


def find_notebook(given: Path | None) -> Path:
    """The absolute path of the notebook that was asked for, or of the quick start.

    Raises:
        CommandError: there is no such notebook.
    """
    notebook = CHECKOUT / QUICK_START if given is None else given
    if notebook.is_file() and notebook.suffix == ".ipynb":
        return notebook.resolve()
    if given is None:
        raise CommandError(
            f"no quick start at {notebook}; the example notebooks come with the source: run this "
            "in a checkout installed with -e, or name a notebook of your own"
        )
    if notebook.exists():
        raise CommandError(f"{notebook} is not a notebook: its name must end in .ipynb")
    raise CommandError(f"there is no notebook {notebook}")
