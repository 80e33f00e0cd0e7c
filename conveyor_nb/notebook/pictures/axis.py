"""Where an axis of time has its ticks, and what stands at them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from conveyor_nb.core.model import EPOCH

__all__ = ["ticks"]

_DAY = 86_400
_STEPS = (
    *(mantissa * 10.0**exponent for exponent in range(-6, 0) for mantissa in (1, 2, 5)),
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800),
    *(hours * 3_600 for hours in (1, 2, 3, 6, 12)),
    *(days * _DAY for days in (1, 2, 7, 14, 30, 90, 180, 365, 3_650, 36_500)),
)


def ticks(begin: datetime, end: datetime, most: int) -> list[tuple[datetime, str]]:
    """Round instants between two others, at most so many, each with what stands there.

    Of what is shorter than a few seconds, they tell the time since its begin.

    >>> noon = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
    >>> [told for _, told in ticks(noon, noon + timedelta(minutes=2), 4)]
    ['12:00:00', '12:01:00', '12:02:00']
    >>> [told for _, told in ticks(noon, noon + timedelta(milliseconds=9), 5)]
    ['0', '2ms', '4ms', '6ms', '8ms']
    """
    span = max((end - begin).total_seconds(), 1e-6)
    step = next((one for one in _STEPS if math.floor(span / one) < most), _STEPS[-1])
    if step < 1:
        count = math.floor(span / step + 1e-9)
        return [
            (begin + timedelta(seconds=place * step), _offset(place * step))
            for place in range(count + 1)
        ]
    form = "%Y-%m-%d" if step >= _DAY else "%H:%M:%S" if step < 60 or span < 600 else "%H:%M"
    first = math.ceil((begin - EPOCH).total_seconds() / step)
    found = []
    for place in range(first, first + most + 1):
        at = EPOCH + timedelta(seconds=place * step)
        if at > end:
            break
        found.append((at, f"{at:{form}}"))
    return found


def _offset(seconds: float) -> str:
    if seconds == 0:
        return "0"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.4g}{unit}"
    return f"{seconds * 1e6:.4g}µs"
