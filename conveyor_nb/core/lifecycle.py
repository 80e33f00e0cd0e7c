"""The state machine of a job: pure functions from (job, action, now) to a change and its events.

The only place that knows which transition is legal (``TRANSITIONS``), what follows from an action
or an outcome (``decide``), and what a retry resets (``STARTS_AFRESH``). Stores apply what is
decided here; nothing here changes a job, reads a clock or waits. ``entering`` says where a job
begins, and what a worker changes by taking it.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, assert_never

from msgspec import Struct
from msgspec.structs import replace

from conveyor_nb.core import actions
from conveyor_nb.core.attempts import WENT_WELL, attempt_ended, attempt_failed, with_lines
from conveyor_nb.core.errors import FAULTS, InvalidJobStateError, RetryRefusedError
from conveyor_nb.core.locks import STILL_AT_WORK, require_lock
from conveyor_nb.core.model import (
    ACTIVE,
    COMPLETED,
    DELAYED,
    FAILED,
    WAITING,
    WAITING_CHILDREN,
    AttemptStatus,
    EventType,
    JobData,
    JobState,
    Lock,
)
from conveyor_nb.core.options.backoff import retry_delay
from conveyor_nb.core.values.bounds import MAX_LOG_LINE, MAX_REASON, cut
from conveyor_nb.core.values.durations import format_seconds
from conveyor_nb.core.values.text import error_line, shown

__all__ = [
    "CANCELLED",
    "SETTLED",
    "TRANSITIONS",
    "UNSETTLED",
    "Change",
    "Event",
    "decide",
    "due",
    "move",
    "placed",
]

CANCELLED = "cancelled"
"""The ``failed_reason`` of a cancelled job."""

UNSETTLED = frozenset({WAITING_CHILDREN, DELAYED, WAITING, ACTIVE})
SETTLED = frozenset({COMPLETED, FAILED})

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    WAITING_CHILDREN: frozenset({WAITING, FAILED}),
    DELAYED: frozenset({WAITING, WAITING_CHILDREN, FAILED}),
    WAITING: frozenset({ACTIVE, WAITING_CHILDREN, FAILED}),
    ACTIVE: frozenset({COMPLETED, FAILED, DELAYED, WAITING}),
    COMPLETED: frozenset({WAITING, WAITING_CHILDREN}),
    FAILED: frozenset({WAITING, WAITING_CHILDREN}),
}
"""Every legal transition between states; removal is legal from each of them."""

STATE_EVENTS: Mapping[JobState, EventType] = {
    state: EventType(f"job:{state}") for state in JobState
}
"""What is published when a job comes to a state."""

Event = tuple[EventType, Mapping[str, Any]]


class Change(Struct, frozen=True):
    """A decision: the job's fields that get new values, and the events to publish, in order.

    ``removes``: the job is to be removed after that.
    """

    updates: dict[str, Any]
    events: tuple[Event, ...] = ()
    removes: bool = False


NOTHING = Change({})


def decide(
    job: JobData,
    action: actions.Action,
    *,
    now: datetime,
    lock: Lock | None = None,
    random: random_module.Random | None = None,
) -> Change:
    """Decide what an action changes.

    Args:
        job: the job as it is.
        action: what is to be done to it.
        now: the instant of the step.
        lock: proof that the caller holds the job. Outcomes need it; other actions need none,
            but one that is given must hold, so a late handler changes nothing.
        random: the source of the backoff's jitter; without one there is none.

    Raises:
        InvalidJobStateError: the job's state does not allow the action.
        LostLockError: the job's lock was needed or given, and ``lock`` is not it.
    """
    if lock is not None or isinstance(action, _OUTCOMES):
        has_ended = job.state is not ACTIVE
        require_lock(job, lock, ended_too=has_ended and isinstance(action, _ENDED_TOO))
    match action:
        case actions.Complete():
            return _complete(job, action.returnvalue, now)
        case actions.Fail():
            return _fail(job, action, now, random)
        case actions.Release(reason):
            return _put_back(job, WAITING, reason, now)
        case actions.Hold(end):
            return _hold(job, end, now)
        case actions.LetGo():
            _require_state(job, SETTLED)
            return Change({"locked_by": None, "lock_until": None})
        case actions.MoveToDelayed(until):
            state = DELAYED if until > now else WAITING
            return _put_back(job, state, f"moved to {until.isoformat()}", now, until)
        case actions.ExtendLock(duration):
            return Change({"lock_until": now + timedelta(seconds=duration)})
        case actions.Stall(lock_until):
            return _stall(job, lock_until, now)
        case actions.Cancel():
            return _cancel(job, now)
        case actions.Promote():
            _require_state(job, {DELAYED})
            return due(job)
        case actions.Retry():
            return _retry(job, now)
        case actions.Discard():
            _require_state(job, UNSETTLED)
            return Change({"discarded": True})
        case actions.UpdateData(payload):
            return Change({"data": payload})
        case actions.ChangeDelay(delay):
            _require_state(job, {DELAYED})
            return _reposition(job, {"delay_until": now + timedelta(seconds=delay)})
        case actions.ChangePriority(priority):
            _require_state(job, UNSETTLED)
            return _reposition(job, {"priority": priority})
        case actions.SetProgress(value):
            data = {"name": job.name, "worker_id": job.locked_by, "progress": value}
            return Change({"progress": value}, ((EventType.PROGRESS, data),))
        case actions.Log(line, more):
            return _log(job, (line, *more))
        case actions.ClearLogs():
            return Change({"logs": ()}, ((EventType.LOG, {"name": job.name, "cleared": True}),))
    assert_never(action)


_OUTCOMES = (
    actions.Complete,
    actions.Fail,
    actions.Release,
    actions.Hold,
    actions.MoveToDelayed,
    actions.ExtendLock,
    actions.LetGo,
)
"""What only the holder of a job's lock may report."""

