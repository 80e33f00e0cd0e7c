"""The state machine of a job, as a table: every state and every action, and what follows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from conveyor_nb import (
    Backoff,
    InvalidJobStateError,
    JobData,
    JobOptions,
    LostLockError,
    RetryRefusedError,
)
from conveyor_nb.core import actions as do
from conveyor_nb.core.entering import take
from conveyor_nb.core.lifecycle import SETTLED, TRANSITIONS, UNSETTLED, Change, decide
from conveyor_nb.core.model import AttemptRecord, AttemptStatus, EventType, JobState, Lock
from conveyor_nb.core.values.bounds import (
    MAX_ATTEMPT_RECORDS,
    MAX_LOG_LINE,
    MAX_LOG_LINES,
    MAX_REASON,
    MAX_STACKTRACE,
)

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
LOCK = Lock("w1", 1)
CHILDREN, DELAYED, WAITING, ACTIVE, COMPLETED, FAILED = (
    JobState.WAITING_CHILDREN,
    JobState.DELAYED,
    JobState.WAITING,
    JobState.ACTIVE,
    JobState.COMPLETED,
    JobState.FAILED,
)


OPEN_ATTEMPT = AttemptRecord(1, "w1", EARLIER)
FIELDS: dict[JobState, dict[str, Any]] = {
    DELAYED: {"delay_until": LATER},
    ACTIVE: {
        "locked_by": "w1",
        "lock_until": EARLIER,
        "processed_at": EARLIER,
        "attempt_logs": (OPEN_ATTEMPT,),
    },
    COMPLETED: {
        "returnvalue": "done",
        "completed_at": EARLIER,
        "progress": 100,
        "discarded": True,
    },
    FAILED: {
        "failed_reason": "cancelled",
        "failed_at": EARLIER,
        "attempts_made": 2,
        "cancelled_at": EARLIER,
    },
}


def job_in(state: JobState, **fields: Any) -> JobData:
    """A job in a state, with two attempts; if active, then locked until an hour ago."""
    job = JobData("a", "send", "emails", {"to": "ada"}, state, opts=JobOptions(attempts=2))
    return replace(job, **({"created_at": EARLIER} | FIELDS.get(state, {}) | fields))


def after(job: JobData, change: Change) -> JobData:
    """The job with a change made."""
    return replace(job, **change.updates)


def outcome(job: JobData, action: do.Action, lock: Lock | None = None) -> str:
    """What becomes of a job, in words: its state and the events, or the error."""
    try:
        change = decide(job, action, now=NOW, lock=lock)
    except (InvalidJobStateError, LostLockError) as error:
        return type(error).__name__
    return " ".join([after(job, change).state, *(kind for kind, _ in change.events)])


# -- every state and every action -------------------------------------------------------------

INVALID, LOST = "InvalidJobStateError", "LostLockError"
OUTCOMES: dict[str, tuple[do.Action, str]] = {
    "complete": (do.Complete("done"), "completed job:completed"),
    "fail": (do.Fail("boom"), "waiting job:retrying job:waiting"),
    "fail for good": (do.Fail("boom", final=True), "failed job:failed"),
    "release": (do.Release(), "waiting job:waiting"),
    "hold": (do.Hold(do.Fail("late")), "active job:held"),
    "hold for good": (do.Hold(do.Fail("late", final=True)), "failed job:held job:failed"),
    "hold to put back": (do.Hold(do.Release()), "active job:held"),
    "let go": (do.LetGo(), "InvalidJobStateError"),
    "put off": (do.MoveToDelayed(LATER), "delayed job:delayed"),
    "put off until now": (do.MoveToDelayed(NOW), "waiting job:waiting"),
    "extend the lock": (do.ExtendLock(30), "active"),
}
"""What needs the lock, and what it does to the one state that has one."""

OTHERS: dict[str, tuple[do.Action, dict[JobState, str]]] = {
    "stall": (do.Stall(), {ACTIVE: "waiting job:stalled job:retrying job:waiting"}),
    "cancel": (
        do.Cancel(),
        {
            CHILDREN: "failed job:cancelled job:failed",
            DELAYED: "failed job:cancelled job:failed",
            WAITING: "failed job:cancelled job:failed",
            ACTIVE: "active job:cancelled",
        },
    ),
    "promote": (
        do.Promote(),
        dict.fromkeys(JobState, INVALID) | {DELAYED: "waiting job:waiting"},
    ),
    "retry": (
        do.Retry(),
        dict.fromkeys(UNSETTLED, INVALID) | dict.fromkeys(SETTLED, "waiting job:waiting"),
    ),
    "discard": (do.Discard(), dict.fromkeys(SETTLED, INVALID)),
    "update data": (do.UpdateData("new"), {}),
    "change delay": (
        do.ChangeDelay(5),
        dict.fromkeys(JobState, INVALID) | {DELAYED: "delayed job:delayed"},
    ),
    "change priority": (
        do.ChangePriority(5),
        {
            CHILDREN: "waiting-children job:waiting-children",
            DELAYED: "delayed job:delayed",
            WAITING: "waiting job:waiting",
            COMPLETED: INVALID,
            FAILED: INVALID,
        },
    ),
    "progress": (do.SetProgress(50), {state: f"{state} job:progress" for state in JobState}),
    "log": (do.Log("line"), {state: f"{state} job:log" for state in JobState}),
    "clear logs": (do.ClearLogs(), {state: f"{state} job:log" for state in JobState}),
}
"""What needs no lock, and what it does; in a state that is not named, nothing is told or moved."""

ALL_ACTIONS = [action for action, _ in (*OUTCOMES.values(), *OTHERS.values())]


def test_the_tables_name_every_action() -> None:
    assert {type(action) for action in ALL_ACTIONS} == set(do.Action.__args__)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("name", OUTCOMES)
def test_an_outcome_is_for_the_holder_of_the_lock_alone(name: str, state: JobState) -> None:
    action, expected = OUTCOMES[name]
    assert outcome(job_in(state), action, LOCK) == (expected if state is ACTIVE else LOST)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("name", OTHERS)
def test_other_actions_need_no_lock(name: str, state: JobState) -> None:
    action, expected = OTHERS[name]
    assert outcome(job_in(state), action) == expected.get(state, str(state))


@pytest.mark.parametrize("lock", [None, Lock("w2", 1), Lock("w1", 2), Lock("w1", 0)], ids=str)
@pytest.mark.parametrize("action", ALL_ACTIONS, ids=repr)
def test_a_lock_that_is_not_the_one_that_holds_changes_nothing(
    action: do.Action, lock: Lock | None
) -> None:
    needs_lock = any(action is one for one, _ in OUTCOMES.values())
    if lock is None and not needs_lock:
        return
    with pytest.raises(LostLockError) as caught:
        decide(job_in(ACTIVE), action, now=NOW, lock=lock)
    assert (caught.value.job_id, caught.value.worker_id) == ("a", lock.worker_id if lock else None)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (do.Promote(), {DELAYED}),
        (do.ChangeDelay(5), {DELAYED}),
        (do.Retry(), SETTLED),
        (do.Discard(), UNSETTLED),
        (do.ChangePriority(5), UNSETTLED),
    ],
    ids=repr,
)
def test_a_refusal_names_the_states_that_were_expected(
    action: do.Action, expected: set[JobState]
) -> None:
    for state in set(JobState) - expected:
        with pytest.raises(InvalidJobStateError) as caught:
            decide(job_in(state), action, now=NOW)
        assert caught.value.current_state == state
        assert set(caught.value.expected_states) == expected


# -- what exactly is changed ------------------------------------------------------------------

ENDED = {"locked_by": None, "lock_until": None}


def ended(status: AttemptStatus, error: str | None = None, trace: str | None = None) -> Any:
    return (AttemptRecord(1, "w1", EARLIER, NOW, status, error, trace),)


def put_back(reason: str) -> Any:
    return (replace(ended(AttemptStatus.FAILED, reason)[0], put_back=True),)


COMPLETED_ATTEMPT = ended(AttemptStatus.COMPLETED)
RETRIED = {
    "attempts_made": 0,
    "progress": 0,
    "returnvalue": None,
    "failed_reason": None,
    "completed_at": None,
    "failed_at": None,
    "cancelled_at": None,
    "discarded": False,
}

UPDATES: list[tuple[JobState, do.Action, dict[str, Any]]] = [
    (
        ACTIVE,
        do.Complete("done"),
        ENDED
        | {"state": COMPLETED, "returnvalue": "done", "completed_at": NOW, "failed_reason": None}
        | {"attempt_logs": COMPLETED_ATTEMPT},
    ),
    (
        ACTIVE,
        do.Fail("boom", "Traceback"),
        ENDED
        | {"state": WAITING, "attempts_made": 1, "failed_reason": "boom"}
        | {"stacktrace": ("Traceback",)}
        | {"attempt_logs": ended(AttemptStatus.FAILED, "boom", "Traceback")},
    ),
    (
        ACTIVE,
        do.Fail("boom", final=True),
        ENDED
        | {"state": FAILED, "attempts_made": 1, "failed_reason": "boom", "failed_at": NOW}
        | {"stacktrace": (), "attempt_logs": ended(AttemptStatus.FAILED, "boom")},
    ),
    (
        ACTIVE,
        do.Release("closed"),
        ENDED | {"state": WAITING, "attempt_logs": put_back("closed")},
    ),
    (ACTIVE, do.ExtendLock(30), {"lock_until": NOW + timedelta(seconds=30)}),
    (
        ACTIVE,
        do.Hold(do.Fail("late")),
        {"attempt_logs": (replace(OPEN_ATTEMPT, error="late; its handler is still at work"),)},
    ),
    (
        ACTIVE,
        do.Hold(do.Fail("late", final=True)),
        {"state": FAILED, "attempts_made": 1, "failed_reason": "late", "failed_at": NOW}
        | {"attempt_logs": ended(AttemptStatus.FAILED, "late")},
    ),
    (ACTIVE, do.Cancel(), {"cancelled_at": NOW}),
    (
        DELAYED,
        do.Cancel(),
        {"state": FAILED, "failed_reason": "cancelled", "failed_at": NOW, "cancelled_at": NOW}
        | {"delay_until": None},
    ),
    (DELAYED, do.Promote(), {"state": WAITING, "delay_until": None}),
    (DELAYED, do.ChangeDelay(5), {"delay_until": NOW + timedelta(seconds=5)}),
    (COMPLETED, do.Retry(), RETRIED | {"state": WAITING}),
    (FAILED, do.Retry(), RETRIED | {"state": WAITING}),
    (WAITING, do.Discard(), {"discarded": True}),
    (WAITING, do.UpdateData("new"), {"data": "new"}),
    (WAITING, do.ChangePriority(-1.5), {"priority": -1.5}),
    (WAITING, do.SetProgress(50), {"progress": 50}),
    (WAITING, do.Log("line"), {"logs": ("line",)}),
    (WAITING, do.ClearLogs(), {"logs": ()}),
    (WAITING, do.Stall(), {}),
]


@pytest.mark.parametrize(("state", "action", "updates"), UPDATES, ids=repr)
def test_an_action_changes_this_and_nothing_else(
    state: JobState, action: do.Action, updates: dict[str, Any]
) -> None:
    job = job_in(state)
    lock = LOCK if state is ACTIVE else None
    changed = after(job, decide(job, action, now=NOW, lock=lock))
    assert changed == replace(job, **updates)


@pytest.mark.parametrize("action", ALL_ACTIONS, ids=repr)
@pytest.mark.parametrize("state", JobState)
def test_every_event_of_a_state_tells_the_one_before(state: JobState, action: do.Action) -> None:
    job = job_in(state)
    try:
        change = decide(job, action, now=NOW, lock=LOCK if state is ACTIVE else None)
    except (InvalidJobStateError, LostLockError):
        return
    changed = after(job, change)
    told = [(kind, data) for kind, data in change.events if kind == f"job:{changed.state}"]
    if changed.state is not state:
        assert len(told) == 1
    for kind, data in told:
        assert (data["previous"], data["name"]) == (state, "send")
        assert (kind, data) == change.events[-1]
        assert data.get("delay_until") == changed.delay_until


# -- attempts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"attempts_made": 0}, WAITING),
        ({"attempts_made": 1}, FAILED),
        ({"attempts_made": 5}, FAILED),
        ({"discarded": True}, FAILED),
    ],
    ids=str,
)
@pytest.mark.parametrize("action", [do.Fail("boom"), do.Stall()], ids=repr)
def test_a_failed_or_stalled_attempt_is_tried_again_while_there_are_some(
    action: do.Action, fields: dict[str, Any], expected: JobState
) -> None:
    job = job_in(ACTIVE, **fields)
    changed = after(job, decide(job, action, now=NOW, lock=LOCK))
    assert changed.state is expected
    assert changed.attempts_made == job.attempts_made + 1
    assert changed.failed_at == (NOW if expected is FAILED else None)


def test_a_backoff_delays_what_failed_but_not_what_stalled() -> None:
    job = job_in(ACTIVE, opts=JobOptions(attempts=2, backoff=10))
    failed = after(job, decide(job, do.Fail("boom"), now=NOW, lock=LOCK))
    assert (failed.state, failed.delay_until) == (DELAYED, NOW + timedelta(seconds=10))
    stalled = after(job, decide(job, do.Stall(), now=NOW))
    assert (stalled.state, stalled.delay_until) == (WAITING, None)


def test_a_retry_tells_what_it_waits_for() -> None:
    job = job_in(ACTIVE, opts=JobOptions(attempts=2, backoff=10))
    (kind, data), (_, moved) = decide(job, do.Fail("boom"), now=NOW, lock=LOCK).events
    assert kind is EventType.RETRYING
    assert (data["attempts_made"], data["attempts"]) == (1, 2)
    assert (data["reason"], data["delay"], data["worker_id"]) == ("boom", 10, "w1")
    assert moved["delay_until"] == NOW + timedelta(seconds=10)


def raise_it(attempts_made: int) -> float:
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("strategy", "cause"),
    [
        (raise_it, "no idea"),
        (lambda _: -1, "-1"),
        (lambda _: None, "None"),
        (lambda: 1, "argument"),
    ],
    ids=["raises", "negative", "no duration", "takes nothing"],
)
def test_a_strategy_that_gives_no_delay_fails_the_job(
    strategy: Callable[..., Any], cause: str
) -> None:
    opts = JobOptions(attempts=5, backoff=Backoff("custom", strategy=strategy))
    job = job_in(ACTIVE, opts=opts)
    failed = after(job, decide(job, do.Fail("boom"), now=NOW, lock=LOCK))
    assert failed.state is FAILED
    assert failed.failed_reason is not None
    assert failed.failed_reason.startswith("boom")
    assert cause in failed.failed_reason


@pytest.mark.parametrize(
    ("lock_until", "seen", "stalls"),
    [
        (NOW, None, True),
        (NOW + timedelta(microseconds=1), None, False),
        (EARLIER, EARLIER, True),
        (EARLIER, EARLIER - timedelta(seconds=1), False),
    ],
)
def test_a_lock_stalls_when_it_ran_out_and_is_the_one_that_was_seen(
    lock_until: datetime, seen: datetime | None, stalls: bool
) -> None:
    job = job_in(ACTIVE, lock_until=lock_until)
    change = decide(job, do.Stall(seen), now=NOW)
    assert (change != Change({})) is stalls


# -- cancelled --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in OUTCOMES if name not in ("extend the lock", "let go")]
)
def test_a_cancelled_job_fails_whatever_its_handler_reports(name: str) -> None:
    job = job_in(ACTIVE, cancelled_at=EARLIER)
    change = decide(job, OUTCOMES[name][0], now=NOW, lock=LOCK)
    ended_job = after(job, change)
    assert (ended_job.state, ended_job.failed_reason) == (FAILED, "cancelled")
    assert (ended_job.attempts_made, ended_job.returnvalue) == (0, None)
    told = [(kind, data["cancelled"]) for kind, data in change.events if kind != "job:held"]
    assert told == [("job:failed", True)]


def test_a_cancelled_job_that_stalls_fails_as_cancelled() -> None:
    job = job_in(ACTIVE, cancelled_at=EARLIER)
    assert outcome(job, do.Stall()) == "failed job:stalled job:failed"


@pytest.mark.parametrize("state", sorted(UNSETTLED))
def test_cancelling_twice_changes_nothing(state: JobState) -> None:
    assert decide(job_in(state, cancelled_at=EARLIER), do.Cancel(), now=NOW) == Change({})


# -- the log ----------------------------------------------------------------------------------


def test_a_line_goes_to_the_attempt_under_way_too() -> None:
    job = job_in(ACTIVE)
    changed = after(job, decide(job, do.Log("line"), now=NOW))
    assert changed.logs == changed.attempt_logs[-1].logs == ("line",)
    assert changed.attempt_logs[-1].ended_at is None


def test_only_the_newest_lines_are_kept() -> None:
    lines = tuple(map(str, range(MAX_LOG_LINES)))
    job = job_in(WAITING, logs=lines)
    changed = after(job, decide(job, do.Log("new"), now=NOW))
    assert changed.logs == ("(1 earlier lines left out)", *lines[1:], "new")


@pytest.mark.parametrize("state", [WAITING, ACTIVE])
def test_the_note_of_the_lines_left_out_counts_on(state: JobState) -> None:
    job = job_in(state)
    lines = [str(number) for number in range(2 * MAX_LOG_LINES)]
    for line in lines:
        job = after(job, decide(job, do.Log(line), now=NOW))
    job = after(job, decide(job, do.Log("more", ("and", "more")), now=NOW))
    newest = (*lines, "more", "and", "more")[-MAX_LOG_LINES:]
    assert job.logs == (f"({MAX_LOG_LINES + 3:,} earlier lines left out)", *newest)
    if state is ACTIVE:
        assert job.attempt_logs[-1].logs == job.logs


def test_a_long_line_is_kept_in_part_and_told_as_it_is_kept() -> None:
    job = job_in(ACTIVE)
    change = decide(job, do.Log("a" * 10**6, ("b" * 10**6,)), now=NOW)
    for line, (_, data) in zip(after(job, change).logs, change.events, strict=True):
        assert len(line) < MAX_LOG_LINE + 100
        assert "characters left out" in line
        assert data["line"] == line


# -- what one job may pile up -----------------------------------------------------------------


def test_a_long_reason_and_traceback_are_kept_in_part() -> None:
    job = job_in(ACTIVE)
    failed = after(
        job, decide(job, do.Fail("r" * 10**6, "t\n" * 10**6, final=True), now=NOW, lock=LOCK)
    )
    record = failed.attempt_logs[-1]
    assert record.error == failed.failed_reason
    assert failed.stacktrace == (record.stacktrace,)
    assert len(str(record.error)) < MAX_REASON + 100
    assert len(str(record.stacktrace)) < MAX_STACKTRACE + 100
    for text in (record.error, record.stacktrace):
        assert "characters left out" in str(text)


def test_a_long_reason_of_a_job_that_is_put_back_is_kept_in_part() -> None:
    job = job_in(ACTIVE)
    change = decide(job, do.Release("r" * 10**6), now=NOW, lock=LOCK)
    error = after(job, change).attempt_logs[-1].error
    assert error is not None
    assert len(error) < MAX_REASON + 100
    [(_, data)] = change.events
    assert data["reason"] == error


def test_very_many_attempts_leave_a_bounded_record_that_says_so() -> None:
    attempts = 3 * MAX_ATTEMPT_RECORDS
    job = job_in(WAITING, opts=JobOptions(attempts=attempts + 1))
    for number in range(1, attempts + 1):
        job = after(job, take(job, "w1", 30, NOW))
        assert job.attempt_logs[-1].attempt == number
        job = after(job, decide(job, do.Log(f"line {number}", ("x",) * 99), now=NOW))
        lock = Lock("w1", number)
        with pytest.raises(LostLockError):
            decide(job, do.Complete(), now=NOW, lock=Lock("w1", number - 1))
        job = after(job, decide(job, do.Fail("boom", f"trace {number}"), now=NOW, lock=lock))
    assert (job.state, job.attempts_made) == (WAITING, attempts)
    kept = [record.attempt for record in job.attempt_logs]
    assert kept == [1, *range(attempts - MAX_ATTEMPT_RECORDS + 2, attempts + 1)]
    assert job.attempts_left_out == attempts - MAX_ATTEMPT_RECORDS
    assert len(job.stacktrace) == MAX_ATTEMPT_RECORDS + 1
    assert job.stacktrace[0] == f"({attempts - MAX_ATTEMPT_RECORDS} earlier tracebacks left out)"
    assert job.stacktrace[-1] == f"trace {attempts}"
    lines = [line for record in job.attempt_logs for line in record.logs]
    assert len(lines) <= 2 * MAX_LOG_LINES + MAX_ATTEMPT_RECORDS
    assert job.attempt_logs[-1].logs[0] == f"line {attempts}"
    assert job.attempt_logs[0].logs == ("(100 earlier lines left out)",)


# -- properties -------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([*ALL_ACTIONS, "take"]), max_size=12), st.booleans())
def test_whatever_is_done_no_job_is_changed_in_place_or_moved_illegally(
    steps: list[do.Action | str], backoff: bool
) -> None:
    opts = JobOptions(attempts=3, backoff=1 if backoff else None)
    job, now = job_in(WAITING, opts=opts), NOW
    for step in steps:
        before = copy.deepcopy(job)
        lock = Lock(job.locked_by, len(job.attempt_logs)) if job.locked_by else None
        try:
            if isinstance(step, str):
                change = take(job, "w1", 0, now)
            else:
                change = decide(job, step, now=now, lock=lock)
        except (InvalidJobStateError, LostLockError):
            change = Change({})
        assert job == before
        state = change.updates.get("state", job.state)
        assert state is job.state or state in TRANSITIONS[job.state]
        job = after(job, change)
        may_be_held = (ACTIVE, FAILED)  # failed: as long as its handler has not returned
        assert job.state in may_be_held if job.locked_by else job.state is not ACTIVE
        assert (job.delay_until is not None) == (job.state is DELAYED)
        assert (job.failed_at is not None) == (job.state is FAILED)
        assert (job.completed_at is not None) == (job.state is COMPLETED)
        assert job.attempts_made <= min(3, len(job.attempt_logs))
        now += timedelta(seconds=1)


# -- handlers that do not stop ----------------------------------------------------------------

HELD = job_in(ACTIVE, attempts_made=1, lock_until=LATER)
"""A job that a worker is at work on, in its last attempt."""


@pytest.mark.parametrize(
    ("fields", "end", "state"),
    [
        ({"attempts_made": 0}, do.Fail("timed out after 5s"), ACTIVE),
        ({"attempts_made": 1}, do.Fail("timed out after 5s"), FAILED),
        ({"discarded": True}, do.Fail("timed out after 5s"), FAILED),
        ({"attempts_made": 1}, do.Release(), ACTIVE),
        ({"cancelled_at": EARLIER}, do.Release(), FAILED),
    ],
)
def test_what_is_final_does_not_wait_for_a_handler_that_goes_on(
    fields: dict[str, Any], end: Any, state: JobState
) -> None:
    job = job_in(ACTIVE, lock_until=LATER, **fields)
    held = after(job, decide(job, do.Hold(end), now=NOW, lock=LOCK))
    assert (held.state, held.locked_by, held.lock_until) == (state, "w1", LATER)
    assert (held.attempt_logs[0].ended_at is None) == (state is ACTIVE)


def test_a_job_that_ended_before_its_handler_is_not_run_again_before_that_returns() -> None:
    held = after(HELD, decide(HELD, do.Hold(do.Fail("late")), now=NOW, lock=LOCK))
    with pytest.raises(RetryRefusedError, match="its handler is still at work in worker 'w1'"):
        decide(held, do.Retry(), now=NOW)
    renewed = after(held, decide(held, do.ExtendLock(9_000), now=NOW, lock=LOCK))
    assert renewed.lock_until == NOW + timedelta(seconds=9_000)
    let_go = after(renewed, decide(renewed, do.LetGo(), now=NOW, lock=LOCK))
    assert let_go == replace(held, locked_by=None, lock_until=None)
    assert decide(let_go, do.Retry(), now=NOW).updates["state"] is WAITING


def test_a_worker_that_is_gone_holds_its_job_no_longer_than_its_lock() -> None:
    held = after(HELD, decide(HELD, do.Hold(do.Fail("late")), now=NOW, lock=LOCK))
    later = LATER + timedelta(seconds=1)
    again = after(held, decide(held, do.Retry(), now=later))
    assert (again.state, again.locked_by, again.lock_until) == (WAITING, None, None)


@pytest.mark.parametrize("report", [do.Complete("late"), do.Fail("late"), do.Log("late")])
def test_what_a_handler_says_after_its_job_has_ended_changes_nothing(report: do.Action) -> None:
    held = after(HELD, decide(HELD, do.Hold(do.Fail("late")), now=NOW, lock=LOCK))
    with pytest.raises(LostLockError):
        decide(held, report, now=NOW, lock=LOCK)


def test_an_attempt_shows_when_it_was_and_its_error() -> None:
    error = "ValueError: " + "no " * 1_000
    record = AttemptRecord(2, "w1", NOW, NOW + timedelta(seconds=1.5), AttemptStatus.FAILED, error)
    begun = f"{NOW:%Y-%m-%d %H:%M:%S}"
    assert repr(record).startswith(
        f"<AttemptRecord 2 by w1, {begun} UTC: failed after 1.5s: ValueError: no no"
    )
    assert 250 < len(repr(record)) < 450
    assert repr(AttemptRecord(1, "w1", NOW)) == f"<AttemptRecord 1 by w1, {begun} UTC: running>"
