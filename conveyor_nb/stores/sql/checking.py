"""What is odd in a database, found by statements that only look; see ``StoreInterface.check``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from conveyor_nb.clocks.clock import REAL_TIME
from conveyor_nb.core.finding import Finding, Severity
from conveyor_nb.core.model import ALL_NAMES, JobState
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import shown
from conveyor_nb.stores.sql.answers import Answers
from conveyor_nb.stores.sql.asking import Asking

__all__ = ["findings"]

_MOST = 100
"""How many findings of one kind are told of."""

_SKEW = timedelta(seconds=1)
_OVERDUE = timedelta(minutes=1)
"""For how long a lock may be over before somebody should have seen it."""

_SILENT = timedelta(minutes=5)
"""For how long nothing may be heard of a worker."""

_MOST_NAME = 54
"""How long, in bytes, a queue's name may be for programs of Conveyor to tell of it."""

_THEIR_WORKER = "worker-________"
"""What programs of Conveyor call their workers, as a pattern."""

_STATES = ", ".join(f"'{state}'" for state in JobState)
_SETTLED = "('completed', 'failed')"
_WITHIN_INTERVAL = "a worker of conveyor_nb on the queue puts it right within its stalled_interval"


class _Looking(NamedTuple):
    answers: Answers
    now: datetime
    is_server: bool
    is_real_time: bool

    def value(self, when: datetime) -> Any:
        """An instant as the database has it."""
        return self.answers.codec.instant(when)

    def since(self, value: Any) -> str:
        """How long ago an instant was, in words."""
        when = self.answers.codec.datetime(value)
        assert when is not None
        return format_seconds(round(abs((self.now - when).total_seconds()), 1))


_Check = Callable[[_Looking], Asking[list[Finding]]]


def findings(
    answers: Answers, now: datetime, *, is_server: bool, is_real_time: bool
) -> Asking[list[Finding]]:
    """Everything that is odd, the most serious first.

    Args:
        answers: where to look.
        now: the instant by the store's clock.
        is_server: whether it is a server, and no file.
        is_real_time: whether the store's clock is that of the machine.
    """
    found: list[Finding] = []
    looking = _Looking(answers, now, is_server, is_real_time)
    for check in _CHECKS:
        some = yield from check(looking)
        found += some[:_MOST]
        if len(some) > _MOST:
            first = some[0]
            left_out = f"there are more than these {_MOST}"
            found.append(Finding(first.what, first.severity, None, None, left_out, first.advice))
    order = list(Severity)
    return sorted(found, key=lambda one: -order.index(one.severity))


def _rows(text: str, *values: Any) -> Asking[Sequence[Any]]:
    return (yield f"{text} LIMIT {_MOST + 1}", values)


# -- jobs -------------------------------------------------------------------------------------


def _unknown_states(looking: _Looking) -> Asking[list[Finding]]:
    where = f"state NOT IN ({_STATES})"
    rows = yield from _rows(f"SELECT queue_name, id, state FROM conveyor_jobs WHERE {where}")
    advice = "programs of Conveyor can't list its queue; remove the job, or set its state"
    return [
        Finding("unknown state", Severity.ERROR, queue, job, f"its state is {shown(state)}", advice)
        for queue, job, state in rows
    ]


def _unreadable(looking: _Looking) -> Asking[list[Finding]]:
    found: list[Finding] = []
    for column, what in (("data", "payload"), ("returnvalue", "result"), ("opts", "options")):
        if looking.is_server:
            if column != "opts":
                continue
            where = "jsonb_typeof(opts) <> 'object'"
        else:
            where = f"{column} IS NOT NULL AND NOT json_valid({column})"
            if column == "opts":
                where = "NOT json_valid(opts) OR json_type(opts) <> 'object'"
        text = f"SELECT queue_name, id FROM conveyor_jobs WHERE {where}"
        advice = (
            "it runs as if it had none; add it again with those it should have"
            if column == "opts"
            else "nobody can read it; remove the job, or write it anew"
        )
        found += [
            Finding("unreadable", Severity.ERROR, queue, job, f"its {what} can't be read", advice)
            for queue, job in (yield from _rows(text))
        ]
    return found


