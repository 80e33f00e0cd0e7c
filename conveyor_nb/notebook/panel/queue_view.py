"""What a panel shows of one queue: read from its store, and nothing more than is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conveyor_nb.clocks.clock import Clock, SystemClock
from conveyor_nb.clocks.virtual import VirtualClock
from conveyor_nb.core.model import ALL_NAMES, JobState
from conveyor_nb.core.text import encodable
from conveyor_nb.notebook.panel.event_log import NewestEvents
from conveyor_nb.notebook.panel.job_detail import gone_detail, job_detail
from conveyor_nb.notebook.panel.job_table import JobTable
from conveyor_nb.notebook.panel.workers_panel import worker_rows
from conveyor_nb.queue import Queue

__all__ = ["QueueView"]


class QueueView:
    """The table's page and filter, the open job and the event log of one queue's panel."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.table = JobTable()
        self.log = NewestEvents()
        self._open_id = ""
        self._detail: dict[str, Any] | None = None

    def open(self, job_id: str) -> None:
        """Show a job with all its details; none if the id is empty."""
        self._open_id = job_id
        self._detail = None

    async def read(self) -> dict[str, Any]:
        """The parts of a frame, each as JSON-like values: ``head``, ``workers`` and so on."""
        store, name = self.queue.store, self.queue.name
        counts = await store.get_job_counts(name)
        paused = await store.get_paused_job_names(name)
        parts = {
            "head": _head(name, counts, paused, store.clock),
            "workers": await worker_rows(store, name),
            "jobs": await self.table.read(store, name, counts),
            "detail": await self._read_detail(),
            "events": self.log.read(),
        }
        return {part: sendable(value) for part, value in parts.items()}

    async def _read_detail(self) -> dict[str, Any] | None:
        if not self._open_id:
            return None
        job = await self.queue.store.get_job(self.queue.name, self._open_id)
        if job is not None:
            self._detail = job_detail(job)
        elif self._detail is not None:
            self._detail = gone_detail(self._detail)
        return self._detail


def _head(
    name: str, counts: Mapping[JobState, int], paused: frozenset[str], clock: Clock
) -> dict[str, Any]:
    return {
        "name": name,
        "paused": ALL_NAMES in paused,
        "paused_names": sorted(paused - {ALL_NAMES}),
        "counts": {str(state): count for state, count in counts.items()},
        "now": clock.now().timestamp(),
        "speed": _speed(clock),
    }


def _speed(clock: Clock) -> float:
    """How many of the clock's seconds pass in a real one: a page lets ages grow by itself."""
    if isinstance(clock, VirtualClock):
        return 0.0
    return 1.0 if isinstance(clock, SystemClock) else float(getattr(clock, "speed", 1.0))


def sendable(value: Any) -> Any:
    r"""JSON-like values with every text such that it can be sent.

    Other people's texts may hold lone surrogates, which no message to a page can carry.

    >>> sendable({"name": "a\ud800"})
    {'name': 'a\\ud800'}
    """
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {key: sendable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [sendable(part) for part in value]
    return value
