"""A store for tests alone: its rows are bytes, behind calls that each give way to the loop.

It shows what a store of one's own needs: a wire format, answers to the questions of a working set,
a guarded write, and plain reads. All rules are those of ``conveyor_nb.core``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import itertools
import logging
import pickle
import random
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from types import FunctionType, MethodType
from typing import Any

from msgspec.structs import replace

from conveyor_nb.clocks.clock import Clock, SystemClock, checkpoint
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.clocks.timer import Timer
from conveyor_nb.core import turns
from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.metrics import MetricsPeriod, MetricsPoint
from conveyor_nb.core.model import JobData, JobState, StoreEvent
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.core.rows import ChildRow, HeldKey, Key, Rows, held_key
from conveyor_nb.core.steps.many import remove_expired
from conveyor_nb.core.steps.retention import entered_at, expires_at, is_kept_by_count
from conveyor_nb.core.turns import GroupTurn
from conveyor_nb.core.values.ids import Numbers, random_id
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.stores.interface import EventCallback
from conveyor_nb.stores.metrics import Metrics, require
from conveyor_nb.stores.subscriptions import EventHandlerErrorCallback, Subscriptions
from conveyor_nb.stores.working_set.changes import Changes
from conveyor_nb.stores.working_set.loop import run_step
from conveyor_nb.stores.working_set.questions import Question
from conveyor_nb.stores.working_set.rows import WorkingSet
from conveyor_nb.stores.working_set.store import SteppedStore

__all__ = ["BytesRows", "BytesStore"]

_BUSY = (JobState.WAITING, JobState.ACTIVE)
_NO_OPTIONS = FetchOptions()


class _Packer(pickle.Pickler):
    """Packs rows; of functions, which no bytes can stand for, their places in a list."""

    def __init__(self, file: io.BytesIO, functions: list[Any]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._functions = functions

    def persistent_id(self, value: object) -> int | None:
        if not isinstance(value, (FunctionType, MethodType)):
            return None
        if value not in self._functions:
            self._functions.append(value)
        return self._functions.index(value)


class _Unpacker(pickle.Unpickler):
    """Unpacks what a :class:`_Packer` has packed."""

    def __init__(self, file: io.BytesIO, functions: list[Any]) -> None:
        super().__init__(file)
        self._functions = functions

    def persistent_load(self, place: int) -> Any:
        return self._functions[place]


class BytesRows:
    """The rows, as bytes, and a few counts over them; all that would be a database elsewhere."""

    def __init__(self, *, sequential_ids: bool, metrics: bool) -> None:
        self.version = 0
        self._jobs: dict[str, dict[str, bytes]] = defaultdict(dict)
        self._states: dict[tuple[str, JobState], dict[str, None]] = defaultdict(dict)
        self._keys: dict[tuple[str, HeldKey], dict[str, None]] = defaultdict(dict)
        self._children: dict[Key, dict[Key, bytes]] = defaultdict(dict)
        self._schedulers: dict[Key, bytes] = {}
        self._workers: dict[str, bytes] = {}
        self._paused: dict[str, set[str]] = defaultdict(set)
        self._groups: dict[tuple[str, str | None], GroupTurn] = defaultdict(lambda: GroupTurn(0))
        self._in_groups: Counter[tuple[str, str | None]] = Counter()
        self._starts: dict[str, list[datetime]] = {}  # of every queue that there is
        self._sequences: Counter[str] = Counter()
        self.metrics = Metrics() if metrics else None
        self._numbers: Counter[str] = Counter()
        self._sequential_ids = sequential_ids
        self.expiries: dict[Key, datetime] = {}
        self._turn = 0
        self._functions: list[Any] = []  # which no bytes can stand for

    # -- the wire format ----------------------------------------------------------------------

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn

    def packed(self, row: object) -> bytes:
        packed = io.BytesIO()
        _Packer(packed, self._functions).dump(row)
        return packed.getvalue()

    def unpacked(self, row: bytes) -> Any:
        return _Unpacker(io.BytesIO(row), self._functions).load()

    # -- the questions of a working set -------------------------------------------------------

    def answer(self, question: Question) -> Any:
        return getattr(self, question.what)(*question.about)

    def job(self, queue_name: str, job_id: str) -> JobData | None:
        row = self._jobs[queue_name].get(job_id)
        return None if row is None else self.unpacked(row)

    def some(self, queue_name: str, ids: Iterable[str]) -> list[JobData]:
        return [self.unpacked(self._jobs[queue_name][job_id]) for job_id in list(ids)]

    def holders(self, queue_name: str, key: HeldKey) -> list[JobData]:
        return self.some(queue_name, self._keys[queue_name, key])

    def child(self, parent: Key, child: Key) -> Any:
        row = self._children[parent].get(child)
        return None if row is None else self.unpacked(row)

    def failed_children(self, parent: Key) -> list[Key]:
        return [key for key, row in self.children(parent).items() if row.why is not None]

    def awaited_children(self, parent: Key, most: int) -> tuple[list[Key], int]:
        awaited = [key for key, row in self.children(parent).items() if row.awaited]
        return awaited[:most], len(awaited)

    def scheduler(self, queue_name: str, scheduler_id: str) -> JobScheduler | None:
        row = self._schedulers.get((queue_name, scheduler_id))
        return None if row is None else self.unpacked(row)

    def schedulers(self, queue_name: str) -> list[JobScheduler]:
        return [self.unpacked(row) for key, row in self._schedulers.items() if key[0] == queue_name]

    def listed(
        self, queue_name: str, state: JobState | None, since: datetime | None = None
    ) -> list[JobData]:
        ids = self._jobs[queue_name] if state is None else self._states[queue_name, state]
        jobs = self.some(queue_name, ids)
        if state is JobState.WAITING:
            jobs.sort(key=turns.place_of)
        elif state is JobState.DELAYED:
            jobs.sort(key=lambda job: (job.delay_until, job.sequence))
        return [job for job in jobs if since is None or entered_at(job) <= since]

    def due(self, queue_name: str, now: datetime) -> list[JobData]:
        delayed = self.listed(queue_name, JobState.DELAYED)
        return [job for job in delayed if job.delay_until and job.delay_until <= now]

    def expired(self, now: datetime, most: int) -> list[JobData]:
        over = sorted((at, key) for key, at in self.expiries.items() if at <= now)
        return [job for _, key in over[:most] if (job := self.job(*key)) is not None]

    def surplus(self, queue_name: str, state: JobState, most: int) -> list[JobData]:
        kept = [job for job in self.listed(queue_name, state) if is_kept_by_count(job)]
        return kept[: max(len(kept) - most, 0)]

    def paused_names(self, queue_name: str) -> list[str]:
        return sorted(self._paused[queue_name])

    def active_count(self, queue_name: str) -> int:
        return len(self._states[queue_name, JobState.ACTIVE])

    def waiting_in_group(self, queue_name: str, group_id: str | None) -> int:
        return self._in_groups[queue_name, group_id]

    def busy(self, queue_name: str, most: int) -> list[str]:
        ids = itertools.chain(*(self._states[queue_name, state] for state in _BUSY))
        return list(itertools.islice(ids, most))

    def starts(self, queue_name: str, limiter: Limiter) -> list[datetime]:
        return self._starts.get(queue_name, [])[-limiter.max :]

    def children(self, parent: Key) -> dict[Key, ChildRow]:
        return {key: self.unpacked(row) for key, row in self._children[parent].items()}

    def counts(self, queue_name: str) -> dict[JobState, int]:
        return {state: len(self._states[queue_name, state]) for state in JobState}

    def queue_names(self) -> list[str]:
        return sorted(self._starts)

    def worker(self, worker_id: str) -> WorkerInfo | None:
        row = self._workers.get(worker_id)
        return None if row is None else self.unpacked(row)

    def workers(self) -> list[WorkerInfo]:
        return [self.unpacked(row) for row in self._workers.values()]

    def active_in_group(self, queue_name: str, group_id: str | None) -> int:
        return self._groups[queue_name, group_id].active

    def new_ids(self, queue_name: str, most: int) -> list[str]:
        if not self._sequential_ids:
            return [random_id() for _ in range(most)]
        names = (f"{queue_name}-{n}" for n in itertools.count(self._numbers[queue_name] + 1))
        free = (name for name in names if name not in self._jobs[queue_name])
        return list(itertools.islice(free, most))

    def is_kept(self, question: Question) -> bool:
        """Whether it is answered alike as long as nothing is written."""
        return self._sequential_ids or question.what != "new_ids"

    def next_sequence(self, queue_name: str) -> int:
        return self._sequences[queue_name] + 1

    def in_turn(
        self, queue_name: str, options: FetchOptions, now: datetime, most: int
    ) -> list[JobData]:
        given = self._waiting_groups(queue_name)
        return list(itertools.islice(turns.in_turn(*given, options, now), most))

    def next_opening(
        self, queue_name: str, options: FetchOptions, now: datetime
    ) -> datetime | None:
        return turns.next_opening(*self._waiting_groups(queue_name), options, now)

    def _waiting_groups(self, queue_name: str) -> tuple[Any, Any, Any]:
        waiting = self.listed(queue_name, JobState.WAITING)
        groups = {one.group_id: self._groups[queue_name, one.group_id] for one in waiting}
        return waiting, groups, self._paused[queue_name]

    def next_due(self, queue_name: str) -> datetime | None:
        delayed = self.listed(queue_name, JobState.DELAYED)
        return delayed[0].delay_until if delayed else None

    def has_waiting(self, queue_name: str) -> bool:
        return bool(self._states[queue_name, JobState.WAITING])

    # -- writing ------------------------------------------------------------------------------

    def write(self, changes: Changes) -> None:
        if changes:
            self.version += 1
        for queue_name, ids in changes.new_ids.items():
            if self._sequential_ids and ids:
                self._numbers[queue_name] = int(ids[-1].rpartition("-")[2])
        for key, after in changes.jobs.items():
            self._put(key, after)
        for job in changes.started:
            assert job.processed_at is not None
            self._starts[job.queue_name].append(job.processed_at)
            turn = self._groups[job.queue_name, job.group_id]
            starts = (*turn.starts[-1_000:], job.processed_at)
            turn = replace(turn, served=self._next_turn(), starts=starts)
            self._groups[job.queue_name, job.group_id] = turn
        for parent, children in changes.children.items():
            self._children[parent].update((one, self.packed(row)) for one, row in children.items())
        for key, scheduler in changes.schedulers.items():
            if scheduler is None:
                self._schedulers.pop(key, None)
            else:
                self._schedulers[key] = self.packed(scheduler)
        for (queue_name, name), is_paused in changes.paused.items():
            if is_paused:
                self._queue(queue_name)
                self._paused[queue_name].add(name)
            else:
                self._paused[queue_name].discard(name)
        for worker_id, (worker, is_kept) in changes.workers.items():
            if is_kept:
                self._queue(worker.queue_name)
                self._workers[worker_id] = self.packed(worker)
            else:
                self._workers.pop(worker_id, None)
        for worker_id, now in changes.seen.items():
            if (row := self._workers.get(worker_id)) is not None:
                worker = dataclasses.replace(self.unpacked(row), last_seen=now)
                self._workers[worker_id] = self.packed(worker)
        for job, now in changes.settled:
            assert self.metrics is not None
            self.metrics.record(job, now)
        for queue_name in changes.forgotten:
            for table in (self._starts, self._sequences, self._paused):
                table.pop(queue_name, None)
            for own in [one for one in self._groups if one[0] == queue_name]:
                del self._groups[own]
            if self.metrics is not None:
                self.metrics.forget(queue_name)

    def _queue(self, queue_name: str) -> None:
        self._starts.setdefault(queue_name, [])

    def _put(self, key: Key, after: JobData | None) -> None:
        queue_name, job_id = key
        before = self.job(*key)
        has_moved = before is None or after is None or after.state is not before.state
        if after is not None:
            self._queue(queue_name)
            self._sequences[queue_name] = max(self._sequences[queue_name], after.sequence)
            self._jobs[queue_name][job_id] = self.packed(after)
            if has_moved:
                self._states[queue_name, after.state][job_id] = None
                self._move(after, 1)
        if before is not None and has_moved:
            del self._states[queue_name, before.state][job_id]
            self._move(before, -1)
        if before is not None and (held := held_key(before)) is not None:
            self._keys[queue_name, held].pop(job_id, None)
        if after is not None and after.state not in SETTLED and (held := held_key(after)):
            self._keys[queue_name, held][job_id] = None
        self.expiries.pop(key, None)
        if after is not None and (at := expires_at(after)) is not None:
            self.expiries[key] = at
        if after is None:
            self._jobs[queue_name].pop(job_id, None)
            self._children.pop(key, None)

    def _move(self, job: JobData, by: int) -> None:
        """A job has come to its state or left it: a group with none left will come as a new one."""
        own = (job.queue_name, job.group_id)
        turn = self._groups[own]
        if job.state is JobState.WAITING:
            self._in_groups[own] += by
        elif job.state is JobState.ACTIVE:
            turn = replace(turn, active=turn.active + by)
        if not (turn.active or self._in_groups[own]):
            turn = replace(turn, order=0)
        elif not turn.order:
            turn = replace(turn, order=self._next_turn())
        self._groups[own] = turn


class _RowsSession:
    """Loads and writes for one step: what is written rests on nothing that has changed since."""

    def __init__(self, store: BytesStore) -> None:
        self._store = store
        self._told: dict[Question, Any] = {}
        self._version = 0
        self._is_first_try = True

    async def load(self, questions: Sequence[Question]) -> list[Any]:
        await checkpoint()
        rows = self._store.rows
        with self._store.lock:
            if not self._told:
                self._version = rows.version
            answers = [rows.answer(question) for question in questions]
        self._told.update(zip(questions, answers, strict=True))
        return answers

    async def commit(self, changes: Changes) -> bool:
        if self._is_first_try:
            await checkpoint()
        rows = self._store.rows
        with self._store.lock:
            if self._told and rows.version != self._version and not self._holds():
                self._told.clear()
                self._is_first_try = False
                return False
            rows.write(changes)
            self._store.tell(changes.events, changes.results)
        await checkpoint()
        return True

    def _holds(self) -> bool:
        rows = self._store.rows
        kept = (one for one in self._told.items() if rows.is_kept(one[0]))
        return all(rows.packed(rows.answer(one)) == rows.packed(told) for one, told in kept)


class BytesStore(SteppedStore):
    """Keeps rows as bytes; takes the options of a ``MemoryStore``."""

    idle_beat = 86_400.0  # tests move the clock by years

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        ids: str | None = None,
        seed: int | None = None,
        metrics: bool = False,
        logger: logging.Logger | None = None,
        on_event_handler_error: EventHandlerErrorCallback | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.lock = threading.RLock()
        self._sequential_ids, self._has_metrics = ids is not None, metrics
        self._random = random.Random(seed)
        self._worker_numbers = Numbers()
        logger = logger or logging.getLogger("conveyor_nb")
        self._subscriptions = Subscriptions(logger, on_event_handler_error)
        self._untold: deque[tuple[list[StoreEvent], Mapping[Key, Any]]] = deque()
        self._tasks = BackgroundTasks()
        self._expiry = Timer(self.clock, lambda: self._tasks.spawn(self._expire()))
        self.rows = BytesRows(sequential_ids=self._sequential_ids, metrics=metrics)

    # -- life and events ----------------------------------------------------------------------

    async def connect(self) -> None:
        await checkpoint()

    async def disconnect(self) -> None:
        await checkpoint()
        self._expiry.cancel()
        with self.lock:
            self._tell_all()
            self.rows = BytesRows(sequential_ids=self._sequential_ids, metrics=self._has_metrics)
            self._subscriptions.disconnect(self.clock.now())

    async def publish(self, event: StoreEvent) -> None:
        await checkpoint()
        self.tell([event], {})

    def tell(self, events: list[StoreEvent], results: Mapping[Key, Any]) -> None:
        """Call the subscribers, in a turn of the loop that is still to come."""
        self._untold.append((events, results))
        asyncio.get_running_loop().call_soon(self._tell_all)

    def _tell_all(self) -> None:
        with self.lock:
            while self._untold:
                self._subscriptions.publish(*self._untold.popleft())

    def subscribe(
        self,
        queue_name: str | None,
        callback: EventCallback,
        *,
        job_id: str | None = None,
        kinds: Collection[str] | None = None,
    ) -> None:
        with self.lock:
            self._subscriptions.add(queue_name, callback, job_id, kinds)

    def unsubscribe(
        self,
        queue_name: str | None,
        callback: EventCallback | None = None,
        *,
        job_id: str | None = None,
    ) -> None:
        with self.lock:
            self._subscriptions.remove(queue_name, callback, job_id)

    # -- steps --------------------------------------------------------------------------------

    async def take_step(
        self, step: Callable[[Rows, datetime], Any], about: Sequence[JobData | Key] = ()
    ) -> Any:
        rows = WorkingSet(
            about,
            random=self._random,
            followed=self._subscriptions.of_jobs,
            collects_metrics=self._has_metrics,
        )
        now = self.clock.now()
        taken = run_step(lambda rows: step(rows, now), rows, _RowsSession(self))
        result = await self._tasks.see_through(taken)
        self._set_expiry()
        return result

    async def answer(self, question: Question) -> Any:
        await checkpoint()
        return self.rows.answer(question)

    def _set_expiry(self) -> None:
        with self.lock:
            self._expiry.set(min(self.rows.expiries.values(), default=None))

    async def _expire(self) -> None:
        await self.take_step(remove_expired)

    def new_worker_id(self, name: str) -> str:
        if not self._sequential_ids:
            return super().new_worker_id(name)
        return f"{name}-worker-{next(self._worker_numbers.of(name))}"

    # -- looking ------------------------------------------------------------------------------

    async def get_job_counts(self, queue_name: str) -> dict[JobState, int]:
        await checkpoint()
        return self.rows.counts(queue_name)

    async def get_group_active_count(self, queue_name: str, group_id: str | None) -> int:
        await checkpoint()
        return self.rows.active_in_group(queue_name, group_id)

    async def list_queues(self) -> list[str]:
        await checkpoint()
        return self.rows.queue_names()

    async def get_metrics(
        self,
        queue_name: str,
        period: MetricsPeriod | str = MetricsPeriod.MINUTE,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[MetricsPoint]:
        await checkpoint()
        metrics = require(self.rows.metrics)
        return metrics.points(queue_name, period, start, end, self.clock.now())

    async def aggregate_metrics(
        self,
        queue_name: str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> MetricsPoint:
        await checkpoint()
        return require(self.rows.metrics).total(queue_name, start, end, self.clock.now())

    async def list_workers(self, queue_name: str | None = None) -> list[WorkerInfo]:
        await checkpoint()
        return [one for one in self.rows.workers() if queue_name in (None, one.queue_name)]
