"""Checks of what a person writes: each raises one error that names the value and a remedy."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar, cast

from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.plain_values import plain_flag, plain_int, plain_number, plain_text
from conveyor_nb.core.values.text import one_line, shown

__all__ = [
    "check_choice",
    "check_count",
    "check_flag",
    "check_instance",
    "check_logger",
    "check_name",
    "check_number",
    "check_percent",
    "check_positions",
    "check_text",
    "positive_seconds",
    "reject_unknown",
    "to_instant",
]

MAX_NAME_LENGTH = 255
MOST = 2**53 - 1
"""The largest whole number that every table, page and database can hold."""

_SHORTEST = 1e-6


def to_instant(value: object, *, what: str = "instant") -> datetime:
    """Check that ``value`` is a timezone-aware datetime and turn it into UTC.

    Raises:
        TypeError: it is not a ``datetime``.
        ValueError: it has no time zone.

    >>> to_instant(datetime(2027, 1, 1, tzinfo=UTC)).isoformat()
    '2027-01-01T00:00:00+00:00'
    >>> to_instant(datetime(2027, 1, 1), what="start_date")
    Traceback (most recent call last):
    ...
    ValueError: start_date 2027-01-01T00:00:00 has no time zone; give an aware datetime, \
for instance datetime(2027, 1, 1, tzinfo=UTC)
    """
    if not isinstance(value, datetime) or value != value:  # pandas' NaT is a datetime too
        raise TypeError(f"{what} must be a timezone-aware datetime, not {shown(value)}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(
            f"{what} {value.isoformat()} has no time zone; give an aware datetime, "
            "for instance datetime(2027, 1, 1, tzinfo=UTC)"
        )
    try:
        instant = value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{what} {value.isoformat()} is out of range in UTC") from None
    if type(instant) is datetime:
        return instant
    return datetime.combine(instant.date(), instant.timetz())  # pandas' Timestamp, to the µs


def check_name(value: object, *, what: str) -> str:
    """Check a queue name, job name, job id or other key: 1 to 255 characters that can be shown.

    Neither control characters nor lone surrogates, which no message to a page can carry.
    """
    if type(value) is str and 0 < len(value) <= MAX_NAME_LENGTH and value.isprintable():
        return value  # as most often, and for each job
    if not isinstance(value, str):
        raise TypeError(f"{what} must be text, not {shown(value)}")
    name = plain_text(value)
    if not name or len(name) > MAX_NAME_LENGTH:
        raise ValueError(f"{what} must have 1 to {MAX_NAME_LENGTH} characters, not {len(name)}")
    if any(_is_control(character) for character in name):
        raise ValueError(f"{what} must have no control characters: {shown(name)}")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError(f"{what} must have no half of a surrogate pair: {shown(name)}")
    return name


def check_text(value: object, *, what: str) -> str:
    """Check an id or name to look for: text, of whatever length."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be text, not {shown(value)}")
    return plain_text(value)


def check_logger(logger: object) -> logging.Logger:
    """The logger to use: the one given, or that of the package."""
    if logger is None:
        return logging.getLogger("conveyor_nb")
    if isinstance(logger, logging.LoggerAdapter):
        return cast("logging.Logger", logger)  # it has the same methods
    return check_instance(logging.Logger, logger, what="logger", example="logging.getLogger('x')")


def check_count(value: object, *, what: str, least: int = 1) -> int:
    """Check a whole number that is at least ``least``; returns it as an ``int``."""
    count = plain_int(value)
    if count is None:
        raise TypeError(f"{what} must be a whole number of {least} or more, not {shown(value)}")
    if count < least:
        raise ValueError(f"{what} must be {least} or more, not {shown(count)}")
    if count > MOST:
        raise ValueError(f"{what} must be at most {MOST:,}, not {shown(count)}")
    return count


def check_number(value: object, *, what: str) -> float:
    """Check a finite number; returns it as an ``int`` or ``float``."""
    number = plain_number(value)
    if number is None:
        raise TypeError(f"{what} must be a number, not {shown(value)}")
    if not math.isfinite(number):
        raise ValueError(f"{what} must be a finite number, not {shown(value)}")
    return number


def check_percent(value: object) -> float:
    """Check a job's progress: a number from 0 to 100; returns it as an ``int`` or ``float``."""
    number = plain_number(value)
    if number is None:
        raise TypeError(f"progress must be a number from 0 to 100, not {shown(value)}")
    if not 0 <= number <= 100:
        raise ValueError(f"progress must be from 0 to 100, not {shown(value)}")
    return number


def check_positions(start: object, end: object) -> tuple[int, int | None]:
    """Check from where to where, without that, a list is wanted; ``None``: to its end."""
    first = check_count(start, what="start", least=0)
    return first, None if end is None else check_count(end, what="end", least=0)


def check_flag(value: object, *, what: str) -> bool:
    """Check ``True`` or ``False``; returns it as a ``bool``."""
    flag = plain_flag(value)
    if flag is None:
        raise TypeError(f"{what} must be True or False, not {shown(value)}")
    return flag


def reject_unknown(given: Mapping[str, Any], known: frozenset[str], *, what: str) -> None:
    """Raise a ``TypeError`` that names the first unknown option and the nearest known one."""
    unknown = next((name for name in given if name not in known), None)
    if unknown is None:
        return
    near = difflib.get_close_matches(one_line(unknown, 40), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}"
    raise TypeError(f"unknown {what} {shown(unknown)}; {hint}")


def _is_control(character: str) -> bool:
    return ord(character) < 32 or 127 <= ord(character) < 160


def positive_seconds(value: Duration, *, what: str) -> float:
    """Check a duration that is longer than zero."""
    seconds = to_seconds(value, what=what)
    if seconds < _SHORTEST:
        raise ValueError(
            f"{what} must be longer than zero (a microsecond at least), not {shown(value)}"
        )
    return seconds


_Choice = TypeVar("_Choice", bound=StrEnum)


def check_choice(choices: type[_Choice], value: object, *, what: str) -> _Choice:
    """Check one of a few words, and turn it into the member of its enumeration.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(value, str) and value in list(choices):
        return choices(value)
    names = ", ".join(repr(str(choice)) for choice in choices)
    near = difflib.get_close_matches(one_line(value, 40), list(choices), n=1)
    hint = f"; did you mean {str(near[0])!r}?" if near else ""
    raise ValueError(f"{what} must be one of {names}, not {shown(value)}{hint}")


_Option = TypeVar("_Option")


def check_instance(kind: type[_Option], value: object, *, what: str, example: str) -> _Option:
    """Check an option that is an object of its own."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{what} must be a {kind.__name__}, not {shown(value)}; for instance {example}"
        )
    return value
