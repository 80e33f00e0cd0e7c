"""A job as people hold it: what is known of it, and what can be done to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Self

from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.context.deadlocks import refuse_circular_wait, refuse_slot_deadlock
from conveyor_nb.context.results import result_of
from conveyor_nb.context.runs import current_run
from conveyor_nb.core import actions
from conveyor_nb.core.errors import JobCancelledError, JobNotFoundError
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import (
    ACTIVE,
    COMPLETED,
    FAILED,
    JobData,
    Lock,
)
from conveyor_nb.core.values.checks import check_flag, check_number, check_percent, to_instant
from conveyor_nb.core.values.conditions import condition
from conveyor_nb.core.values.durations import Duration, to_seconds
from conveyor_nb.core.values.text import shown
from conveyor_nb.display import Displayable
from conveyor_nb.job_fields import NO_COPIES, JobFields
from conveyor_nb.observable import JobObservable
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.following import GONE, JobEnd, JobFollower, as_told

__all__ = ["Job"]


Preparation = Callable[[actions.Action], Awaitable[None]]
Applier = Callable[..., Awaitable[JobData]]
"""What is awaited before an action is applied to a job."""


class Job(Displayable, JobFields):
    """A job of a queue: what ``add`` returns, and what a handler gets.

    Its fields show the job as it was when it was fetched, changed by what this object did
    since; ``await job.refresh()`` reads it anew. What changes it is checked and done by the
    store in one atomic step: a ``JobNotFoundError``, ``InvalidJobStateError`` or, in a handler
    whose job was taken from it, ``LostLockError`` means that nothing was changed.
    """

    _stop_reason: str | None = None
    _is_mute = False
    _preparations: tuple[Preparation, ...] = ()
    _resources: tuple[Any, ...] = ()

    def __init__(self, data: JobData, store: StoreInterface, lock: Lock | None = None) -> None:
        self._data = data
        self._store = store
        self._lock = lock

    # -- looking ------------------------------------------------------------------------------

    @condition
    async def is_completed(self) -> bool:
        """Read the job anew: is it completed?"""
        return (await self.refresh()).state is COMPLETED

    @condition
    async def is_failed(self) -> bool:
        """Read the job anew: did it fail for good?"""
        return (await self.refresh()).state is FAILED

    @condition
    async def is_active(self) -> bool:
        """Read the job anew: has a worker got it?"""
        return (await self.refresh()).state is ACTIVE

    @property
    def lock(self) -> Lock | None:
        """In a handler: proof that it holds the job."""
        return self._lock

    @property
    def store(self) -> StoreInterface:
        """The store that keeps the job."""
        return self._store

    async def refresh(self) -> Self:
        """Read the job anew; raises ``JobNotFoundError`` if it is gone."""
        data = await self._store.get_job(self.queue_name, self.id)
        if data is None:
            raise JobNotFoundError(self.id, self.queue_name)
        self._show(data)
        return self

    # -- from within a handler ----------------------------------------------------------------

    @property
    def cancel_requested(self) -> bool:
        """Whether this run is to stop, whatever for.

        The job was cancelled or removed, it timed out, its lock was lost, its worker was closed,
        or the event loop of its worker ended.
        """
        return self._stop_reason is not None

    @property
    def resources(self) -> Any:
        """In a handler whose worker has a ``lifespan``: what that gave, the same for every job.

        Raises:
            AttributeError: there is no lifespan, or this is no handler's job.
        """
        if not self._resources:
            raise AttributeError(
                "job.resources is there in a handler whose worker has a lifespan: "
                "Worker(..., lifespan=open_client), or @queue.worker(lifespan=open_client)"
            )
        return self._resources[0]

    def give_resources(self, resources: Any) -> None:
        """Let the handler have what its worker's lifespan gave."""
        self._resources = (resources,)

    def request_stop(self, reason: str) -> None:
        """Let the handler know that its run is to stop, and why."""
        self._stop_reason = reason

    def raise_if_cancelled(self) -> None:
        """Raise ``JobCancelledError`` if this run is to stop; for handlers in a thread."""
        if self._stop_reason is not None:
            raise JobCancelledError(self.id, self._stop_reason)

    async def sleep(self, delay: Duration) -> None:
        """Wait for a duration, as the store's clock measures it."""
        await self._store.clock.sleep(delay)

    async def update_progress(self, percent: float) -> None:
        """Say how far the job is, from 0 to 100.

        Raises:
            TypeError, ValueError: it is not a number from 0 to 100.
        """
        await self.apply(actions.SetProgress(check_percent(percent)))

    async def log(self, text: object) -> None:
        """Add a line to the job's log; the newest 1,000 are kept."""
        await self.apply(actions.Log(str(text)))

    async def clear_logs(self) -> None:
        """Empty the job's log; the records of its attempts keep theirs."""
        await self.apply(actions.ClearLogs())

    async def move_to_delayed(self, until: datetime) -> None:
        """Put the job off until an instant, with no attempt spent.

        For handlers: return right after; what the handler gives then is not looked at.
        """
        await self.apply(actions.MoveToDelayed(to_instant(until, what="until")))

    async def move_to_failed(self, reason: str) -> None:
        """Fail the job for good, whatever attempts are left; for handlers, as above."""
        await self.apply(actions.Fail(str(reason), final=True))

    # -- flows --------------------------------------------------------------------------------

    async def get_parent(self) -> Job | None:
        """The job's parent in a flow, or ``None``: it has none, or that is gone."""
        if self.parent_id is None or self.parent_queue_name is None:
            return None
        data = await self._store.get_job(self.parent_queue_name, self.parent_id)
        return Job(data, self._store) if data else None

    async def get_dependencies(self) -> list[Job]:
        """The job's children that are still in the store, in the order of the flow."""
        found = await self._store.get_children_jobs(self.queue_name, self.id)
        return [Job(data, self._store) for data in found]

    async def get_children_values(self) -> dict[str, Any]:
        """What the job's completed children returned, by child id; failed ones are left out."""
        return await self._store.get_children_values(self.queue_name, self.id)

    # -- from anywhere ------------------------------------------------------------------------

    async def update_data(self, data: Any) -> None:
        """Replace the payload; raises ``PayloadError`` if it can't be copied."""
        await self.apply(actions.UpdateData(data))

    async def promote(self) -> None:
        """Let a delayed job run now."""
        await self.apply(actions.Promote())

    async def retry(self, *, children: bool = False) -> None:
        """Run a failed or completed job again, with all its attempts.

        It starts afresh; the record of its attempts stays. A parent of a flow with the policy
        ``"fail"`` waits for its failed children until they are retried and have completed.

        Args:
            children: retry its failed children, and theirs, as well.

        Raises:
            RetryRefusedError: an unfinished job has this one's deduplication key, or one of the
                failed children that it would wait for is gone.
        """
        if check_flag(children, what="children"):
            self._show(await self._store.retry_family(self.queue_name, self.id))
        else:
            await self.apply(actions.Retry())

    async def discard(self) -> None:
        """Retry the job no more, if its attempt fails."""
        await self.apply(actions.Discard())

    async def change_delay(self, delay: Duration) -> None:
        """Let a delayed job become due after this duration from now."""
        await self.apply(actions.ChangeDelay(to_seconds(delay, what="delay")))

    async def change_priority(self, priority: float) -> None:
        """Give the job another priority; lower runs first."""
        await self.apply(actions.ChangePriority(check_number(priority, what="priority")))

    async def cancel(self) -> None:
        """Stop the job; it ends failed, ``"cancelled"``. Of a settled job: no effect."""
        await self.apply(actions.Cancel(), fenced=False)

    async def remove(self) -> None:
        """Remove the job; raises ``JobNotFoundError`` if it is gone."""
        if not await self._store.remove_job(self.queue_name, self.id):
            raise JobNotFoundError(self.id, self.queue_name)

    def observe(self) -> JobObservable:
        """Follow the job: its start, its progress and its end."""
        return JobObservable(self._store, self.queue_name, self.id, known=self._data)

    async def wait_until_finished(self, timeout: Duration | None = None) -> Any:
        """Wait until the job has settled, and return what its handler returned.

        Args:
            timeout: a duration on the store's clock; ``None``: for ever.

        Raises:
            JobFailedError, JobCancelledError: it failed, or was cancelled.
            JobNotFoundError: it is gone, or was removed or its store disconnected before it
                settled.
            TimeoutError: it has not settled within ``timeout``.
            RuntimeError: a handler waits for its own job, for one above it in a flow, or for one
                that needs a slot when all are held by jobs that wait like this.
        """
        if timeout is not None:
            timeout = to_seconds(timeout, what="timeout")
        found = await self._store.get_job(self._data.queue_name, self._data.id)
        if found is not None and found.state in SETTLED:
            self._data, self._copies = found, NO_COPIES  # as _show does
            if self._store.clock.overdue():  # somebody may wait for many that have settled
                await checkpoint()
            return result_of(self._data, self._store, self._data.cancelled_at is not None)
        if found is None:
            raise JobNotFoundError(self.id, self.queue_name)
        with JobFollower(self._store, self.queue_name, self.id) as follower:
            if (run := current_run()) is not None:
                await refuse_circular_wait(run, found, self._store)
                if timeout is None:
                    await refuse_slot_deadlock(run, found, self._store, follower.end)
            end = await follower.wait(timeout)
        if end is None:
            state = (await self.refresh()).state
            raise TimeoutError(
                f"job {shown(self.id)} has not finished within {timeout:g}s: it is {state}"
            )
        return await self.take_end(end)

    async def take_end(self, end: JobEnd) -> Any:
        """Show the job as it is after its end, and return or raise what that tells.

        One that is gone, such as by ``remove_on_complete``, is shown as it ended.
        """
        event = end.event
        if event.type in GONE:
            gone = JobNotFoundError(self.id, self.queue_name)
            if why := event.data.get("reason"):
                gone.add_note(f"It was removed: {why}")
            raise gone
        found = end.record or await self._store.get_job(self.queue_name, self.id)
        if found is None and event.data.get("lost"):
            gone = JobNotFoundError(self.id, self.queue_name)
            gone.add_note("It completed; what it returned went with its record.")
            raise gone
        ended = as_told(found or self._data, event)
        self._show(found or ended)
        cancelled = event.data.get("cancelled", False)
        return result_of(ended, self._store, cancelled, known=found is not None)

    def lose_lock(self) -> None:
        """Give up the lock that this object has.

        Another job may come to have the id of one that was removed, and the same worker take it.
        """
        if self._lock is not None:
            self._lock = Lock(self._lock.worker_id, _NO_ATTEMPT)

    def mute(self) -> None:
        """From now on, let nothing that is done through this object have any effect.

        For a job of a batch that has ended before the others: it must be no trouble for them.
        """
        self._is_mute = True

    def before_apply(self, prepare: Preparation) -> None:
        """Await ``prepare(action)`` before any action is applied through this object.

        A worker settles a job through the object that the handler has: what belongs to the run
        and is not in the store yet can be brought there first.
        """
        self._preparations = (*self._preparations, prepare)

    async def apply(
        self, action: actions.Action, *, fenced: bool = True, by: Applier | None = None
    ) -> None:
        """Let the store apply an action, and show the job as it is after that.

        Args:
            action: what is to be done.
            fenced: send the lock along, if this object is a handler's.
            by: what does it in place of the store's ``apply``.
        """
        if self._is_mute and not isinstance(action, actions.LetGo):
            return
        for prepare in self._preparations:
            await prepare(action)
        known = self._data
        changed = await (by or self._store.apply)(
            known.queue_name, known.id, action, lock=self._lock if fenced else None
        )
        self._data = changed
        if self._copies:
            # a handler may work in its own copy of the payload, which another call must not undo
            stays = "data" in self._copies and not isinstance(action, actions.UpdateData)
            self._copies = {"data": self._copies["data"]} if stays else NO_COPIES


JobObservable.job_of = Job

_NO_ATTEMPT = 0
"""They count from 1."""
