"""What ``to_frame()`` of a queue, a store, a worker, a job or a list of jobs gives."""

from __future__ import annotations

from collections.abc import Sequence

from pandas import DataFrame

from conveyor_nb.clocks.clock import checkpoint
from conveyor_nb.core.errors import ReadTimeoutError
from conveyor_nb.core.model import JobData, JobState, to_state
from conveyor_nb.core.values.text import shown
from conveyor_nb.job import Job
from conveyor_nb.lists import JobList
from conveyor_nb.notebook.columns import in_turns
from conveyor_nb.notebook.frames import attempts_frame, building_jobs_frame, jobs_frame
from conveyor_nb.notebook.reads import jobs_of
from conveyor_nb.queue import Queue
from conveyor_nb.stores import StoreInterface
from conveyor_nb.stores.read_now import read_now
from conveyor_nb.worker import Worker

__all__ = ["frame_of", "frame_of_async"]

_PATIENCE = 10.0
"""For how many seconds a plain ``to_frame()`` waits for a store."""

_INSTEAD = "await .to_frame_async(), which takes its time and lets the loop go on"


def frame_of(subject: object, state: str | None = None) -> DataFrame:
    """A frame by a plain call: see ``Displayable.to_frame``."""
    wanted = to_state(state)
    if not isinstance(subject, (Queue, StoreInterface)):
        return _frame_at_hand(subject, wanted)
    try:
        jobs = read_now(
            _store_of(subject), lambda reads: jobs_of(reads, subject, wanted), _PATIENCE
        )
    except ReadTimeoutError as error:
        raise ReadTimeoutError(error.store_kind, error.limit, _INSTEAD) from None
    return jobs_frame(jobs)


async def frame_of_async(subject: object, state: str | None = None) -> DataFrame:
    """A frame by and by: see ``Displayable.to_frame_async``."""
    wanted = to_state(state)
    if isinstance(subject, (Queue, StoreInterface)):
        jobs: Sequence[JobData | Job] = await jobs_of(_store_of(subject), subject, wanted)
    elif isinstance(subject, JobList):
        jobs = _in_state(subject, wanted)
    else:
        return _frame_at_hand(subject, wanted)
    await checkpoint()
    return await in_turns(building_jobs_frame(jobs))


def _store_of(subject: Queue | StoreInterface) -> StoreInterface:
    return subject.store if isinstance(subject, Queue) else subject


def _in_state(jobs: JobList, state: JobState | None) -> list[Job]:
    return [job for job in jobs if state in (None, job.state)]


def _frame_at_hand(subject: object, state: JobState | None) -> DataFrame:
    """A frame of what needs no store to be read."""
    match subject:
        case JobList():
            return jobs_frame(_in_state(subject, state))
        case Job() if state is None:
            return attempts_frame([subject])
        case Worker() if state is None:
            return jobs_frame(subject.running)
        case Job():
            raise TypeError(
                f"the frame of a job has its attempts, so state={shown(state)} has no use"
            )
        case Worker():
            raise TypeError(
                f"the jobs a worker runs are all active, so state={shown(state)} has no use"
            )
    raise TypeError(f"a {type(subject).__name__} has no jobs to show")
