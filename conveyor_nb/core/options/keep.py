"""How long, and how many, settled jobs are kept: the options ``remove_on_...``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import ClassVar

from conveyor_nb.core.options.declaring import Options, option
from conveyor_nb.core.values.checks import check_count
from conveyor_nb.core.values.durations import MAX_SECONDS, Duration, to_seconds
from conveyor_nb.core.values.plain_values import plain_flag, plain_number
from conveyor_nb.core.values.text import shown

__all__ = ["Keep", "to_keep"]


@dataclass(frozen=True, slots=True, init=False, repr=False, kw_only=True)
class Keep(Options):
    """How long, or how many, settled jobs are kept before the store removes them.

    Args:
        age: a duration, kept in seconds.
        count: how many; 0 or more.

    >>> Keep(age="1 hour", count=100)
    Keep(age=3600.0, count=100)
    """

    _called: ClassVar[str] = "keep"

    age: float | None = option(to_seconds, None)
    count: int | None = option(partial(check_count, least=0), None)

    def __init__(self, *, age: Duration | None = None, count: int | None = None) -> None:
        if age is None and count is None:
            raise ValueError("Keep needs age=, count= or both; for instance Keep(age='1 hour')")
        self._take({"age": age, "count": count})


_WITH_UNIT = (
    "True (at once), False, a duration with its unit such as '1 hour', a timedelta, or "
    "Keep(age=..., count=...)"
)


def to_keep(value: bool | str | timedelta | Keep, *, what: str) -> bool | Keep:
    """What is kept of an option: a duration is a ``Keep``; a bare number is refused."""
    if isinstance(value, Keep):
        return value
    if (flag := plain_flag(value)) is not None:
        return flag
    number = plain_number(value)
    if isinstance(value, str) and value.strip().isdecimal():
        number = int(value)
    if number is not None:
        raise ValueError(f"{what} can't be the bare number {shown(value)}: {_readings(number)}")
    return Keep(age=to_seconds(value, what=what, examples=_WITH_UNIT))


def _readings(number: float) -> str:
    """What people mean by a number of jobs or seconds; elsewhere it is the one, here the other."""
    if not 0 <= number < MAX_SECONDS:
        return f"give {_WITH_UNIT}"
    seconds = f"'{number:.15g}s' to keep a job for so many seconds"
    if number != int(number):
        return f"give {seconds}"
    return f"give Keep(count={int(number)}) to keep the newest {int(number)} jobs, or {seconds}"
