"""How jobs come into a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from conveyor_nb.core.model import JobData

__all__ = ["Saves"]


class Saves(ABC):
    """Takes jobs in."""

    @abstractmethod
    async def save_job(self, job: JobData) -> JobData:
        """Add a job, and return it as stored.

        If a job with its id, or an unfinished one with its deduplication key, exists, that one
        is returned unchanged and nothing is added.

        Raises:
            ValueError: it has a parent or children, which :meth:`save_flow` takes.
            PayloadError: the payload can't be copied; nothing is stored.
            GroupFullError: the job's group is full; nothing is stored.
        """

    @abstractmethod
    async def save_bulk(self, jobs: Sequence[JobData]) -> list[JobData]:
        """Add many jobs, all or none; duplicates (within the batch too) as in :meth:`save_job`."""

    @abstractmethod
    async def save_flow(self, jobs: Sequence[JobData]) -> list[JobData]:
        """Add the jobs of a flow, all or none: parents before their children, linked by ids.

        One that is to get its id in this step has a ``core.values.ids.placeholder`` until then,
        which its parent and its children know it by.

        Raises:
            ValueError: an id is taken, a family is not whole, or a job has a deduplication key;
                nothing is stored.
            PayloadError: as :meth:`save_job`.
        """
