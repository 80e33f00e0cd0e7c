"""What views ask of a store in order to show it: every store answers it, some without waiting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.worker_info import WorkerInfo

__all__ = ["Look", "Readable", "Reads", "SynchronousReads", "on_the_spot", "reads_of"]

T = TypeVar("T")


class Reads(Protocol):
    """What views ask of a store; every ``StoreInterface`` answers it."""

    def list_jobs(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> Coroutine[Any, Any, list[JobData]]:
        """The jobs at some positions, of a state or of all."""

    def next_jobs(self, queue_name: str, count: int) -> Coroutine[Any, Any, list[JobData]]:
        """The next jobs, in the order in which they will be served."""

    def get_job(self, queue_name: str, job_id: str) -> Coroutine[Any, Any, JobData | None]:
        """A job; ``None``: it is gone."""

    def get_children_jobs(
        self, queue_name: str, parent_id: str
    ) -> Coroutine[Any, Any, list[JobData]]:
        """The children of a job that are still there."""

    def get_job_counts(self, queue_name: str) -> Coroutine[Any, Any, dict[JobState, int]]:
        """The number of jobs in each state."""

    def get_paused_job_names(self, queue_name: str) -> Coroutine[Any, Any, frozenset[str]]:
        """The paused names."""

    def list_queues(self) -> Coroutine[Any, Any, list[str]]:
        """The names of all queues."""

    def list_workers(self, queue_name: str | None = None) -> Coroutine[Any, Any, list[WorkerInfo]]:
        """The workers of a queue, or of all."""


Look = Callable[[Reads], Coroutine[Any, Any, T]]
"""Reads what a view shows; awaits nothing but what it asks."""


class Readable(Protocol):
    """A store, as far as it is only looked at."""

    def reader(self) -> AbstractAsyncContextManager[Reads]:
        """What the running loop may ask, for as long as it is in the context."""


class SynchronousReads(ABC):
    """Is declared by a store that shows what it holds without waiting, as one in memory does.

    Each method gives at once what the coroutine of ``StoreInterface`` gives that it names.
    """

    @abstractmethod
    def snapshot(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        """What ``list_jobs`` gives."""

    @abstractmethod
    def upcoming(self, queue_name: str, count: int) -> list[JobData]:
        """What ``next_jobs`` gives."""

    @abstractmethod
    def look_up(self, queue_name: str, job_id: str) -> JobData | None:
        """What ``get_job`` gives."""

    @abstractmethod
    def children_of(self, queue_name: str, parent_id: str) -> list[JobData]:
        """What ``get_children_jobs`` gives."""

    @abstractmethod
    def counts(self, queue_name: str) -> dict[JobState, int]:
        """What ``get_job_counts`` gives."""

    @abstractmethod
    def paused_names(self, queue_name: str) -> frozenset[str]:
        """What ``get_paused_job_names`` gives."""

    @abstractmethod
    def queue_names(self) -> list[str]:
        """What ``list_queues`` gives."""

    @abstractmethod
    def workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        """What ``list_workers`` gives."""


class _OnTheSpot:
    """The reads of a store that answers them without waiting."""

    def __init__(self, store: SynchronousReads) -> None:
        self._store = store

    async def list_jobs(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        return self._store.snapshot(queue_name, state, start, end, newest_first=newest_first)

    async def next_jobs(self, queue_name: str, count: int) -> list[JobData]:
        return self._store.upcoming(queue_name, count)

    async def get_job(self, queue_name: str, job_id: str) -> JobData | None:
        return self._store.look_up(queue_name, job_id)

    async def get_children_jobs(self, queue_name: str, parent_id: str) -> list[JobData]:
        return self._store.children_of(queue_name, parent_id)

    async def get_job_counts(self, queue_name: str) -> dict[JobState, int]:
        return self._store.counts(queue_name)

    async def get_paused_job_names(self, queue_name: str) -> frozenset[str]:
        return self._store.paused_names(queue_name)

    async def list_queues(self) -> list[str]:
        return self._store.queue_names()

    async def list_workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        return self._store.workers(queue_name)


def on_the_spot(store: SynchronousReads) -> Reads:
    """The reads of such a store, none of which waits."""
    return _OnTheSpot(store)


def reads_of(store: Reads) -> Reads:
    """What a view on the store's own loop asks: answers without waiting where there are such."""
    return _OnTheSpot(store) if isinstance(store, SynchronousReads) else store
