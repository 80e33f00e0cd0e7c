"""The jobs of a queue in the order of what happens: at work, just settled, next, and all others."""

from __future__ import annotations

from collections.abc import Mapping

from conveyor_nb.core.model import EPOCH, JobData, JobState
from conveyor_nb.stores.reads import Reads

__all__ = ["what_happens"]

_JUST_SETTLED = 3
"""How many settled jobs stand before those that come next, and more where there is room."""

_FORESEEN = 50
"""For so many jobs it is worked out who comes next, with the turns of groups and all limits."""

_FEW = 30
"""So many settled jobs are read at once; further on, it is looked up where a page begins."""


async def what_happens(
    reads: Reads, queue_name: str, counts: Mapping[JobState, int], start: int, size: int
) -> list[JobData]:
    """A page of all jobs: the active ones, a few that just settled, those that come next.

    After them come the delayed ones, the parents that wait for children, and all others that
    settled, newest first. No more is read than a page or two.

    Args:
        reads: asks the store.
        queue_name: the queue's name.
        counts: how many jobs are in each state.
        start: the position of the first job to give.
        size: how many a page has.
    """
    ended = counts[JobState.COMPLETED] + counts[JobState.FAILED]
    room = size - (sum(counts.values()) - ended)
    recent = min(ended, max(_JUST_SETTLED, room))
    parts: list[tuple[JobState | None, int, int]] = [
        (JobState.ACTIVE, 0, counts[JobState.ACTIVE]),
        (None, 0, recent),
        (JobState.WAITING, 0, counts[JobState.WAITING]),
        (JobState.DELAYED, 0, counts[JobState.DELAYED]),
        (JobState.WAITING_CHILDREN, 0, counts[JobState.WAITING_CHILDREN]),
        (None, recent, ended - recent),
    ]
    found: dict[str, JobData] = {}  # one that moves while it is read may be met twice
    left = size
    for state, offset, length in parts:
        if start < length and left:
            first, last = offset + start, offset + min(length, start + left)
            left -= last - first
            for job in await _some(reads, queue_name, counts, state, first, last):
                found.setdefault(job.id, job)
        start = max(0, start - length)
    return list(found.values())


async def _some(
    reads: Reads,
    queue_name: str,
    counts: Mapping[JobState, int],
    state: JobState | None,
    first: int,
    last: int,
) -> list[JobData]:
    """Those at some positions of a state, or of all that have settled."""
    if state is None:
        return await _settled(reads, queue_name, counts, first, last)
    if state is JobState.WAITING and first < _FORESEEN:
        return await _coming(reads, queue_name, first, last)
    return await reads.list_jobs(queue_name, state, first, last)


async def _coming(reads: Reads, queue_name: str, first: int, last: int) -> list[JobData]:
    """Those that will be fetched next, and after them those that may not be fetched yet."""
    coming = {job.id: job for job in await reads.next_jobs(queue_name, last)}
    if len(coming) < last:
        for job in await reads.list_jobs(queue_name, JobState.WAITING, 0, last + len(coming)):
            coming.setdefault(job.id, job)
    return list(coming.values())[first:last]


async def _settled(
    reads: Reads, queue_name: str, counts: Mapping[JobState, int], first: int, last: int
) -> list[JobData]:
    """Those that completed and those that failed as one list, the newest first."""
    done, bad = (0, 0)
    if last > _FEW:
        done = await _completed_before(reads, queue_name, counts, first)
        bad = first - done
    completed = await reads.list_jobs(
        queue_name, JobState.COMPLETED, done, done + last - bad - done, newest_first=True
    )
    failed = await reads.list_jobs(
        queue_name, JobState.FAILED, bad, bad + last - bad - done, newest_first=True
    )
    ended = sorted((*completed, *failed), key=_instant, reverse=True)
    return ended[first - done - bad : last - done - bad]


async def _completed_before(
    reads: Reads, queue_name: str, counts: Mapping[JobState, int], place: int
) -> int:
    """How many of the newest ``place`` settled jobs have completed: searched by halves."""
    low = max(0, place - counts[JobState.FAILED])
    high = min(place, counts[JobState.COMPLETED])
    while low < high:
        middle = (low + high) // 2
        at = place - middle - 1
        done = await reads.list_jobs(
            queue_name, JobState.COMPLETED, middle, middle + 1, newest_first=True
        )
        bad = await reads.list_jobs(queue_name, JobState.FAILED, at, at + 1, newest_first=True)
        if not done or not bad:  # they were removed meanwhile
            return low
        if _instant(done[0]) >= _instant(bad[0]):
            low = middle + 1
        else:
            high = middle
    return low


def _instant(job: JobData) -> float:
    return (job.completed_at or job.failed_at or EPOCH).timestamp()
