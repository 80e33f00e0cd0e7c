"""What a parent says of why it waits: of the failed children, or of its own attempt before."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from conveyor_nb import JobData, JobState
from conveyor_nb.core.flow_rules import child_restarted, child_settled

NOW = datetime(2027, 1, 1, tzinfo=UTC)
OF_CHILDREN = "waits for failed child 'a': retry them, or this job with retry(children=True)"


def parent(attempts_made: int, reason: str | None) -> JobData:
    """A parent that waits for one child."""
    return JobData(
        "p",
        "sum",
        "sums",
        state=JobState.WAITING_CHILDREN,
        attempts_made=attempts_made,
        failed_reason=reason,
        pending_children_count=1,
        children_ids=("a",),
    )


def test_a_parent_that_was_retried_says_no_more_of_children_that_have_completed() -> None:
    change = child_settled(parent(0, OF_CHILDREN), "a", None, pending=0, now=NOW)
    assert (change.updates["state"], change.updates["failed_reason"]) == (JobState.WAITING, None)


def test_a_parent_whose_attempt_failed_goes_on_saying_why() -> None:
    change = child_settled(parent(1, "no network"), "a", None, pending=0, now=NOW)
    assert change.updates["state"] is JobState.WAITING
    assert "failed_reason" not in change.updates


def test_a_parent_that_was_retried_names_the_children_that_are_left() -> None:
    change = child_restarted(parent(0, OF_CHILDREN), 2, [("numbers", "b")], 1)
    assert change.updates == {
        "pending_children_count": 2,
        "failed_reason": OF_CHILDREN.replace("'a'", "'b'"),
    }


@pytest.mark.parametrize(("attempts_made", "reason"), [(1, "no network"), (0, None)])
def test_any_other_parent_that_waits_says_what_it_said(
    attempts_made: int, reason: str | None
) -> None:
    change = child_restarted(parent(attempts_made, reason), 2, [("numbers", "b")], 1)
    assert change.updates == {"pending_children_count": 2}
