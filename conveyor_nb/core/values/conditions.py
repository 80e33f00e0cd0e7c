"""Yes-or-no questions that are to be awaited, and say so when somebody forgets to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

__all__ = ["Condition", "condition"]

P = ParamSpec("P")
S = TypeVar("S")

_Ask = Callable[[], Coroutine[Any, Any, bool]]


class Condition(Coroutine[Any, Any, bool]):
    """A coroutine that gives ``True`` or ``False``, and begins when it is awaited.

    Used as a condition itself it raises ``TypeError``: a coroutine is always true, so that
    ``if job.is_failed():`` would never ask.

    Args:
        ask: makes the coroutine.
        called: what was called, as the caller may have written it.
    """

    __slots__ = ("_ask", "_called", "_coroutine")

    def __init__(self, ask: _Ask, called: str) -> None:
        self._ask = ask
        self._called = called
        self._coroutine: Coroutine[Any, Any, bool] | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self._called} has no answer before it is awaited; write: await {self._called}"
        )

    def __repr__(self) -> str:
        return f"<{self._called}, to be awaited>"

    def __await__(self) -> Generator[Any, Any, bool]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        """What a loop does with a coroutine."""
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """What a loop does with a coroutine that is cancelled."""
        return self._begun().throw(*error)

    def close(self) -> None:
        """End it; one that was not begun has nothing to end."""
        if self._coroutine is not None:
            self._coroutine.close()

    def _begun(self) -> Coroutine[Any, Any, bool]:
        if self._coroutine is None:
            self._coroutine = self._ask()
        return self._coroutine


def condition(
    ask: Callable[Concatenate[S, P], Coroutine[Any, Any, bool]],
) -> Callable[Concatenate[S, P], Condition]:
    """Let an async method give a :class:`Condition`.

    >>> class Door:
    ...     @condition
    ...     async def is_open(self) -> bool:
    ...         return False
    >>> if Door().is_open():
    ...     print("come in")
    Traceback (most recent call last):
    ...
    TypeError: door.is_open() has no answer before it is awaited; write: await door.is_open()
    """

    @functools.wraps(ask)
    def begin(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Condition:
        called = f"{type(self).__name__.lower()}.{ask.__name__}()"
        return Condition(functools.partial(ask, self, *args, **kwargs), called)

    return begin
