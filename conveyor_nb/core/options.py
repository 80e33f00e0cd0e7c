"""The options of jobs: what ``add`` takes by keyword, and the objects that some of them are.

See ``declaring`` for how an option is declared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Literal, TypedDict, Unpack
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from conveyor_nb.core.checks import (
    check_choice,
    check_count,
    check_flag,
    check_instance,
    check_name,
    check_number,
    positive_seconds,
    to_instant,
)
from conveyor_nb.core.declaring import Options, option, option_names, spelled_out
from conveyor_nb.core.durations import MAX_SECONDS, Duration, to_seconds
from conveyor_nb.core.numerals import plain_flag, plain_number, plain_text
from conveyor_nb.core.text import Word, shown

__all__ = [
    "OPTION_NAMES",
    "Backoff",
    "BackoffType",
    "BulkJob",
    "ChildFailurePolicy",
    "CronKeywords",
    "Deduplication",
    "EveryKeywords",
    "Group",
    "JobKeywords",
    "JobOptions",
    "Keep",
    "Repeat",
    "RunKeywords",
    "SharedKeywords",
    "UndelayedKeywords",
]

_CRON_FIELDS = (5, 6, 7)

BackoffStrategy = Callable[[int], Duration]
"""Given the number of attempts that failed so far (from 1), how long to wait for the next."""


class BackoffType(Word):
    """How the wait grows from retry to retry."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"
    CUSTOM = "custom"


class ChildFailurePolicy(Word):
    """What a failed child does to its parent in a flow."""

    FAIL = "fail"
    IGNORE = "ignore"
    REMOVE = "remove"


# -- what makes an option normal --------------------------------------------------------------


def _strategy(value: object, *, what: str) -> BackoffStrategy:
    if not callable(value):
        raise TypeError(
            f"a custom backoff needs strategy=callable, not {shown(value)}; "
            "for instance Backoff('custom', strategy=lambda attempts: attempts * 2)"
        )
    return value


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


def _backoff(value: Backoff | Duration, *, what: str) -> Backoff:
    if isinstance(value, Backoff):
        return value
    if isinstance(value, str) and value in list(BackoffType):
        raise ValueError(f"{what} {str(value)!r} needs a delay: Backoff({str(value)!r}, '1s')")
    return Backoff(delay=to_seconds(value, what=what))


_WITH_UNIT = (
    "True (at once), False, a duration with its unit such as '1 hour', a timedelta, or "
    "Keep(age=..., count=...)"
)


def _retention(value: bool | str | timedelta | Keep, *, what: str) -> bool | Keep:
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


# -- the objects that some options are --------------------------------------------------------


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Backoff(Options):
    """How long to wait before the next attempt.

    Args:
        type: ``"fixed"``, ``"exponential"`` (delay x 2^(attempts made - 1), at most 24 hours,
            with a jitter of up to 25 % either way) or ``"custom"``.
        delay: the (first) delay; a duration, kept in seconds.
        strategy: for ``"custom"``: called with the number of failed attempts so far, from 1,
            it returns a duration.

    >>> Backoff("exponential", "1s")
    Backoff(type='exponential', delay=1.0)
    """

    _called: ClassVar[str] = "backoff"

    type: BackoffType = option(partial(check_choice, BackoffType), BackoffType.FIXED)
    delay: float = option(to_seconds, 0.0)
    strategy: BackoffStrategy | None = option(_strategy, None)

    def __init__(
        self,
        type: BackoffType | Literal["fixed", "exponential", "custom"] = BackoffType.FIXED,
        delay: Duration = 0.0,
        strategy: BackoffStrategy | None = None,
    ) -> None:
        self._take({"type": type, "delay": delay, "strategy": strategy})
        if self.type is BackoffType.CUSTOM:
            _strategy(strategy, what="backoff strategy")
        elif strategy is not None:
            raise ValueError(f"backoff strategy goes with type 'custom', not {str(type)!r}")


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Deduplication(Options):
    """While an unfinished job with the same key exists, ``add`` returns that job.

    Args:
        key: the key itself, or
        hash: ``True`` to use the SHA-256 of the payload's canonical JSON.
        ttl: a duration, kept in seconds; a job older than this no longer holds its key.
    """

    _called: ClassVar[str] = "deduplication"

    key: str | None = option(check_name, None)
    hash: bool = option(check_flag, False)
    ttl: float | None = option(positive_seconds, None)

    def __init__(
        self, key: str | None = None, hash: bool = False, ttl: Duration | None = None
    ) -> None:
        self._take({"key": key, "hash": hash, "ttl": ttl})
        if (self.key is None) == (not self.hash):
            raise ValueError("Deduplication needs either key='...' or hash=True")


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


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Group(Options):
    """The group of a job: groups of a queue are served in turn.

    Args:
        id: the group's name.
        max_size: at most so many jobs of the group may wait; one more is a ``GroupFullError``.

    >>> Group("customer-1")
    Group(id='customer-1')
    """

    _called: ClassVar[str] = "group"

    id: str = option(check_name)
    max_size: int | None = option(check_count, None)

    def __init__(self, id: str, max_size: int | None = None) -> None:
        self._take({"id": id, "max_size": max_size})


# -- keywords ---------------------------------------------------------------------------------


