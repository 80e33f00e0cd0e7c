"""What happened to a flow between two looks at it, instant by instant: for a clock that jumps.

The records of its jobs tell it, in whatever queue they are: no event has to be heard for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.notebook.pictures.belt_state import MOST_WAITING, BeltState, worker_by_record
from conveyor_nb.notebook.pictures.flow_state import coming_of, read_scene
from conveyor_nb.notebook.pictures.rewinding import instants_between, jobs_at
from conveyor_nb.stores.reads import Reads

__all__ = ["read_way"]


async def read_way(
    reads: Reads, root: JobData, now: datetime, before: BeltState, most: int = 20
) -> list[BeltState]:
    """Read the pictures of a flow from the one that was shown last until now, at most so many.

    Args:
        reads: asks the store.
        root: its top.
        now: the instant, by the store's clock.
        before: what was shown last.
        most: how many pictures there may be before that of now; of more instants some are left out.

    Returns:
        The pictures in the order of time; the last one, which is always there, is that of now.
    """
    scene, jobs = await read_scene(reads, root)
    instants = instants_between(jobs, before.now, now)
    stride = max(1, -(-len(instants) // most))
    moments = [(at, jobs_at(jobs, at)) for at in instants[stride - 1 :: stride]]
    gone = _gone_workers([then for _, then in moments], scene.workers)
    there = replace(scene, workers=[*scene.workers, *gone], free=[*scene.free, *gone])
    pictures: list[BeltState] = []
    last = before
    for at, then in moments:
        picture = there.at(at, then, _in_line(then), last)
        if replace(picture, now=last.now, workers=last.workers) != last:
            pictures.append(picture)
        last = picture
    return [*pictures, scene.at(now, jobs, await coming_of(reads, jobs), last)]


def _in_line(jobs: Iterable[JobData]) -> Sequence[JobData]:
    """Those that waited, in the order in which they will have been served."""
    waiting = [job for job in jobs if job.state is JobState.WAITING]
    return sorted(waiting, key=lambda job: (job.priority, job.sequence))[:MOST_WAITING]


def _gone_workers(
    moments: Iterable[Sequence[JobData]], workers: Iterable[WorkerInfo]
) -> list[WorkerInfo]:
    """The workers that ran jobs meanwhile and are closed by now, each called by its id."""
    known = {worker.id for worker in workers}
    found: dict[str, WorkerInfo] = {}
    for jobs in moments:
        runs = [job for job in jobs if job.state is JobState.ACTIVE]
        slots = Counter(job.locked_by for job in runs)
        for job in runs:
            whose = job.locked_by
            if whose is None or whose in known or job.processed_at is None:
                continue
            before = found.get(whose)
            most = max(slots[whose], before.concurrency if before else 1)
            found[whose] = worker_by_record(whose, job.queue_name, job.processed_at, most)
    return list(found.values())
