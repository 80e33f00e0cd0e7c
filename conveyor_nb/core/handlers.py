"""What a worker calls for its jobs: one handler for all, or one for each job name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from conveyor_nb.core.errors import Unrecoverable
from conveyor_nb.core.values.checks import check_name
from conveyor_nb.core.values.text import shown

__all__ = [
    "ALL_OTHERS",
    "ByName",
    "Handler",
    "Handlers",
    "check_handler",
    "check_handlers",
    "is_async",
]

Handler = Callable[[Any], Any]
"""Takes a ``Job``, or a list of them for a batch; plain or async."""

Handlers = Mapping[str, Handler]
"""Handlers by the names of their jobs."""

ALL_OTHERS = "*"
"""In place of a job name: the handler of jobs whose name has none."""


class ByName:
    """A handler that hands each job on to the one of its name.

    >>> handle = ByName({"send": lambda job: "sent"})
    >>> handle.pick("bounce")
    Traceback (most recent call last):
    ...
    conveyor_nb.core.errors.Unrecoverable: this worker has no handler for jobs named 'bounce', \
only for 'send'; '*' is the name for all others
    """

    def __init__(self, handlers: Handlers) -> None:
        self.handlers = dict(handlers)

    def pick(self, name: str) -> Handler:
        """The handler of jobs of this name.

        Raises:
            Unrecoverable: there is none.
        """
        found = self.handlers.get(name, self.handlers.get(ALL_OTHERS))
        if found is None:
            raise Unrecoverable(
                f"this worker has no handler for jobs named {shown(name)}, only for "
                f"{shown_names(self.handlers)}; {ALL_OTHERS!r} is the name for all others"
            )
        return found

    def __call__(self, job: Any) -> Any:
        """Give what that gives."""
        return self.pick(job.name)(job)


def shown_names(handlers: Handlers, most: int = 5) -> str:
    """The names that handlers are for, in a few words.

    >>> shown_names(dict.fromkeys("abc"), most=2)
    "'a', 'b' and 1 more"
    """
    names = [shown(name, limit=40) for name in sorted(handlers)[:most]]
    more = len(handlers) - len(names)
    return f"{', '.join(names)} and {more} more" if more else " and ".join(_two(names))


def _two(names: list[str]) -> list[str]:
    return [", ".join(names[:-1]), names[-1]] if len(names) > 1 else names


def check_handlers(given: object) -> Handler | Handlers:
    """Check what a worker is to call: a handler, or handlers by job name.

    Raises:
        TypeError, ValueError: one is no handler, or a name is no name; the message says which.
    """
    if not isinstance(given, Mapping):
        return check_handler(given)
    if not given:
        raise ValueError("handlers by name must name at least one; for instance {'send': send}")
    checked: dict[str, Handler] = {}
    for name, handler in given.items():
        try:
            checked[check_name(name, what="job name")] = check_handler(handler)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"handlers by name: for {shown(name)}: {error}") from error
    return MappingProxyType(checked)


def check_handler(handler: object) -> Handler:
    """Check that a handler can be called with one argument, and gives one result.

    Raises:
        TypeError: it can't.

    >>> def numbers(job):
    ...     yield from range(job.data)
    >>> check_handler(numbers)
    Traceback (most recent call last):
    ...
    TypeError: handler numbers is a generator, as it has a `yield`: its code would never run; \
give the one result with `return`, and what comes before it with job.log or job.update_progress
    """
    if inspect.iscoroutine(handler):
        handler.close()  # or else Python warns that nobody awaited it
        name = handler.__qualname__
        raise TypeError(
            f"handler must be a function that takes the job, not what a call of it gives: "
            f"{name} in place of {name}(...)"
        )
    name = _name_of(handler)
    if inspect.isclass(handler):
        raise TypeError(
            f"handler {name} is a class; give a function, a method such as {name}().run, or an "
            "object that can be called"
        )
    if not callable(handler):
        raise TypeError(f"handler must be a function that takes the job, not {shown(handler)}")
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in _code(handler)):
        raise TypeError(
            f"handler {name} is a generator, as it has a `yield`: its code would never run; give "
            "the one result with `return`, and what comes before it with job.log or "
            "job.update_progress"
        )
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        raise TypeError(f"handler {name} must take exactly one argument, the job") from error
    except ValueError:  # some built-ins don't tell their signature
        pass
    return handler


def is_async(handler: Handler) -> bool:
    """Whether calling the handler gives a coroutine."""
    return any(map(inspect.iscoroutinefunction, _code(handler)))


def _name_of(handler: object) -> str:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return str(getattr(handler, "__name__", type(handler).__name__))


def _code(handler: object) -> tuple[object, object]:
    """A handler, and what a call of it runs if it is an object with a ``__call__``."""
    return handler, getattr(handler, "__call__", None)  # noqa: B004 -- that is what is looked for
