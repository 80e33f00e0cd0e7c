"""When a repeating job runs: pure functions from (repeat, what was, now) to the next run.

Cron lines are read by croniter, which knows 5, 6 and 7 fields and time zones. How cron handles a
clock change (daylight saving): a time that the gap skips runs at the gap's end, which is croniter's
own rule, held to by ``tests/unit/test_schedule.py``; a time that comes twice runs once, unless the
line's hour is ``*``, when it runs every real hour. ``every`` counts real time, so a clock change
makes no difference to it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.values.durations import format_seconds, to_seconds
from conveyor_nb.core.values.text import shown

__all__ = [
    "describe",
    "first_run",
    "interval",
    "next_run",
    "resumed_run",
    "runs_from",
    "why_no_run",
]

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
    if repeat.every is None:
        return _within(repeat, _next_match(repeat, now))
    start = repeat.start_date
    return _within(repeat, now if start is None else _latest_slot(repeat, min(start, now), now))


def why_no_run(repeat: Repeat, now: datetime) -> str:
    """Why :func:`first_run` gives none, in words.

    >>> why_no_run(Repeat(cron="0 0 30 2 *"), datetime(2027, 1, 1, tzinfo=UTC))
    "the cron line '0 0 30 2 *' never comes: no date fits it"
    """
    start, end = repeat.start_date, repeat.end_date
    if repeat.cron is not None and _next_match(repeat, now) is None:
        past = _latest_match(repeat, now)
        last = "no date fits it" if past is None else f"it came last at {past.isoformat()}"
        again = "never comes" if past is None else "comes no more"
        return f"the cron line {shown(repeat.cron)} {again}: {last}"
    if end is not None and end < now:
        return f"its end date {end.isoformat()} is past (it is {now.isoformat()})"
    since = "now" if start is None else f"its start date {start.isoformat()}"
    if end is None:
        return f"none is due from {since} on"
    return f"none is due between {since} and its end date {end.isoformat()}"


def describe(repeat: Repeat) -> str:
    """A rule in the words it was given in, and no default.

    >>> describe(Repeat(every="10 minutes", limit=3))
    "every='10m', limit=3"
    >>> describe(Repeat(cron="0 9 * * *", tz="Europe/Paris"))
    "cron='0 9 * * *', tz='Europe/Paris'"
    """
    parts: dict[str, object] = {
        "every": None if repeat.every is None else interval(repeat.every),
        "cron": repeat.cron,
        "limit": repeat.limit,
        "start_date": repeat.start_date and repeat.start_date.isoformat(),
        "end_date": repeat.end_date and repeat.end_date.isoformat(),
        "tz": repeat.tz,
    }
    return ", ".join(f"{name}={shown(value)}" for name, value in parts.items() if value is not None)


def interval(seconds: float) -> str:
    """An interval as text that :class:`Repeat` takes for the very same one.

    >>> interval(600.0), interval(600.0001)
    ('10m', '600.0001s')
    """
    short = format_seconds(seconds)
    return short if to_seconds(short) == seconds else f"{seconds:.15g}s"


def next_run(
    repeat: Repeat, planned: datetime, now: datetime, runs: int, started: datetime
) -> datetime | None:
    """The planned time of the run after the one that was planned for ``planned``.

    It is counted from the planned time, so it does not drift. Runs that were missed collapse into
    one: a run that started late stands for all that were due by then, and those that fell due
    while it ran become one.

    Args:
        repeat: when to run.
        planned: what time the last run was planned for.
        now: the instant of the decision.
        runs: how many runs there have been.
        started: when the last run started.

    >>> repeat, planned = Repeat(every="1 hour"), datetime(2027, 1, 1, 12, tzinfo=UTC)
    >>> now = planned + timedelta(minutes=5)
    >>> next_run(repeat, planned, now, runs=1, started=planned).isoformat()
    '2027-01-01T13:00:00+00:00'
    >>> now = planned + timedelta(hours=3, minutes=5)
    >>> next_run(repeat, planned, now, runs=1, started=planned).isoformat()
    '2027-01-01T15:00:00+00:00'
    """
    if repeat.limit is not None and runs >= repeat.limit:
        return None
    if started > planned:
        planned = _latest_before(repeat, planned, started)
    if repeat.every is not None:
        upcoming = planned + timedelta(seconds=repeat.every)
        return _within(repeat, upcoming if upcoming > now else _latest_slot(repeat, planned, now))
    upcoming_match = _next_match(repeat, planned)
    if upcoming_match is not None and upcoming_match <= now:
        upcoming_match = _latest_match(repeat, now)
    return _within(repeat, upcoming_match)


def runs_from(repeat: Repeat, planned: datetime, runs: int, count: int) -> list[datetime]:
    """The planned times of the next runs, if each of them starts when it is planned.

    Args:
        repeat: when to run.
        planned: what time the first of them is planned for.
        runs: how many runs there have been, with that one.
        count: how many at most.

    >>> noon = datetime(2027, 1, 1, 12, tzinfo=UTC)
    >>> [run.hour for run in runs_from(Repeat(every="1 hour", limit=9), noon, runs=7, count=5)]
    [12, 13, 14]
    """
    found = [planned]
    while len(found) < count:
        upcoming = next_run(repeat, planned, planned, runs + len(found) - 1, planned)
        if upcoming is None:
            break
        found.append(upcoming)
        planned = upcoming
    return found


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
        return _within(repeat, _next_match(repeat, now))
    if planned <= now:
        planned = _latest_slot(repeat, planned, now)
    return _within(repeat, planned + timedelta(seconds=repeat.every))


def _latest_before(repeat: Repeat, planned: datetime, instant: datetime) -> datetime:
    """The latest time for a run from ``planned`` to ``instant``."""
    if repeat.every is not None:
        return _latest_slot(repeat, planned, instant)
    return max(planned, _latest_match(repeat, instant) or planned)


def _within(repeat: Repeat, planned: datetime | None) -> datetime | None:
    start, end = repeat.start_date, repeat.end_date
    if planned is not None and start is not None and planned < start:
        just_before = start - timedelta(microseconds=1)
        planned = start if repeat.every else _next_match(repeat, just_before)
    return None if planned is None or (end is not None and planned > end) else planned


def _latest_slot(repeat: Repeat, start: datetime, now: datetime) -> datetime:
    assert repeat.every is not None
    every = timedelta(seconds=repeat.every)
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
