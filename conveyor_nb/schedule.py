"""When a repeating job runs: pure functions from (repeat, what was, now) to the next run.

Cron lines are read by croniter, which knows 5, 6 and 7 fields and time zones. Across a change
of the clocks: a time that the gap skips runs at the gap's end; a time that comes twice runs
once, unless the line's hour is ``*``, when it runs every real hour.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from conveyor_nb.durations import to_seconds
from conveyor_nb.options import Repeat

__all__ = ["first_run", "next_run", "resumed_run"]

_HOUR_FIELD = 1


def first_run(repeat: Repeat, now: datetime) -> datetime | None:
    """The planned time of the first run; ``None``: there is none before ``end_date``.

    A time that is past is to be run at once.

    >>> now = datetime(2027, 1, 1, 12, tzinfo=UTC)
    >>> first_run(Repeat(every="1 hour"), now) == now
    True
    >>> first_run(Repeat(cron="30 9 * * *"), now).isoformat()
    '2027-01-02T09:30:00+00:00'
    """
    start = repeat.start_date
    if repeat.every is None:
        after = now if start is None or start <= now else start - timedelta(microseconds=1)
        planned = _next_match(repeat, after)
    elif start is None:
        planned = now
    else:
        planned = start if start > now else _latest_slot(repeat, start, now)
    return _within(repeat, planned)


def next_run(repeat: Repeat, planned: datetime, now: datetime, runs: int) -> datetime | None:
    """The planned time of the run after the one that was planned for ``planned``.

    It is counted from the planned time, so it does not drift; runs that were missed collapse
    into the latest of them.

    Args:
        repeat: when to run.
        planned: what time the last run was planned for.
        now: the instant of the decision.
        runs: how many runs there have been.

    >>> repeat, planned = Repeat(every="1 hour"), datetime(2027, 1, 1, 12, tzinfo=UTC)
    >>> next_run(repeat, planned, planned + timedelta(minutes=5), runs=1).isoformat()
    '2027-01-01T13:00:00+00:00'
    >>> next_run(repeat, planned, planned + timedelta(hours=3, minutes=5), runs=1).isoformat()
    '2027-01-01T15:00:00+00:00'
    """
    if repeat.limit is not None and runs >= repeat.limit:
        return None
    if repeat.every is not None:
        upcoming = planned + timedelta(seconds=to_seconds(repeat.every))
        return _within(repeat, upcoming if upcoming > now else _latest_slot(repeat, planned, now))
    upcoming_match = _next_match(repeat, planned)
    if upcoming_match is not None and upcoming_match <= now:
        upcoming_match = _latest_match(repeat, now)
    return _within(repeat, upcoming_match)


def resumed_run(repeat: Repeat, planned: datetime | None, now: datetime) -> datetime | None:
    """The planned time of the first run after a pause: missed runs are left out.

    Args:
        repeat: when to run.
        planned: what time the last run was planned for, if there was one.
        now: the instant of the decision.
    """
    if planned is None:
        return first_run(repeat, now)
    if repeat.every is None:
        return _within(repeat, _next_match(repeat, max(planned, now)))
    if planned <= now:
        planned = _latest_slot(repeat, planned, now) + timedelta(seconds=to_seconds(repeat.every))
    return _within(repeat, planned)


def _within(repeat: Repeat, planned: datetime | None) -> datetime | None:
    if planned is None or (repeat.end_date is not None and planned > repeat.end_date):
        return None
    return planned


def _latest_slot(repeat: Repeat, start: datetime, now: datetime) -> datetime:
    assert repeat.every is not None
    every = timedelta(seconds=to_seconds(repeat.every))
    return start + (now - start) // every * every


def _next_match(repeat: Repeat, after: datetime) -> datetime | None:
    return _walk(repeat, after, "get_next")


def _latest_match(repeat: Repeat, now: datetime) -> datetime | None:
    return _walk(repeat, now + timedelta(microseconds=1), "get_prev")


def _walk(repeat: Repeat, start: datetime, step: str) -> datetime | None:
    from croniter import CroniterBadDateError, croniter  # only who uses cron pays its import

    assert repeat.cron is not None
    zone = _zone(repeat.tz)
    matches = croniter(repeat.cron, start.astimezone(zone), second_at_beginning=True)
    hours_are_fixed = matches.expanded[_HOUR_FIELD] != ["*"]
    while True:
        try:
            match: datetime = getattr(matches, step)(datetime)
        except CroniterBadDateError:  # no such date, for instance in a year that is past
            return None
        if not (hours_are_fixed and _is_second_of_two(match)):
            return match.astimezone(UTC)


def _is_second_of_two(moment: datetime) -> bool:
    """Whether the clocks showed this local time once before, an hour (or so) ago."""
    return moment.utcoffset() != moment.replace(fold=0).utcoffset()


@lru_cache(maxsize=64)
def _zone(name: str | None) -> Any:
    return UTC if name is None else ZoneInfo(name)
