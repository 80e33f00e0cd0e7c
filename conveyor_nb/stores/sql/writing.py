"""What a step changed, as statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import compress, groupby, repeat
from operator import is_not, itemgetter
from typing import Any

from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import JobData
from conveyor_nb.core.rows import Key
from conveyor_nb.core.steps.retention import expires_at, is_kept_by_count
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking, Many, Statement
from conveyor_nb.stores.working_set.changes import Changes

__all__ = ["Writing"]

_NOTHING: Statement = ("SELECT 1", ())
_NULLS = repeat(None)
_FIRST = itemgetter(0)

_NewRow = tuple[tuple[bool, ...], Sequence[Any]]
"""Which columns are there, none: all, and the values of those."""

_LIST_ALL = (
    "INSERT INTO conveyor_nb_queues (name, listed)"
    " SELECT found.queue_name, ? FROM (SELECT DISTINCT queue_name FROM conveyor_jobs) AS found"
    " WHERE TRUE ON CONFLICT (name) DO UPDATE SET listed = excluded.listed"
)
_COUNT_GROUPS = (
    "INSERT INTO conveyor_nb_groups (queue_name, group_id, came, busy)"
    " SELECT queue_name, group_id, ?, count(*) FROM conveyor_jobs"
    " WHERE group_id IS NOT NULL AND state IN ('waiting', 'active') GROUP BY queue_name, group_id"
    " ON CONFLICT (queue_name, group_id) DO UPDATE SET busy = excluded.busy,"
    " came = CASE WHEN conveyor_nb_groups.came = 0 THEN excluded.came"
    " ELSE conveyor_nb_groups.came END"
)

_GONE_AFTER = timedelta(minutes=10)
"""A worker that was not seen for so long is listed no more; one that is there says so again."""

_OF_A_QUEUE = (
    ("conveyor_paused_names", "queue_name"),
    ("conveyor_group_cursors", "queue_name"),
    ("conveyor_rate_limits", "queue_name"),
    ("conveyor_nb_groups", "queue_name"),
    ("conveyor_nb_starts", "queue_name"),
    ("conveyor_nb_metrics", "queue_name"),
    ("conveyor_metrics", "queue_name"),
)
"""What goes with a queue."""


class Writing:
    """Writes what steps changed, within the transaction that is under way.

    Args:
        answers: what the steps were told by.
        spares_nulls: whether columns of a new job that are NULL are left out, as where a NULL is
            dear to send; none of those that may be so has another default.
    """

    def __init__(self, answers: Answers, *, spares_nulls: bool = False) -> None:
        self._answers, self._codec = answers, answers.codec
        self._counters = answers.counters
        self._spares_nulls = spares_nulls
        self._columns = (*self._codec.job_columns, "conveyor_nb_moved")
        self._inserts: dict[tuple[bool, ...], str] = {}
        """By the columns that stand in them, of all."""
        self._updates: dict[tuple[str, ...], str] = {}
        self._put_child = _upsert(
            "conveyor_nb_children",
            ("parent_queue_name", "parent_id", "queue_name", "id"),
            self._codec.child_columns,
            also="position",
        )
        self._put_scheduler = _upsert(
            "conveyor_nb_schedulers",
            ("queue_name", "id"),
            self._codec.scheduler_columns,
            also="position",
        )
        self._put_worker = _upsert(
            "conveyor_nb_workers", ("id",), self._codec.worker_columns, also="position"
        )
        self._put_command = _upsert(
            "conveyor_nb_commands", ("worker_id",), self._codec.command_columns
        )
        self._listed: set[str] = set()
        self.expiries_changed = False
        """Whether the next expiry may be another one than when this was last set to ``False``."""

    def forget(self) -> None:
        """Know nothing of what the database holds."""
        self._answers.forget()
        self._listed.clear()

    def write(self, changes: Changes) -> Asking[None]:
        """Write what one step has changed."""
        if changes.jobs:
            yield from self._write_jobs(changes)
        self._answers.known.note(changes)
        if changes.started:
            yield from self._answers.limits.note(changes.started)
        if changes.settled:
            yield from self._answers.metrics.note(changes.settled)
        for parent, children in changes.children.items():
            if changes.jobs.get(parent, self) is not None:
                for child, row in children.items():
                    position = yield from self._counters.next("moved")
                    given = self._codec.child_row(parent, child, row)
                    yield self._put_child, (*given, position)
        for key, scheduler in changes.schedulers.items():
            if scheduler is None:
                text = "DELETE FROM conveyor_nb_schedulers WHERE queue_name = ? AND id = ?"
                yield text, key
            else:
                position = yield from self._counters.next("moved")
                yield self._put_scheduler, (*self._codec.scheduler_row(scheduler), position)
        for queue_name, ids in changes.new_ids.items():
            if self._answers.sequential_ids and ids:
                yield from self._use_numbers(queue_name, int(ids[-1].rpartition("-")[2]))
        if changes.paused or changes.workers or changes.seen or changes.forgotten:
            yield from self._write_queues(changes)

    def at_once(self, changes: Changes) -> Statement | None:
        """What :meth:`write` says, if it is one statement and nothing has to be asked for it.

        So it is for nearly all jobs that are added, taken and settled. ``None``: it is not.
        """
        if len(changes.jobs) != 1 or changes.children or changes.schedulers or changes.settled:
            return None
        if changes.paused or changes.workers or changes.seen or changes.forgotten:
            return None
        ((key, after),) = changes.jobs.items()
        before, queue_name = changes.before[key], key[0]
        if after is None or self._counters.known("moved") is None:
            return None
        answers = self._answers
        if changes.started and not answers.limits.asks_nothing(queue_name):
            return None
        if before is None and (queue_name not in self._listed or answers.sequential_ids):
            return None
        if not answers.groups.note_one(before, after, started=bool(changes.started)):
            return None
        answers.known.note(changes)
        if before is not None:
            return self._update(key, before, after) or _NOTHING
        self._counters.use("sequence", after.sequence)
        moved = self._counters.next_known("moved")
        there, row = self._new_row(after, moved)
        return self._insert(there), row

    def take_in(self) -> Asking[None]:
        """Take in the jobs that another program has added, which keeps no rows of ours."""
        yield from self.finish()
        yield _LIST_ALL, (self._codec.flag(True),)
        came = yield from self._counters.next("moved")
        yield _COUNT_GROUPS, (came,)
        yield from self.finish()
        self.forget()

    def finish(self) -> Asking[None]:
        """Write what all steps of the transaction have in common, at its end."""
        yield from self._answers.groups.write()
        yield from self._answers.limits.write()
        yield from self._answers.metrics.write()
        yield from self._counters.write()

    # -- jobs ---------------------------------------------------------------------------------

    def _write_jobs(self, changes: Changes) -> Asking[None]:
        added: list[_NewRow] = []
        removed: list[Key] = []
        yield from self._counters.last("moved")
        sequence = 0
        for key, after in changes.jobs.items():
            before = changes.before[key]
            if after is None:
                if before is not None:
                    removed.append(key)
                    self._note_expiry(before)
                    if before.children_ids:
                        yield from self._forget_children(key)
            elif before is None:
                moved = self._counters.next_known("moved")
                added.append(self._new_row(after, moved))
                sequence = max(sequence, after.sequence)
                if key[0] not in self._listed:
                    yield from self._list(key[0])
            else:
                statement = self._update(key, before, after)
                if statement is not None:
                    yield statement
        if added:
            self._counters.use("sequence", sequence)
            for there, alike in groupby(added, key=_FIRST):
                rows = [row for _, row in alike]
                text = self._insert(there)
                yield (text, rows[0]) if len(rows) == 1 else Many(text, rows)
        if removed:
            text = "DELETE FROM conveyor_jobs WHERE queue_name = ? AND id = ?"
            yield (text, removed[0]) if len(removed) == 1 else Many(text, removed)
        yield from self._answers.groups.note(changes.jobs, changes.before, changes.started)

    def _new_row(self, job: JobData, moved: int) -> _NewRow:
        """Which columns of a new job are sent, and what they hold."""
        row = (*self._codec.new_row(job), moved)
        if not self._spares_nulls:
            return (), row
        there = tuple(map(is_not, row, _NULLS))
        return there, tuple(compress(row, there))

    def _insert(self, there: tuple[bool, ...]) -> str:
        text = self._inserts.get(there)
        if text is None:
            columns = list(compress(self._columns, there or repeat(True)))
            marks = ", ".join("?" * len(columns))
            text = f"INSERT INTO conveyor_jobs ({', '.join(columns)}) VALUES ({marks})"
            self._inserts[there] = text
        return text

    def _update(self, key: Key, before: JobData, after: JobData) -> Statement | None:
        changed = self._codec.changed(before, after)
        if before.state is not after.state:
            changed["conveyor_nb_moved"] = self._counters.next_known("moved")
            if before.opts.remove_on_complete or before.opts.remove_on_fail:
                self._note_expiry(before)
                self._note_expiry(after)
                at = expires_at(after) if after.state in SETTLED else None
                changed["conveyor_nb_expires_at"] = self._codec.instant(at)
                changed["conveyor_nb_counted"] = 1 if is_kept_by_count(after) else None
        if not changed:
            return None
        names = tuple(changed)
        text = self._updates.get(names)
        if text is None:
            values = ", ".join(f"{name} = ?" for name in names)
            text = f"UPDATE conveyor_jobs SET {values} WHERE queue_name = ? AND id = ?"
            self._updates[names] = text
        return text, (*changed.values(), *key)

    def _note_expiry(self, job: JobData) -> None:
        if expires_at(job) is not None:
            self.expiries_changed = True

    def _forget_children(self, parent: Key) -> Asking[None]:
        text = "DELETE FROM conveyor_nb_children WHERE parent_queue_name = ? AND parent_id = ?"
        yield text, parent

    # -- queues -------------------------------------------------------------------------------

    def _list(self, queue_name: str) -> Asking[None]:
        """A queue is listed as soon as there is something of it."""
        self._listed.add(queue_name)
        text = (
            "INSERT INTO conveyor_nb_queues (name, listed) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET listed = excluded.listed"
        )
        yield text, (queue_name, self._codec.flag(True))

    def _use_numbers(self, queue_name: str, number: int) -> Asking[None]:
        text = (
            "INSERT INTO conveyor_nb_queues (name, listed, numbers) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET numbers = excluded.numbers"
        )
        yield text, (queue_name, self._codec.flag(True), number)

    def _write_queues(self, changes: Changes) -> Asking[None]:
        for (queue_name, name), is_paused in changes.paused.items():
            if is_paused:
                yield from self._list(queue_name)
                text = (
                    "INSERT INTO conveyor_paused_names (queue_name, job_name) VALUES (?, ?)"
                    " ON CONFLICT DO NOTHING"
                )
                yield text, (queue_name, name)
            else:
                text = "DELETE FROM conveyor_paused_names WHERE queue_name = ? AND job_name = ?"
                yield text, (queue_name, name)
        for worker_id, (worker, is_kept) in changes.workers.items():
            if not is_kept or worker.command is None:
                yield "DELETE FROM conveyor_nb_commands WHERE worker_id = ?", (worker_id,)
            if is_kept:
                yield from self._list(worker.queue_name)
                position = yield from self._counters.next("moved")
                yield self._put_worker, (*self._codec.worker_row(worker), position)
                if worker.last_seen is not None:
                    yield from self._forget_workers(worker.last_seen - _GONE_AFTER)
                if worker.command is not None:
                    yield self._put_command, self._codec.command_row(worker_id, worker.command)
            else:
                yield "DELETE FROM conveyor_nb_workers WHERE id = ?", (worker_id,)
        for worker_id, now in changes.seen.items():
            text = "UPDATE conveyor_nb_workers SET last_seen = ? WHERE id = ?"
            yield text, (self._codec.instant(now), worker_id)
        for queue_name in changes.forgotten:
            yield from self._forget_queue(queue_name)

    def _forget_workers(self, since: datetime) -> Asking[None]:
        """Those that died have said nothing of it."""
        gone = "DELETE FROM conveyor_nb_workers WHERE last_seen < ?"
        yield gone, (self._codec.instant(since),)
        orphans = "worker_id NOT IN (SELECT id FROM conveyor_nb_workers)"
        yield f"DELETE FROM conveyor_nb_commands WHERE {orphans}", ()

    def _forget_queue(self, queue_name: str) -> Asking[None]:
        yield from self.finish()
        for table, column in _OF_A_QUEUE:
            yield f"DELETE FROM {table} WHERE {column} = ?", (queue_name,)
        text = (
            "UPDATE conveyor_nb_queues SET listed = ?, limit_seconds = NULL,"
            " group_limit_seconds = NULL WHERE name = ?"
        )
        yield text, (self._codec.flag(False), queue_name)
        self.forget()


def _upsert(table: str, key: Sequence[str], columns: Sequence[str], also: str = "") -> str:
    """The text that puts a row; ``also`` is a column of which the first value stays."""
    named = [*columns, also] if also else columns
    marks = ", ".join("?" * len(named))
    changed = ", ".join(f"{one} = excluded.{one}" for one in columns if one not in key)
    return (
        f"INSERT INTO {table} ({', '.join(named)}) VALUES ({marks})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}"
    )
