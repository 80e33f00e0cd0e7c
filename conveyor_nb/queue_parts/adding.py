"""The part of a queue that adds jobs: one, many, later, or again and again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Unpack, cast

from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.model import JobData
from conveyor_nb.core.new_jobs import bulk_job, new_job, scheduler_id_for
from conveyor_nb.core.options.declaring import option_names, part_of, spelled_out
from conveyor_nb.core.options.job_options import (
    OPTION_NAMES,
    BulkJob,
    CronKeywords,
    EveryKeywords,
    JobKeywords,
    JobOptions,
    RunKeywords,
    SharedKeywords,
    UndelayedKeywords,
)
from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.values.checks import reject_unknown
from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.display import rows_of
from conveyor_nb.job import Job
from conveyor_nb.lists import JobList
from conveyor_nb.queue_parts.base import FOR_ONE_JOB
from conveyor_nb.queue_parts.schedulers import Schedulers

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Adding"]


@part_of("Queue")
class Adding(Schedulers):
    """What a queue offers to add jobs."""

    @spelled_out()
    async def add(
        self,
        name: str,
        data: Any = None,
        *,
        connection: Any = None,
        **options: Unpack[JobKeywords],
    ) -> Job:
        """Add a job.

        Args:
            name: what kind of job it is.
            data: its payload; JSON-like, or any picklable object. The store keeps a copy.
            connection: add it as a part of the caller's own transaction, under way on this
                connection to the store's database: no worker sees the job before that commits, and
                until then, which should be soon, no other job can be added or run. Of ``sqlite3``
                for a ``SqliteStore``, of ``asyncpg`` for a ``PgStore``.
            options: see ``JobOptions``.

        Returns:
            The new job; or the one that exists with the same ``job_id`` or deduplication key.
            With ``repeat``: the run that is pending now.

        Raises:
            TypeError, ValueError: a bad name, payload, option or connection; nothing is stored.
            UnsupportedError: ``connection``, and the store is in no database.
            GroupFullError: the group holds its ``max_size``; nothing is stored.
            QueueClosedError: the queue was closed.
        """
        self._require_open()
        opts = self._options_of(options) if options else self.default_job_options
        if opts.repeat is not None:
            _refuse_for_schedule(connection)
            scheduler_id = scheduler_id_for(name, data, opts)
            return await self._save_scheduler(scheduler_id, opts.repeat, name, data, opts)
        saves = self.store if connection is None else self.store.within(connection)
        job = Job(await saves.save_job(new_job(self.name, name, data, opts)), self.store)
        if self.store.clock.overdue():
            await checkpoint()
        return job

    async def add_bulk(self, jobs: Iterable[BulkJob], *, connection: Any = None) -> JobList:
        """Add many jobs, all or none.

        Args:
            jobs: mappings with ``name``, ``data`` and the options, either as keys of their own
                or as ``opts=JobOptions(...)``. For type checkers each is a ``BulkJob``: annotate
                a list that is built up beforehand.
            connection: as in :meth:`add`.

        Raises:
            TypeError, ValueError: a bad item, which is named by its position.
            GroupFullError: a group would hold more than its ``max_size``.
            QueueClosedError: the queue was closed.
        """
        self._require_open()
        built = (
            bulk_job(self.name, item, position, self.default_job_options, self._options_of)
            for position, item in enumerate(list(jobs))
        )
        return await self._save_bulk(built, connection)

    @spelled_out()
    async def add_frame(
        self, frame: DataFrame, name: str, **options: Unpack[SharedKeywords]
    ) -> JobList:
        """Add a job for each row of a pandas DataFrame, all or none.

        A job's payload is its row as a dict of plain Python values, by column: numbers, text,
        ``datetime`` (to the microsecond) and ``timedelta``; what is missing (NaN, NaT, ``pd.NA``)
        is ``None``. The index goes along under its name if it has one.

        Args:
            frame: the rows.
            name: the name of the jobs.
            options: those of every job, see ``JobOptions``; ``job_id`` and ``repeat``, which
                are for one job, are not among them.

        Raises:
            TypeError, ValueError: no DataFrame, two columns of one name, or a bad option.
            GroupFullError: the group would hold more than its ``max_size``.
            QueueClosedError: the queue was closed.
        """
        self._require_open()
        for option in FOR_ONE_JOB:
            if option in options:
                raise TypeError(f"{option} is for one job; add_frame makes one for each row")
        opts = JobOptions.of(options, defaults=self.default_job_options)
        return await self._save_bulk(new_job(self.name, name, row, opts) for row in rows_of(frame))

    async def _save_bulk(self, jobs: Iterator[JobData], connection: Any = None) -> JobList:
        saves = self.store if connection is None else self.store.within(connection)
        saved = await saves.save_bulk(await self._in_slices(jobs))
        return JobList(await self._in_slices(map(self._job, saved)))

    @spelled_out()
    async def schedule(
        self, delay: Duration, name: str, data: Any = None, **options: Unpack[UndelayedKeywords]
    ) -> Job:
        """Add a job that starts after ``delay``: a duration, also as ``"in 10 minutes"``."""
        if isinstance(delay, str):
            delay = _IN.sub("", delay)
        return await self.add(name, data, delay=to_seconds(delay, what="delay"), **options)

    @spelled_out()
    async def now(self, name: str, data: Any = None, **options: Unpack[UndelayedKeywords]) -> Job:
        """Add a job that starts at once, whatever the queue's default delay."""
        if "delay" in options:
            raise TypeError("now takes no delay: schedule(delay, ...) does")
        return await self.add(name, data, delay=0, **options)

    @spelled_out()
    async def every(
        self, interval: Duration, name: str, data: Any = None, **options: Unpack[EveryKeywords]
    ) -> Job:
        """Add a job that runs now and then once every ``interval``, a duration.

        One call with another rule, as when its cell is edited and runs again, replaces the
        schedule, and warns: a schedule goes by the job's name and payload.

        Args:
            interval: the time from one run to the next.
            name: the job's name.
            data: its payload.
            options: those of a job, and ``limit``, ``start_date`` and ``end_date`` of ``Repeat``;
                ``job_id`` is the schedule's id, and its runs have ids of their own.

        Raises:
            TypeError: the payload is not JSON, so that the schedule needs a ``job_id``.
            ValueError: the schedule has no run to come; nothing is stored.
        """
        own, others = _split_repeat(options)
        return await self.add(name, data, repeat=Repeat(interval, **own), **others)

    @spelled_out()
    async def cron(
        self, line: str, name: str, data: Any = None, **options: Unpack[CronKeywords]
    ) -> Job:
        """Add a job that runs whenever a cron line says; replaces and raises as :meth:`every`.

        Args:
            line: 5 fields, 6 (seconds first) or 7 (year last), such as ``"0 9 * * 1-5"``.
            name: the job's name.
            data: its payload.
            options: those of a job, and ``tz``, ``limit``, ``start_date`` and ``end_date`` of
                ``Repeat``.
        """
        own, others = _split_repeat(options)
        return await self.add(name, data, repeat=Repeat(cron=line, **own), **others)


def _refuse_for_schedule(connection: object) -> None:
    if connection is not None:
        raise TypeError(
            "a schedule is no part of a transaction: add it without connection, or a job with a "
            "delay in its place"
        )


_IN = re.compile(r"\s*in\s+", re.IGNORECASE)
_REPEAT_OPTIONS = option_names(Repeat) - {"every", "cron"}


def _split_repeat(options: EveryKeywords | CronKeywords) -> tuple[dict[str, Any], RunKeywords]:
    """The options that are those of a ``Repeat``, and the others."""
    reject_unknown(options, OPTION_NAMES | _REPEAT_OPTIONS, what="job option")
    own = {name: value for name, value in options.items() if name in _REPEAT_OPTIONS}
    others = {name: value for name, value in options.items() if name not in own}
    return own, cast("RunKeywords", others)