_ENDED_TOO = (actions.ExtendLock, actions.LetGo)
"""What is also for the holder of a job that has ended before its handler did, see ``Hold``."""


def due(job: JobData) -> Change:
    """Decide what a delayed job changes when its time has come."""
    return move(job, WAITING, {"delay_until": None}, {})


def _complete(job: JobData, returnvalue: Any, now: datetime) -> Change:
    if job.cancelled_at:
        return _end_cancelled(job, now)
    updates = attempt_ended(job, now, WENT_WELL)
    updates["returnvalue"] = returnvalue
    updates["completed_at"] = now
    updates["failed_reason"] = None
    return move(job, COMPLETED, updates, {"worker_id": job.locked_by})


def _fail(
    job: JobData, failed: actions.Fail, now: datetime, random: random_module.Random | None
) -> Change:
    if job.cancelled_at:
        return _end_cancelled(job, now)
    reason, stacktrace = cut(failed.reason, MAX_REASON), failed.stacktrace
    if not (failed.final or _is_last_attempt(job)):
        attempts_made = job.attempts_made + 1
        try:
            delay = failed.delay
            if delay is None:
                delay = retry_delay(job.opts.backoff, attempts_made, random)
        except FAULTS as error:  # it is a person's callable
            reason = cut(
                f"{reason} (no retry: the backoff strategy raised {error_line(error)})", MAX_REASON
            )
        else:
            updates = attempt_failed(job, reason, stacktrace, now)
            return _try_again(job, updates, reason, delay, now)
    elif failed.asked:
        given = f"it was added with attempts={job.opts.attempts}"
        why = "it was discarded" if job.discarded else given
        reason = f"{reason} (no attempt is left: {why})"
    updates = attempt_failed(job, reason, stacktrace, now) | {"failed_at": now}
    data = {"worker_id": job.locked_by, "reason": reason, "cancelled": False}
    return move(job, FAILED, updates, data)


def _try_again(
    job: JobData, updates: dict[str, Any], reason: str, delay: float, now: datetime
) -> Change:
    state = DELAYED if delay else WAITING
    if delay:
        updates["delay_until"] = now + timedelta(seconds=delay)
    retrying = {
        "name": job.name,
        "worker_id": job.locked_by,
        "attempts_made": job.attempts_made + 1,
        "attempts": job.opts.attempts,
        "reason": reason,
        "delay": delay,
    }
    return move(job, state, updates, {}, before=(EventType.RETRYING, retrying))


def _stall(job: JobData, seen: datetime | None, now: datetime) -> Change:
    """Whoever says so may be late: a lock that was renewed or released is left alone."""
    if job.state is not ACTIVE or job.lock_until is None or job.lock_until > now:
        return NOTHING
    if seen is not None and seen != job.lock_until:
        return NOTHING
    late = format_seconds((now - job.lock_until).total_seconds())
    reason = f"stalled: worker {job.locked_by} did not renew its lock, which ran out {late} ago"
    about = {"name": job.name, "worker_id": job.locked_by, "reason": reason}
    stalled: Event = (EventType.STALLED, about)
    if job.cancelled_at or _is_last_attempt(job):
        change = _fail(job, actions.Fail(reason, final=True), now, None)
    else:
        change = _try_again(job, attempt_failed(job, reason, None, now), reason, 0.0, now)
    return Change(change.updates, (stalled, *change.events))


def _hold(job: JobData, end: actions.Fail | actions.Release, now: datetime) -> Change:
    """An end that lets the job run again has to wait, and the attempt's record says for what."""
    if job.cancelled_at:
        change = _end_cancelled(job, now)
    elif isinstance(end, actions.Fail) and (end.final or _is_last_attempt(job)):
        change = _fail(job, replace(end, final=True), now, None)
    else:
        *earlier, last = job.attempt_logs
        last = replace(last, error=f"{end.reason}; {STILL_AT_WORK}")
        change = Change({"attempt_logs": (*earlier, last)})
    held: Event = (
        EventType.HELD,
        {"name": job.name, "worker_id": job.locked_by, "reason": end.reason},
    )
    lock = {"locked_by": job.locked_by, "lock_until": job.lock_until}
    return Change(change.updates | lock, (held, *change.events))


def _is_last_attempt(job: JobData) -> bool:
    """Whether a failure of the attempt under way is one for good."""
    return job.discarded or job.attempts_made + 1 >= job.opts.attempts


