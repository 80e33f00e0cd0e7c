"""Which notebook a command is about, and where those of the package are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from conveyor_nb.cli.checkout import PACKAGE, find_checkout
from conveyor_nb.cli.errors import CommandError

__all__ = ["COPIES", "SITE", "copy_notebooks", "find_notebook", "notebooks_folder"]

COPIES = "conveyor_notebooks"
"""The folder that gets the copies of an installed package's notebooks."""

SITE = "conveyor_site"
"""The folder that the site made of them goes to, outside a checkout."""

QUICK_START = "01_quickstart.ipynb"

NOT_COPIED = frozenset({"site", ".ipynb_checkpoints", "__pycache__"})
"""Parts of the notebooks' folder that are nothing to work on."""


def notebooks_folder() -> Path:
    """The notebooks of the checkout, or those that came with the installed package."""
    checkout = find_checkout()
    return PACKAGE / "_notebooks" if checkout is None else checkout / "notebooks"


def find_notebook(given: Path | None, folder: Path | None = None, *, is_read: bool = False) -> Path:
    """The absolute path of the notebook that was asked for, or of the quick start.

    The notebooks of a checkout are opened where they are. Those of an installed package are for
    everybody who uses it, so copies of them are.

    Args:
        given: the notebook that was asked for.
        folder: where the copies go, from a checkout too; ``conveyor_notebooks`` in the current
            folder if not given.
        is_read: it is only read, so no copy is needed.

    Raises:
        CommandError: there is no such notebook, or there can be no copies.
    """
    if given is not None and folder is not None:
        raise CommandError("say which notebook, or which --folder, not both")
    if given is None:
        home = notebooks_folder()
        if folder is not None or not (is_read or find_checkout()):
            home = copy_notebooks(home, Path(COPIES) if folder is None else folder)
        given = home / QUICK_START
    if given.is_file() and given.suffix == ".ipynb":
        return given.resolve()
    if given.exists():
        raise CommandError(f"{given} is not a notebook: its name must end in .ipynb")
    raise CommandError(f"there is no notebook {given}")


def copy_notebooks(home: Path, folder: Path) -> Path:
    """Copy the notebooks, and what they show, to where they aren't yet, and say so.

    Args:
        home: the folder that they are in.
        folder: where they go; it is made if need be. What is there stays as it is.

    Raises:
        CommandError: they can't be read or written.
    """
    folder = folder.resolve()
    copied = kept = 0
    try:
        for path in _files(home):
            target = folder / path.relative_to(home)
            is_notebook = path.suffix == ".ipynb"
            if target.exists():
                kept += is_notebook
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)  # without the times and rights of an installed file
            copied += is_notebook
    except OSError as error:
        raise CommandError(
            f"the notebooks can't be copied to {folder}: {error.strerror}; "
            "name another folder with --folder"
        ) from error
    print(_told(copied, kept, folder), flush=True)
    return folder


def _told(copied: int, kept: int, folder: Path) -> str:
    """What is said of a copy.

    >>> print(_told(3, 0, Path("there")), _told(1, 2, Path("there")), sep=chr(10))
    3 notebooks copied to there
    1 notebook copied to there; 2 were there already and stay as they are
    """
    if not copied:
        return f"The notebooks in {folder} stay as they are"
    some = f"{copied} notebook{'s' * (copied != 1)} copied to {folder}"
    if not kept:
        return some
    verbs = "was there already and stays as it is", "were there already and stay as they are"
    return f"{some}; {kept} {verbs[kept > 1]}"


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in NOT_COPIED:
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path
