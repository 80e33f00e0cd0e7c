"""The turns of groups: which came when, and which was served when, by the rules of ``core.turns``.

A group comes when it has a job that waits or is active, and had none before; so the row of each
says how many of these it has. The jobs without a group form one, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conveyor_nb.core.model import ACTIVE, WAITING, JobData
from conveyor_nb.core.rows import Key
from conveyor_nb.stores.sql.asking import Asking, Many
from conveyor_nb.stores.sql.counters import Counters

__all__ = ["END_TURNS", "NO_GROUP", "Groups"]

NO_GROUP = ""
"""Stands for no group where that has to have a name: no group is called so."""

_READ = "SELECT came, served, busy FROM conveyor_nb_groups WHERE queue_name = ? AND group_id = ?"
_WRITE = (
    "INSERT INTO conveyor_nb_groups (queue_name, group_id, came, served, busy)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (queue_name, group_id)"
    " DO UPDATE SET came = excluded.came, served = excluded.served, busy = excluded.busy"
)


_SERVED = (
    "INSERT INTO conveyor_group_cursors (queue_name, group_id, last_served_at) VALUES (?, ?, ?)"
    " ON CONFLICT (queue_name, group_id) DO UPDATE SET last_served_at = excluded.last_served_at"
)
END_TURNS = (
    "UPDATE conveyor_nb_groups AS its SET came = 0, busy = 0 WHERE its.came > 0"
    " AND NOT EXISTS (SELECT 1 FROM conveyor_jobs AS job WHERE job.queue_name = its.queue_name"
    " AND job.group_id = its.group_id AND job.state IN ('waiting', 'active'))"
    " AND NOT (its.group_id = '' AND EXISTS (SELECT 1 FROM conveyor_jobs AS job"
    " WHERE job.queue_name = its.queue_name AND job.group_id IS NULL"
    " AND job.state IN ('waiting', 'active'))) RETURNING 1"
)
"""Ends the turns of groups whose jobs programs of Conveyor have run, which count down nothing."""

_NO_GROUP_THERE = "__ungrouped__"
"""What programs of Conveyor call no group."""


@dataclass(slots=True)
class _Group:
    came: int
    served: int
    busy: int
    served_at: datetime | None = None
    """When, if that was in this transaction."""


class Groups:
    """The rows of groups that one transaction has touched: read once, written at its end.

    Args:
        counters: where their numbers are from.
        to_value: how an instant is written.
    """

    def __init__(self, counters: Counters, to_value: Callable[[datetime], Any]) -> None:
        self._counters, self._to_value = counters, to_value
        self._known: dict[Key, _Group] = {}
        self._changed: set[Key] = set()

    def forget(self) -> None:
        """Know nothing: another one may have written."""
        self._known.clear()
        self._changed.clear()

    def served(self, queue_name: str, group_id: str) -> int:
        """The turn that a group had last, if that is known here; else 0."""
        known = self._known.get((queue_name, group_id))
        return 0 if known is None else known.served

    def learn(self, queue_name: str, group_id: str, row: Sequence[int | None]) -> None:
        """Take in the row of a group, or of none."""
        came, served, busy = (value or 0 for value in row)
        self._known.setdefault((queue_name, group_id), _Group(came, served, busy))

    def note(
        self,
        jobs: Mapping[Key, JobData | None],
        before: Mapping[Key, JobData | None],
        started: Iterable[JobData],
    ) -> Asking[None]:
        """Take note of what a step did to jobs."""
        yield from self._counters.last("moved")
        for key, after in jobs.items():
            was = before[key]
            change = _is_busy(after) - _is_busy(was)
            if change:
                job = after or was
                assert job is not None
                its = (job.queue_name, job.group_id or NO_GROUP)
                group = self._known.get(its)
                self._count(group or (yield from self._read(job)), change)
                self._changed.add(its)
        for job in started:
            group = self._known.get((job.queue_name, job.group_id or NO_GROUP))
            group = group or (yield from self._read(job))
            group.served = self._counters.next_known("moved")
            group.served_at = job.processed_at
            self._changed.add((job.queue_name, job.group_id or NO_GROUP))

    def note_one(self, before: JobData | None, after: JobData, *, started: bool) -> bool:
        """As :meth:`note`, of one job; ``False``: its group has to be read first."""
        change = _is_busy(after) - _is_busy(before)
        if not (change or started):
            return True
        key = (after.queue_name, after.group_id or NO_GROUP)
        group = self._known.get(key)
        if group is None:
            return False
        if change:
            self._count(group, change)
        if started:
            group.served = self._counters.next_known("moved")
            group.served_at = after.processed_at
        self._changed.add(key)
        return True

    def _count(self, group: _Group, change: int) -> None:
        if change > 0 and group.busy <= 0:
            group.came = self._counters.next_known("moved")
        group.busy = max(group.busy + change, 0)
        if not group.busy:
            group.came = 0

    def _read(self, job: JobData) -> Asking[_Group]:
        key = (job.queue_name, job.group_id or NO_GROUP)
        rows = yield _READ, key
        group = self._known[key] = _Group(*rows[0]) if rows else _Group(0, 0, 0)
        return group

    def write(self) -> Asking[None]:
        """Keep what was noted."""
        if self._changed:
            changes = self._changes()
            self._changed.clear()
            yield Many(_WRITE, [(*key, one.came, one.served, one.busy) for key, one in changes])
            if served := list(self._served_there(changes)):
                yield Many(_SERVED, served)

    def _served_there(self, changes: Iterable[tuple[Key, _Group]]) -> Iterator[tuple[Any, ...]]:
        """What programs of Conveyor go by, in queues that have groups."""
        grouped = {queue_name for queue_name, group_id in self._known if group_id != NO_GROUP}
        for (queue_name, group_id), one in changes:
            at, one.served_at = one.served_at, None
            if at is not None and queue_name in grouped:
                yield queue_name, group_id or _NO_GROUP_THERE, self._to_value(at)

    def _changes(self) -> list[tuple[Key, _Group]]:
        return [(key, self._known[key]) for key in sorted(self._changed)]


def _is_busy(job: JobData | None) -> int:
    return job is not None and (job.state is WAITING or job.state is ACTIVE)
