"""What a command says when it can't go on."""

from __future__ import annotations

from conveyor_nb.cli.checkout import find_checkout

__all__ = ["CommandError", "missing_packages"]


class CommandError(Exception):
    """Ends a command; its message is the one line that the person reads."""


def missing_packages(what: str, error: ImportError, extra: str = "lab") -> CommandError:
    """The error for a package of an extra that is not installed.

    >>> print(missing_packages("the demo", ModuleNotFoundError("...", name="rich")))
    the demo needs rich, which is not installed; run: python -m pip install -e ".[lab]"
    """
    source = f'"conveyor_nb[{extra}]"' if find_checkout() is None else f'-e ".[{extra}]"'
    return CommandError(
        f"{what} needs {error.name}, which is not installed; run: python -m pip install {source}"
    )