class RunKeywords(TypedDict, total=False):
    """The options that each run of a repeating job can have: see ``JobOptions``."""

    attempts: int
    backoff: Backoff | Duration | None
    priority: float
    lifo: bool
    timeout: Duration | None
    remove_on_complete: bool | str | timedelta | Keep
    remove_on_fail: bool | str | timedelta | Keep
    group: Group | None
    fail_parent_on_child_failure: ChildFailurePolicy | Literal["fail", "ignore", "remove"]


class UndelayedKeywords(RunKeywords, total=False):
    """The options of a job whose delay is told in another way, or is none."""

    deduplication: Deduplication | None
    job_id: str | None


class SharedKeywords(RunKeywords, total=False):
    """The options that many jobs can have in common."""

    delay: Duration
    deduplication: Deduplication | None


class JobKeywords(UndelayedKeywords, total=False):
    """All options of a job: see ``JobOptions``."""

    delay: Duration
    repeat: Repeat | None


class EveryKeywords(RunKeywords, total=False):
    """The options of a job that runs again and again, and those of ``Repeat`` for ``every``."""

    job_id: str | None
    limit: int | None
    start_date: datetime | None
    end_date: datetime | None


class CronKeywords(EveryKeywords, total=False):
    """The options of a job that runs again and again, and those of ``Repeat`` for ``cron``."""

    tz: str | None


class _Named(TypedDict):
    name: str


class BulkJob(JobKeywords, _Named, total=False):
    """An item of ``add_bulk``: a job's name, its payload, and its options."""

    data: Any
    opts: JobOptions | JobKeywords | None


# -- all options of a job ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, init=False, repr=False, kw_only=True)
class JobOptions(Options):
    """The options of one job, as ``queue.add`` takes them by keyword.

    Args:
        attempts: runs before the job fails for good; 1 or more.
        backoff: a duration (fixed) or a :class:`Backoff`, which is what is kept.
        delay: a duration, kept in seconds; the job starts no earlier than now plus this.
        priority: a finite number; lower runs first.
        lifo: run before older jobs of the same priority.
        timeout: a duration, kept in seconds; one attempt's limit.
        deduplication: a :class:`Deduplication`.
        job_id: the id to use; ``add`` returns the existing job if there is one.
        remove_on_complete, remove_on_fail: ``True``: at once; or how long or how many are kept:
            a duration with its unit, or a :class:`Keep`, which is what is kept of either.
        repeat: a :class:`Repeat`.
        group: a :class:`Group`.
        fail_parent_on_child_failure: of a flow's parent, when a child of its fails for good:
            ``"fail"`` (it fails, too), ``"ignore"`` (it goes on without that child) or
            ``"remove"`` (it is removed).

    Raises:
        TypeError: an option is unknown or of the wrong type.
        ValueError: an option is out of range.

    >>> JobOptions(attempts=3, backoff="2s")
    JobOptions(attempts=3, backoff=Backoff(delay=2.0))
    >>> JobOptions(attempts=0)
    Traceback (most recent call last):
    ...
    ValueError: attempts must be 1 or more, not 0
    >>> JobOptions(remove_on_complete=1000)
    Traceback (most recent call last):
    ...
    ValueError: remove_on_complete can't be the bare number 1000: give Keep(count=1000) to keep \
the newest 1000 jobs, or '1000s' to keep a job for so many seconds
    """

    _kind: ClassVar[str] = "job option"

    attempts: int = option(check_count, 1)
    backoff: Backoff | None = option(_backoff, None)
    delay: float = option(to_seconds, 0.0)
    priority: float = option(check_number, 0)
    lifo: bool = option(check_flag, False)
    timeout: float | None = option(positive_seconds, None)
    deduplication: Deduplication | None = option(
        partial(check_instance, Deduplication, example="Deduplication(key='daily-report')"), None
    )
    job_id: str | None = option(check_name, None)
    remove_on_complete: bool | Keep = option(_retention, False)
    remove_on_fail: bool | Keep = option(_retention, False)
    repeat: Repeat | None = option(
        partial(check_instance, Repeat, example="Repeat(every='10 minutes')"), None
    )
    group: Group | None = option(
        partial(check_instance, Group, example="Group('customer-1')"), None
    )
    fail_parent_on_child_failure: ChildFailurePolicy = option(
        partial(check_choice, ChildFailurePolicy), ChildFailurePolicy.FAIL
    )

    def __init__(self, **options: Unpack[JobKeywords]) -> None:
        self._take(options)

    @classmethod
    def of(cls, options: Mapping[str, Any], *, defaults: JobOptions | None = None) -> JobOptions:
        """Build options from keywords, on top of ``defaults``.

        >>> JobOptions.of({"attempts": 2}, defaults=JobOptions(delay=5)).delay
        5.0
        """
        if not options:
            return defaults or _DEFAULT_OPTIONS
        made = cls.__new__(cls)
        made._take(options, defaults)
        return made

    def over(self, defaults: JobOptions) -> JobOptions:
        """These options where they differ from the built-in defaults, else ``defaults``."""
        own = {
            name: value
            for name in OPTION_NAMES
            if (value := getattr(self, name)) != getattr(_DEFAULT_OPTIONS, name)
        }
        return type(self).of(own, defaults=defaults)

    def without(self, *names: str) -> JobOptions:
        """These options with the named ones back at their defaults."""
        return dataclasses.replace(self, **{n: getattr(_DEFAULT_OPTIONS, n) for n in names})


spelled_out(JobOptions)(JobOptions.__init__)
OPTION_NAMES = option_names(JobOptions)
_DEFAULT_OPTIONS = JobOptions()
