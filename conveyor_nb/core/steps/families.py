"""What a parent knows of its children: who settled how, who runs again, for whom it waits.

The rules themselves are in ``flow_rules``; here they meet the rows. A parent's row counts the
children that it waits for (``pending_children_count``), and a :class:`ChildRow` for each says how
that one did. So a child tells its parent at a cost that does not grow with its siblings.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from conveyor_nb.core import flow_rules
from conveyor_nb.core.lifecycle import Change
from conveyor_nb.core.model import COMPLETED, FAILED, JobData
from conveyor_nb.core.rows import PENDING, ChildRow, Key, Rows, key_of, parent_key_of
from conveyor_nb.core.steps.writing import write

__all__ = ["child_ended", "child_of", "outcome_of", "restarted", "to_retry"]


def child_of(rows: Rows, parent: JobData, key: Key) -> JobData | None:
    """A child of a parent, if it is still there."""
    job = rows.job(*key)
    # another job may have its id by now
    return job if job is not None and parent_key_of(job) == key_of(parent) else None


def child_ended(
    rows: Rows, child: JobData, reason: str | None, now: datetime
) -> tuple[JobData, Change] | None:
    """Note how a child settled, or that it is gone, and decide what that changes in its parent.

    Args:
        rows: the store's.
        child: the child, as it settled or was removed.
        reason: why it was removed, if a failed child of its own took it away.
        now: the instant of the step.

    Returns:
        The parent and its change; ``None``: it has none, or knew, and does not wait for it again.
    """
    parent_key = parent_key_of(child)
    if parent_key is None:
        return None
    key = key_of(child)
    row = rows.child(parent_key, key)
    parent = rows.job(*parent_key) if row is not None and row.is_waited_for else None
    if parent is None:
        return None
    outcome = outcome_of(child) if reason is None else ChildRow(True, reason)
    rows.put_child(parent_key, key, outcome)
    pending = parent.pending_children_count - 1
    return parent, flow_rules.child_settled(parent, child.id, outcome.why, pending=pending, now=now)


def outcome_of(job: JobData) -> ChildRow:
    """How a job settled; one that is removed before that counts as failed."""
    if job.state is COMPLETED:
        return ChildRow(True, None, job.kept_returnvalue)
    failed = job.state is FAILED
    return ChildRow(True, (job.failed_reason or "") if failed else flow_rules.REMOVED)


def to_retry(rows: Rows, job: JobData, change: Change) -> Change:
    """Decide what retrying a job changes, given what it would without children.

    Raises:
        RetryRefusedError: one of the failed children that it would wait for is gone.
    """
    if not (job.children_ids and flow_rules.awaits_failed_children(job)):
        return change
    failed = rows.failed_children(key_of(job))
    if not failed:
        return change
    gone = next((key for key in failed if child_of(rows, job, key) is None), None)
    _, awaited = rows.awaited_children(key_of(job), 0)
    pending = job.pending_children_count + len(failed) - awaited
    return flow_rules.parent_retried(job, change, failed, pending=pending, gone=gone)


def restarted(rows: Rows, job: JobData, now: datetime) -> None:
    """A settled job has started afresh: its parent is to wait for it, and it for its children."""
    if job.children_ids and flow_rules.awaits_failed_children(job):
        _await_failed(rows, key_of(job))
    parent_key = parent_key_of(job)
    if parent_key is None:
        return
    key = key_of(job)
    row, parent = rows.child(parent_key, key), rows.job(*parent_key)
    if row is None or parent is None:
        return
    rows.put_child(parent_key, key, PENDING)
    pending = parent.pending_children_count + (not row.is_waited_for)
    named, awaited = rows.awaited_children(parent_key, flow_rules.MOST_NAMES)
    write(rows, parent, flow_rules.child_restarted(parent, pending, named, awaited), now)


def _await_failed(rows: Rows, parent: Key) -> None:
    """Note that a parent waits for its failed children again."""
    for key in rows.failed_children(parent):
        row = rows.child(parent, key)
        if row is not None:
            rows.put_child(parent, key, replace(row, awaited=True))
