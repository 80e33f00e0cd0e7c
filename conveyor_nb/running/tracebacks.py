"""What is said of an exception: one line, and a traceback that begins in the handler."""

from __future__ import annotations

import asyncio
import concurrent.futures
import traceback
from pathlib import Path
from types import TracebackType

from conveyor_nb.core import handlers
from conveyor_nb.core.options.retry_policy import Retried, Ruling, ruling_on

__all__ = ["ProcessEndedError", "RemoteError", "describe", "format_traceback"]

_AS_ANY = Ruling()


class RemoteError(Exception):
    """What was raised in another process: its text, as the exception itself may not be copied.

    Args:
        description: what :func:`describe` said there.
        stacktrace: what :func:`format_traceback` said there.
        ruling: what it means for the job.
    """

    def __init__(self, description: str, stacktrace: str, ruling: Ruling = _AS_ANY) -> None:
        super().__init__(description, stacktrace, ruling)
        self.description = description
        self.stacktrace = stacktrace
        self.ruling = ruling

    @classmethod
    def of(cls, error: BaseException, retry_on: Retried) -> RemoteError:
        """What another process is to be told of an exception."""
        return cls(describe(error), format_traceback(error), ruling_on(error, retry_on))


class ProcessEndedError(RemoteError):
    """The process was ended, as its job was to stop."""

    def __init__(self) -> None:
        super().__init__("its process was ended", "its process was ended\n")


def describe(error: BaseException) -> str:
    """An exception in one line."""
    if isinstance(error, asyncio.CancelledError):
        return "the handler cancelled itself, or what it awaited was cancelled"
    if isinstance(error, RemoteError):
        return error.description
    try:
        text = str(error)
    except BaseException:  # a person's __str__ may raise anything, and sys.exit() ends no loop
        text = "(its text can't be shown: __str__ raised)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def format_traceback(error: BaseException) -> str:
    """The traceback as Python prints it, from the handler's first line on."""
    if isinstance(error, RemoteError):
        return error.stacktrace
    lines = traceback.format_exception(type(error), error, _from_handler(error.__traceback__))
    return "".join(lines)


_OWN_MODULES = "execution runner runners processes process_child process_pickle".split()
_SAYS_ALL = str(Path(handlers.__file__))
"""Where there is no handler for a job, which needs no traceback to be understood."""

_OWN_FILES = frozenset(
    {
        _SAYS_ALL,
        *(str(Path(__file__).with_name(f"{name}.py")) for name in _OWN_MODULES),
        str(Path(concurrent.futures.__file__).parent / "thread.py"),
    }
)


def _from_handler(trace: TracebackType | None) -> TracebackType | None:
    first, last = trace, None
    while first is not None and first.tb_frame.f_code.co_filename in _OWN_FILES:
        first, last = first.tb_next, first
    if first is None and last is not None and last.tb_frame.f_code.co_filename == _SAYS_ALL:
        return None
    return first or trace
