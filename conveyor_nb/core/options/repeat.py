"""The rule by which a job repeats, as people write it; ``schedule`` says when it runs then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from conveyor_nb.core.options.declaring import Options, option
from conveyor_nb.core.values.checks import check_count, positive_seconds, to_instant
from conveyor_nb.core.values.durations import Duration
from conveyor_nb.core.values.plain_values import plain_text
from conveyor_nb.core.values.text import shown

__all__ = ["Repeat"]

_CRON_FIELDS = (5, 6, 7)


def _cron_line(line: object, *, what: str) -> str:
    from croniter import croniter  # only who uses cron pays its import

    if not isinstance(line, str):
        raise TypeError(f"{what} must be text such as '0 9 * * 1-5', not {shown(line)}")
    line = plain_text(line)
    fields = line.split()
    if len(fields) not in _CRON_FIELDS or not croniter.is_valid(line, second_at_beginning=True):
        raise ValueError(
            f"{what} {shown(line)} is not a cron line; give 5 fields such as '0 9 * * 1-5' "
            "(minute hour day month weekday), 6 (seconds first) or 7 (year last)"
        )
    return line


def _time_zone(name: object, *, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be text such as 'Europe/Paris', not {shown(name)}")
    name = plain_text(name)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{what} {shown(name)} is not a known time zone; give an IANA name "
            "such as 'Europe/Paris'"
        ) from None
    return name


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Repeat(Options):
    """Run a job again and again: ``every`` so long, or at the times a ``cron`` line gives.

    Args:
        every: a duration, kept in seconds; the first run is at once, or at ``start_date``.
        cron: 5 fields, 6 (seconds first) or 7 (year last); the first run is at the next match.
        limit: the number of runs.
        start_date, end_date: aware datetimes, kept in UTC; no run is earlier or later.
        tz: an IANA time zone for ``cron``; UTC if not given.

    >>> Repeat(cron="0 9 * * 1-5", tz="Europe/Paris")
    Repeat(cron='0 9 * * 1-5', tz='Europe/Paris')
    """

    _called: ClassVar[str] = "repeat"

    every: float | None = option(positive_seconds, None)
    cron: str | None = option(_cron_line, None)
    limit: int | None = option(check_count, None)
    start_date: datetime | None = option(to_instant, None)
    end_date: datetime | None = option(to_instant, None)
    tz: str | None = option(_time_zone, None)

    def __init__(
        self,
        every: Duration | None = None,
        cron: str | None = None,
        limit: int | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        tz: str | None = None,
    ) -> None:
        if (every is None) == (cron is None):
            raise ValueError("Repeat needs either every= or cron=, and not both")
        if every is not None and tz is not None:
            raise ValueError("repeat tz goes with cron=, not with every=")
        dates = {"start_date": start_date, "end_date": end_date}
        self._take({"every": every, "cron": cron, "limit": limit, "tz": tz, **dates})
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise ValueError(
                f"repeat end_date {self.end_date.isoformat()} is before "
                f"start_date {self.start_date.isoformat()}"
            )
