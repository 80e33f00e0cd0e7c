"""Recording a tape: what ``queue.record()`` and ``store.record()`` give."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from types import TracebackType
from typing import Any, Protocol

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.clocks.loops import Flag
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import EventType, JobData, JobState, StoreEvent
from conveyor_nb.core.values.checks import check_count
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.stores.reads import Readable, Reads, SynchronousReads
from conveyor_nb.stores.tapes.moments import Key, Start
from conveyor_nb.stores.tapes.tape import Tape
from conveyor_nb.stores.telling import MARKS, Teller, wait_until_told

__all__ = ["Recordable", "Recording"]

_MOST_JOBS = 1_000
"""How many of the jobs that are there at the start are kept, of each queue and state."""

_FOR_OTHERS = 0.05
"""For how many seconds of real time one waits for what other processes tell."""


class Recordable(Teller, Readable, Reads, Protocol):
    """A store, as far as it is recorded."""

    read_only: bool
    tells_at_once: bool


class Recording:
    """Records what happens in a block; ``with`` and ``async with`` give the ``Tape``.

    Args:
        store: the store.
        queue_name: the queue; ``None``: all of them.
        limit: how many events are kept; those after that are counted.

    Raises:
        TypeError, ValueError: a bad limit.
    """

    def __init__(self, store: Recordable, queue_name: str | None, limit: int = 10_000) -> None:
        self._store = store
        self._queue_name = queue_name
        self._limit = check_count(limit, what="limit")
        self._tape: Tape | None = None
        self._is_at_once = isinstance(store, SynchronousReads)
        self._unread: deque[StoreEvent] = deque()
        self._news = Flag()
        self._followed: set[Key] = set()
        self._results: dict[Key, Any] = {}
        self._is_over = False
        self._reading: asyncio.Task[None] | None = None
        self._tasks = BackgroundTasks()

    # -- the block ----------------------------------------------------------------------------

    def __enter__(self) -> Tape:
        self._require_unused()
        if not self._is_at_once:
            _require_loop()
        self._store.subscribe(self._queue_name, self._hear)
        try:
            return self._begin(read_now(self._store, self._look))
        except BaseException:
            self._stop_hearing()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_at_once:
            self._end()
        else:
            self._tasks.spawn(self._end_late())

    async def __aenter__(self) -> Tape:
        self._require_unused()
        if not self._is_at_once and not self._store.read_only:
            await wait_until_told(self._store)
        self._store.subscribe(self._queue_name, self._hear)
        try:
            return self._begin(await self._look(self._store))
        except BaseException:
            self._stop_hearing()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_at_once:
            self._end()
        else:
            await self._tasks.see_through(self._end_late())

    def _require_unused(self) -> None:
        if self._tape is not None:
            raise RuntimeError("a recording is for one block; record() makes another one")

    # -- its begin ----------------------------------------------------------------------------

    async def _look(self, reads: Reads) -> Start:
        """What there is."""
        name = self._queue_name
        jobs: list[JobData] = []
        paused, left_out = {}, 0
        for queue in await reads.list_queues() if name is None else [name]:
            counts = await reads.get_job_counts(queue)
            for state in JobState:
                if counts[state]:
                    newest = state in SETTLED
                    found = await reads.list_jobs(queue, state, 0, _MOST_JOBS, newest_first=newest)
                    jobs += found[::-1] if newest else found
                    left_out += max(0, counts[state] - len(found))
            if names := frozenset(await reads.get_paused_job_names(queue)):
                paused[queue] = names
        return Start(tuple(jobs), left_out, paused, tuple(await reads.list_workers(name)))

    def _begin(self, start: Start) -> Tape:
        began = self._store.clock.now()
        tape = self._tape = Tape(self._queue_name, began, start, limit=self._limit)
        if not self._is_at_once:
            self._reading = self._tasks.spawn(self._read())
        return tape

    # -- what happens -------------------------------------------------------------------------

    def _hear(self, event: StoreEvent) -> None:
        if event.queue_name == MARKS or self._is_over:
            return
        if event.type == EventType.DISCONNECTED:
            self._end()
        elif isinstance(self._store, SynchronousReads):
            if self._tape is not None:
                self._take(event, self._store.look_up(event.queue_name, event.job_id or ""))
        else:
            self._unread.append(event)
            self._news.set()

    def _take(self, event: StoreEvent, read: JobData | None) -> None:
        tape = self._tape
        assert tape is not None, "it has begun"
        tape.take(event, read)
        if event.job_id is None:
            return
        key = (event.queue_name, event.job_id)
        if event.type == EventType.ACTIVE:
            # what is still read after its end is followed no more: nobody would let go of it
            if not self._is_over and read is not None and read.opts.remove_on_complete is True:
                self._follow(key)
        elif event.type in (EventType.COMPLETED, EventType.FAILED, EventType.REMOVED):
            if key in self._results:
                tape.take_result(key, self._results.pop(key))
            if event.type != EventType.COMPLETED or not self._is_at_once:
                self._follow_no_more(key)

    def _follow(self, key: Key) -> None:
        """Have the result of a job told whose record goes with its end."""
        if key not in self._followed:
            self._followed.add(key)
            self._store.subscribe(key[0], self._hear_result, job_id=key[1])

    def _follow_no_more(self, key: Key) -> None:
        if key in self._followed:
            self._followed.discard(key)
            self._store.unsubscribe(key[0], self._hear_result, job_id=key[1])

    def _hear_result(self, event: StoreEvent) -> None:
        if event.type != EventType.COMPLETED or event.job_id is None or self._tape is None:
            return
        key, result = (event.queue_name, event.job_id), event.data.get("returnvalue")
        if self._is_at_once:
            self._tape.take_result(key, result)
        else:
            self._results[key] = result

    async def _read(self) -> None:
        """Read the jobs of the events that have come, until it is over."""
        while True:
            self._news.clear()
            await self._read_unread()
            if self._is_over:
                return
            await self._news.wait()

    async def _read_unread(self) -> None:
        while self._unread:
            events = [self._unread.popleft() for _ in range(len(self._unread))]
            about = [(one.queue_name, one.job_id) for one in events if one.job_id is not None]
            keys = list(dict.fromkeys(about))
            read = dict(zip(keys, await asyncio.gather(*map(self._job, keys)), strict=True))
            for event in events:
                self._take(event, read.get((event.queue_name, event.job_id or "")))

    async def _job(self, key: Key) -> JobData | None:
        try:
            return await self._store.get_job(*key)
        except Exception:  # whatever ails the store, its events tell what happened
            return None

    # -- its end ------------------------------------------------------------------------------

    async def _end_late(self) -> None:
        """End when all has come that the block did."""
        assert self._tape is not None, "it has begun"
        now = self._store.clock.now()
        try:
            if not self._store.read_only:
                with contextlib.suppress(ConveyorError):  # what has come by now is on the tape
                    await wait_until_told(self._store)
            await REAL_TIME.wait(asyncio.get_running_loop().create_future(), _FOR_OTHERS)
        finally:
            self._end()
        self._tape.end(now)
        if self._reading is not None:
            await asyncio.wait({self._reading})

    def _end(self) -> None:
        if self._is_over or self._tape is None:
            return
        self._is_over = True
        self._stop_hearing()
        self._tape.end(self._store.clock.now())
        self._news.set()

    def _stop_hearing(self) -> None:
        self._store.unsubscribe(self._queue_name, self._hear)
        for key in tuple(self._followed):
            self._follow_no_more(key)


def _require_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a store in a database is recorded on a running event loop: use"
            " 'async with queue.record() as tape:' in a coroutine"
        ) from None
