"""What is named ``MODULE:NAME``: found by importing the module."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

from conveyor_nb.cli.errors import CommandError

__all__ = ["load"]


def load(reference: str, *, what: str) -> Any:
    """The object that a reference names.

    Args:
        reference: the module and the name in it, such as ``app.jobs:send``.
        what: what it is to be, for the message.

    Raises:
        CommandError: there is no such module or name, or the module can't be imported.

    >>> load("json:dumps", what="a handler").__name__
    'dumps'
    >>> load("json.dumps", what="a handler")
    Traceback (most recent call last):
    ...
    conveyor_nb.cli.errors.CommandError: a handler is named MODULE:NAME, such as app.jobs:send, \
not 'json.dumps'
    """
    from conveyor_nb.core.values.text import shown

    module_name, colon, path = reference.partition(":")
    if not (colon and module_name and path) or module_name.endswith(".py"):
        hint = ""
        if module_name.endswith(".py"):
            hint = f"; write {module_name.removesuffix('.py').strip('./').replace('/', '.')}:{path}"
        raise CommandError(
            f"{what} is named MODULE:NAME, such as app.jobs:send, not {shown(reference)}{hint}"
        )
    found = _import(module_name)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise CommandError(f"{what}: {reference}: {error}") from error
    return found


def _import(name: str) -> Any:
    from conveyor_nb.core.values.text import error_line, shown

    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise CommandError(
                f"there is no module {shown(error.name)}, neither here nor installed"
            ) from error
        raise _broken(name, error, error_line(error)) from error
    except (Exception, SystemExit) as error:  # it is a person's module
        raise _broken(name, error, error_line(error)) from error


def _broken(name: str, error: BaseException, told: str) -> CommandError:
    *_, last = traceback.extract_tb(error.__traceback__)
    where = f"{os.path.relpath(last.filename)}, line {last.lineno}"
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{os.path.relpath(error.filename)}, line {error.lineno}"
    return CommandError(f"{name} can't be imported: {told} ({where})")
