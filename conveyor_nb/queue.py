"""The queue: where jobs are added, looked up and managed."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, overload
from weakref import WeakSet, ref

from conveyor_nb.clocks.clock import SLICE, checkpoint, resolve
from conveyor_nb.clocks.loops import call_on
from conveyor_nb.context.deadlocks import refuse_vain_join
from conveyor_nb.context.runs import current_run
from conveyor_nb.core.checks import check_flag, check_name, check_text, reject_unknown
from conveyor_nb.core.conditions import condition
from conveyor_nb.core.declaring import spelled_out
from conveyor_nb.core.durations import Duration, to_seconds
from conveyor_nb.core.errors import QueueClosedError
from conveyor_nb.core.handlers import check_handler
from conveyor_nb.core.model import ALL_NAMES, EventType, JobData, JobState, StoreEvent, to_state
from conveyor_nb.core.options import (
    BulkJob,
    JobKeywords,
    JobOptions,
    SharedKeywords,
    UndelayedKeywords,
)
from conveyor_nb.core.text import inline, shown
from conveyor_nb.core.worker_options import DecoratorKeywords, WorkerOptions
from conveyor_nb.display import Displayable, describe_queue, rows_of
from conveyor_nb.job import Job
from conveyor_nb.lists import JobCounts, JobList
from conveyor_nb.new_jobs import (
    bulk_job,
    check_store,
    new_job,
    paused_name,
    scheduler_id_for,
    to_options,
)
from conveyor_nb.observable import JobObservable
from conveyor_nb.registry import HandlerFunction, install_handler
from conveyor_nb.repeating import Repeating
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.events import EventBus, EventHandler, EventStream

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Queue"]

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

_FOR_ONE_JOB = ("job_id", "repeat")
_QUEUE_EVENTS = [kind for kind in EventType if not kind.startswith("worker:")]


class Queue(Displayable, Repeating):
    """A named queue of jobs in a store.

    Args:
        name: 1 to 255 characters.
        store: where the jobs are kept; the default ``MemoryStore`` if not given.
        default_job_options: options for every job that does not say otherwise; a
            ``JobOptions`` or a mapping. ``job_id`` and ``repeat``, which are for one job, are not
            among them.
        logger: where faults of event handlers are reported.

    Raises:
        ValueError, TypeError: a bad name, store or option.

    >>> import asyncio
    >>> from conveyor_nb import MemoryStore
    >>> async def main():
    ...     store = MemoryStore(ids="sequential")
    ...     async with Queue("emails", store=store) as queue:
    ...         job = await queue.add("send", {"to": "ada@example.org"}, priority=1)
    ...         return job, queue
    >>> asyncio.run(main())
    (<Job emails-1 'send': waiting>, <Queue emails: closed>)
    """

    def __init__(
        self,
        name: str,
        *,
        store: StoreInterface | None = None,
        default_job_options: JobOptions | SharedKeywords | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.name = check_name(name, what="queue name")
        self.store = check_store(store)
        self.default_job_options = to_options(default_job_options, JobOptions())
        for option in _FOR_ONE_JOB:
            if getattr(self.default_job_options, option) is not None:
                raise ValueError(f"{option} is for one job, and no default for all of a queue")
        self._known_options = functools.lru_cache(maxsize=64)(
            lambda items: JobOptions.of(
                {option: value for option, _, value in items}, defaults=self.default_job_options
            )
        )
        self._bus = EventBus(_QUEUE_EVENTS, logger, owner=(ref(self.store), self.name))
        self._bus.on_idle = functools.partial(_stop_listening, self.store, self.name)
        self._followers: WeakSet[JobObservable | EventStream] = WeakSet()
        self._closed = False

    def __repr__(self) -> str:
        if self._closed:
            return f"<Queue {inline(self.name)}: closed>"
        return f"<Queue {inline(self.name)}: {describe_queue(self.store, self.name)}>"

    # -- adding -------------------------------------------------------------------------------

    @spelled_out()
    async def add(self, name: str, data: Any = None, **options: Unpack[JobKeywords]) -> Job:
        """Add a job.

        Args:
            name: what kind of job it is.
            data: its payload; JSON-like, or any picklable object. The store keeps a copy.
            options: see ``JobOptions``.

        Returns:
            The new job; or the one that exists with the same ``job_id`` or deduplication key.
            With ``repeat``: the run that is pending now.

        Raises:
            TypeError, ValueError: a bad name, payload or option; nothing is stored.
            GroupFullError: the group holds its ``max_size``; nothing is stored.
            QueueClosedError: the queue was closed.
        """
        self._require_open()
        opts = self._options_of(options) if options else self.default_job_options
        if opts.repeat is not None:
            scheduler_id = scheduler_id_for(name, data, opts)
            return await self._save_scheduler(scheduler_id, opts.repeat, name, data, opts)
        job = Job(await self.store.save_job(new_job(self.name, name, data, opts)), self.store)
        if self.store.clock.overdue():
            await checkpoint()
        return job

    async def add_bulk(self, jobs: Iterable[BulkJob]) -> JobList:
        """Add many jobs, all or none.

        Args:
            jobs: mappings with ``name``, ``data`` and the options, either as keys of their own
                or as ``opts=JobOptions(...)``. For type checkers each is a ``BulkJob``: annotate
                a list that is built up beforehand.

        Raises:
            TypeError, ValueError: a bad item, which is named by its position.
            GroupFullError: a group would hold more than its ``max_size``.
            QueueClosedError: the queue was closed.
        """
        self._require_open()
        return await self._save_bulk(
            bulk_job(self.name, item, position, self.default_job_options)
            for position, item in enumerate(list(jobs))
        )

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
        for option in _FOR_ONE_JOB:
            if option in options:
                raise TypeError(f"{option} is for one job; add_frame makes one for each row")
        opts = JobOptions.of(options, defaults=self.default_job_options)
        return await self._save_bulk(new_job(self.name, name, row, opts) for row in rows_of(frame))

    async def _save_bulk(self, jobs: Iterator[JobData]) -> JobList:
        built = await self._in_slices(jobs)
        saved = await self.store.save_bulk(built)
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

    # -- pausing ------------------------------------------------------------------------------

    async def pause(self, job_name: str | None = None) -> None:
        """Start no more jobs of this queue, or of this name in it; running ones finish."""
        self._require_open()
        await self.store.pause_job_name(self.name, paused_name(job_name))

    async def resume(self, job_name: str | None = None) -> None:
        """Undo :meth:`pause` of the queue, or of the name."""
        self._require_open()
        await self.store.resume_job_name(self.name, paused_name(job_name))

    @condition
    async def is_paused(self, job_name: str | None = None) -> bool:
        """Whether the queue as a whole, or also this name in it, is paused."""
        self._require_open()
        if job_name is not None:
            job_name = check_text(job_name, what="job name")
        paused = await self.store.get_paused_job_names(self.name)
        return ALL_NAMES in paused or job_name in paused

    # -- looking ------------------------------------------------------------------------------

    async def get_job(self, job_id: str) -> Job | None:
        """The job with this id, or ``None``."""
        self._require_open()
        data = await self.store.get_job(self.name, check_text(job_id, what="job_id"))
        return self._job(data) if data else None

    async def get_jobs(
        self,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = 100,
        *,
        newest_first: bool = False,
    ) -> JobList:
        """The jobs at positions ``start`` to ``end`` (exclusive) of a state, or of all.

        Waiting jobs come in order of service, delayed ones as they fall due, settled ones as
        they settled; jobs of all states as they were added. With ``newest_first`` it is the
        other way round: those that settled, or were added, last come first.
        """
        self._require_open()
        found = await self.store.list_jobs(
            self.name, to_state(state), start, end, newest_first=newest_first
        )
        return JobList(await self._in_slices(map(self._job, found)))

    async def search(
        self,
        text: str | None = None,
        *,
        states: Collection[JobState | str] | None = None,
        name: str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        newest_first: bool = False,
        start: int = 0,
        end: int | None = 100,
    ) -> JobList:
        """The jobs that fit every condition given, as they were added.

        It looks at every job of the queue: for people, and not for a handler to look things up.

        Args:
            text: what stands somewhere in the payload, whatever its case: in a text, a key or a
                plain value such as a number, however deep within.
            states: the states.
            name: the job name.
            created_from, created_to: aware datetimes; not created before, or after, this.
            newest_first: the jobs that were added last come first.
            start: the position of the first job to give.
            end: the position after that of the last; ``None``: all.

        Raises:
            TypeError, ValueError: a bad condition.

        >>> import asyncio
        >>> from conveyor_nb import MemoryStore
        >>> async def main():
        ...     queue = Queue("emails", store=MemoryStore(ids="sequential"))
        ...     for name in ("Ada", "Grace", "Adam"):
        ...         await queue.add("send", {"to": [f"{name}@example.org"]})
        ...     return [job.data["to"] for job in await queue.search("ada", newest_first=True)]
        >>> asyncio.run(main())
        [['Adam@example.org'], ['Ada@example.org']]
        """
        self._require_open()
        page = await self.store.search_jobs(
            self.name,
            states=states,
            name=name,
            created_from=created_from,
            created_to=created_to,
            text=text,
            newest_first=newest_first,
            start=start,
            end=end,
        )
        return JobList(await self._in_slices(map(self._job, page.jobs)))

    async def count(self, state: JobState | str | None = None) -> int:
        """How many jobs are in a state, or in the queue."""
        self._require_open()
        return await self.store.count_jobs(self.name, to_state(state))

    async def get_job_counts(self) -> JobCounts:
        """The number of jobs in each state."""
        self._require_open()
        return JobCounts(await self.store.get_job_counts(self.name))

    async def join(self, timeout: Duration | None = None) -> None:
        """Wait until nothing is waiting, active, or delayed and due.

        Raises:
            TimeoutError: there still is something after ``timeout``, a duration.
            RuntimeError: a handler waits so whose own job is of this queue.
        """
        self._require_open()
        if (run := current_run()) is not None:
            refuse_vain_join(run, self.name, self.store)
        if timeout is not None:
            timeout = to_seconds(timeout, what="timeout")
        loop = asyncio.get_running_loop()
        idle: asyncio.Future[bool] = loop.create_future()

        def check(event: StoreEvent) -> None:
            if event.type in _MAY_END_WORK and not idle.done():
                call_on(loop, resolve, idle, event.type == EventType.DISCONNECTED)

        self.store.subscribe(self.name, check)
        try:
            began = self.store.clock.now()
            while await self._has_work():
                left = None
                if timeout is not None:
                    spent = (self.store.clock.now() - began).total_seconds()
                    left = max(0.0, timeout - spent)
                if not await self.store.clock.wait(idle, left):
                    raise TimeoutError(f"{self!r} still has work after {timeout:g}s")
                if idle.result():  # all work is gone, and of new one nobody would be told here
                    return
                idle = loop.create_future()
        finally:
            self.store.unsubscribe(self.name, check)

    async def _has_work(self) -> bool:
        counts = await self.store.get_job_counts(self.name)
        if counts[JobState.WAITING] or counts[JobState.ACTIVE]:
            return True
        due = await self.store.get_next_delayed_timestamp(self.name)
        return due is not None and due <= self.store.clock.now()

    # -- many jobs ----------------------------------------------------------------------------

    async def drain(self) -> int:
        """Remove all that waits: for its turn, its time or its children; returns how many.

        The next run of a schedule is planned as ever: ``remove_job_scheduler`` ends it. Children
        of a parent that goes so are jobs of their own from then on.
        """
        self._require_open()
        return await self.store.drain(self.name)

    async def clean(self, state: JobState | str, grace: Duration = 0) -> int:
        """Remove the jobs that have been in a state for ``grace`` or longer; returns how many."""
        self._require_open()
        wanted = to_state(state)
        if wanted in (None, JobState.ACTIVE):
            raise ValueError(f"clean takes any state but active, not {shown(state)}")
        return await self.store.clean(self.name, wanted, to_seconds(grace, what="grace"))

    async def retry_jobs(self, state: JobState | str = JobState.FAILED) -> int:
        """Run all failed (or completed) jobs again; returns how many.

        A job that can't be retried, for instance as an unfinished one has its deduplication key
        by now, stays as it is and is not counted: an ``error`` event with its id says why.
        """
        self._require_open()
        wanted = to_state(state)
        if wanted not in (JobState.FAILED, JobState.COMPLETED):
            raise ValueError(f"retry_jobs takes 'failed' or 'completed', not {shown(state)}")
        return await self.store.retry_jobs(self.name, wanted)

    async def promote_jobs(self) -> int:
        """Let all delayed jobs run now; returns how many."""
        self._require_open()
        return await self.store.promote_jobs(self.name)

    async def obliterate(self, *, force: bool = False) -> int:
        """Remove the queue with all its jobs; returns how many.

        Raises:
            InvalidJobStateError: a job is active, and ``force`` is not set.
        """
        self._require_open()
        return await self.store.obliterate(self.name, force=check_flag(force, what="force"))

    # -- workers and events -------------------------------------------------------------------

    @overload
    def worker(self, handler: Callable[P, R], /) -> HandlerFunction[P, R]: ...
    @overload
    def worker(
        self, **options: Unpack[DecoratorKeywords]
    ) -> Callable[[Callable[P, R]], HandlerFunction[P, R]]: ...
    @spelled_out(WorkerOptions)
    def worker(self, *handler: Any, **options: Unpack[DecoratorKeywords]) -> Any:
        """Make the decorated function the handler of a worker of this queue.

        ``@queue.worker``, or with options ``@queue.worker(concurrency=2)``. The function stays
        what it is: it can be called, also in a test with a job made up for it, and be decorated
        again. Its worker is at hand as ``function.worker``.

        The worker is known by its ``name`` (the queue's, if not given): decorating again, as a
        cell that runs again does, lets the new handler take over from the old one, whose
        running jobs finish.

        With ``job_name`` the function is for the jobs of that name (``"*"``: of all other
        names), in one worker with those decorated so for other names: decorating again swaps
        that handler alone. Jobs of a name that has none fail for good, and say so; once there
        is one, ``queue.retry_jobs()`` runs them.

        A function without ``job_name`` takes the jobs of every name, and takes over from all that
        have one. One with a ``job_name`` takes over from the one without: as jobs of other names
        have no handler then, a ``HandlerReplacedWarning`` says so. To have both, decorate the
        general one with ``job_name="*"``.

        Args:
            handler: the function, in the form without parentheses.
            options: see ``Worker``; and ``job_name``. Functions for several names have one set
                of options, of which those that were given last hold.

        Raises:
            TypeError, ValueError: a bad handler or option; an old worker stays as it is.

        >>> import asyncio
        >>> from conveyor_nb import MemoryStore
        >>> async def main():
        ...     queue = Queue("emails", store=MemoryStore())
        ...     @queue.worker
        ...     async def send(job):
        ...         return f"sent to {job.data}"
        ...     job = await queue.add("send", "ada@example.org")
        ...     print(await job.wait_until_finished(), "by", send.worker)
        ...     await send.worker.close()
        >>> asyncio.run(main())
        sent to ada@example.org by <Worker emails of emails: running, 0 of 1 slots in use>
        """
        self._require_open()
        reject_unknown(options, frozenset(DecoratorKeywords.__annotations__), what="worker option")
        install: Callable[[Any], Any] = functools.partial(
            install_handler, self.name, store=self.store, **options
        )
        if not handler:
            return install
        if inspect.iscoroutine(handler[0]):
            check_handler(handler[0])  # which says what is wrong with it
        if len(handler) > 1 or not callable(handler[0]):
            given = ", ".join(map(shown, handler))
            raise TypeError(
                f"@queue.worker is given nothing but options, by name, such as concurrency=2, "
                f"not {given}"
            )
        return install(handler[0])

    def observe(self, job_id: str) -> JobObservable:
        """Follow one job: its start, its progress and its end."""
        self._require_open()
        observable = JobObservable(self.store, self.name, check_text(job_id, what="job_id"))
        self._followers.add(observable)
        return observable

    def events(self, size: int = 1_000) -> EventStream:
        """The events of this queue from now on, for ``async for``.

        Args:
            size: how many unread events are kept; a reader that falls behind further misses
                the oldest, and is told so by an event ``"stream:missed"``.
        """
        self._require_open()
        stream = EventStream(self.store, self.name, size)
        self._followers.add(stream)
        return stream

    def on(self, name: str, handler: EventHandler | None = None) -> Any:
        """Call ``handler(event)`` for each event of this queue with this local name.

        The names: ``waiting``, ``active``, ``completed``, ``failed``, ``progress``, ``paused`` and
        so on. Handlers may be async; also a decorator: ``@queue.on("completed")``.

        In a notebook, when a cell is run again its handler replaces the one of before, found by
        its name: see ``conveyor_nb.core.origins``.
        """
        self._require_open()
        self.store.subscribe(self.name, self._bus.emit)
        return self._bus.on(name, handler) if handler else self._bus.on(name)

    def off(self, name: str, handler: EventHandler | None = None) -> None:
        """Stop calling a handler, or all handlers of this name."""
        self._bus.off(name, handler)

    # -- life ---------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the queue was closed."""
        return self._closed

    async def close(self) -> None:
        """Take no more calls, and call nobody any more; the jobs stay in the store.

        What :meth:`observe` and :meth:`events` gave ends as well.
        """
        self._closed = True
        for follower in tuple(self._followers):
            follower.dispose()
        self.store.unsubscribe(self.name, self._bus.emit)
        self._bus.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- within -------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self._closed:
            raise QueueClosedError(self.name)

    def _options_of(self, options: JobKeywords) -> JobOptions:
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
        while some := list(itertools.islice(items, SLICE)):
            made += some
            if len(some) == SLICE and self.store.clock.overdue():
                await checkpoint()
        return made

    def _job(self, data: JobData) -> Job:
        return Job(data, self.store)


def _stop_listening(store: StoreInterface, name: str, bus: EventBus) -> None:
    store.unsubscribe(name, bus.emit)


_IN = re.compile(r"\s*in\s+", re.IGNORECASE)
_MAY_END_WORK = frozenset(
    {
        EventType.COMPLETED,
        EventType.FAILED,
        EventType.DELAYED,
        EventType.REMOVED,
        EventType.CANCELLED,
        EventType.DRAINED,
        EventType.DISCONNECTED,
    }
)