def _poisoned(looking: _Looking) -> Asking[list[Finding]]:
    """Texts that programs of Conveyor take for JSON as they read them, and fail."""
    found: list[Finding] = []
    if not looking.is_server:
        return found
    for column, what in (("data", "payload"), ("returnvalue", "result")):
        inner = f"{column} #>> '{{}}'"
        text = (
            f"SELECT queue_name, id, {inner} FROM conveyor_jobs"
            f" WHERE jsonb_typeof({column}) = 'string' AND {inner} NOT LIKE '\"%\"'"
        )
        advice = (
            f"UPDATE conveyor_jobs SET {column} = to_jsonb({column}::text) for this row; let "
            "handlers there return objects"
        )
        detail = f"its {what} is the plain text {{}}, at which every program of Conveyor fails"
        found += [
            Finding("poisoned", Severity.ERROR, queue, job, detail.format(shown(told)), advice)
            for queue, job, told in (yield from _rows(text))
            if not _is_json(told)
        ]
    return found


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _locks_over(looking: _Looking) -> Asking[list[Finding]]:
    rows = yield from _rows(
        "SELECT queue_name, id, locked_by, lock_until FROM conveyor_jobs"
        " WHERE state = 'active' AND (lock_until IS NULL OR lock_until < ?)",
        looking.value(looking.now - _OVERDUE),
    )
    advice = "start a worker on the queue: the job runs again if an attempt is left, or else fails"
    return [
        Finding(
            *("lock over", Severity.WARNING, queue, job),
            f"{shown(worker or 'nobody')} holds it, "
            + ("without a lock" if until is None else f"by a lock that was over {ago} ago"),
            advice,
        )
        for queue, job, worker, until in rows
        for ago in ["" if until is None else looking.since(until)]
    ]


def _cancelled_and_waiting(looking: _Looking) -> Asking[list[Finding]]:
    rows = yield from _rows(
        "SELECT queue_name, id FROM conveyor_jobs"
        " WHERE cancelled_at IS NOT NULL AND state IN ('waiting', 'delayed')"
    )
    detail = "it waits for its turn, and its row says that it was cancelled"
    advice = "a worker of Conveyor would stop it as it starts; one of conveyor_nb runs it"
    what = "cancelled and waiting"
    return [Finding(what, Severity.WARNING, queue, job, detail, advice) for queue, job in rows]


def _doubles(looking: _Looking) -> Asking[list[Finding]]:
    rows = yield from _rows(
        "SELECT queue_name, deduplication_key, count(*) FROM conveyor_jobs"
        f" WHERE deduplication_key IS NOT NULL AND state NOT IN {_SETTLED}"
        " GROUP BY queue_name, deduplication_key HAVING count(*) > 1"
    )
    advice = "remove all but one; programs of Conveyor that add at the same time may both do so"
    return [
        Finding(
            *("two of one key", Severity.WARNING, queue, None),
            f"{count} unfinished jobs have the deduplication key {shown(key)}",
            advice,
        )
        for queue, key, count in rows
    ]


# -- families and schedules -------------------------------------------------------------------


def _forgotten_parents(looking: _Looking) -> Asking[list[Finding]]:
    child = "child.parent_queue_name = its.queue_name AND child.parent_id = its.id"
    rows = yield from _rows(
        "SELECT its.queue_name, its.id, its.pending_children_count FROM conveyor_jobs AS its"
        " WHERE its.state = 'waiting-children' AND NOT EXISTS (SELECT 1 FROM conveyor_jobs AS child"
        f" WHERE {child} AND child.state NOT IN {_SETTLED}) AND NOT EXISTS"
        f" (SELECT 1 FROM conveyor_nb_children AS child WHERE {child} AND child.awaited = ?)",
        looking.answers.codec.flag(True),
    )
    return [
        Finding(
            *("parent waits for nothing", Severity.ERROR, queue, job),
            f"it waits for {pending} children, and none is unsettled",
            _WITHIN_INTERVAL,
        )
        for queue, job, pending in rows
    ]


