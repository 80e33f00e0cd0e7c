"""The job that is open in a panel, and what its buttons do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from conveyor_nb.core.errors import JobNotFoundError
from conveyor_nb.core.model import JobData
from conveyor_nb.core.values.text import one_line
from conveyor_nb.job import Job
from conveyor_nb.notebook.panel.job_detail import gone_detail, job_detail
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.sizes import fitting, sendable
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.notebook.pictures.ring import ring, tally
from conveyor_nb.queue import Queue

__all__ = ["JobView"]

_ACTIONS: Mapping[str, Callable[[Job], Awaitable[None]]] = {
    "retry_job": Job.retry,
    "promote_job": Job.promote,
    "cancel_job": Job.cancel,
    "remove_job": Job.remove,
}

_MOST_OPENED = 3
"""How many attempts, those that were opened last, are told with their logs and tracebacks."""

_MOST_CHILDREN = 50
_ROOM = 6_000
_MOST_READ = 500
"""A parent of more children is shown without them: all of them would be read for each frame."""


class JobView(View):
    """One job with all its details; a job that is removed stays, as it was.

    It may be of another queue than the panel's, as the relatives of a job are.
    """

    part: ClassVar[str] = "detail"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._id = ""
        self._queue_name = queue.name
        self._opened: dict[int, None] = {}
        self._last: dict[str, Any] | None = None

    def open(self, job_id: str, queue_name: str = "") -> None:
        """Show a job, one of the panel's queue if no other is named; none if the id is empty."""
        self._id = job_id
        self._queue_name = queue_name or self.queue.name
        self._opened.clear()
        self._last = None

    async def read(self, glance: Glance) -> dict[str, Any] | None:
        if not self._id:
            return None
        job = await self.queue.store.get_job(self._queue_name, self._id)
        if job is not None:
            relatives = await self._relatives(job)
            if job.attempt_logs:  # it stays open on the page when another one follows
                self._open_attempt(job.attempt_logs[-1].attempt)
            self._last = job_detail(job, self._opened) | {"relatives": relatives}
            self._last |= {"can": []} if self.read_only else {}
        elif self._last is not None:
            self._last = gone_detail(self._last)
        return self._last

    @property
    def again(self) -> float | None:
        # no event tells of another payload, nor of the jobs of other queues
        return self.unheard if self._id else None

    def asks(self) -> Mapping[str, Action]:
        return {
            "open": plainly(lambda message: self.open(message.id, message.queue)),
            "open_attempt": plainly(lambda message: self._open_attempt(message.attempt)),
        }

    def acts(self) -> Mapping[str, Action]:
        return {name: self._doing(do) for name, do in _ACTIONS.items()}

    def _doing(self, do: Callable[[Job], Awaitable[None]]) -> Action:
        async def action(message: Message) -> None:
            queue = self.queue
            if message.queue and message.queue != queue.name:
                queue = Queue(message.queue, store=queue.store)
            job = await queue.get_job(message.id)
            if job is None:
                raise JobNotFoundError(message.id, queue.name)
            await do(job)

        return action

    def _open_attempt(self, attempt: int) -> None:
        """From now on tell of an attempt with its logs and its traceback."""
        self._opened.pop(attempt, None)
        self._opened[attempt] = None
        if len(self._opened) > _MOST_OPENED:
            del self._opened[next(iter(self._opened))]

    async def _relatives(self, job: JobData) -> dict[str, Any]:
        """The parent of a job and its children, each with its state."""
        store = self.queue.store
        jobs = []
        if job.parent_id is not None:
            queue_name = job.parent_queue_name or job.queue_name
            parent = await store.get_job(queue_name, job.parent_id)
            jobs.append(_relative("parent", job.parent_id, queue_name, parent))
        count = len(job.children_ids)
        drawn = None
        if 0 < count <= _MOST_READ:
            children = await store.get_children_jobs(job.queue_name, job.id)
            drawn = ring(tally(job, children))
            shown = children[:_MOST_CHILDREN]
            jobs += [_relative("child", one.id, one.queue_name, one) for one in shown]
        told = fitting(sendable(jobs), _ROOM)
        return {"jobs": told, "children": count, "ring": drawn}


def _relative(kind: str, job_id: str, queue_name: str, job: JobData | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": job_id,
        "queue": queue_name,
        "name": one_line(job.name) if job else "removed",
        "state": str(job.state) if job else "",
    }
