"""Numbers, flags and text of whatever library, as Python's own.

What numpy, pandas, ``decimal`` or an ``IntEnum`` give in place of them would be kept as it is, and
then be refused by JSON, or compare in a way that nobody expects. No library is imported for that.
"""

from __future__ import annotations

import math
import operator
from decimal import Decimal
from numbers import Integral, Real

__all__ = ["plain_flag", "plain_int", "plain_number", "plain_span", "plain_text"]

_EXACT = 2**53
"""Up to here each whole number is a float too; larger ones are not kept by every store."""


def plain_int(value: object) -> int | None:
    """A whole number as an ``int``; ``None``: it is of another type, be it ``True`` or ``2.0``.

    >>> plain_int(3), plain_int(True), plain_int(2.0)
    (3, None, None)
    """
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, Integral):
        return None
    try:
        return operator.index(value)
    except TypeError:  # numpy's timedelta64, which calls itself a whole number
        return None


def plain_number(value: object) -> int | float | None:
    """A number as an ``int`` or ``float``; ``None``: it is no real number, be it ``True``.

    What is too large for a ``float`` is infinite.

    >>> from fractions import Fraction
    >>> plain_number(3), plain_number(Fraction(1, 2)), plain_number("3")
    (3, 0.5, None)
    """
    if type(value) is float or (type(value) is int and -_EXACT <= value <= _EXACT):
        return value
    whole = plain_int(value)
    if whole is not None and abs(whole) <= _EXACT:
        return whole
    if (whole is None and isinstance(value, Integral)) or not isinstance(value, (Real, Decimal)):
        return None
    try:
        return float(value)
    except OverflowError:  # a Fraction or an int may be beyond every float
        return math.inf if value == abs(value) else -math.inf
    except ValueError:  # a Decimal that signals that it is not a number
        return math.nan


def plain_span(value: object) -> float | None:
    """The seconds of numpy's ``timedelta64``; ``None``: it is none, or of months or years."""
    if getattr(getattr(value, "dtype", None), "kind", None) != "m":
        return None
    try:
        second = type(value)(1, "s")  # type: ignore[call-arg]  # see above
        return float(value / second)  # type: ignore[operator]
    except TypeError:
        return None


def plain_flag(value: object) -> bool | None:
    """``True`` or ``False``, numpy's too; ``None``: it is neither, be it ``1``."""
    if isinstance(value, bool):
        return value
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    return bool(value) if kind == "b" and not getattr(value, "shape", None) else None


def plain_text(value: str) -> str:
    """Text as a ``str`` and no kind of it: of a ``StrEnum``, the text of the member.

    >>> from enum import StrEnum
    >>> plain_text(StrEnum("Size", ["SMALL"]).SMALL)
    'small'
    """
    return value if type(value) is str else str.__str__(value)
