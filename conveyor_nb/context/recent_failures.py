"""The newest exceptions of handlers, for those who wait for their jobs in the same process.

A store keeps what a job failed of as text. Here the exception itself is kept for a while, as a
copy that holds on to no frame, and so to none of the handler's variables.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from conveyor_nb.core.errors import FAULTS
from conveyor_nb.stores.interface import StoreInterface

__all__ = ["LastFailure", "failure_of", "keep_failure"]

KEPT = 64
"""How many of the newest are kept for each store, for as long as it is there."""

_MOST_LEVELS = 4
"""Exceptions that others hold are copied down to this level."""

_TELLING = 200
"""How many characters of a reason tell one failure of a job from another."""


class LastFailure(NamedTuple):
    """How the last attempt of a job failed that raised anything.

    Args:
        reason: what its record says, or begins with.
        attempt: which of its attempts it was, from 1.
        error: what was raised; ``None``: it can't be copied.
    """

    reason: str
    attempt: int
    error: BaseException | None


_kept: WeakKeyDictionary[StoreInterface, OrderedDict[tuple[str, str], LastFailure]] = (
    WeakKeyDictionary()
)


def keep_failure(
    store: StoreInterface,
    queue_name: str,
    job_id: str,
    *,
    reason: str,
    attempt: int,
    error: BaseException,
) -> None:
    """Keep what an attempt of a job raised."""
    kept = _kept.setdefault(store, OrderedDict())
    kept.pop((queue_name, job_id), None)
    kept[queue_name, job_id] = LastFailure(reason, attempt, _without_frames(error))
    while len(kept) > KEPT:
        kept.popitem(last=False)


def failure_of(
    store: StoreInterface, queue_name: str, job_id: str, reason: str | None
) -> LastFailure | None:
    """What is kept of the failure that ended a job, with an exception of the caller's own."""
    kept = _kept.get(store)
    last = kept and kept.get((queue_name, job_id))
    if not last or reason is None or not reason.startswith(last.reason[:_TELLING]):
        return None
    return last._replace(error=last.error and _without_frames(last.error))


def _without_frames(error: BaseException, level: int = 0) -> BaseException | None:
    """A copy of an exception, and of those it holds, without tracebacks; ``None``: can't be made.

    A person's exception may be made in ways that can't be repeated, and raise anything.
    """
    try:
        made = _remade(error, level)
        made.__dict__.update((key, _slim(value, level)) for key, value in vars(error).items())
    except FAULTS:
        return None
    return made


def _remade(error: BaseException, level: int) -> BaseException:
    if isinstance(error, BaseExceptionGroup):
        return error.derive([_slim(one, level) for one in error.exceptions])
    try:
        made = copy.copy(error)
    except FAULTS:  # it takes other arguments than those it keeps
        made = type(error).__new__(type(error), *error.args)
    if made is error or type(made) is not type(error):
        raise TypeError("it is no copy")
    made.args = tuple(_slim(value, level) for value in error.args)
    return made


def _slim(value: Any, level: int) -> Any:
    if isinstance(value, BaseException):
        slim = _without_frames(value, level + 1) if level < _MOST_LEVELS else None
        return slim or RuntimeError(f"{type(value).__name__}, which can't be copied")
    return list(value) if type(value) is list else value
