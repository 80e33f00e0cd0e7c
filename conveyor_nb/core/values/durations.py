"""Durations at the edge: a number of seconds, a ``timedelta``, or text such as ``"5 minutes"``.

Everything behind the edge uses seconds as a float.
"""

from __future__ import annotations

import functools
import re
from datetime import timedelta

from conveyor_nb.core.values.plain_values import plain_number, plain_span
from conveyor_nb.core.values.text import shown

__all__ = ["Duration", "format_seconds", "roughly", "span", "to_delta", "to_seconds"]

Duration = float | timedelta | str
"""What every duration argument takes: seconds, a ``timedelta``, or text with a unit."""

_UNITS: dict[str, float] = {
    unit: seconds
    for units, seconds in (
        ("ms msec msecs millisecond milliseconds", 0.001),
        ("s sec secs second seconds", 1.0),
        ("m min mins minute minutes", 60.0),
        ("h hr hrs hour hours", 3_600.0),
        ("d day days", 86_400.0),
        ("w wk wks week weeks", 604_800.0),
    )
    for unit in units.split()
}
_TEXT = re.compile(r"(?P<number>-?(?:\d+(?:\.\d*)?|\.\d+))\s*(?P<unit>[a-z]+)")
EXAMPLES = "a number of seconds, a timedelta, or text such as '500ms', '5s', '10 minutes', '1.5h'"

MAX_SECONDS = 100 * 365.25 * 86_400.0
"""A hundred years: past it an instant may no longer be a valid ``datetime``."""


def to_seconds(value: Duration, *, what: str = "duration", examples: str = EXAMPLES) -> float:
    """Turn any duration into seconds.

    Args:
        value: seconds as a number, a ``timedelta``, or text with a unit.
        what: what the caller calls this value, for the error message.
        examples: what would be right, for the error message.

    Raises:
        ValueError: the text is not a duration, or the value is negative, NaN, infinite or
            longer than a hundred years.
        TypeError: the value is of another type.

    Example:
        >>> to_seconds("5 minutes"), to_seconds("500ms"), to_seconds(2)
        (300.0, 0.5, 2.0)
        >>> to_seconds("soon")
        Traceback (most recent call last):
        ...
        ValueError: duration 'soon' is not a duration; give a number of seconds, a timedelta, \
or text such as '500ms', '5s', '10 minutes', '1.5h'
    """
    if isinstance(value, timedelta):
        seconds: float | None = value.total_seconds()
    elif isinstance(value, str):
        seconds = _parse(value)
        if seconds is None:
            raise ValueError(f"{what} {shown(value)} is not a duration; give {examples}")
    elif (seconds := plain_number(value)) is None:
        seconds = plain_span(value)
    if seconds is None:
        raise TypeError(
            f"{what} {shown(value)} is a {type(value).__name__}, not a duration; give {examples}"
        )
    if not 0.0 <= seconds <= MAX_SECONDS:
        limit = "at most a hundred years" if seconds > MAX_SECONDS else "zero or more, and finite"
        raise ValueError(f"{what} must be {limit}, not {shown(value)}; give {examples}")
    return float(seconds)


def to_delta(value: Duration, *, what: str = "duration") -> timedelta:
    """Turn any duration into a ``timedelta``; raises as :func:`to_seconds`.

    >>> to_delta("2h")
    datetime.timedelta(seconds=7200)
    """
    return timedelta(seconds=to_seconds(value, what=what))


@functools.lru_cache(maxsize=256)
def span(seconds: float) -> timedelta:
    """Seconds as a ``timedelta``: made once for each of the few that come again with every job."""
    return timedelta(seconds=seconds)


def format_seconds(seconds: float) -> str:
    """Write seconds the way a person would.

    >>> [format_seconds(s) for s in (0.25, 2, 90, 7200, 90000)]
    ['250ms', '2s', '1.5m', '2h', '1.04d']
    """
    if seconds == 0:
        return "0s"
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0)):
        amount = seconds / size
        if float(f"{amount:.3g}") >= 1:
            return f"{amount:.3g}{unit}" if amount < 999.5 else f"{amount:.0f}{unit}"
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms"


def _parse(text: str) -> float | None:
    match = _TEXT.fullmatch(text.strip().lower())
    unit = _UNITS.get(match["unit"]) if match else None
    return None if match is None or unit is None else float(match["number"]) * unit


def roughly(seconds: float) -> str:
    """A duration by its first three digits.

    >>> roughly(0.123456), roughly(12.3456)
    ('123ms', '12.3s')
    """
    return format_seconds(float(f"{seconds:.3g}"))
