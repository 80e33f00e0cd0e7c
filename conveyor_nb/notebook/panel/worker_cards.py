"""The workers of a queue, each with its slots, what it did, and how much it has to do."""

from __future__ import annotations

import functools
import inspect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any, ClassVar

from IPython.core.getipython import get_ipython

from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.errors import ConveyorError
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.values.text import one_line, shown
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.sizes import fitting, sendable
from conveyor_nb.notebook.panel.view import Action, Glance, View
from conveyor_nb.notebook.panel.worker_use import Work, work_of
from conveyor_nb.notebook.panel.workers_panel import (
    WHILE_IT_IS_TOLD,
    known_workers_of,
    tell_worker,
    worker_rows,
)
from conveyor_nb.notebook.pictures.words import end_of
from conveyor_nb.queue import Queue
from conveyor_nb.worker import Worker

__all__ = ["WorkerCardsView", "handler_place"]

_MOST_SETTLED = 250
_MOST_ACTIVE = 200
_MOST_CARDS = 24
_MOST_SLOTS = 12
_ROOM = 22_000
_MOST_TEXT = 60
_WHILE_IT_WORKS = 0.5
_MISSED_BEATS = 3


class WorkerCardsView(View):
    """The workers of a queue with all that is known of them, and buttons to manage them."""

    part: ClassVar[str] = "worker_cards"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._moves = False
        self._is_told = False

    async def read(self, glance: Glance) -> dict[str, Any]:
        store, name = self.queue.store, self.queue.name
        rows = await worker_rows(store, name)
        infos = {info.id: info for info in await store.list_workers(name)}
        settled: list[JobData] = []
        for state in (JobState.COMPLETED, JobState.FAILED):
            settled += await store.list_jobs(name, state, 0, _MOST_SETTLED, newest_first=True)
        active = await store.list_jobs(name, JobState.ACTIVE, 0, _MOST_ACTIVE)
        now = store.clock.now()
        total = glance.counts[JobState.COMPLETED] + glance.counts[JobState.FAILED]
        is_all = total <= len(settled)
        works = work_of(settled, active, now, is_all=is_all)
        running = defaultdict(list)
        for job in active:
            running[job.locked_by].append(job)
        mine = known_workers_of(store, name)
        self._is_told = any(row["told"] for row in rows)
        self._moves = bool(active) or any(work.busy for work in works.values())
        cards = []
        for row in rows[:_MOST_CARDS]:
            worker = mine.get(row["key"])
            worker_id = worker.id if worker else row["key"]
            info, work = infos.pop(worker_id, None), works.get(worker_id, Work())
            jobs = running.pop(worker_id, [])
            vanished = worker is None and self._has_vanished(info, jobs, now)
            is_open = bool(row["can"]) if worker is None else not worker.status.is_over
            cards.append(
                row
                | {
                    "can": [] if self.read_only or vanished else row["can"],
                    "here": worker is not None,
                    "resizable": is_open and not self.read_only and not vanished,
                    "handler": handler_place(worker) if worker else None,
                    "since": info and info.started_at.timestamp(),
                    "seen": info and info.last_seen and info.last_seen.timestamp(),
                    "vanished": vanished,
                    "use": round(work.use(row["concurrency"]), 2),
                    "rate": round(work.rate, 1),
                    "done": work.completed,
                    "failed": work.failed,
                    "slots": [_slot(job) for job in jobs[:_MOST_SLOTS]],
                    "more": max(0, len(jobs) - _MOST_SLOTS),
                }
            )
        cards = fitting(sendable(cards), _ROOM)
        lost = [job for jobs in running.values() for job in jobs]
        return {
            "cards": cards,
            "others": len(rows) - len(cards),
            "is_all": is_all,
            "lost": [_slot(job) for job in lost[:_MOST_SLOTS]] if len(rows) <= _MOST_CARDS else [],
        }

    def _has_vanished(
        self, info: WorkerInfo | None, jobs: Sequence[JobData], now: datetime
    ) -> bool:
        """Whether a worker of another process is gone: it would have shown itself."""
        if any(job.lock_until is not None and job.lock_until < now for job in jobs):
            return True
        beat = self.queue.store.idle_beat
        if beat is None or info is None or info.last_seen is None:
            return False
        return (now - info.last_seen).total_seconds() > _MISSED_BEATS * beat

    @property
    def again(self) -> float | None:
        if isinstance(self.queue.store.clock, VirtualClock):
            return None
        if self._moves:
            return _WHILE_IT_WORKS
        return WHILE_IT_IS_TOLD if self._is_told else None

    def acts(self) -> Mapping[str, Action]:
        return {"resize_worker": self._resize}

    async def _resize(self, message: Message) -> None:
        """Let a worker run more or fewer jobs at once."""
        store, name = self.queue.store, self.queue.name
        worker = known_workers_of(store, name).get(message.worker)
        if worker is None:
            command = WorkerCommand(concurrency=message.slots)
            await tell_worker(store, name, message.worker, command)
            return
        if worker.status.is_over:
            raise ConveyorError(
                f"worker {shown(message.worker)} is stopped; start it, then change its slots"
            )
        worker.concurrency = message.slots


def _slot(job: JobData) -> dict[str, Any]:
    """What a slot says of its job."""
    since = job.attempt_logs[-1].started_at if job.attempt_logs else job.processed_at
    return {
        "id": job.id,
        "end": end_of(job.id),
        "name": one_line(job.name, _MOST_TEXT),
        "since": since and since.timestamp(),
        "attempt": job.attempt_logs[-1].attempt if job.attempt_logs else 1,
        "progress": job.progress,
    }


def handler_place(worker: Worker) -> str | None:
    """Where the code of a worker's handler is: its cell, or its file; of several, how many."""
    handler: Any = worker.handler
    if isinstance(handler, Mapping):
        return f"{len(handler)} handlers"
    while isinstance(handler, functools.partial):
        handler = handler.func
    code = getattr(inspect.unwrap(handler), "__code__", None)
    if code is None:
        return None
    compiler = getattr(get_ipython(), "compile", None)
    name_cell = getattr(compiler, "format_code_name", None)  # of IPython 8.3 and later
    cell = name_cell(code.co_filename) if name_cell else None
    if cell is not None:
        return f"{cell[0]} {cell[1]}, line {code.co_firstlineno}"
    if code.co_filename.startswith("<"):
        return str(code.co_filename.strip("<>"))
    return f"{PurePath(code.co_filename).name}, line {code.co_firstlineno}"
