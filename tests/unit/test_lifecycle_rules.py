"""The rules around the state machine: how a job begins, how parents follow, how backoffs grow."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from conveyor_nb import Backoff, InvalidJobStateError, JobData, JobOptions
from conveyor_nb.core.entering import admit, take
from conveyor_nb.core.flow_rules import child_restarted, child_settled
from conveyor_nb.core.lifecycle import TRANSITIONS, Change, due
from conveyor_nb.core.model import AttemptRecord, JobState
from conveyor_nb.core.options.backoff import retry_delay
from conveyor_nb.core.options.job_options import ChildFailurePolicy

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
CHILDREN, DELAYED, WAITING, ACTIVE, FAILED = (
    JobState.WAITING_CHILDREN,
    JobState.DELAYED,
    JobState.WAITING,
    JobState.ACTIVE,
    JobState.FAILED,
)


def job_in(state: JobState, **fields: Any) -> JobData:
    """A job in a state."""
    until = LATER if state is DELAYED else None
    return replace(JobData("a", "send", "emails", state=state, delay_until=until), **fields)


def after(job: JobData, change: Change) -> JobData:
    """The job with a change made."""
    return replace(job, **change.updates)


# -- entering, falling due, being taken -------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fields", "state", "until"),
    [
        ({}, {}, WAITING, None),
        ({"delay": 5}, {}, DELAYED, NOW + timedelta(seconds=5)),
        ({}, {"planned_at": LATER}, DELAYED, LATER),
        ({}, {"planned_at": NOW}, WAITING, None),
        ({}, {"planned_at": EARLIER}, WAITING, None),
        ({}, {"pending_children_count": 2}, CHILDREN, None),
    ],
)
def test_a_new_job_begins_in_one_state(
    options: dict[str, Any], fields: dict[str, Any], state: JobState, until: datetime | None
) -> None:
    job = job_in(WAITING, opts=JobOptions(**options), **fields)
    change = admit(job, NOW)
    begun = after(job, change)
    assert (begun.state, begun.delay_until, begun.created_at) == (state, until, NOW)
    [(kind, data)] = change.events
    assert kind == f"job:{state}"
    assert (data["previous"], data.get("delay_until")) == (None, until)


@pytest.mark.parametrize("state", JobState)
def test_only_a_delayed_job_falls_due(state: JobState) -> None:
    job = job_in(state)
    if state is DELAYED:
        assert after(job, due(job)) == replace(job, state=WAITING, delay_until=None)
    elif WAITING not in TRANSITIONS[state]:
        with pytest.raises(InvalidJobStateError):
            due(job)


@pytest.mark.parametrize("state", JobState)
def test_only_a_waiting_job_is_taken(state: JobState) -> None:
    job = job_in(state)
    if state is not WAITING:
        with pytest.raises(InvalidJobStateError):
            take(job, "w1", 30, NOW)
        return
    taken = after(job, take(job, "w1", 30, NOW))
    assert (taken.state, taken.locked_by, taken.processed_at) == (ACTIVE, "w1", NOW)
    assert taken.lock_until == NOW + timedelta(seconds=30)
    assert taken.attempt_logs == (AttemptRecord(1, "w1", NOW),)


# -- children ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "why", "pending", "state"),
    [
        ("fail", None, 1, CHILDREN),
        ("fail", None, 0, WAITING),
        ("fail", "boom", 1, FAILED),
        ("fail", "boom", 0, FAILED),
        ("ignore", "boom", 1, CHILDREN),
        ("ignore", "boom", 0, WAITING),
        ("remove", None, 0, WAITING),
        ("remove", "boom", 1, None),
        ("remove", "boom", 0, None),
    ],
)
def test_a_child_that_settles_moves_its_parent_by_the_policy(
    policy: ChildFailurePolicy, why: str | None, pending: int, state: JobState | None
) -> None:
    opts = JobOptions(fail_parent_on_child_failure=policy)
    parent = job_in(CHILDREN, opts=opts, children_ids=("x", "y"), pending_children_count=2)
    change = child_settled(parent, "x", why, pending=pending, now=NOW)
    moved = after(parent, change)
    assert (moved.state, moved.pending_children_count) == (state or CHILDREN, pending)
    assert moved.children_ids == ("x", "y")
    assert change.removes is (state is None)
    assert [kind for kind, _ in change.events] == (
        [] if state in (CHILDREN, None) else [f"job:{state}"]
    )
    if state in (FAILED, None):
        assert moved.failed_reason == "child 'x' failed: boom"
    assert moved.failed_at == (NOW if state is FAILED else None)


@pytest.mark.parametrize("state", [state for state in JobState if state is not CHILDREN])
def test_a_parent_that_waits_no_more_is_not_moved(state: JobState) -> None:
    parent = job_in(state, pending_children_count=1)
    change = child_settled(parent, "x", "boom", pending=0, now=NOW)
    assert after(parent, change) == replace(parent, pending_children_count=0)
    assert (change.events, change.removes) == ((), False)


@pytest.mark.parametrize("state", JobState)
def test_a_parent_waits_for_a_child_that_starts_afresh_unless_it_has_begun(
    state: JobState,
) -> None:
    parent = job_in(state)
    change = child_restarted(parent, 1, (), 0)
    moved = after(parent, change)
    goes_back = state in (WAITING, DELAYED)
    assert moved.state is (CHILDREN if goes_back else state)
    assert moved.pending_children_count == 1
    assert moved.delay_until is None
    assert [kind for kind, _ in change.events] == (["job:waiting-children"] if goes_back else [])


# -- backoff ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (None, [0, 0, 0]),
        (Backoff(delay=0), [0, 0, 0]),
        (Backoff(delay=3), [3, 3, 3]),
        (Backoff("exponential", 1), [1, 2, 4]),
        (Backoff("exponential", 0), [0, 0, 0]),
        (Backoff("exponential", "20h"), [72_000, 86_400, 86_400]),
        (Backoff("exponential", "2 days"), [86_400, 86_400, 86_400]),
        (Backoff("custom", strategy=lambda n: f"{n}m"), [60, 120, 180]),
    ],
    ids=repr,
)
def test_a_backoff_grows_as_it_says(backoff: Backoff | None, delays: list[float]) -> None:
    assert [retry_delay(backoff, attempts) for attempts in (1, 2, 3)] == delays


@given(st.floats(0, 10**6), st.integers(1, 10**6), st.integers(0, 100))
def test_a_jitter_is_a_quarter_at_most_and_a_day_is_never_passed(
    delay: float, attempts: int, seed: int
) -> None:
    backoff = Backoff("exponential", delay)
    exact = retry_delay(backoff, attempts)
    jittered = retry_delay(backoff, attempts, random.Random(seed))
    assert 0 <= exact <= 86_400
    assert 0.75 * exact <= jittered <= min(1.25 * exact, 86_400)


@given(st.sampled_from(["fixed", "exponential"]), st.floats(0, 10**6), st.integers(1, 10**6))
def test_full_jitter_takes_any_wait_up_to_the_whole(
    kind: Literal["fixed", "exponential"], delay: float, attempts: int
) -> None:
    whole = retry_delay(Backoff(kind, delay), attempts)
    backoff = Backoff(kind, delay, jitter="full")
    assert retry_delay(backoff, attempts) == whole
    waits = [retry_delay(backoff, attempts, random.Random(seed)) for seed in range(40)]
    assert all(0 <= wait <= whole for wait in waits)
    if whole > 1e-300:  # what is smaller is rounded
        assert min(waits) < 0.2 * whole
        assert max(waits) > 0.8 * whole


def test_the_jitter_comes_from_the_source_that_was_given() -> None:
    backoff = Backoff("exponential", 1)
    first, second = (retry_delay(backoff, 3, random.Random(seed)) for seed in (1, 2))
    assert first != second
    assert first == retry_delay(backoff, 3, random.Random(1))
