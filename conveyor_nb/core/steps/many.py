"""The steps that take on all jobs of a queue, or many: each may be interrupted where it yields.

What one of them does to a job may take another one away, or to another state: each is looked at
as it is by its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter

from conveyor_nb.core import lifecycle
from conveyor_nb.core.actions import Action, Promote, Retry
from conveyor_nb.core.errors import InvalidJobStateError, RetryRefusedError
from conveyor_nb.core.model import EventType, JobData, JobState, to_state
from conveyor_nb.core.rows import Rows, key_of
from conveyor_nb.core.slicing import SLICE, Step, sliced
from conveyor_nb.core.steps.changing import commit, decide
from conveyor_nb.core.steps.consequences import follow_up
from conveyor_nb.core.steps.families import child_of
from conveyor_nb.core.steps.writing import Removed, find, note, remove
from conveyor_nb.core.values.durations import to_delta
from conveyor_nb.core.values.text import shown

__all__ = [
    "clean",
    "drain",
    "obliterate",
    "promote_due",
    "promote_jobs",
    "remove_expired",
    "retry_family",
    "retry_jobs",
]


def promote_due(rows: Rows, queue_name: str, now: datetime) -> Step[int]:
    """Make the delayed jobs that are due wait; returns how many."""
    due = rows.due(queue_name, now)
    for some in sliced(due):
        for job in some:
            commit(rows, job, lifecycle.due(job), now)
        if len(some) == SLICE:
            yield
    return len(due)


def promote_jobs(rows: Rows, queue_name: str, now: datetime) -> Step[int]:
    """Make all delayed jobs wait; returns how many."""
    delayed = _ids(rows.listed(queue_name, JobState.DELAYED))
    return _apply_to_all(rows, queue_name, delayed, Promote(), now)


def retry_jobs(rows: Rows, queue_name: str, state: JobState | str, now: datetime) -> Step[int]:
    """Retry all failed, or completed, jobs; returns how many."""
    settled = to_state(state)
    if settled not in lifecycle.SETTLED:
        raise ValueError(f"retry_jobs takes 'failed' or 'completed', not {shown(state)}")
    return _apply_to_all(rows, queue_name, _ids(rows.listed(queue_name, settled)), Retry(), now)


def _ids(jobs: Iterable[JobData]) -> list[str]:
    """What a long step goes by: rows that it held on to would all be let go in its last turn."""
    return [job.id for job in jobs]


def _apply_to_all(
    rows: Rows, queue_name: str, ids: Sequence[str], action: Action, now: datetime
) -> Step[int]:
    """Apply an action to jobs; returns to how many.

    One that can't be retried is left as it is, and an event ``queue:error`` says why.
    """
    changed = 0
    for some in sliced(ids):
        for job_id in some:
            job = find(rows, queue_name, job_id)
            try:
                commit(rows, job, decide(rows, job, action, None, now), now)
            except RetryRefusedError as error:
                about = {"name": job.name, "error": str(error)}
                note(rows, EventType.ERROR, job.queue_name, job.id, now, **about)
            else:
                changed += 1
        if len(some) == SLICE:
            yield
    return changed


def retry_family(rows: Rows, queue_name: str, job_id: str, now: datetime) -> Step[JobData]:
    """Retry a settled job, its failed children, and theirs: all or none.

    Raises ``RetryRefusedError`` if one can't be retried though its children are.
    """
    top = find(rows, queue_name, job_id)
    decide(rows, top, Retry(), None, now)
    family = [top]
    for number, parent in enumerate(family, 1):  # the list grows: a flow may be any number deep
        for key in rows.failed_children(key_of(parent)):
            child = child_of(rows, parent, key)
            if child is not None:
                decide(rows, child, Retry(), None, now)
                family.append(child)
        if number % SLICE == 0:
            yield
    for some in sliced(family[::-1]):  # children first: so each parent knows what it waits for
        for listed in some:
            job = find(rows, listed.queue_name, listed.id)
            commit(rows, job, decide(rows, job, Retry(), None, now), now)
        if len(some) == SLICE:
            yield
    return find(rows, queue_name, job_id)


def clean(
    rows: Rows, queue_name: str, state: JobState | str, grace: float, now: datetime
) -> Step[int]:
    """Remove the jobs that have been in a state for ``grace`` seconds; returns how many."""
    wanted = to_state(state)
    if wanted in (None, JobState.ACTIVE):
        raise ValueError(f"clean takes any state but active, not {shown(state)}")
    spared = to_delta(grace, what="grace")
    # without a grace there is no need to look when each of them settled: it was before now
    jobs = rows.listed(queue_name, wanted, since=now - spared if spared else None)
    if wanted is JobState.WAITING_CHILDREN:  # parents before their children, as in drain
        jobs = sorted(jobs, key=attrgetter("sequence"))
    return _remove_all(rows, queue_name, _ids(jobs), now, state=wanted)


def drain(rows: Rows, queue_name: str, now: datetime) -> Step[int]:
    """Remove all that waits: for its turn, its time or its children; returns how many."""
    # parents before their children, which then are jobs of their own and tell nobody
    parents = rows.listed(queue_name, JobState.WAITING_CHILDREN)
    ids = _ids(sorted(parents, key=attrgetter("sequence")))
    del parents
    ids += _ids(rows.listed(queue_name, JobState.WAITING))
    ids += _ids(rows.listed(queue_name, JobState.DELAYED))
    removed = yield from _remove_all(rows, queue_name, ids, now)
    note(rows, EventType.DRAINED, queue_name, None, now)
    return removed


def obliterate(rows: Rows, queue_name: str, *, force: bool, now: datetime) -> Step[int]:
    """Remove a queue with all its jobs and schedulers; returns how many jobs."""
    if rows.active_count(queue_name) and not force:
        job = rows.listed(queue_name, JobState.ACTIVE)[0]
        raise InvalidJobStateError(job.id, job.state, sorted(set(JobState) - {job.state}))
    for scheduler in rows.schedulers(queue_name):
        rows.remove_scheduler(scheduler)
    removed = yield from _remove_all(rows, queue_name, _ids(rows.listed(queue_name)), now)
    for name in sorted(rows.paused_names(queue_name)):
        note(rows, EventType.RESUMED, queue_name, None, now, job_name=name)
    rows.forget_queue(queue_name)
    return removed


def _remove_all(
    rows: Rows,
    queue_name: str,
    ids: Sequence[str],
    now: datetime,
    *,
    state: JobState | None = None,
) -> Step[int]:
    """Remove jobs; returns how many. An unsettled child counts as failed for its parent.

    Those that are gone by their turn, or no longer in ``state``, are left out.
    """
    count = 0
    for some in sliced(ids):
        to_follow: list[Removed] = []
        for job_id in some:
            job = rows.job(queue_name, job_id)
            if job is not None and state in (None, job.state):
                removed = remove(rows, job, now)
                count += 1
                if job.parent_id is not None or job.scheduler_id is not None:
                    to_follow.append(removed)
        follow_up(rows, now, [], to_follow)
        if len(some) == SLICE:
            yield
    return count


def remove_expired(rows: Rows, now: datetime) -> bool:
    """Remove what was kept for long enough, a slice of it; returns whether there may be more."""
    expired = rows.expired(now, SLICE)
    follow_up(rows, now, [], [remove(rows, job, now) for job in expired])
    return len(expired) == SLICE
