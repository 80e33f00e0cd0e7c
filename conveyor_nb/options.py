"""The options of jobs and workers: validated once, where they are built, and immutable after.

Each class accepts what a person writes (durations as text, a bare number for a fixed backoff)
and keeps what the engine needs (seconds as float, aware datetimes).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from conveyor_nb.checks import (
    check_choice,
    check_count,
    check_flag,
    check_instance,
    check_name,
    check_number,
    positive_seconds,
    reject_unknown,
    to_instant,
)
from conveyor_nb.durations import Duration, to_seconds
from conveyor_nb.text import Word, shown, shown_fields

__all__ = [
    "Backoff",
    "BackoffType",
    "Batch",
    "ChildFailurePolicy",
    "Deduplication",
    "Group",
    "GroupLimits",
    "JobOptions",
    "Keep",
    "Limiter",
    "Repeat",
    "WorkerOptions",
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


class _Frozen:
    """Lets a frozen dataclass replace what it was given by its normal form; shows what is set."""

    __slots__ = ()

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # of each class that is made of it
        told = [(field.name, getattr(self, field.name), field.default) for field in fields]
        return shown_fields(self, [(name, value) for name, value, off in told if value != off])

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True, repr=False)
class Backoff(_Frozen):
    """How long to wait before the next attempt.

    Args:
        type: ``"fixed"``, ``"exponential"`` (delay x 2^(attempts made - 1), at most 24 hours,
            with a jitter of up to 25 % either way) or ``"custom"``.
        delay: the (first) delay; a duration.
        strategy: for ``"custom"``: called with the number of failed attempts so far, from 1,
            it returns a duration.

    >>> Backoff("exponential", "1s").delay
    1.0
    """

    type: BackoffType | str = BackoffType.FIXED
    delay: Duration = 0.0
    strategy: BackoffStrategy | None = None

    def __post_init__(self) -> None:
        kind = check_choice(BackoffType, self.type, what="backoff type")
        self._set(type=kind, delay=to_seconds(self.delay, what="backoff delay"))
        if kind is BackoffType.CUSTOM and not callable(self.strategy):
            raise TypeError(
                f"a custom backoff needs strategy=callable, not {shown(self.strategy)}; "
                "for instance Backoff('custom', strategy=lambda attempts: attempts * 2)"
            )
        if kind is not BackoffType.CUSTOM and self.strategy is not None:
            raise ValueError(f"backoff strategy goes with type 'custom', not {str(kind)!r}")


@dataclass(frozen=True, slots=True, repr=False)
class Deduplication(_Frozen):
    """While an unfinished job with the same key exists, ``add`` returns that job.

    Args:
        key: the key itself, or
        hash: ``True`` to use the SHA-256 of the payload's canonical JSON.
        ttl: a duration; a job older than this no longer holds its key.
    """

    key: str | None = None
    hash: bool = False
    ttl: Duration | None = None

    def __post_init__(self) -> None:
        check_flag(self.hash, what="deduplication hash")
        if (self.key is None) == (not self.hash):
            raise ValueError("Deduplication needs either key='...' or hash=True")
        if self.key is not None:
            check_name(self.key, what="deduplication key")
        if self.ttl is not None:
            self._set(ttl=positive_seconds(self.ttl, what="deduplication ttl"))


@dataclass(frozen=True, slots=True, repr=False)
class Keep(_Frozen):
    """How long, or how many, settled jobs are kept before the store removes them.

    >>> Keep(age="1 hour", count=100)
    Keep(age=3600.0, count=100)
    """

    age: Duration | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if self.age is None and self.count is None:
            raise ValueError("Keep needs age=, count= or both; for instance Keep(age='1 hour')")
        if self.age is not None:
            self._set(age=to_seconds(self.age, what="keep age"))
        if self.count is not None:
            check_count(self.count, what="keep count", least=0)


@dataclass(frozen=True, slots=True, repr=False)
class Repeat(_Frozen):
    """Run a job again and again: ``every`` so long, or at the times a ``cron`` line gives.

    Args:
        every: a duration; the first run is at once, or at ``start_date``.
        cron: 5 fields, 6 (seconds first) or 7 (year last); the first run is at the next match.
        limit: the number of runs.
        start_date, end_date: aware datetimes; no run is earlier or later.
        tz: an IANA time zone for ``cron``; UTC if not given.
    """

    every: Duration | None = None
    cron: str | None = None
    limit: int | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    tz: str | None = None

    def __post_init__(self) -> None:
        if (self.every is None) == (self.cron is None):
            raise ValueError("Repeat needs either every= or cron=, and not both")
        if self.every is not None:
            self._set(every=positive_seconds(self.every, what="repeat every"))
            if self.tz is not None:
                raise ValueError("repeat tz goes with cron=, not with every=")
        if self.cron is not None:
            _check_cron(self.cron)
        if self.tz is not None:
            _check_time_zone(self.tz)
        if self.limit is not None:
            check_count(self.limit, what="repeat limit")
        for name in ("start_date", "end_date"):
            if (value := getattr(self, name)) is not None:
                self._set(**{name: to_instant(value, what=f"repeat {name}")})
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise ValueError(
                f"repeat end_date {self.end_date.isoformat()} is before "
                f"start_date {self.start_date.isoformat()}"
            )


@dataclass(frozen=True, slots=True, repr=False)
class Group(_Frozen):
    """The group of a job: groups of a queue are served in turn.

    Args:
        id: the group's name.
        max_size: at most so many jobs of the group may wait; one more is a ``GroupFullError``.
    """

    id: str
    max_size: int | None = None

    def __post_init__(self) -> None:
        check_name(self.id, what="group id")
        if self.max_size is not None:
            check_count(self.max_size, what="group max_size")


@dataclass(frozen=True, slots=True, repr=False)
class Limiter(_Frozen):
    """At most ``max`` jobs start in any window of ``duration``, over all workers of the queue."""

    max: int
    duration: Duration

    def __post_init__(self) -> None:
        check_count(self.max, what="limiter max")
        self._set(duration=positive_seconds(self.duration, what="limiter duration"))


@dataclass(frozen=True, slots=True, repr=False)
class GroupLimits(_Frozen):
    """Limits that hold for each group by itself: jobs at once, and jobs in a window of time."""

    concurrency: int | None = None
    limiter: Limiter | None = None

    def __post_init__(self) -> None:
        if self.concurrency is not None:
            check_count(self.concurrency, what="group concurrency")
        check_instance(Limiter, self.limiter, what="group limiter", example="Limiter(10, '1s')")


@dataclass(frozen=True, slots=True, repr=False)
class Batch(_Frozen):
    """The handler gets up to ``size`` jobs at a time and returns one result for each."""

    size: int

    def __post_init__(self) -> None:
        check_count(self.size, what="batch size")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class JobOptions(_Frozen):
    """The options of one job, as ``queue.add`` takes them by keyword.

    Args:
        attempts: runs before the job fails for good; 1 or more.
        backoff: a duration (fixed) or a :class:`Backoff`.
        delay: a duration; the job starts no earlier than now plus this.
        priority: a finite number; lower runs first.
        lifo: run before older jobs of the same priority.
        timeout: a duration; one attempt's limit.
        deduplication: a :class:`Deduplication`.
        job_id: the id to use; ``add`` returns the existing job if there is one.
        remove_on_complete, remove_on_fail: ``True``, a duration, or a :class:`Keep`.
        repeat: a :class:`Repeat`.
        group: a :class:`Group`.
        fail_parent_on_child_failure: of a flow's parent: ``"fail"``, ``"ignore"``, ``"remove"``.

    Raises:
        TypeError: an option is unknown or of the wrong type.
        ValueError: an option is out of range.

    >>> JobOptions(attempts=3, backoff="2s").backoff
    Backoff(delay=2.0)
    >>> JobOptions(attempts=0)
    Traceback (most recent call last):
    ...
    ValueError: attempts must be 1 or more, not 0
    """

    attempts: int = 1
    backoff: Backoff | Duration | None = None
    delay: Duration = 0.0
    priority: float = 0
    lifo: bool = False
    timeout: Duration | None = None
    deduplication: Deduplication | None = None
    job_id: str | None = None
    remove_on_complete: bool | Duration | Keep = False
    remove_on_fail: bool | Duration | Keep = False
    repeat: Repeat | None = None
    group: Group | None = None
    fail_parent_on_child_failure: ChildFailurePolicy | str = ChildFailurePolicy.FAIL

    def __post_init__(self) -> None:
        check_count(self.attempts, what="attempts")
        check_number(self.priority, what="priority")
        check_flag(self.lifo, what="lifo")
        self._set(delay=to_seconds(self.delay, what="delay"))
        if isinstance(self.backoff, str) and self.backoff in list(BackoffType):
            raise ValueError(
                f"backoff {str(self.backoff)!r} needs a delay: Backoff({str(self.backoff)!r}, '1s')"
            )
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            self._set(backoff=Backoff(delay=to_seconds(self.backoff, what="backoff")))
        if self.timeout is not None:
            self._set(timeout=positive_seconds(self.timeout, what="timeout"))
        if self.job_id is not None:
            check_name(self.job_id, what="job_id")
        for name, kind, example in _PARTS:
            check_instance(kind, getattr(self, name), what=name, example=example)
        for name in ("remove_on_complete", "remove_on_fail"):
            self._set(**{name: _retention(getattr(self, name), what=name)})
        policy = check_choice(
            ChildFailurePolicy,
            self.fail_parent_on_child_failure,
            what="fail_parent_on_child_failure",
        )
        self._set(fail_parent_on_child_failure=policy)

    @classmethod
    def of(cls, options: Mapping[str, Any], *, defaults: JobOptions | None = None) -> JobOptions:
        """Build options from keywords, on top of ``defaults``.

        >>> JobOptions.of({"attempts": 2}, defaults=JobOptions(delay=5)).delay
        5.0
        """
        if not options:
            return defaults or _DEFAULT_OPTIONS
        reject_unknown(options, OPTION_NAMES, what="job option")
        if defaults is None:
            return cls(**options)
        return dataclasses.replace(defaults, **options)

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


_PARTS: tuple[tuple[str, type, str], ...] = (
    ("deduplication", Deduplication, "Deduplication(key='daily-report')"),
    ("repeat", Repeat, "Repeat(every='10 minutes')"),
    ("group", Group, "Group('customer-1')"),
)


def _check_cron(line: object) -> None:
    from croniter import croniter  # only who uses cron pays its import

    if not isinstance(line, str):
        raise TypeError(f"repeat cron must be text such as '0 9 * * 1-5', not {shown(line)}")
    fields = line.split()
    if len(fields) not in _CRON_FIELDS or not croniter.is_valid(line, second_at_beginning=True):
        raise ValueError(
            f"repeat cron {shown(line)} is not a cron line; give 5 fields such as '0 9 * * 1-5' "
            "(minute hour day month weekday), 6 (seconds first) or 7 (year last)"
        )


def _check_time_zone(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"repeat tz must be text such as 'Europe/Paris', not {shown(name)}")
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"repeat tz {shown(name)} is not a known time zone; give an IANA name "
            "such as 'Europe/Paris'"
        ) from None


def _retention(value: bool | Duration | Keep, *, what: str) -> bool | Keep:
    if isinstance(value, (bool, Keep)):
        return value
    return Keep(age=to_seconds(value, what=what))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WorkerOptions(_Frozen):
    """The options of a worker; ``Worker`` documents them."""

    concurrency: int = 1
    max_global_concurrency: int | None = None
    limiter: Limiter | None = None
    lock_duration: Duration = 30
    stalled_interval: Duration = 30
    lifo: bool = False
    batch: Batch | None = None
    group: GroupLimits | None = None
    name: str | None = None
    executor: str | None = None
    capture: bool = True

    def __post_init__(self) -> None:
        check_count(self.concurrency, what="concurrency")
        if self.max_global_concurrency is not None:
            check_count(self.max_global_concurrency, what="max_global_concurrency")
        for name in ("lock_duration", "stalled_interval"):
            self._set(**{name: positive_seconds(getattr(self, name), what=name)})
        check_flag(self.lifo, what="lifo")
        check_flag(self.capture, what="capture")
        if self.executor not in (None, "process"):
            raise ValueError(f"executor must be 'process' or None, not {shown(self.executor)}")
        check_instance(Limiter, self.limiter, what="limiter", example="Limiter(10, '1s')")
        check_instance(Batch, self.batch, what="batch", example="Batch(10)")
        check_instance(GroupLimits, self.group, what="group", example="GroupLimits(concurrency=1)")
        if self.name is not None:
            check_name(self.name, what="worker name")

    @property
    def lock_seconds(self) -> float:
        """How long a lock holds without renewal."""
        return to_seconds(self.lock_duration)

    @property
    def stalled_seconds(self) -> float:
        """How long it is from one look for stalled jobs to the next."""
        return to_seconds(self.stalled_interval)


OPTION_NAMES = frozenset(option.name for option in dataclasses.fields(JobOptions))
_DEFAULT_OPTIONS = JobOptions()
