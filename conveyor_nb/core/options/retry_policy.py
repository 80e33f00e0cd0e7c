"""Whether a job is retried after what its handler raised: ``retry_on``, ``Retry``, and groups."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from conveyor_nb.core.errors import Retry, Unrecoverable
from conveyor_nb.core.values.text import shown

__all__ = ["Retried", "RetryOn", "Ruling", "check_retry_on", "ruling_on"]

RetryOn = type[BaseException] | Collection[type[BaseException]] | None
"""What a person says is to be retried: exception classes, or one; ``None``: all of them."""

Retried = tuple[type[BaseException], ...] | None
"""The same, as it is kept."""


class Ruling(NamedTuple):
    """Whether the job may be tried again, and when.

    Args:
        final: it may not.
        delay: in so many seconds; ``None``: as its backoff says.
        asked: the handler asked for a retry.
    """

    final: bool = False
    delay: float | None = None
    asked: bool = False


def ruling_on(error: BaseException, retry_on: Retried) -> Ruling:
    """Decide it. Of a group of exceptions each has its say, and it takes one to end the job.

    >>> ruling_on(ConnectionError(), retry_on=(OSError,))
    Ruling(final=False, delay=None, asked=False)
    >>> both = ExceptionGroup("both", [ConnectionError(), KeyError()])
    >>> ruling_on(both, retry_on=(OSError,)).final
    True
    """
    single = list(_leaves(error))
    if any(isinstance(one, Unrecoverable) for one in single):
        return Ruling(final=True)
    wishes = [one for one in single if isinstance(one, Retry)]
    if len(wishes) < len(single) and retry_on is not None:
        others = (one for one in single if not isinstance(one, Retry))
        if not all(isinstance(one, retry_on) for one in others):
            return Ruling(final=True)
    delays = [one.delay for one in wishes if one.delay is not None]
    return Ruling(delay=max(delays, default=None), asked=bool(wishes))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def check_retry_on(value: object, *, what: str) -> Retried:
    """Check exception classes, or one.

    Raises:
        TypeError: it is something else.
    """
    kinds = tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(
                f"{what} must be exception classes such as (ConnectionError, TimeoutError), "
                f"not {shown(kind)}"
            )
    return kinds