def _orphans(looking: _Looking) -> Asking[list[Finding]]:
    rows = yield from _rows(
        "SELECT its.queue_name, its.id, its.parent_queue_name, its.parent_id"
        " FROM conveyor_jobs AS its LEFT JOIN conveyor_jobs AS parent"
        " ON parent.queue_name = its.parent_queue_name AND parent.id = its.parent_id"
        " WHERE its.parent_id IS NOT NULL AND parent.id IS NULL"
        f" AND its.state NOT IN {_SETTLED}"
    )
    advice = "nobody waits for it: let it run, or remove it"
    found = [
        Finding(
            *("child without parent", Severity.WARNING, queue, job),
            f"its parent {shown(parent)} in queue {shown(parent_queue)} is gone",
            advice,
        )
        for queue, job, parent_queue, parent in rows
    ]
    rows = yield from _rows(
        "SELECT its.parent_queue_name, its.parent_id, count(*)"
        " FROM conveyor_nb_children AS its LEFT JOIN conveyor_jobs AS parent"
        " ON parent.queue_name = its.parent_queue_name AND parent.id = its.parent_id"
        " WHERE parent.id IS NULL GROUP BY its.parent_queue_name, its.parent_id"
    )
    advice = "nothing: they take room in conveyor_nb_children, and may be deleted there"
    return found + [
        Finding(
            *("rows of nobody", Severity.INFO, queue, job),
            f"the job is gone, and what it knew of {count} children is still kept",
            advice,
        )
        for queue, job, count in rows
    ]


def _schedules_without_run(looking: _Looking) -> Asking[list[Finding]]:
    rows = yield from _rows(
        "SELECT its.queue_name, its.id, its.pending_job_id, run.state"
        " FROM conveyor_nb_schedulers AS its LEFT JOIN conveyor_jobs AS run"
        " ON run.queue_name = its.queue_name AND run.id = its.pending_job_id"
        " WHERE its.paused = ? AND (its.pending_job_id IS NOT NULL OR its.next_run IS NOT NULL)"
        f" AND (run.id IS NULL OR run.state IN {_SETTLED})",
        looking.answers.codec.flag(False),
    )
    return [
        Finding(
            *("schedule without run", Severity.ERROR, queue, None),
            f"schedule {shown(name)} has no run to come: its last one, {shown(run)}, is "
            + (state or "gone"),
            _WITHIN_INTERVAL,
        )
        for queue, name, run, state in rows
    ]


# -- who is at work ---------------------------------------------------------------------------


def _their_programs(looking: _Looking) -> Asking[list[Finding]]:
    added = yield from _rows(
        "SELECT queue_name, count(*) FROM conveyor_jobs WHERE conveyor_nb_moved IS NULL"
        " GROUP BY queue_name"
    )
    held = yield from _rows(
        "SELECT its.queue_name, count(*) FROM conveyor_jobs AS its LEFT JOIN conveyor_nb_workers"
        " AS ours ON ours.id = its.locked_by WHERE its.state = 'active' AND its.locked_by LIKE ?"
        " AND ours.id IS NULL GROUP BY its.queue_name",
        _THEIR_WORKER,
    )
    by_queue: dict[str, list[str]] = {}
    for queue, count in added:
        by_queue.setdefault(queue, []).append(f"have added {count:,} of its jobs")
    for queue, count in held:
        by_queue.setdefault(queue, []).append(f"are at work on {count:,}")
    advice = "nothing; but what they report late is not fenced off, and they store plain texts"
    return [
        Finding(
            *("served by Conveyor", Severity.INFO, queue, None),
            f"programs of Conveyor {' and '.join(told)}",
            advice,
        )
        for queue, told in sorted(by_queue.items())
    ]


def _long_names(looking: _Looking) -> Asking[list[Finding]]:
    if not looking.is_server:
        return []
    names = yield from looking.answers.queue_names()
    advice = f"give it a name of {_MOST_NAME} bytes or fewer if they are to share it"
    detail = "its name is too long for programs of Conveyor to tell of it, and they fail at that"
    return [
        Finding("long name", Severity.INFO, name, None, detail, advice)
        for name in names
        if len(name.encode()) > _MOST_NAME
    ]