def _put_back(
    job: JobData, state: JobState, reason: str, now: datetime, until: datetime | None = None
) -> Change:
    """End the attempt without counting it."""
    if job.cancelled_at:
        return _end_cancelled(job, now)
    reason = cut(reason, MAX_REASON)
    updates = attempt_ended(job, now, AttemptStatus.FAILED, reason, put_back=True)
    if state is DELAYED:
        updates["delay_until"] = until
    return move(job, state, updates, {"worker_id": job.locked_by, "reason": reason})


def _cancel(job: JobData, now: datetime) -> Change:
    """An active job is told, and ends when its handler does; any other ends at once."""
    if job.state in SETTLED or job.cancelled_at:
        return NOTHING
    data = {"name": job.name, "previous": job.state, "worker_id": job.locked_by}
    told: Event = (EventType.CANCELLED, data)
    if job.state is ACTIVE:
        return Change({"cancelled_at": now}, (told,))
    change = _end_cancelled(job, now)
    return Change({**change.updates, "cancelled_at": now}, (told, *change.events))


def _end_cancelled(job: JobData, now: datetime) -> Change:
    updates = attempt_ended(job, now, AttemptStatus.FAILED, CANCELLED)
    updates |= {"failed_at": now, "failed_reason": CANCELLED, "delay_until": None}
    data = {"worker_id": job.locked_by, "reason": CANCELLED, "cancelled": True}
    return move(job, FAILED, updates, data)


def _retry(job: JobData, now: datetime) -> Change:
    """A retried job starts afresh, but keeps the story of its attempts and its place."""
    _require_state(job, SETTLED)
    if job.lock_until is not None and job.lock_until > now:  # it would run twice at once
        why = f"{STILL_AT_WORK} in worker {shown(job.locked_by)}, though the job has ended; it can"
        raise RetryRefusedError(job.id, f"{why} be retried once that has returned")
    pending = job.pending_children_count
    state = WAITING_CHILDREN if pending else WAITING
    return move(job, state, dict(STARTS_AFRESH), {})


STARTS_AFRESH: Mapping[str, Any] = {
    "locked_by": None,
    "lock_until": None,
    "attempts_made": 0,
    "progress": 0,
    "processed_at": None,
    "returnvalue": None,
    "failed_reason": None,
    "stacktrace": (),
    "completed_at": None,
    "failed_at": None,
    "cancelled_at": None,
    "discarded": False,
}
"""What a retry resets. All else stays: the payload and options, the log, the attempts' records."""


def _reposition(job: JobData, updates: dict[str, Any]) -> Change:
    """The job stays in its state; watchers are told that its place in it is another."""
    if job.state is ACTIVE:
        return Change(updates)
    event = placed(job, job.state, job.state, until=updates.get("delay_until", job.delay_until))
    return Change(updates, (event,))


def _log(job: JobData, lines: tuple[str, ...]) -> Change:
    lines = tuple(cut(line, MAX_LOG_LINE) for line in lines)
    updates: dict[str, Any] = {"logs": with_lines(job.logs, lines)}
    if job.state is ACTIVE:
        *earlier, last = job.attempt_logs
        updates["attempt_logs"] = (*earlier, replace(last, logs=with_lines(last.logs, lines)))
    about = {"name": job.name, "worker_id": job.locked_by}
    return Change(updates, tuple((EventType.LOG, about | {"line": line}) for line in lines))


# -- parts of a change ----------------------------------------------------------------------


def move(
    job: JobData,
    state: JobState,
    updates: dict[str, Any],
    data: dict[str, Any],
    before: Event | None = None,
) -> Change:
    """The change to another state, and its event with ``data``; both dicts are added to.

    A parent that comes to wait while a child of its is unsettled waits for that child.
    """
    if state not in TRANSITIONS[job.state]:
        sources = [source for source, targets in TRANSITIONS.items() if state in targets]
        raise InvalidJobStateError(job.id, job.state, sources)
    updates["state"] = state
    data["name"] = job.name
    data["previous"] = job.state
    if (until := updates.get("delay_until")) is not None:
        data["delay_until"] = until
    event = (STATE_EVENTS[state], data)
    events = (event,) if before is None else (before, event)
    if job.pending_children_count and job.state is ACTIVE and state in _TO_BE_TAKEN:
        back = updates | {"state": WAITING_CHILDREN, "delay_until": None}
        told = {"name": job.name, "previous": state}
        return Change(back, (*events, (EventType.WAITING_CHILDREN, told)))
    return Change(updates, events)


_TO_BE_TAKEN = frozenset({WAITING, DELAYED})


def placed(
    job: JobData, state: JobState, previous: JobState | None, *, until: datetime | None
) -> Event:
    """The event of a job that has come to a state, or to another place in it."""
    data: dict[str, Any] = {"name": job.name, "previous": previous}
    if until is not None:
        data["delay_until"] = until
    return (STATE_EVENTS[state], data)


def _require_state(job: JobData, states: Iterable[JobState]) -> None:
    if job.state not in states:
        raise InvalidJobStateError(job.id, job.state, sorted(states))
