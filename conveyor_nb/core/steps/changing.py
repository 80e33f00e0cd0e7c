"""The steps that change one job: an action is decided, written, and all that follows is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from conveyor_nb.core import actions, lifecycle
from conveyor_nb.core.errors import InvalidJobStateError, JobNotFoundError, RetryRefusedError
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import JobData, JobState, Lock, to_state
from conveyor_nb.core.rows import Rows, held_key, key_of, parent_key_of
from conveyor_nb.core.steps import families
from conveyor_nb.core.steps.consequences import follow_up, tell_parent
from conveyor_nb.core.steps.deduplication import holder_of
from conveyor_nb.core.steps.planning import has_gone_on
from conveyor_nb.core.steps.writing import find, remove, write
from conveyor_nb.core.values.checks import check_number, check_percent
from conveyor_nb.core.values.text import shown

__all__ = ["apply", "commit", "decide", "remove_job", "tell_of_child", "update"]


def apply(
    rows: Rows,
    queue_name: str,
    job_id: str,
    action: actions.Action,
    lock: Lock | None,
    now: datetime,
) -> JobData:
    """Apply an action to a job; see ``StoreInterface.apply``."""
    job = rows.job(queue_name, job_id)
    if job is None:
        raise JobNotFoundError(job_id, queue_name)
    return commit(rows, job, decide(rows, job, action, lock, now), now)


def decide(
    rows: Rows, job: JobData, action: actions.Action, lock: Lock | None, now: datetime
) -> lifecycle.Change:
    """Decide what an action changes; payloads are frozen on the way in. Nothing is written."""
    field, frozen = "", None
    if isinstance(action, actions.Complete):
        field, frozen = "returnvalue", rows.freeze(action.returnvalue, "the job's result")
    elif isinstance(action, actions.UpdateData):
        field, frozen = "data", rows.freeze(action.data, "data")
    change = lifecycle.decide(job, action, now=now, lock=lock, random=rows.random)
    if field in change.updates:
        change.updates[field] = frozen
    elif isinstance(action, actions.Retry):
        _require_key(rows, job, now)
        if has_gone_on(job):  # it would add that run once more, and go on beside it for ever
            change.updates["opts"] = dataclasses.replace(job.opts, repeat=None)
        change = families.to_retry(rows, job, change)
    return change


def _require_key(rows: Rows, job: JobData, now: datetime) -> None:
    """Raise ``RetryRefusedError`` if another job holds the deduplication key of this one."""
    key = held_key(job)
    holder = None if key is None else holder_of(rows, job.queue_name, key, now)
    if holder is not None:  # a holder is unfinished, and this job has settled: so it is another
        raise RetryRefusedError(
            job.id,
            f"job {shown(holder.id)} has its deduplication key and is {holder.state!s}",
            holder.id,
        )


def commit(rows: Rows, job: JobData, change: lifecycle.Change, now: datetime) -> JobData:
    """Make a decided change of a job, and all that follows from it; returns its row after."""
    changed = write(rows, job, change, now)
    if changed.state in SETTLED:
        if job.state not in SETTLED:
            follow_up(rows, now, [changed], [])
    elif job.state in SETTLED:
        families.restarted(rows, changed, now)
    return changed


_UPDATES: Mapping[str, Callable[[Any], actions.Action]] = {
    "data": actions.UpdateData,
    "progress": lambda value: actions.SetProgress(check_percent(value)),
    "priority": lambda value: actions.ChangePriority(check_number(value, what="priority")),
}


def update(
    rows: Rows,
    queue_name: str,
    job_id: str,
    changes: Mapping[str, Any],
    expected_state: JobState | str | None,
    now: datetime,
) -> JobData:
    """Change a job's payload, progress or priority; see ``StoreInterface.update_job``."""
    if not isinstance(changes, Mapping):
        raise TypeError(f"changes must be a mapping, not {shown(changes)}")
    if unknown := changes.keys() - _UPDATES.keys():
        raise ValueError(
            f"update_job changes {', '.join(_UPDATES)}, not {shown(sorted(unknown)[0])}; "
            "the state of a job is changed by apply"
        )
    expected = to_state(expected_state)
    job = find(rows, queue_name, job_id)
    if expected is not None and job.state is not expected:
        raise InvalidJobStateError(job_id, job.state, [expected])
    wanted = [_UPDATES[name](value) for name, value in changes.items()]
    decided = [decide(rows, job, action, None, now) for action in wanted]
    for change in decided:
        job = commit(rows, job, change, now)
    return job


def remove_job(rows: Rows, queue_name: str, job_id: str, now: datetime) -> bool:
    """Remove a job in whatever state; ``False``: there is none."""
    job = rows.job(queue_name, job_id)
    if job is not None:
        follow_up(rows, now, [], [remove(rows, job, now)])
    return job is not None


def tell_of_child(
    rows: Rows, queue_name: str, child_id: str, state: JobState, now: datetime
) -> bool:
    """Tell the parent of a child that settled in ``state``, if it does not know; whether it did.

    Raises:
        InvalidJobStateError: the child is in another state.
    """
    child = find(rows, queue_name, child_id)
    if child.state is not state:
        raise InvalidJobStateError(child_id, child.state, [state])
    parent_key = parent_key_of(child)
    row = None if parent_key is None else rows.child(parent_key, key_of(child))
    if row is None or row.settled:
        return False
    return tell_parent(rows, child, now)
