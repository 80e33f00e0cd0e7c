"""Jobs as programs of Conveyor write them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from conveyor_nb.core.model import (
    AttemptRecord,
    AttemptStatus,
    JobData,
    JobState,
)
from conveyor_nb.core.options.job_options import JobOptions
from conveyor_nb.stores.sql.wire import attempts, payloads
from conveyor_nb.stores.sql.wire.codec import codec_for
from tests.wire_values import (
    DIALECTS,
    HELD,
    NOW,
    OURS,
    original_row,
    same,
)

# -- jobs as Conveyor writes them -----------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_job_of_theirs_is_read(dialect: str) -> None:
    job = codec_for(dialect).job(original_row(dialect))
    assert job == JobData(
        "a",
        "send",
        "emails",
        payloads.pack({"to": "ada"}, "data"),
        opts=JobOptions(attempts=3),
        created_at=NOW,
        sequence=7,
    )


@pytest.mark.parametrize(
    ("written", "data"),
    [
        ('"hello"', "hello"),  # as they write text
        ('"\\"hello\\""', "hello"),  # as we do
        ('"123"', "123"),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ("null", None),
        ("[true]", [True]),
        ("1.5", 1.5),
    ],
)
def test_both_forms_of_text_are_read_on_a_server(written: str, data: Any) -> None:
    job = codec_for("postgres").job(original_row("postgres", data=written, returnvalue=written))
    assert same(job.data, data)
    assert same(job.returnvalue, data)


def test_what_they_hold_has_one_open_record_of_who_holds_it() -> None:
    codec = codec_for("sqlite")
    active: dict[str, Any] = {
        "state": "active",
        "locked_by": "worker-1",
        "processed_at": NOW,
        "lock_until": NOW,
    }
    early = codec.job(original_row(**active))  # they write the record in a second statement
    assert early.attempt_logs == (AttemptRecord(1, "worker-1", NOW),)
    later = codec.job(original_row(**active, attempt_logs=HELD))
    assert later.attempt_logs == (AttemptRecord(1, "worker-1", NOW, logs=("on it",)),)


def test_a_record_that_they_left_open_is_closed() -> None:
    codec = codec_for("sqlite")
    stalled = codec.job(original_row(attempts_made=1, attempt_logs=HELD))
    (record,) = stalled.attempt_logs
    assert record.ended_at is not None
    assert record.status is AttemptStatus.FAILED
    assert record.error == "how it ended was not recorded"
    again: dict[str, Any] = {
        "state": "active",
        "locked_by": "worker-2",
        "processed_at": NOW,
        "lock_until": NOW,
    }
    retaken = codec.job(original_row(**again, attempt_logs=OURS, conveyor_nb_fence=1))
    assert [one.worker_id for one in retaken.attempt_logs] == ["w", "worker-2"]
    assert [one.ended_at is None for one in retaken.attempt_logs] == [False, True]


def test_the_number_of_our_take_outlives_a_record_written_anew() -> None:
    codec = codec_for("sqlite")
    row = original_row(
        state="active", locked_by="w", lock_until=NOW, attempt_logs=OURS, conveyor_nb_fence=3
    )
    assert codec.job(row).attempt_logs[-1].attempt == 3
    lost = original_row(state="active", locked_by="w", lock_until=NOW, conveyor_nb_fence=3)
    assert codec.job(lost).attempt_logs[-1].attempt == 3


def test_what_they_leave_behind_is_mended_as_it_is_read() -> None:
    codec = codec_for("sqlite")
    # a retry of theirs keeps that the job was cancelled, and who takes it would stop it
    retried = codec.job(original_row(cancelled_at=NOW))
    assert retried.cancelled_at is None
    taken = replace(retried, state=JobState.ACTIVE)
    assert codec.changed(retried, taken)["cancelled_at"] is None
    cancelled = codec.job(original_row(state="failed", cancelled_at=NOW))
    assert cancelled.failed_at == NOW
    assert codec.job(original_row(state="completed")).completed_at == NOW
    released = codec.job(original_row(state="active", processed_at=NOW))
    assert released.lock_until == NOW
    assert codec.job(original_row(seq=None)).sequence == 0
    odd = codec.job(original_row(state="paused"))
    assert (odd.state, odd.failed_reason) == (JobState.FAILED, "its state 'paused' is none")


def test_nothing_in_a_row_makes_it_unreadable() -> None:
    job = codec_for("sqlite").job(
        original_row(logs="{", stacktrace="7", children_ids="[1]", attempt_logs="[1", opts="[")
    )
    assert (job.logs, job.stacktrace, job.children_ids) == ((), (), ("1",))
    assert (job.attempt_logs, job.opts) == ((), JobOptions())
    mixed = attempts.from_items(f'[{OURS[1:-1]},{{"attempt":"x"}},7]')
    assert [one.worker_id for one in mixed] == ["w"]


def test_an_attempt_is_written_in_the_words_of_conveyor() -> None:
    ended = AttemptRecord(1, "w", NOW, NOW, AttemptStatus.COMPLETED, None, None, ("one", "two"))
    written = json.loads(attempts.to_items([ended, AttemptRecord(2, "v", NOW)]))
    assert written[0] == {
        "attempt": 1,
        "startedAt": "2027-01-02T03:04:05.678000Z",
        "endedAt": "2027-01-02T03:04:05.678000Z",
        "status": "completed",
        "error": None,
        "stacktrace": None,
        "logs": ["one", "two"],
        "workerId": "w",
    }
    assert (written[1]["status"], written[1]["endedAt"]) == ("failed", None)