def _silent_workers(looking: _Looking) -> Asking[list[Finding]]:
    rows = yield from _rows(
        "SELECT queue_name, id, last_seen FROM conveyor_nb_workers"
        " WHERE status <> 'closed' AND last_seen < ?",
        looking.value(looking.now - _SILENT),
    )
    advice = "if it is to be there, start it again; jobs that it held go on without it"
    return [
        Finding(
            *("worker not heard of", Severity.WARNING, queue, None),
            f"worker {shown(worker)} was seen last {looking.since(seen)} ago",
            advice,
        )
        for queue, worker, seen in rows
    ]


def _nobody_serves(looking: _Looking) -> Asking[list[Finding]]:
    served = yield (
        "SELECT queue_name FROM conveyor_nb_workers WHERE last_seen >= ?"
        " UNION SELECT queue_name FROM conveyor_paused_names WHERE job_name = ?"
        " UNION SELECT queue_name FROM conveyor_jobs WHERE state = 'active' AND lock_until >= ?",
        (looking.value(looking.now - _SILENT), ALL_NAMES, looking.value(looking.now)),
    )
    is_served = {row[0] for row in served}
    rows = yield (
        "SELECT queue_name, count(*), min(created_at) FROM conveyor_jobs"
        " WHERE state = 'waiting' GROUP BY queue_name",
        (),
    )
    advice = "start one: python -m conveyor_nb worker app.jobs:send --queue NAME"
    return [
        Finding(
            *("nobody serves it", Severity.WARNING, queue, None),
            f"{_jobs(count)} waiting, the first for {looking.since(first)}, and no worker is there",
            advice,
        )
        for queue, count, first in rows
        if queue not in is_served
    ]


# -- clocks -----------------------------------------------------------------------------------


def _clocks(looking: _Looking) -> Asking[list[Finding]]:
    found: list[Finding] = []
    ahead = looking.value(looking.now + _SKEW)
    for column, did in (("created_at", "said to be added"), ("processed_at", "said to be started")):
        rows = yield from _rows(
            f"SELECT queue_name, count(*), max({column}), min(locked_by) FROM conveyor_jobs"
            f" WHERE {column} > ? GROUP BY queue_name",
            ahead,
        )
        found += [
            _ahead(queue, f"{_jobs(count)} {did} up to {looking.since(last)} from now", who)
            for queue, count, last, who in rows
        ]
    rows = yield from _rows(
        "SELECT queue_name, id, last_seen FROM conveyor_nb_workers WHERE last_seen > ?", ahead
    )
    found += [
        _ahead(queue, f"worker {shown(who)} was seen {looking.since(seen)} from now", who)
        for queue, who, seen in rows
    ]
    if looking.is_server and looking.is_real_time:
        ((server,),) = yield "SELECT clock_timestamp()", ()
        found += _against_server(REAL_TIME.now(), server)
    return found


def _jobs(count: int) -> str:
    return f"{count:,} jobs are" if count != 1 else "1 job is"


def _ahead(queue: str, detail: str, who: str | None) -> Finding:
    advice = "set the clocks of the machines by one source: locks and delays go by them"
    detail += f", such as by {shown(who)}" if who and "worker" not in detail else ""
    return Finding("clock ahead", Severity.WARNING, queue, None, detail, advice)


def _against_server(now: datetime, server: datetime) -> Iterator[Finding]:
    off = (now - server).total_seconds()
    if abs(off) > _SKEW.total_seconds():
        which = "ahead of" if off > 0 else "behind"
        yield Finding(
            *("clock of this machine", Severity.WARNING, None, None),
            f"it is {format_seconds(round(abs(off), 1))} {which} the server's",
            "set it; this store goes by the server's meanwhile, programs of Conveyor do not",
        )


_CHECKS: tuple[_Check, ...] = (
    _unknown_states,
    _unreadable,
    _poisoned,
    _forgotten_parents,
    _schedules_without_run,
    _locks_over,
    _cancelled_and_waiting,
    _doubles,
    _orphans,
    _clocks,
    _silent_workers,
    _nobody_serves,
    _their_programs,
    _long_names,
)
