"""The options of jobs: what ``add`` takes by keyword, and the objects that some of them are.

See ``declaring`` for how an option is declared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Literal, TypedDict, Unpack

from conveyor_nb.core.options.backoff import Backoff, to_backoff
from conveyor_nb.core.options.declaring import Options, option, option_names, spelled_out
from conveyor_nb.core.options.keep import Keep, to_keep
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.values.checks import (
    check_choice,
    check_count,
    check_flag,
    check_instance,
    check_name,
    check_number,
    positive_seconds,
)
from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.text import Word

__all__ = [
    "OPTION_NAMES",
    "BulkJob",
    "ChildFailurePolicy",
    "CronKeywords",
    "Deduplication",
    "EveryKeywords",
    "Group",
    "JobKeywords",
    "JobOptions",
    "RunKeywords",
    "SharedKeywords",
    "UndelayedKeywords",
]


class ChildFailurePolicy(Word):
    """What a failed child does to its parent in a flow."""

    FAIL = "fail"
    IGNORE = "ignore"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Deduplication(Options):
    """While an unfinished job with the same key exists, ``add`` returns that job.

    Args:
        key: the key itself, or
        hash: ``True`` to use the SHA-256 of the payload's canonical JSON.
        ttl: a duration, kept in seconds; a job older than this no longer holds its key.

    >>> Deduplication(key="daily report", ttl="1 day")
    Deduplication(key='daily report', ttl=86400.0)
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
    backoff: Backoff | None = option(to_backoff, None)
    delay: float = option(to_seconds, 0.0)
    priority: float = option(check_number, 0)
    lifo: bool = option(check_flag, False)
    timeout: float | None = option(positive_seconds, None)
    deduplication: Deduplication | None = option(
        partial(check_instance, Deduplication, example="Deduplication(key='daily-report')"), None
    )
    job_id: str | None = option(check_name, None)
    remove_on_complete: bool | Keep = option(to_keep, False)
    remove_on_fail: bool | Keep = option(to_keep, False)
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
