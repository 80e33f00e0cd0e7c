"""The options of workers: what ``Worker`` takes by keyword, and the objects that some of them are.

See ``declaring`` for how an option is declared.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypedDict, Unpack, cast

from conveyor_nb.core.options.declaring import Options, option, option_names, spelled_out
from conveyor_nb.core.options.retry_policy import RetryOn, check_retry_on
from conveyor_nb.core.values.checks import (
    check_count,
    check_flag,
    check_instance,
    check_name,
    positive_seconds,
)
from conveyor_nb.core.values.durations import Duration
from conveyor_nb.core.values.text import shown

__all__ = [
    "Batch",
    "DecoratorKeywords",
    "GroupLimits",
    "Limiter",
    "StartKeywords",
    "WorkerKeywords",
    "WorkerOptions",
]


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Limiter(Options):
    """At most ``max`` jobs start in any window of ``duration``, over all workers of the queue.

    >>> Limiter(10, "1 minute")
    Limiter(max=10, duration=60.0)
    """

    _called: ClassVar[str] = "limiter"

    max: int = option(check_count)
    duration: float = option(positive_seconds)

    def __init__(self, max: int, duration: Duration) -> None:
        self._take({"max": max, "duration": duration})


@dataclass(frozen=True, slots=True, init=False, repr=False)
class GroupLimits(Options):
    """Limits that hold for each group by itself: jobs at once, and jobs in a window of time.

    >>> GroupLimits(concurrency=2, limiter=Limiter(10, "1s"))
    GroupLimits(concurrency=2, limiter=Limiter(max=10, duration=1.0))
    """

    _called: ClassVar[str] = "group"

    concurrency: int | None = option(check_count, None)
    limiter: Limiter | None = option(
        partial(check_instance, Limiter, example="Limiter(10, '1s')"), None
    )

    def __init__(self, concurrency: int | None = None, limiter: Limiter | None = None) -> None:
        self._take({"concurrency": concurrency, "limiter": limiter})


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Batch(Options):
    """The handler gets up to ``size`` jobs at a time and returns one result for each.

    >>> Batch(100)
    Batch(size=100)
    """

    _called: ClassVar[str] = "batch"

    size: int = option(check_count)

    def __init__(self, size: int) -> None:
        self._take({"size": size})


def _executor(value: object, *, what: str) -> Literal["process"]:
    if not isinstance(value, str) or value != "process":
        raise ValueError(f"{what} must be 'process' or None, not {shown(value)}")
    return "process"


MakeLifespan = Callable[..., AbstractAsyncContextManager[Any] | AsyncIterator[Any]]
"""Makes an async context manager; may take the worker."""


def _lifespan(value: object, *, what: str) -> Callable[..., AbstractAsyncContextManager[Any]]:
    if inspect.isasyncgenfunction(value):
        return contextlib.asynccontextmanager(value)
    if isinstance(value, AbstractAsyncContextManager):
        raise TypeError(
            f"{what} must be the function that opens it, not what a call of that gives, "
            f"{shown(value)}: each worker opens its own"
        )
    if inspect.iscoroutinefunction(value):
        raise TypeError(f"{what} must `yield` what it has opened, not return it: {shown(value)}")
    if not callable(value) or inspect.isgeneratorfunction(value):
        raise TypeError(
            f"{what} must be an async generator function with one `yield`, or another function "
            f"that gives an async context manager, not {shown(value)}"
        )
    return value


class WorkerKeywords(TypedDict, total=False):
    """The options of a worker: see ``Worker``."""

    concurrency: int
    max_global_concurrency: int | None
    limiter: Limiter | None
    lock_duration: Duration
    stalled_interval: Duration
    lifo: bool
    batch: Batch | None
    group: GroupLimits | None
    name: str | None
    executor: Literal["process"] | None
    capture: bool
    retry_on: RetryOn
    lifespan: MakeLifespan | None


class StartKeywords(WorkerKeywords, total=False):
    """The options of a worker, and of how it begins."""

    auto_start: bool
    logger: logging.Logger | None


class DecoratorKeywords(StartKeywords, total=False):
    """What ``@queue.worker`` takes."""

    job_name: str | None


@dataclass(frozen=True, slots=True, init=False, repr=False, kw_only=True)
class WorkerOptions(Options):
    """The options of a worker; ``Worker`` documents them. Durations are kept in seconds."""

    _kind: ClassVar[str] = "worker option"

    concurrency: int = option(check_count, 1)
    max_global_concurrency: int | None = option(check_count, None)
    limiter: Limiter | None = option(
        partial(check_instance, Limiter, example="Limiter(10, '1s')"), None
    )
    lock_duration: float = option(positive_seconds, 30.0)
    stalled_interval: float = option(positive_seconds, 30.0)
    lifo: bool = option(check_flag, False)
    batch: Batch | None = option(partial(check_instance, Batch, example="Batch(10)"), None)
    group: GroupLimits | None = option(
        partial(check_instance, GroupLimits, example="GroupLimits(concurrency=1)"), None
    )
    name: str | None = option(check_name, None, called="worker name")
    executor: Literal["process"] | None = option(_executor, None)
    capture: bool = option(check_flag, True)
    retry_on: tuple[type[BaseException], ...] | None = option(check_retry_on, None)
    lifespan: Callable[..., AbstractAsyncContextManager[Any]] | None = option(_lifespan, None)

    def __init__(self, **options: Unpack[WorkerKeywords]) -> None:
        self._take(options)

    def keywords(self) -> WorkerKeywords:
        """What makes options like these."""
        return cast("WorkerKeywords", {one: getattr(self, one) for one in WORKER_OPTION_NAMES})


spelled_out(WorkerOptions)(WorkerOptions.__init__)
WORKER_OPTION_NAMES = option_names(WorkerOptions)
