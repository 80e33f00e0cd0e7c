"""What the picture of a flow shows: its jobs, over all queues that they are in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, zip_longest

from conveyor_nb.core.model import ALL_NAMES, EPOCH, JobData, JobState
from conveyor_nb.core.worker_info import WorkerInfo, WorkerStatus
from conveyor_nb.notebook.pictures.belt_state import (
    MOST_DELAYED,
    MOST_ENDED,
    MOST_WAITING,
    BeltState,
    rate_of,
    stations_of,
)
from conveyor_nb.stores.reads import Reads

__all__ = ["FlowScene", "coming_of", "read_flow", "read_scene"]

_MOST_JOBS = 2_000
"""So many jobs of a flow are looked at; of more, those nearest to its top."""

_MOST_ACTIVE = 200
_FORESEEN = 50
"""Among so many of the next jobs of a queue it is looked up which are the flow's."""


@dataclass(frozen=True, slots=True)
class FlowScene:
    """What there is of a flow besides its jobs: what stays from one instant to the next.

    Args:
        name: what the flow is called.
        workers: those of its queues.
        free: those with slots that are the flow's or nobody's.
        paused: the paused names of each queue.
        removed: how many of its jobs were removed, as they had completed.
    """

    name: str
    workers: Sequence[WorkerInfo]
    free: Sequence[WorkerInfo]
    paused: Mapping[str, frozenset[str]]
    removed: int

    def at(
        self,
        instant: datetime,
        jobs: Sequence[JobData],
        coming: Sequence[JobData],
        before: BeltState | None,
    ) -> BeltState:
        """The picture at an instant, with the jobs as they are then, and those that come next."""
        by_state: dict[JobState, list[JobData]] = defaultdict(list)
        for job in jobs:
            by_state[job.state].append(job)
        active = by_state[JobState.ACTIVE]
        stations = stations_of(active, self.free, before.stations if before else ())
        slots = max(sum(worker.concurrency for worker in self.free), len(active))
        counts = dict.fromkeys(JobState, 0) | {state: len(some) for state, some in by_state.items()}
        counts[JobState.COMPLETED] += self.removed
        settled = [*by_state[JobState.COMPLETED], *by_state[JobState.FAILED]]
        return BeltState(
            name=self.name,
            now=instant,
            counts=counts,
            coming=coming,
            delayed=sorted(by_state[JobState.DELAYED], key=_due_at)[:MOST_DELAYED],
            stations=stations,
            more_stations=max(0, slots - len(stations)),
            completed=_newest(by_state[JobState.COMPLETED]),
            failed=_newest(by_state[JobState.FAILED]),
            paused_names=frozenset(chain.from_iterable(self.paused.values())) - {ALL_NAMES},
            workers=self.workers,
            rate=rate_of(settled, instant),
            is_flow=True,
            parents=by_state[JobState.WAITING_CHILDREN][:MOST_DELAYED],
            stopped=_standing(by_state[JobState.WAITING], self.workers, self.paused),
        )


async def read_flow(
    reads: Reads, root: JobData, now: datetime, before: BeltState | None = None
) -> BeltState:
    """Read the picture of a flow.

    Args:
        reads: asks the store.
        root: its top.
        now: the instant, by the store's clock.
        before: what was shown before: a job stays in the slot where it was seen.
    """
    scene, jobs = await read_scene(reads, root)
    return scene.at(now, jobs, await coming_of(reads, jobs), before)


async def read_scene(reads: Reads, root: JobData) -> tuple[FlowScene, Sequence[JobData]]:
    """Read the jobs of a flow as they are now, and what there is besides."""
    jobs, removed = await _jobs_of(reads, root)
    names = list(dict.fromkeys(job.queue_name for job in jobs))
    workers = [worker for name in names for worker in await reads.list_workers(name)]
    paused = {name: frozenset(await reads.get_paused_job_names(name)) for name in names}
    active = [job for job in jobs if job.state is JobState.ACTIVE]
    free = await _free_slots(reads, names, workers, active)
    return FlowScene(root.name, workers, free, paused, removed), jobs


async def _jobs_of(reads: Reads, root: JobData) -> tuple[list[JobData], int]:
    """The jobs of a flow from its top on, and how many were removed: those had completed."""
    found, removed = [root], 0
    for job in found:  # it grows as it is walked through
        if job.children_ids:
            children = await reads.get_children_jobs(job.queue_name, job.id)
            removed += len(job.children_ids) - len(children)
            found += children[: _MOST_JOBS - len(found)]
    return found, removed


async def _free_slots(
    reads: Reads, names: Iterable[str], workers: Sequence[WorkerInfo], active: Sequence[JobData]
) -> list[WorkerInfo]:
    """The workers with the slots that are the flow's or nobody's: others have jobs of others."""
    mine = {(job.queue_name, job.id) for job in active}
    taken: Counter[str | None] = Counter()
    for name in names:
        others = await reads.list_jobs(name, JobState.ACTIVE, 0, _MOST_ACTIVE)
        taken.update(job.locked_by for job in others if (name, job.id) not in mine)
    left = [(worker, worker.concurrency - taken[worker.id]) for worker in workers]
    return [replace(worker, concurrency=slots) for worker, slots in left if slots > 0]


async def coming_of(reads: Reads, jobs: Iterable[JobData]) -> list[JobData]:
    """Those that are served next, in each queue in its own order; the queues take turns here."""
    of_queue: dict[str, dict[str, JobData]] = defaultdict(dict)
    for job in jobs:
        if job.state is JobState.WAITING:
            of_queue[job.queue_name][job.id] = job
    lines = []
    for name, mine in of_queue.items():
        coming = await reads.next_jobs(name, _FORESEEN)
        first = [mine.pop(job.id) for job in coming if job.id in mine]
        lines.append([*first, *mine.values()])
    turns = chain.from_iterable(zip_longest(*lines))
    return [job for job in turns if job is not None][:MOST_WAITING]


def _standing(
    waiting: Sequence[JobData],
    workers: Sequence[WorkerInfo],
    paused: Mapping[str, frozenset[str]],
) -> str:
    """Why none of what waits is taken, in a few words; empty: something is, or nothing waits."""
    whys = {name: _why(name, workers, paused) for name in {job.queue_name for job in waiting}}
    return "; ".join(sorted(set(whys.values()))) if all(whys.values()) else ""


def _why(name: str, workers: Sequence[WorkerInfo], paused: Mapping[str, frozenset[str]]) -> str:
    if ALL_NAMES in paused[name]:
        return f"{name} is paused"
    serving = [worker for worker in workers if worker.queue_name == name]
    if not serving:
        return f"no worker serves {name}"
    if all(worker.status is WorkerStatus.PAUSED for worker in serving):
        return f"the worker of {name} is paused"
    return ""


def _newest(settled: Sequence[JobData]) -> list[JobData]:
    return sorted(settled, key=lambda job: job.completed_at or job.failed_at or EPOCH)[
        : -MOST_ENDED - 1 : -1
    ]


def _due_at(job: JobData) -> datetime:
    return job.delay_until or EPOCH
