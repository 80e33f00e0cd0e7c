"""What every part of a queue builds on: its name, its store, its defaults, and that it is open."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.errors import QueueClosedError
from conveyor_nb.core.model import JobData
from conveyor_nb.core.new_jobs import to_options
from conveyor_nb.core.options.declaring import part_of
from conveyor_nb.core.options.job_options import JobKeywords, JobOptions, SharedKeywords
from conveyor_nb.core.slicing import SLICE, collector_at_rest
from conveyor_nb.core.values.checks import check_name
from conveyor_nb.job import Job
from conveyor_nb.stores import StoreInterface, check_store

__all__ = ["FOR_ONE_JOB", "QueueBase"]

T = TypeVar("T")

FOR_ONE_JOB = ("job_id", "repeat")
"""The options that only one job can have."""


@part_of("Queue")
class QueueBase:
    """A queue by its name and store; see ``Queue``."""

    _closed = False

    def __init__(
        self,
        name: str,
        store: StoreInterface | None,
        default_job_options: JobOptions | SharedKeywords | None,
    ) -> None:
        self.name = check_name(name, what="queue name")
        self.store = check_store(store)
        self.default_job_options = to_options(default_job_options, JobOptions())
        for option in FOR_ONE_JOB:
            if getattr(self.default_job_options, option) is not None:
                raise ValueError(f"{option} is for one job, and no default for all of a queue")
        self._known_options = functools.lru_cache(maxsize=256)(
            lambda items: JobOptions.of(
                {option: value for option, _, value in items}, defaults=self.default_job_options
            )
        )

    def _require_open(self) -> None:
        if self._closed:
            raise QueueClosedError(self.name)

    def _options_of(self, options: JobKeywords | Mapping[str, Any]) -> JobOptions:
        """Options that were checked; those of a call in a loop are checked once."""
        # the types belong to it: True equals 1, but is no number of attempts
        items = tuple((name, type(value), value) for name, value in options.items())
        try:
            hash(items)
        except TypeError:
            return JobOptions.of(options, defaults=self.default_job_options)
        return self._known_options(items)

    async def _in_slices(self, items: Iterator[T]) -> list[T]:
        """Make a list that may be long, and let other tasks have their turns meanwhile."""
        made: list[T] = []
        while True:
            with collector_at_rest():
                while some := list(itertools.islice(items, SLICE)):
                    made += some
                    if len(some) == SLICE and self.store.clock.overdue():
                        break
                else:
                    return made
            await checkpoint()

    def _job(self, data: JobData) -> Job:
        return Job(data, self.store)
