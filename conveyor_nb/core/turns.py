"""Whose turn it is: in which order waiting jobs are served, as one plain rule over lists.

Groups are served in turn, the one that was served least recently first, and of those that never
were the one that came first; within a group it goes by priority and place. A store with very many
jobs finds the same ones with indexes of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from conveyor_nb.core.fetching import FetchOptions
from conveyor_nb.core.model import ALL_NAMES, JobData
from conveyor_nb.core.options.worker_options import GroupLimits, Limiter

__all__ = ["GroupTurn", "Place", "in_turn", "next_opening", "opens_at", "place_of", "room"]


class Place(Struct, frozen=True, order=True, gc=False):
    """Where a waiting job stands in order of service: nothing that the collector looks at.

    Args:
        priority: the job's.
        turn: the store's insertion counter; of a ``lifo`` job the negative of it.
        id: the job's.
    """

    priority: float
    turn: float
    id: str


def place_of(job: JobData) -> Place:
    """The place of a waiting job."""
    return Place(job.priority, -job.sequence if job.opts.lifo else job.sequence, job.id)


def opens_at(starts: Sequence[datetime], limiter: Limiter) -> datetime | None:
    """When one more job may start by a rate limit; ``None``: at any time.

    Args:
        starts: when the latest jobs started, the newest last, at least ``limiter.max`` of them.
        limiter: so many in any span of so many seconds.
    """
    if len(starts) < limiter.max:
        return None
    return starts[-limiter.max] + timedelta(seconds=limiter.duration)


def room(starts: Sequence[datetime], limiter: Limiter, now: datetime) -> int:
    """How many more jobs may start now by a rate limit; ``starts`` as for :func:`opens_at`."""
    since = now - timedelta(seconds=limiter.duration)
    return max(0, limiter.max - (len(starts) - bisect_right(starts, since)))


class GroupTurn(Struct, frozen=True):
    """What is known of a group of jobs, or of the jobs without one, besides the jobs.

    Args:
        order: a number that grows with each group that comes: to have a job that waits or is
            active, when it had none before.
        served: a number that grows with each job that starts, as it was when one of this group
            did last; also if the group had no job in between. 0: none ever did.
        active: how many of its jobs are active.
        starts: when its latest jobs started, as many as its rate limit asks for.
    """

    order: int
    served: int = 0
    active: int = 0
    starts: tuple[datetime, ...] = ()


def in_turn(
    waiting: Iterable[JobData],
    groups: Mapping[str | None, GroupTurn],
    paused_names: Collection[str],
    options: FetchOptions,
    now: datetime,
) -> Iterator[JobData]:
    """The waiting jobs in the order in which they are served, if each one starts as it comes.

    The limits of groups hold; those of the whole queue are for others.

    Args:
        waiting: the jobs that wait, in any order.
        groups: their groups; under ``None`` the jobs without one, for which no limit holds.
        paused_names: names of jobs that are not served.
        options: what the worker asks for.
        now: when the jobs start.
    """
    lines = _lines(waiting, paused_names)
    turns = {group_id: groups[group_id] for group_id in lines}
    served = max((turn.served for turn in turns.values()), default=0)
    while True:
        ready = [
            one
            for one in lines
            if _has_room(one, turns[one], options.group)
            and (_opening(one, turns[one], options.group) or now) <= now
        ]
        if not ready:
            return
        group_id = min(ready, key=lambda one: (turns[one].served, turns[one].order))
        line, turn = lines[group_id], turns[group_id]
        job = line[0]
        if options.lifo:
            equals = (one for one in line if one.priority == job.priority)
            job = max(equals, key=lambda one: one.sequence)
        yield job
        line.remove(job)
        if not line:
            del lines[group_id]
        served += 1
        starts = (*turn.starts, now)
        turns[group_id] = replace(turn, served=served, active=turn.active + 1, starts=starts)


def next_opening(
    waiting: Iterable[JobData],
    groups: Mapping[str | None, GroupTurn],
    paused_names: Collection[str],
    options: FetchOptions,
    now: datetime,
) -> datetime | None:
    """When the first of the groups that only a rate limit holds back may be served again."""
    openings = (
        _opening(one, groups[one], options.group)
        for one in _lines(waiting, paused_names)
        if _has_room(one, groups[one], options.group)
    )
    return min((one for one in openings if one is not None and one > now), default=None)


def _lines(
    waiting: Iterable[JobData], paused_names: Collection[str]
) -> dict[str | None, list[JobData]]:
    """The jobs of each group that may be served, in order."""
    lines: dict[str | None, list[JobData]] = {}
    if ALL_NAMES not in paused_names:
        for job in sorted(waiting, key=place_of):
            if job.name not in paused_names:
                lines.setdefault(job.group_id, []).append(job)
    return lines


def _has_room(group_id: str | None, turn: GroupTurn, limits: GroupLimits | None) -> bool:
    cap = None if group_id is None or limits is None else limits.concurrency
    return cap is None or turn.active < cap


def _opening(group_id: str | None, turn: GroupTurn, limits: GroupLimits | None) -> datetime | None:
    limiter = None if group_id is None or limits is None else limits.limiter
    return None if limiter is None else opens_at(turn.starts, limiter)
