"""What the notebook layer reads of queues, stores and workers at once, without waiting."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from conveyor_nb.core.model import JobData, JobState, WorkerInfo
from conveyor_nb.core.text import shown
from conveyor_nb.job import Job
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface
from conveyor_nb.worker import Worker

__all__ = ["ReadableStore", "at_once", "jobs_of", "readable"]

T = TypeVar("T")


@runtime_checkable
class ReadableStore(Protocol):
    """A store that shows what it holds without waiting, as ``MemoryStore`` does."""

    def snapshot(
        self, queue_name: str, state: JobState | None = None, start: int = 0, end: int | None = None
    ) -> list[JobData]:
        """The jobs at positions ``start`` to ``end`` (exclusive) of a state, or of all."""

    def counts(self, queue_name: str) -> dict[JobState, int]:
        """The number of jobs in each state."""

    def paused_names(self, queue_name: str) -> frozenset[str]:
        """The paused job names, ``ALL_NAMES`` for the whole queue."""

    def queue_names(self) -> list[str]:
        """The names of all queues."""

    def workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        """The workers of a queue, or of all."""


def readable(store: StoreInterface) -> ReadableStore:
    """The store itself, if it can be read at once.

    Raises:
        TypeError: it can't; its own async methods must be used.
    """
    if isinstance(store, ReadableStore):
        return store
    raise TypeError(
        f"a {type(store).__name__} can't be read without waiting; use for instance "
        "jobs_frame(await store.list_jobs(queue_name))"
    )


def jobs_of(subject: object, state: JobState | None) -> Sequence[JobData | Job]:
    """The jobs of a queue or store, or those that a worker runs now.

    Raises:
        TypeError: the subject has no jobs, or they can't be read without waiting.
    """
    if isinstance(subject, Queue):
        return readable(subject.store).snapshot(subject.name, state)
    if isinstance(subject, StoreInterface):
        store = readable(subject)
        return [job for name in store.queue_names() for job in store.snapshot(name, state)]
    if isinstance(subject, Worker):
        if state is not None:
            raise TypeError(
                f"the jobs a worker runs are all active, so state={shown(state)} has no use"
            )
        return list(subject.running)
    raise TypeError(f"a {type(subject).__name__} has no jobs to show")


def at_once(answer: Coroutine[Any, Any, T]) -> T | None:
    """What a coroutine returns, if it does so without ever waiting; else ``None``.

    The methods of a store in memory never wait, so its panel has something to show at once.
    """
    try:
        answer.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    answer.close()
    return None
