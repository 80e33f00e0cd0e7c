"""What a command says when it can't go on."""

from __future__ import annotations

__all__ = ["CommandError", "missing_packages"]


class CommandError(Exception):
    """Ends a command; its message is the one line that the person reads."""


def missing_packages(what: str, error: ImportError, extra: str = "lab") -> CommandError:
    """The error for a package of an extra that is not installed.

    >>> print(missing_packages("the demo", ModuleNotFoundError("...", name="rich")))
    the demo needs rich, which is not installed; run: python -m pip install -e ".[lab]"
    """
    return CommandError(
        f"{what} needs {error.name}, which is not installed; run: "
        f'python -m pip install -e ".[{extra}]"'
    )
