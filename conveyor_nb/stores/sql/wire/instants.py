"""Times as the two kinds of database hold them: milliseconds in a file, instants on a server.

Both keep microseconds: the milliseconds of a file have a fraction then, which other programs cut
(and which is exact to the microsecond until the year 2109).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["from_milliseconds", "to_milliseconds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_milliseconds(when: datetime | None) -> float | None:
    """Milliseconds since 1970; whole ones as an ``int``.

    >>> to_milliseconds(datetime(1970, 1, 1, 0, 0, 1, 500, tzinfo=UTC))
    1000.5
    """
    if when is None:
        return None
    since = when - _EPOCH
    whole = since.days * 86_400_000 + since.seconds * 1_000
    thousands, rest = divmod(since.microseconds, 1_000)
    return whole + thousands + rest / 1_000 if rest else whole + thousands


def from_milliseconds(value: float | None) -> datetime | None:
    """The instant that :func:`to_milliseconds` was given."""
    if value is None:
        return None
    if type(value) is int:
        return _EPOCH + timedelta(milliseconds=value)
    return _EPOCH + round(value * 1_000) * _MICROSECOND
