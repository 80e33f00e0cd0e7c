"""Which children a parent of a flow has, and how those that settled did.

Results are kept here, with the parent, so they outlive children that are removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conveyor_nb.model import JobData, JobState

__all__ = ["ChildOutcome", "Families", "Key", "key_of", "parent_key_of"]

Key = tuple[str, str]
"""Queue name and job id."""


@dataclass(frozen=True, slots=True)
class ChildOutcome:
    """How a child settled; ``returnvalue`` as the store keeps it."""

    failed: bool
    returnvalue: Any = None
    reason: str | None = None


def key_of(job: JobData) -> Key:
    """The job's address."""
    return (job.queue_name, job.id)


def parent_key_of(job: JobData) -> Key | None:
    """The address of the job's parent, if it has one."""
    if job.parent_id is None or job.parent_queue_name is None:
        return None
    return (job.parent_queue_name, job.parent_id)


class Families:
    """The children of each parent, in order, with their outcomes."""

    def __init__(self) -> None:
        self._children: dict[Key, dict[Key, ChildOutcome | None]] = {}
        self._pending: dict[Key, int] = {}

    def add_child(self, parent: Key, child: Key) -> None:
        """Note an unsettled child."""
        self._children.setdefault(parent, {})[child] = None
        self._pending[parent] = self._pending.get(parent, 0) + 1

    def settle(self, parent: Key, child: Key, outcome: ChildOutcome) -> int | None:
        """Note how a child settled; returns how many are pending now.

        ``None``: the parent has no such child, or was told before.
        """
        children = self._children.get(parent, {})
        if child not in children or children[child] is not None:
            return None
        children[child] = outcome
        self._pending[parent] -= 1
        return self._pending[parent]

    def restart(self, parent: Key, child: Key) -> int | None:
        """Note that a settled child runs again; returns as :meth:`settle`."""
        children = self._children.get(parent, {})
        if children.get(child) is None:
            return None
        children[child] = None
        self._pending[parent] += 1
        return self._pending[parent]

    def drop_child(self, parent: Key, child: Key) -> None:
        """Forget a child that settled."""
        self._children.get(parent, {}).pop(child, None)

    def children(self, parent: Key) -> dict[Key, ChildOutcome | None]:
        """The children of a parent, in the order they were added."""
        return self._children.get(parent, {})

    def forget(self, parent: Key) -> None:
        """Note that the parent is gone."""
        self._children.pop(parent, None)
        self._pending.pop(parent, None)

    @staticmethod
    def outcome_of(job: JobData) -> ChildOutcome:
        """How a job settled; one that has not, because it is being removed, counts as failed."""
        if job.state is JobState.COMPLETED:
            return ChildOutcome(failed=False, returnvalue=job.kept_returnvalue)
        return ChildOutcome(failed=True, reason=job.failed_reason or "removed")
