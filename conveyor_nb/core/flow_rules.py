"""What makes a parent of a flow wait, and what its children do to it.

A parent is ``waiting-children`` as long as one of its children is unsettled: from when the flow is
added (``entering.admit``); again if a child starts afresh before the parent has begun; if the
parent was active and is put back, for the children that are unsettled by then (``lifecycle.move``);
and, retried under the policy ``"fail"``, until its failed children have been retried and have
completed. Pure functions from what happened to a child to a change of its parent: ``lifecycle``
says what an action changes in a job, this says what follows for its family.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from conveyor_nb.core.errors import RetryRefusedError
from conveyor_nb.core.lifecycle import Change, move
from conveyor_nb.core.model import EventType, JobData, JobState
from conveyor_nb.core.options.job_options import ChildFailurePolicy
from conveyor_nb.core.rows import Key
from conveyor_nb.core.values.bounds import MAX_CHILD_REASON, cut

__all__ = [
    "MOST_NAMES",
    "REMOVED",
    "FamilyCheck",
    "awaits_failed_children",
    "child_restarted",
    "child_settled",
    "parent_retried",
    "refuse_family",
]

REMOVED = "it was removed"
"""Why a child failed that was removed before it had settled."""

MOST_NAMES = 5
"""How many children a message names, as there may be very many."""


# -- what children do to their parents ------------------------------------------------------


def child_settled(
    parent: JobData, child_id: str, why: str | None, *, pending: int, now: datetime
) -> Change:
    """Decide what a child that settled, or was removed, changes in its parent.

    Args:
        parent: the parent as it is.
        child_id: the child.
        why: why it failed for good, was cancelled or was removed; ``None``: it completed.
        pending: how many children the parent has to wait for after this one.
        now: the instant of the step.
    """
    updates: dict[str, Any] = {"pending_children_count": pending}
    if parent.state is not JobState.WAITING_CHILDREN:
        return Change(updates)
    policy = parent.opts.fail_parent_on_child_failure
    if why is not None and policy is not ChildFailurePolicy.IGNORE:
        reason = f"child {child_id!r} failed: {cut(why, MAX_CHILD_REASON)}"
        updates["failed_reason"] = reason
        if policy is ChildFailurePolicy.REMOVE:
            return Change(updates, removes=True)
        updates["failed_at"] = now
        return move(parent, JobState.FAILED, updates, {"reason": reason, "cancelled": False})
    if pending:
        return Change(updates)
    if not parent.attempts_made:  # otherwise it tells of the attempt before
        updates["failed_reason"] = None
    return move(parent, JobState.WAITING, updates, {})


def child_restarted(parent: JobData, pending: int, named: Iterable[Key], awaited: int) -> Change:
    """Decide what a settled child that starts afresh changes in its parent.

    Args:
        parent: the parent as it is.
        pending: how many children the parent has to wait for now.
        named: the first of those among them that have failed and not been retried.
        awaited: how many of these there are.
    """
    updates: dict[str, Any] = {"pending_children_count": pending}
    if parent.state is JobState.WAITING_CHILDREN:
        if not parent.attempts_made and parent.failed_reason is not None:
            updates["failed_reason"] = _waits_for(named, awaited)
        return Change(updates)
    if parent.state in (JobState.WAITING, JobState.DELAYED):
        updates["delay_until"] = None
        return move(parent, JobState.WAITING_CHILDREN, updates, {})
    return Change(updates)


# -- retried parents ------------------------------------------------------------------------


def awaits_failed_children(parent: JobData) -> bool:
    """Whether a parent that is retried waits for failed children as for unsettled ones."""
    return parent.opts.fail_parent_on_child_failure is ChildFailurePolicy.FAIL


def parent_retried(
    parent: JobData,
    change: Change,
    failed: Collection[Key],
    *,
    pending: int,
    gone: Key | None,
) -> Change:
    """Decide what retrying a parent changes that has failed children to wait for.

    Args:
        parent: the parent as it is.
        change: what retrying it would change if it had no children.
        failed: its failed children.
        pending: how many children it has to wait for, these among them.
        gone: one of them that can't be retried, as it is in the store no more.

    Raises:
        RetryRefusedError: one of the failed children is gone.
    """
    if gone is not None:
        raise RetryRefusedError(
            parent.id,
            f"its child {gone[1]!r} failed and is gone, so it would wait for that for ever; "
            "add the flow anew",
        )
    reason = _waits_for(failed, len(failed))
    updates = change.updates | {
        "state": JobState.WAITING_CHILDREN,
        "pending_children_count": pending,
        "failed_reason": reason,
    }
    told = {"name": parent.name, "previous": parent.state, "reason": reason}
    return Change(updates, ((EventType.WAITING_CHILDREN, told),))


def _waits_for(failed: Iterable[Key], count: int) -> str | None:
    """What a retried parent says of the failed children that it waits for."""
    if not count:
        return None
    named = ", ".join(repr(job_id) for _, job_id in islice(failed, MOST_NAMES))
    more = f" and {count - MOST_NAMES:,} more" if count > MOST_NAMES else ""
    children = "child" if count == 1 else "children"
    return (
        f"waits for failed {children} {named}{more}: retry them, "
        "or this job with retry(children=True)"
    )


# -- whole families -------------------------------------------------------------------------


def refuse_family(job: JobData) -> None:
    """Raise ``ValueError`` for a job that has relatives, where only whole families are taken."""
    if job.parent_id is not None:
        has = f"the parent {job.parent_id!r}"
    elif job.children_ids:
        has = f"children, such as {job.children_ids[0]!r}"
    elif job.pending_children_count:
        has = f"{job.pending_children_count} pending children"
    else:
        return
    raise ValueError(f"job {job.id!r} has {has}; save_flow saves whole families")


class FamilyCheck:
    """Checks that the jobs of a flow are whole families: each parent before its children."""

    def __init__(self) -> None:
        self._seen: set[Key] = set()
        self._missing: dict[Key, set[str]] = {}

    def take(self, job: JobData) -> None:
        """Take in the next job.

        Raises:
            ValueError: it comes twice, its parent is not among the jobs before it or does not
                have it as a child, or its own children are not told right.
        """
        key = (job.queue_name, job.id)
        if key in self._seen:
            raise ValueError(f"job {job.id!r} of queue {job.queue_name!r} is in the flow twice")
        if job.deduplication_key is not None:
            raise ValueError(f"job {job.id!r}: a job of a flow takes no deduplication")
        self._seen.add(key)
        self._check_parent(job)
        children = set(job.children_ids)
        if not len(children) == len(job.children_ids) == job.pending_children_count:
            raise ValueError(
                f"job {job.id!r} has {job.pending_children_count} pending children, and these are "
                f"{job.children_ids[:MOST_NAMES]!r}; a new parent waits for each of its children"
            )
        if children:
            self._missing[key] = children

    def finish(self) -> None:
        """Raise ``ValueError`` if a parent has children that did not come."""
        for (queue_name, job_id), children in self._missing.items():
            raise ValueError(
                f"job {job_id!r} of queue {queue_name!r} has the child {min(children)!r}, "
                "which is not in the flow"
            )

    def _check_parent(self, job: JobData) -> None:
        if job.parent_id is None and job.parent_queue_name is None:
            return
        parent = (job.parent_queue_name or "", job.parent_id or "")
        named = f"job {job.id!r} has the parent {job.parent_id!r} of queue {parent[0]!r}"
        if parent not in self._seen:
            raise ValueError(f"{named}, which is not among the jobs of the flow before it")
        expected = self._missing.get(parent, set())
        if job.id not in expected:
            raise ValueError(f"{named}, which does not have it as a child, or has it already")
        expected.remove(job.id)
        if not expected:
            del self._missing[parent]
