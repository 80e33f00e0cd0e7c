"""Which children a parent of a flow has, and how those that settled did.

Results are kept here, with the parent, so they outlive children that are removed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from conveyor_nb.core.flow_rules import REMOVED, Key
from conveyor_nb.core.model import JobData, JobState

__all__ = ["ChildOutcome", "Families", "Key", "key_of", "parent_key_of"]


@dataclass(frozen=True, slots=True)
class ChildOutcome:
    """How a child settled; ``returnvalue`` as the store keeps it.

    Args:
        why: why it failed; ``None``: it completed.
        returnvalue: what it returned.
    """

    why: str | None
    returnvalue: Any = None


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
        self._awaited: dict[Key, dict[Key, None]] = {}
        """The failed children that a parent waits for again, as it was retried."""

    def add_child(self, parent: Key, child: Key) -> None:
        """Note an unsettled child."""
        self._children.setdefault(parent, {})[child] = None
        self._pending[parent] = self._pending.get(parent, 0) + 1

    def settle(self, parent: Key, child: Key, outcome: ChildOutcome) -> int | None:
        """Note how a child settled, or is gone; returns how many are to be waited for now.

        ``None``: the parent has no such child, or knows, and does not wait for it again.
        """
        children = self._children.get(parent, {})
        if child not in children:
            return None
        if children[child] is not None and not self._await_no_more(parent, child):
            return None
        children[child] = outcome
        self._pending[parent] -= 1
        return self._pending[parent]

    def restart(self, parent: Key, child: Key) -> int | None:
        """Note that a settled child runs again; returns how many are to be waited for now.

        ``None``: the parent has no such child.
        """
        children = self._children.get(parent, {})
        if child not in children:
            return None
        if children[child] is not None and not self._await_no_more(parent, child):
            self._pending[parent] += 1
        children[child] = None
        return self._pending[parent]

    def await_failed(self, parent: Key) -> None:
        """Note that a parent waits for its failed children again."""
        failed = self.failed(parent)
        if failed:
            self._pending[parent] += len(failed) - len(self.awaited(parent))
            self._awaited[parent] = dict.fromkeys(failed)

    def awaited(self, parent: Key) -> Collection[Key]:
        """The failed children that a parent waits for again."""
        return self._awaited.get(parent, {})

    def failed(self, parent: Key) -> list[Key]:
        """The children of a parent that have failed and were not run again."""
        children = self._children.get(parent, {})
        return [child for child, outcome in children.items() if outcome and outcome.why is not None]

    def knows(self, parent: Key, child: Key) -> bool:
        """Whether a parent has been told how a child settled, or has no such child."""
        children = self._children.get(parent, {})
        return child not in children or children[child] is not None

    def children(self, parent: Key) -> dict[Key, ChildOutcome | None]:
        """The children of a parent, in the order they were added."""
        return self._children.get(parent, {})

    def forget(self, parent: Key) -> None:
        """Note that the parent is gone."""
        self._children.pop(parent, None)
        self._pending.pop(parent, None)
        self._awaited.pop(parent, None)

    def _await_no_more(self, parent: Key, child: Key) -> bool:
        """Note that a failed child is not awaited any more; returns whether it was."""
        awaited = self._awaited.get(parent, {})
        if child not in awaited:
            return False
        del awaited[child]
        if not awaited:
            del self._awaited[parent]
        return True

    @staticmethod
    def outcome_of(job: JobData) -> ChildOutcome:
        """How a job settled; one that is removed before that counts as failed."""
        if job.state is JobState.COMPLETED:
            return ChildOutcome(None, job.kept_returnvalue)
        return ChildOutcome((job.failed_reason or "") if job.state is JobState.FAILED else REMOVED)
