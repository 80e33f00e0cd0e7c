"""The working set: rows as a step sees them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.rows import ChildRow, Key
from conveyor_nb.core.steps.retention import entered_at, is_kept_by_count
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.stores.working_set.loaded import enough
from conveyor_nb.stores.working_set.questions import Question
from conveyor_nb.stores.working_set.serving import ServedRows

__all__ = ["WorkingSet"]


class WorkingSet(ServedRows):
    """The ``Rows`` of one step of a store whose rows are elsewhere; made as ``LoadedRows``.

    Here are families, schedulers, queues and workers.
    """

    # -- families -----------------------------------------------------------------------------

    def child(self, parent: Key, child: Key) -> ChildRow | None:
        """What a parent knows of a child."""
        if self.changes.jobs.get(parent, self) is None:  # it was removed
            return None
        row = self.changes.children.get(parent, {}).get(child)
        return row if row is not None else self._ask("child", parent, child)

    def children(self, parent: Key) -> Mapping[Key, ChildRow]:
        """What a parent knows of all its children."""
        if self.changes.jobs.get(parent, self) is None:
            return {}
        known: dict[Key, ChildRow] = self._ask("children", parent)
        return known | self.changes.children.get(parent, {})

    def put_child(self, parent: Key, child: Key, row: ChildRow) -> None:
        """Keep what a parent knows of a child."""
        known = self.changes.children.setdefault(parent, {})
        before = known.get(child) or self.answers.get(Question("child", (parent, child)))
        self._overlay.awaited[parent] += row.awaited - (before is not None and before.awaited)
        known[child] = row

    def failed_children(self, parent: Key) -> Sequence[Key]:
        """The children of a parent that failed."""
        failed = self._ask("failed_children", parent)
        return self._with_changed(parent, failed, lambda row: row.why is not None)

    def awaited_children(self, parent: Key, most: int) -> tuple[Sequence[Key], int]:
        """The first of those that a parent waits for again, and how many there are."""
        changed = len(self.changes.children.get(parent, ()))
        named, count = self._ask("awaited_children", parent, enough(most + changed))
        found = self._with_changed(parent, named, lambda row: row.awaited)
        return found[:most], count + self._overlay.awaited[parent]

    def _with_changed(
        self, parent: Key, keys: Sequence[Key], fits: Callable[[ChildRow], bool]
    ) -> list[Key]:
        """Children by their rows as they are now, in the order of the flow."""
        changed = self.changes.children.get(parent, {})
        found = [key for key in keys if key not in changed]
        fitting = [key for key, row in changed.items() if fits(row)]
        job = self.job(*parent) if fitting else None
        if job is None:
            return found + fitting
        places = {child_id: place for place, child_id in enumerate(job.children_ids)}
        return sorted(found + fitting, key=lambda key: places.get(key[1], len(places)))

    # -- schedulers ---------------------------------------------------------------------------

    def scheduler(self, queue_name: str, scheduler_id: str) -> JobScheduler | None:
        """The scheduler."""
        key = (queue_name, scheduler_id)
        changed = self.changes.schedulers
        return changed[key] if key in changed else self._ask("scheduler", *key)

    def schedulers(self, queue_name: str) -> Sequence[JobScheduler]:
        """The schedulers of a queue."""
        known = {one.id: one for one in self._ask("schedulers", queue_name)}
        changed = self.changes.schedulers.items()
        now = known | {key[1]: one for key, one in changed if key[0] == queue_name}
        return [one for one in now.values() if one is not None]

    def put_scheduler(self, scheduler: JobScheduler) -> None:
        """Keep a scheduler as it is now."""
        self.changes.schedulers[scheduler.queue_name, scheduler.id] = scheduler

    def remove_scheduler(self, scheduler: JobScheduler) -> None:
        """Remove a scheduler."""
        self.changes.schedulers[scheduler.queue_name, scheduler.id] = None

    # -- queues -------------------------------------------------------------------------------

    def is_idle(self, queue_name: str) -> bool:
        """Whether nothing is waiting or active."""
        if self._overlay.busy[queue_name]:
            return False
        most = enough(len(self._overlay.were_busy[queue_name]) + 1)
        busy = self._ask("busy", queue_name, most)
        return self._overlay.were_busy[queue_name].issuperset(busy)

    def listed(
        self, queue_name: str, state: JobState | None = None, *, since: datetime | None = None
    ) -> list[JobData]:
        """All jobs in a state."""
        rows = self._ask("listed", queue_name, state, since)
        return self._now(
            queue_name,
            rows,
            lambda job: state in (None, job.state) and (since is None or entered_at(job) <= since),
        )

    def surplus(self, queue_name: str, state: JobState, most: int) -> Sequence[JobData]:
        """The oldest of those that are kept by count."""

        def kept(jobs: Mapping[Key, JobData | None]) -> list[JobData]:
            found = [jobs[queue_name, one] for one in self._overlay.touched[queue_name]]
            return [job for job in found if job and job.state is state and is_kept_by_count(job)]

        new, gone = kept(self.changes.jobs), len(kept(self.changes.before))
        oldest = self._ask("surplus", queue_name, state, max(most - len(new), 0))
        left = self._unchanged(oldest)
        # jobs that have left the newest ones without being told of make room for others
        spare = gone - (len(oldest) - len(left))
        return left[: len(left) - spare] + new[: max(len(new) - most, 0)]

    def expired(self, now: datetime, most: int) -> Sequence[JobData]:
        """Jobs that have been kept long enough."""
        return self._unchanged(self._ask("expired", now, most))

    def paused_names(self, queue_name: str) -> Collection[str]:
        """The paused names."""
        names = dict.fromkeys(self._ask("paused_names", queue_name), True)
        changed = self.changes.paused.items()
        names |= {key[1]: paused for key, paused in changed if key[0] == queue_name}
        return {name for name, paused in names.items() if paused}

    def pause(self, queue_name: str, name: str) -> None:
        """Keep a name as paused."""
        self.changes.paused[queue_name, name] = True

    def resume(self, queue_name: str, name: str) -> None:
        """Keep a name as paused no more."""
        self.changes.paused[queue_name, name] = False

    def forget_queue(self, queue_name: str) -> None:
        """Keep nothing of a queue."""
        self.changes.forgotten.append(queue_name)

    # -- workers ------------------------------------------------------------------------------

    def worker(self, worker_id: str) -> WorkerInfo | None:
        """The worker."""
        changed = self.changes.workers.get(worker_id)
        if changed is None:
            found: WorkerInfo | None = self._ask("worker", worker_id)
            return found
        return changed[0] if changed[1] else None

    def put_worker(self, worker: WorkerInfo) -> None:
        """Keep a worker."""
        self.changes.workers[worker.id] = (worker, True)

    def see_worker(self, worker_id: str, now: datetime) -> None:
        """Keep that a worker was seen now."""
        self.changes.seen[worker_id] = now

    def remove_worker(self, worker: WorkerInfo) -> None:
        """Keep nothing of a worker."""
        self.changes.workers[worker.id] = (worker, False)
