"""The job that is open in a panel, and what its buttons do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from conveyor_nb.core.errors import JobNotFoundError
from conveyor_nb.job import Job
from conveyor_nb.notebook.panel.job_detail import gone_detail, job_detail
from conveyor_nb.notebook.panel.page_messages import Message
from conveyor_nb.notebook.panel.view import Action, Glance, View, plainly
from conveyor_nb.queue import Queue

__all__ = ["JobView"]

_ACTIONS: Mapping[str, Callable[[Job], Awaitable[None]]] = {
    "retry_job": Job.retry,
    "promote_job": Job.promote,
    "cancel_job": Job.cancel,
    "remove_job": Job.remove,
}


class JobView(View):
    """One job with all its details; a job that is removed stays, as it was."""

    part: ClassVar[str] = "detail"

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__(queue, read_only=read_only)
        self._id = ""
        self._last: dict[str, Any] | None = None

    def open(self, job_id: str) -> None:
        """Show a job; none if the id is empty."""
        self._id = job_id
        self._last = None

    async def read(self, glance: Glance) -> dict[str, Any] | None:
        if not self._id:
            return None
        job = await self.queue.store.get_job(self.queue.name, self._id)
        if job is not None:
            self._last = job_detail(job) | ({"can": []} if self.read_only else {})
        elif self._last is not None:
            self._last = gone_detail(self._last)
        return self._last

    def asks(self) -> Mapping[str, Action]:
        return {"open": plainly(lambda message: self.open(message.id))}

    def acts(self) -> Mapping[str, Action]:
        return {name: self._doing(do) for name, do in _ACTIONS.items()}

    def _doing(self, do: Callable[[Job], Awaitable[None]]) -> Action:
        async def action(message: Message) -> None:
            job = await self.queue.get_job(message.id)
            if job is None:
                raise JobNotFoundError(message.id, self.queue.name)
            await do(job)

        return action
