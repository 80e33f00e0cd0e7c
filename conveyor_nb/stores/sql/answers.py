"""What a store on a database answers to the questions of a working set; see ``Question``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import count
from typing import Any

from conveyor_nb.core.job_scheduler import JobScheduler
from conveyor_nb.core.lifecycle import SETTLED
from conveyor_nb.core.model import DELAYED, WAITING, JobData, JobState
from conveyor_nb.core.rows import PENDING, ChildRow, HeldKey, Key, held_key
from conveyor_nb.core.values.ids import random_id
from conveyor_nb.core.worker_info import WorkerInfo
from conveyor_nb.stores.sql.asking import MOST_ROWS, Asking
from conveyor_nb.stores.sql.serving import Serving
from conveyor_nb.stores.sql.wire.codec import texts_of
from conveyor_nb.stores.working_set.questions import Question

__all__ = ["Answers"]

_UNFINISHED = "state IN ('waiting', 'waiting-children', 'delayed', 'active')"
_BUSY = "state IN ('waiting', 'active')"
_CHILD = "parent_queue_name = ? AND parent_id = ?"
_NAMED_AS_CHILD = (
    "SELECT parent.children_ids FROM conveyor_jobs AS child JOIN conveyor_jobs AS parent"
    " ON parent.queue_name = child.parent_queue_name AND parent.id = child.parent_id"
    " WHERE child.queue_name = ? AND child.id = ?"
    " AND child.parent_queue_name = ? AND child.parent_id = ?"
)


class Answers(Serving):
    """Answers each question by statements, within the transaction that is under way."""

    sequential_ids = False
    """Whether ids are counted for each queue, and are not random."""

    def answer(self, question: Question) -> Asking[Any]:
        """The answer to a question."""
        answer: Asking[Any] = getattr(self, question.what)(*question.about)
        return answer

    # -- jobs ---------------------------------------------------------------------------------

    def job(self, queue_name: str, job_id: str) -> Asking[JobData | None]:
        of_queue = self.known.active.get(queue_name)
        if of_queue is not None and (job := of_queue.get(job_id)) is not None:
            return job
        rows = yield self.select("queue_name = ? AND id = ?"), (queue_name, job_id)
        return self.codec.job(rows[0]) if rows else None

    def holders(self, queue_name: str, key: HeldKey) -> Asking[list[JobData]]:
        where = f"queue_name = ? AND deduplication_key = ? AND {_UNFINISHED}"
        found = yield from self._jobs(where, queue_name, key if isinstance(key, str) else key[1])
        return [job for job in found if held_key(job) == key]

    def _jobs(self, where: str, *values: Any) -> Asking[list[JobData]]:
        rows = yield self.select(where), values
        return list(map(self.codec.job, rows))

    def new_ids(self, queue_name: str, most: int) -> Asking[list[str]]:
        if not self.sequential_ids:
            return [random_id() for _ in range(most)]
        rows = yield "SELECT numbers FROM conveyor_nb_queues WHERE name = ?", (queue_name,)
        found: list[str] = []
        for number in count((rows[0][0] if rows else 0) + 1):
            if len(found) == most:
                break
            name = f"{queue_name}-{number}"
            taken = "SELECT 1 FROM conveyor_jobs WHERE queue_name = ? AND id = ?"
            if not (yield taken, (queue_name, name)):
                found.append(name)
        return found

    def next_sequence(self, queue_name: str) -> Asking[int]:
        return (yield from self.counters.last("sequence")) + 1

    # -- families -----------------------------------------------------------------------------

    def child(self, parent: Key, child: Key) -> Asking[ChildRow | None]:
        where = f"{_CHILD} AND queue_name = ? AND id = ?"
        rows = yield self.select_child(where), (*parent, *child)
        if rows:
            return self.codec.child(rows[0])[1]
        # in a flow of Conveyor's the two name each other, and that is all
        rows = yield _NAMED_AS_CHILD, (*child, *parent)
        return PENDING if rows and child[1] in texts_of(rows[0][0]) else None

    def children(self, parent: Key) -> Asking[dict[Key, ChildRow]]:
        rows = yield self.select_child(f"{_CHILD} ORDER BY position"), parent
        known = dict(map(self.codec.child, rows))
        if not known or any(not one.settled for one in known.values()):
            known |= yield from self._settled_elsewhere(parent, known)
        return known

    def _settled_elsewhere(
        self, parent: Key, known: Mapping[Key, ChildRow]
    ) -> Asking[dict[Key, ChildRow]]:
        """Children that programs of Conveyor have settled, or all of a flow that they made."""
        text = "SELECT children_ids FROM conveyor_jobs WHERE queue_name = ? AND id = ?"
        rows = yield text, parent
        named = texts_of(rows[0][0]) if rows else ()
        if not named:
            return {}
        ids = frozenset(named)
        columns = "queue_name, id, state, returnvalue, conveyor_nb_returnvalue, failed_reason"
        text = f"SELECT {columns} FROM conveyor_jobs WHERE {_CHILD} ORDER BY abs(seq)"
        found: dict[Key, ChildRow] = {}
        for queue_name, job_id, state, json, exact, reason in (yield text, parent):
            row = known.get((queue_name, job_id))
            if job_id not in ids:
                continue
            if row is None:
                row = found[queue_name, job_id] = PENDING
            if row.settled or row.awaited or state not in ("completed", "failed"):
                continue
            returned = None if json is None else self.codec.kept(json, exact)
            why = None if state == "completed" else reason or ""
            found[queue_name, job_id] = ChildRow(
                settled=True, why=why, returnvalue=returned if why is None else None
            )
        return found

    def failed_children(self, parent: Key) -> Asking[list[Key]]:
        where = f"{_CHILD} AND why IS NOT NULL ORDER BY position"
        rows = yield f"SELECT queue_name, id FROM conveyor_nb_children WHERE {where}", parent
        return [(queue_name, job_id) for queue_name, job_id in rows]

    def awaited_children(self, parent: Key, most: int) -> Asking[tuple[list[Key], int]]:
        awaited = f"FROM conveyor_nb_children WHERE {_CHILD} AND awaited = ?"
        given = (*parent, self.codec.flag(True))
        named = f"SELECT queue_name, id {awaited} ORDER BY position LIMIT ?"
        rows = yield named, (*given, most)
        counted = yield f"SELECT count(*) {awaited}", given
        return [(queue_name, job_id) for queue_name, job_id in rows], counted[0][0]

    # -- schedulers ---------------------------------------------------------------------------

    def scheduler(self, queue_name: str, scheduler_id: str) -> Asking[JobScheduler | None]:
        rows = yield self.select_scheduler("queue_name = ? AND id = ?"), (queue_name, scheduler_id)
        return self.codec.scheduler(rows[0]) if rows else None

    def schedulers(self, queue_name: str) -> Asking[list[JobScheduler]]:
        rows = yield self.select_scheduler("queue_name = ? ORDER BY position"), (queue_name,)
        return list(map(self.codec.scheduler, rows))

    # -- workers ------------------------------------------------------------------------------

    def worker(self, worker_id: str) -> Asking[WorkerInfo | None]:
        rows = yield self.select_worker("id = ?"), (worker_id,)
        return self.codec.worker(rows[0]) if rows else None

    # -- queues -------------------------------------------------------------------------------

    def listed(
        self,
        queue_name: str,
        state: JobState | None,
        since: datetime | None = None,
        start: int = 0,
        most: int = MOST_ROWS,
        newest_first: bool = False,
    ) -> Asking[list[JobData]]:
        where, values = ["queue_name = ?"], [queue_name]
        if state is not None:
            where.append(f"state = '{state}'")
        if since is not None:
            entered = "created_at"
            if state in SETTLED:
                entered = "completed_at" if state is JobState.COMPLETED else "failed_at"
            where.append(f"{entered} <= ?")
            values.append(self.codec.instant(since))
        order = _order_of(state)
        if newest_first:
            order = [f"{one} DESC" for one in order]
        text = f"{' AND '.join(where)} ORDER BY {', '.join(order)} LIMIT ? OFFSET ?"
        return (yield from self._jobs(text, *values, most, start))

    def due(self, queue_name: str, now: datetime) -> Asking[list[JobData]]:
        where = "queue_name = ? AND state = 'delayed' AND delay_until <= ?"
        order = ", ".join(_order_of(DELAYED))
        return (
            yield from self._jobs(f"{where} ORDER BY {order}", queue_name, self.codec.instant(now))
        )

    def expired(self, now: datetime, most: int) -> Asking[list[JobData]]:
        where = "conveyor_nb_expires_at <= ? ORDER BY conveyor_nb_expires_at LIMIT ?"
        return (yield from self._jobs(where, self.codec.instant(now), most))

    def surplus(self, queue_name: str, state: JobState, most: int) -> Asking[list[JobData]]:
        where = (
            f"queue_name = ? AND state = '{state}' AND conveyor_nb_counted = 1"
            " ORDER BY conveyor_nb_moved DESC LIMIT ? OFFSET ?"
        )
        found = yield from self._jobs(where, queue_name, MOST_ROWS, most)
        return found[::-1]

    def busy(self, queue_name: str, most: int) -> Asking[list[str]]:
        known = self.known.busy(queue_name, most)
        if known is not None:
            return known
        # one state after the other: so each is found at once, however many there are
        found: list[str] = []
        for state in ("active", "waiting"):
            if len(found) < most:
                text = f"SELECT id FROM conveyor_jobs WHERE queue_name = ? AND state = '{state}'"
                rows = yield f"{text} LIMIT ?", (queue_name, most - len(found))
                found += [row[0] for row in rows]
        return found

    def count_busy(self, queue_name: str, most: int) -> Asking[int]:
        """How many jobs are waiting or active; of very many, ``most``."""
        count = 0
        for state in ("active", "waiting"):
            some = f"SELECT 1 FROM conveyor_jobs WHERE queue_name = ? AND state = '{state}' LIMIT ?"
            rows = yield f"SELECT count(*) FROM ({some}) AS found", (queue_name, most - count)
            count += rows[0][0]
        return count

    def next_due(self, queue_name: str) -> Asking[datetime | None]:
        if queue_name in self.known.next_due:
            return self.known.next_due[queue_name]
        where = "queue_name = ? AND state = 'delayed'"
        text = f"SELECT min(delay_until) FROM conveyor_jobs WHERE {where}"
        rows = yield text, (queue_name,)
        due = self.codec.datetime(rows[0][0])
        if self.known.is_sure:
            self.known.next_due[queue_name] = due
        return due

    def next_expiry(self) -> Asking[datetime | None]:
        """When the next job has been kept long enough."""
        where = "conveyor_nb_expires_at IS NOT NULL"
        text = f"SELECT min(conveyor_nb_expires_at) FROM conveyor_jobs WHERE {where}"
        rows = yield text, ()
        return self.codec.datetime(rows[0][0])

    def waiting_in_group(self, queue_name: str, group_id: str | None) -> Asking[int]:
        return self.count_in_group(queue_name, group_id, WAITING)

    # -- looks that are no questions of a step ------------------------------------------------

    def counts(self, queue_name: str) -> Asking[dict[JobState, int]]:
        """How many jobs are in each state."""
        text = "SELECT state, count(*) FROM conveyor_jobs WHERE queue_name = ? GROUP BY state"
        counted = dict((yield text, (queue_name,)))
        return {state: counted.get(state.value, 0) for state in JobState}

    def queue_names(self) -> Asking[list[str]]:
        """The queues that are listed."""
        text = "SELECT name FROM conveyor_nb_queues WHERE listed = ? ORDER BY name"
        rows = yield text, (self.codec.flag(True),)
        return [row[0] for row in rows]

    def workers(self, queue_name: str | None) -> Asking[list[WorkerInfo]]:
        """The workers of a queue, or of all."""
        where, values = ("TRUE", ()) if queue_name is None else ("queue_name = ?", (queue_name,))
        rows = yield self.select_worker(f"{where} ORDER BY position"), values
        return list(map(self.codec.worker, rows))


def _order_of(state: JobState | None) -> Iterable[str]:
    """The order in which the jobs of a state, or all, are listed."""
    match state:
        case None:
            return ["abs(seq)"]
        case JobState.WAITING:
            return ["priority", "seq"]
        case JobState.DELAYED:
            return ["delay_until", "abs(seq)"]
    return ["conveyor_nb_moved"]
