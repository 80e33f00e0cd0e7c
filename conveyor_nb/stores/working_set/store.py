"""The methods of a store that takes its steps by a working set."""

# mypy: disable-error-code="no-any-return"
# What a store answers has the type that its question asks for.

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar, TypeVarTuple

from msgspec.structs import replace

from conveyor_nb.core.actions import Action, ChangePriority, Complete, UpdateData
from conveyor_nb.core.fetching import Fetched, FetchOptions
from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState, Lock, to_state
from conveyor_nb.core.rows import Rows
from conveyor_nb.core.slicing import Step
from conveyor_nb.core.steps import changing, looking, many, schedulers, serving, workers
from conveyor_nb.core.values.checks import check_count, check_flag, check_positions
from conveyor_nb.core.worker_info import WorkerCommand, WorkerInfo
from conveyor_nb.stores.capabilities import refuse_options, refuse_priority
from conveyor_nb.stores.interface import StoreInterface
from conveyor_nb.stores.working_set.questions import Question
from conveyor_nb.stores.working_set.saving import SteppedSaving

__all__ = ["SteppedStore"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_NO_OPTIONS = FetchOptions()


class SteppedStore(SteppedSaving, StoreInterface):
    """Every step of ``core`` under the name that a store has for it, and the looks that are such.

    Those that take long where there are many rows, such as ``list_jobs``, are for stores to
    override that can do better.
    """

    async def look_step(self, step: Callable[[Rows, datetime], Any]) -> Any:
        """Take a step that only looks; returns its result. A store may do so in a cheaper way."""
        return await self.take_step(step)

    @abstractmethod
    async def answer(self, question: Question) -> Any:
        """Answer one of the questions of a working set by itself."""

    # -- steps --------------------------------------------------------------------------------

    async def fetch_jobs(
        self,
        queue_name: str,
        worker_id: str,
        lock_duration: float,
        options: FetchOptions | None = None,
        *,
        limit: int = 1,
    ) -> Fetched:
        check_count(limit, what="limit")
        due = await self.get_next_delayed_timestamp(queue_name)
        if due is not None and due <= self.clock.now():
            await self.promote_delayed_jobs(queue_name)
        wanted = options or _NO_OPTIONS
        return await self._take(serving.fetch, queue_name, worker_id, lock_duration, wanted, limit)

    async def next_jobs(
        self, queue_name: str, count: int, options: FetchOptions | None = None
    ) -> list[JobData]:
        most = check_count(count, what="count", least=0)
        return await self._look(serving.next_jobs, queue_name, most, options or _NO_OPTIONS)

    async def apply(
        self, queue_name: str, job_id: str, action: Action, *, lock: Lock | None = None
    ) -> JobData:
        given = (queue_name, job_id, self._taken_action(action), lock)
        return await self._take(changing.apply, *given, about=[(queue_name, job_id)])

    def _taken_action(self, action: Action) -> Action:
        """An action as the steps are given it, if the store can keep what it brings."""
        match action:
            case ChangePriority(priority):
                refuse_priority(self.capabilities, priority)
            case UpdateData(data):
                return UpdateData(self.take_payload(data, "data"))
            case Complete(returnvalue):
                return Complete(self.take_payload(returnvalue, "the job's result"))
        return action

    async def renew_locks(
        self, queue_name: str, worker_id: str, attempts: Mapping[str, int], lock_duration: float
    ) -> list[str]:
        keys = [(queue_name, job_id) for job_id in attempts]
        given = (queue_name, worker_id, attempts, lock_duration)
        return await self._take(serving.renew_locks, *given, about=keys)

    async def update_job(
        self,
        queue_name: str,
        job_id: str,
        changes: Mapping[str, Any],
        *,
        expected_state: JobState | str | None = None,
    ) -> JobData:
        if isinstance(changes, Mapping):
            if "data" in changes:
                changes = {**changes, "data": self.take_payload(changes["data"], "data")}
            if isinstance(priority := changes.get("priority"), float):
                refuse_priority(self.capabilities, priority)
        return await self._take(changing.update, queue_name, job_id, changes, expected_state)

    async def remove_job(self, queue_name: str, job_id: str) -> bool:
        return await self._take(changing.remove_job, queue_name, job_id)

    async def notify_child_completed(self, queue_name: str, child_id: str) -> bool:
        return await self._take(changing.tell_of_child, queue_name, child_id, JobState.COMPLETED)

    async def fail_parent_on_child_failure(self, queue_name: str, child_id: str) -> bool:
        return await self._take(changing.tell_of_child, queue_name, child_id, JobState.FAILED)

    async def upsert_job_scheduler(self, scheduler: JobScheduler) -> JobScheduler:
        refuse_options(self.capabilities, scheduler.opts)
        taken = replace(scheduler, data=self.take_payload(scheduler.data, "data"))
        return looking.scheduler_out(await self._take(schedulers.save_scheduler, taken))

    async def pause_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return await self._take(schedulers.pause_scheduler, queue_name, scheduler_id)

    async def resume_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return await self._take(schedulers.resume_scheduler, queue_name, scheduler_id)

    async def remove_job_scheduler(self, queue_name: str, scheduler_id: str) -> bool:
        return await self._take(schedulers.remove_scheduler, queue_name, scheduler_id)

    async def pause_job_name(self, queue_name: str, name: str) -> None:
        await self._take(serving.pause_name, queue_name, name)

    async def resume_job_name(self, queue_name: str, name: str) -> None:
        await self._take(serving.resume_name, queue_name, name)

    async def save_worker(self, worker: WorkerInfo) -> None:
        await self._take(workers.save_worker, worker)

    async def command_worker(self, worker_id: str, command: WorkerCommand) -> WorkerInfo:
        return await self._take(workers.command_worker, worker_id, command)

    async def promote_delayed_jobs(self, queue_name: str) -> int:
        return await self._take_long(many.promote_due, queue_name)

    async def promote_jobs(self, queue_name: str) -> int:
        return await self._take_long(many.promote_jobs, queue_name)

    async def retry_jobs(self, queue_name: str, state: JobState | str = JobState.FAILED) -> int:
        return await self._take_long(many.retry_jobs, queue_name, state)

    async def retry_family(self, queue_name: str, job_id: str) -> JobData:
        return await self._take_long(many.retry_family, queue_name, job_id)

    async def drain(self, queue_name: str) -> int:
        return await self._take_long(many.drain, queue_name)

    async def clean(self, queue_name: str, state: JobState | str, grace: float = 0.0) -> int:
        return await self._take_long(many.clean, queue_name, state, grace)

    async def obliterate(self, queue_name: str, *, force: bool = False) -> int:
        def obliterate(rows: Rows, now: datetime) -> Step[int]:
            return many.obliterate(rows, queue_name, force=force, now=now)

        return await self._take_long(obliterate)

    # -- looks --------------------------------------------------------------------------------

    async def get_job(self, queue_name: str, job_id: str) -> JobData | None:
        return await self._ask("job", queue_name, job_id)

    async def find_by_deduplication_key(
        self, queue_name: str, key: str, name: str | None = None
    ) -> JobData | None:
        return await self._look(looking.find_by_key, queue_name, key, name)

    async def list_jobs(
        self,
        queue_name: str,
        state: JobState | str | None = None,
        start: int = 0,
        end: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[JobData]:
        start, end = check_positions(start, end)
        wanted = to_state(state)
        check_flag(newest_first, what="newest_first")
        listed = await self._ask("listed", queue_name, wanted, None)
        return listed[:: -1 if newest_first else 1][start:end]

    async def get_active_count(self, queue_name: str) -> int:
        return await self._ask("active_count", queue_name)

    async def get_waiting_group_count(self, queue_name: str, group_id: str | None) -> int:
        return await self._ask("waiting_in_group", queue_name, group_id)

    async def get_children_jobs(self, queue_name: str, parent_id: str) -> list[JobData]:
        return await self._see(looking.children_jobs, queue_name, parent_id)

    async def get_children_values(self, queue_name: str, parent_id: str) -> dict[str, Any]:
        return await self._see(looking.children_values, queue_name, parent_id)

    async def get_job_schedulers(self, queue_name: str) -> list[JobScheduler]:
        return await self._see(looking.schedulers_of, queue_name)

    async def get_job_scheduler(self, queue_name: str, scheduler_id: str) -> JobScheduler | None:
        return await self._see(looking.scheduler_of, queue_name, scheduler_id)

    async def get_stalled_jobs(self, queue_name: str) -> list[JobData]:
        return await self._look(looking.stalled_jobs, queue_name)

    async def get_next_delayed_timestamp(self, queue_name: str) -> datetime | None:
        return await self._ask("next_due", queue_name)

    async def get_paused_job_names(self, queue_name: str) -> frozenset[str]:
        return frozenset(await self._ask("paused_names", queue_name))

    # -- within -------------------------------------------------------------------------------

    async def _ask(self, what: str, *about: Any) -> Any:
        return await self.answer(Question(what, about))

    async def _see(self, look: Callable[[Rows, *Ts], T], *given: *Ts) -> T:
        result: T = await self.look_step(lambda rows, now: look(rows, *given))
        return result

    async def _look(self, look: Callable[[Rows, *Ts, datetime], T], *given: *Ts) -> T:
        result: T = await self.look_step(lambda rows, now: look(rows, *given, now))
        return result
